"""Where a crop of a hand lies (`CropRule`), and what becomes of labels and images in it.

With intrinsics a crop is view-corrected (`geometry.crop.view_crop`) unless its rule says otherwise;
project(K, joints_xyz) = joints_uv holds in it exactly, always.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import cv2
import numpy as np
import torch
from torch import Tensor

from auxhand.arrays import Array
from auxhand.geometry.crop import (
    Crop,
    box_center_side,
    mirror_R,
    mirror_xyz,
    plain_crop,
    uv_box,
    view_crop,
)
from auxhand.geometry.warp import warp, warp_depth
from auxhand.hand.skeleton import ROOT, WRIST
from auxhand.imports import roma
from auxhand.sample import LEFT, HandSample

CropBy = Literal["joints", "mask", "box"]
"""What a crop is placed by: the box of the hand's turned joints, or of its turned mask; or its box
as an unlabelled picture has it, which does not turn with the picture."""

View = Literal["corrected", "labels", "plain"]
"""What a crop does to the viewpoint (Ch. 5.4.1).

"corrected": the camera turns to the crop's centre, and the image is what it sees. "labels": the
image is a plain crop and only points turn, which is the dissertation's variant. "plain": no
correction; points turn with the image about the axis of the original camera, and no further.
"""

FRACTION = 0.7
"""Share of the side that the joints' box takes in crops for evaluation: mid-way in training."""

MASK_FRACTION = 0.8
"""The same for the mask's box, which is 13% longer (mean of 500 hands of the source domain): by
either the hand is as large."""


@dataclass(frozen=True)
class CropRule:
    """How hands are cropped: of training, protocols, readers and bundles.

    Attributes:
        by: what the crop is a square about, see `CropBy`.
        fraction: share of the square's side that the longer side of that box takes.
        view: what the crop does to the viewpoint, see `View`; "plain" where K is not known.

    Raises:
        ValueError: no such `by` or `view`; a fraction that is not positive.
    """

    by: CropBy = "joints"
    fraction: float = FRACTION
    view: View = "corrected"

    def __post_init__(self) -> None:
        for name, kinds in (("by", CropBy), ("view", View)):
            if getattr(self, name) not in get_args(kinds):
                known = ", ".join(get_args(kinds))
                raise ValueError(f"{name} of a crop is one of {known}; got {getattr(self, name)!r}")
        if not (isinstance(self.fraction, int | float) and 0 < self.fraction < math.inf):
            raise ValueError(f"fraction of a crop is a positive number; got {self.fraction!r}")

    @property
    def joints_fraction(self) -> float:
        """Share of the square's side that the joints' box takes; by mask or box, on average."""
        return self.fraction * (1.0 if self.by == "joints" else FRACTION / MASK_FRACTION)

    def to_dict(self) -> dict[str, Any]:
        """As plain values: `CropRule(**rule.to_dict()) == rule`."""
        return asdict(self)


USUAL: dict[CropBy, CropRule] = {
    "joints": CropRule(),
    "mask": CropRule("mask", MASK_FRACTION),
    "box": CropRule("box", MASK_FRACTION),
}
"""How hands are cropped where nothing else is said, by what places them: a hand is as large by
each."""


def upright_angle(uv: Tensor) -> float:
    """Radians by which an image must be turned so that wrist to middle MCP points upwards."""
    x, y = (uv.numpy()[ROOT] - uv.numpy()[WRIST]).tolist()
    return -math.pi / 2 - math.atan2(y, x)


def place_crop(
    sample: HandSample,
    size: int,
    rule: CropRule = USUAL["joints"],
    angle: float = 0.0,
    shift: tuple[float, float] = (0.0, 0.0),
    image_size: tuple[int, int] | None = None,
    box: Tensor | None = None,
) -> Crop:
    """A square crop around a sample's hand, mirrored where it is a left one.

    Args:
        sample: its joints_uv (the valid ones count) or mask, K and side.
        size: side of the crop in pixels.
        rule: what places the crop, how large the hand is in it, and what is done to the viewpoint.
            By a mask that is absent or empty the joints place it.
        angle: radians by which the content turns (clockwise on screen), before mirroring.
        shift: where the box's centre lies, in sides of the crop from the crop's centre.
        image_size: (height, width) of the sample's image. Where nothing is known of the hand the
            image counts as a crop of a hand already: at `FRACTION` and without a shift, all of it
            is shown.
        box: (4,) the hand's as (x, y, w, h), for a rule by box; None: that of its mask or joints.

    Raises:
        ValueError: nothing to place the crop by, and no size.
    """
    c, s = math.cos(angle), math.sin(angle)
    turn = np.array([[c, -s], [s, c]])
    if rule.by == "box" and box is None:
        box = hand_box(sample)
    if rule.by == "box" and box is not None:
        center, longer = box_center_side(box.double())
        extent, middle = float(longer), turn @ center.numpy()
    else:
        turned = _outermost(sample, image_size, rule.by) @ turn.T
        low, high = turned.min(0), turned.max(0)
        extent, middle = float((high - low).max()), (low + high) / 2
    side = max(extent, 1.0) / rule.fraction
    at = (turn.T @ (middle - side * np.asarray(shift))).tolist()
    K = None if sample.K is None else sample.K.double()
    return square_crop(K, at, side, size, angle, sample.side == LEFT, rule.view)


def hand_box(sample: HandSample) -> Tensor | None:
    """(4,) the box (x, y, w, h) of a sample's mask, or else of its valid joints; None without."""
    if sample.mask is not None and bool(sample.mask.any()):
        return uv_box(torch.from_numpy(_outline(sample.mask.numpy() > 0.5)))
    uv = _valid_joints(sample)
    if uv is None:
        return None
    box = uv_box(torch.from_numpy(uv))
    return torch.cat([box[:2], box[2:].clamp(min=1.0)])


def square_crop(
    K: Tensor | None,
    center: Sequence[float],
    side: float,
    size: int,
    angle: float = 0.0,
    mirror: bool = False,
    view: View = "corrected",
) -> Crop:
    """A square of an image as a crop of that `View`; "plain" where K is not known.

    Args:
        K: (3, 3) intrinsics, double.
        center, side, size, angle, mirror: see `geometry.crop.plain_crop`.
        view: see `View`.
    """
    if K is not None and view == "corrected":
        return view_crop(K, center, side, size, angle, mirror)
    # Without a camera it is the centre that gives the crop its precision.
    crop = plain_crop(torch.tensor(center, dtype=torch.float64), side, size, angle, K, mirror)
    if K is not None and view == "labels":
        return crop.with_axes(view_crop(K, center, side, size, angle, mirror).R)
    c, s = math.cos(angle), math.sin(angle)
    roll = torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    return crop.with_axes(crop.R @ roll)


def _outermost(sample: HandSample, image_size: tuple[int, int] | None, by: CropBy) -> Array:
    """(N, 2) points whose box is the hand's."""
    if by == "mask" and sample.mask is not None and bool(sample.mask.any()):
        return _outline(sample.mask.numpy() > 0.5)
    uv = _valid_joints(sample) if by != "box" else None
    if uv is not None:
        return uv
    if image_size is None:
        raise ValueError(f"{sample.source}: neither joints nor an image to place a crop by")
    height, width = image_size
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    half = FRACTION / 2 * np.array([width, height])
    return np.stack([middle - half, middle + half])


def _valid_joints(sample: HandSample) -> Array | None:
    """(N, 2) pixels of the joints whose labels can be trusted; None without any."""
    if sample.joints_uv is None:
        return None
    uv = sample.joints_uv.double().numpy()
    if sample.joint_valid is not None:
        uv = uv[sample.joint_valid.numpy()]
    return np.asarray(uv) if len(uv) else None


def _outline(mask: Array) -> Array:
    """(N, 2) corners of the first and last pixel of each row of a mask: its extent, however it is
    turned."""
    rows = np.flatnonzero(mask.any(1))
    first = mask[rows].argmax(1)
    last = mask.shape[1] - 1 - mask[rows, ::-1].argmax(1)
    ends = np.concatenate([first - 0.5, last + 0.5])
    both = np.concatenate([rows, rows])
    return np.concatenate([np.stack([ends, both + half], 1) for half in (-0.5, 0.5)])


def crop_labels(sample: HandSample, crop: Crop) -> HandSample:
    """The sample's labels in the crop; its images are left out."""
    uv = None
    if sample.joints_uv is not None:
        # `Crop.uv_to_crop` of one sample, in one call instead of twenty.
        seen = cv2.perspectiveTransform(sample.joints_uv.numpy()[None], crop.A.numpy())[0]
        uv = torch.from_numpy(seen)
    return HandSample(
        K=crop.K,
        side=sample.side,
        joints_uv=uv,
        joints_xyz=None if sample.joints_xyz is None else crop.xyz_to_crop(sample.joints_xyz),
        joint_valid=sample.joint_valid,
        joint_visible=sample.joint_visible,
        presence=sample.presence,
        cloud=None if sample.cloud is None else crop.xyz_to_crop(sample.cloud),
        mano=None if sample.mano is None else mano_in_crop(sample.mano, crop),
        content=sample.content,
        source=sample.source,
        crop=crop,
    )


def mano_in_crop(mano: Tensor, crop: Crop) -> Tensor:
    """MANO parameters (58,) of a hand as the crop's camera sees it (see `HandSample.mano`).

    The whole hand turns with the camera. A mirrored hand is one of the other side's model, whose
    joints turn by M R M.
    """
    turns = roma.rotvec_to_rotmat(mano[:48].view(16, 3))
    turn = crop.R.to(turns)
    if crop.mirrored:
        # R G v = (R M) (M G M) (M v), and M v is a point of the mirrored model.
        turns, turn = mirror_R(turns), mirror_xyz(turn)
    turns[0] = turn @ turns[0]
    return torch.cat([roma.rotmat_to_rotvec(turns).flatten(), mano[48:]])


def evaluation_crop(
    sample: HandSample, size: int, rule: CropRule = USUAL["joints"], box: Tensor | None = None
) -> HandSample:
    """The crop of a sample that a network is judged on: nothing about it is random.

    Joints outside the crop keep their validity: they count (Eq. 2.7).

    Args:
        sample: with an image; without anything to place a crop by the whole image is taken as one.
        size: side of the crop in pixels.
        rule, box: see `place_crop`.

    Returns:
        image, mask and depth (where there are any) at `size`, labels in the crop's pixels and
        camera, `crop` the way back. Beyond the image its border is repeated.

    Raises:
        ValueError: a sample without an image.
    """
    if sample.image is None:
        raise ValueError(f"{sample.source}: no image to crop")
    image = sample.image.permute(1, 2, 0).numpy()
    crop = place_crop(sample, size, rule, image_size=image.shape[:2], box=box)
    pixels = warp(image, crop, cv2.BORDER_REPLICATE)
    mask = None if sample.mask is None else warp(sample.mask.numpy(), crop) > 0.5
    depth = None if sample.depth is None else warp_depth(sample.depth.numpy(), crop)
    return replace(
        crop_labels(sample, crop),
        image=to_tensor(pixels),
        mask=None if mask is None else torch.from_numpy(mask.astype(np.float32)),
        depth=None if depth is None else torch.from_numpy(depth),
    )


def to_tensor(image: Array) -> Tensor:
    """(H, W, 3) float32 -> (3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).clamp_(0, 1)
