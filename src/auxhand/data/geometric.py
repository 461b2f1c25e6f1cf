"""Where a crop of a hand lies, what becomes of image and labels in it, and when it shows a hand.

A crop is placed by the hand's joints, or by its mask: `fraction` is the share of the crop's side
that the longer side of their box takes, after turning. With intrinsics the crop is view-corrected
(`geometry.crop.view_crop`) unless told otherwise (`View`); project(K, joints_xyz) = joints_uv holds
in it exactly, always.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import roma
import torch
from torch import Tensor

from auxhand.geometry.crop import Crop, mirror_R, mirror_xyz, plain_crop, view_crop
from auxhand.hand.skeleton import ROOT, WRIST
from auxhand.sample import LEFT, HandSample

Array = npt.NDArray[Any]

CropBy = Literal["joints", "mask"]
"""What a crop is placed by: the box of the hand's joints, or of its mask."""

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

MARGIN = 0.02
"""Joints up to this share of the side beyond the crop's edge still count as labelled: a network
that answers within the crop can come as near. Joints farther out are marked invalid."""

INSIDE, LOWEST, HIGHEST = 0.8, 0.35, 1.15
"""A crop is about a hand where 80% of its joints are inside and their box takes 0.35 to 1.15."""

OUTSIDE, TOO_SMALL, TOO_LARGE = 0.5, 0.25, 1.5
"""It is about none where half the joints or fewer are inside, or the box takes less than 0.25 or
more than 1.5. In between either answer would be arbitrary, and presence is not labelled."""


def presence(uv: Tensor, size: int) -> float | None:
    """Whether a crop is about the hand whose joints are `uv` (21, 2): 1, 0, or None for undecided.

    This is what the presence of a window means to the search for hands: 1 says that the window can
    be given to the pose estimate, 0 that a window elsewhere, or of another size, would be better.
    """
    pixels = uv.numpy()
    inside = np.count_nonzero(_within(pixels, size, 0.0)) / len(pixels)
    share = float((pixels.max(0) - pixels.min(0)).max()) / size
    if inside <= OUTSIDE or not TOO_SMALL <= share <= TOO_LARGE:
        return 0.0
    if inside >= INSIDE and LOWEST <= share <= HIGHEST:
        return 1.0
    return None


def _within(uv: Array, size: int, margin: float) -> Array:
    """(N, 2) -> (N,) bool: inside the crop, or at most `margin` times its side outside."""
    low, high = -0.5 - margin * size, size - 0.5 + margin * size
    return np.asarray(((uv >= low) & (uv <= high)).all(-1))


def upright_angle(uv: Tensor) -> float:
    """Radians by which an image must be turned so that wrist to middle MCP points upwards."""
    x, y = (uv.numpy()[ROOT] - uv.numpy()[WRIST]).tolist()
    return -math.pi / 2 - math.atan2(y, x)


def place_crop(
    sample: HandSample,
    size: int,
    fraction: float = FRACTION,
    angle: float = 0.0,
    shift: tuple[float, float] = (0.0, 0.0),
    view: View = "corrected",
    image_size: tuple[int, int] | None = None,
    by: CropBy = "joints",
) -> Crop:
    """A square crop around a sample's hand, mirrored where it is a left one.

    Args:
        sample: its joints_uv (the valid ones count) or mask, K and side.
        size: side of the crop in pixels.
        fraction: share of the crop's side that the box takes.
        angle: radians by which the content turns (clockwise on screen), before mirroring.
        shift: where the box's centre lies, in sides of the crop from the crop's centre.
        view: see `View`; "plain" where K is not known.
        image_size: (height, width) of the sample's image. Where no joint is known the image counts
            as a crop of a hand already: at `FRACTION` and without a shift, all of it is shown.
        by: the box is that of the turned joints, or of the turned mask where there is one that is
            not empty.

    Raises:
        ValueError: neither joints nor a size.
    """
    uv = _extent(sample, image_size, by)
    c, s = math.cos(angle), math.sin(angle)
    turn = np.array([[c, -s], [s, c]])
    turned = uv @ turn.T
    low, high = turned.min(0), turned.max(0)
    side = max(float((high - low).max()), 1.0) / fraction
    center = (turn.T @ ((low + high) / 2 - side * np.asarray(shift))).tolist()
    mirror = sample.side == LEFT
    K = None if sample.K is None else sample.K.double()
    return square_crop(K, center, side, size, angle, mirror, view)


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


def _extent(sample: HandSample, image_size: tuple[int, int] | None, by: CropBy) -> Array:
    """(N, 2) points whose box is the hand's."""
    if by == "mask" and sample.mask is not None and bool(sample.mask.any()):
        return _outline(sample.mask.numpy() > 0.5)
    if sample.joints_uv is not None:
        uv = sample.joints_uv.double().numpy()
        if sample.joint_valid is not None:
            uv = uv[sample.joint_valid.numpy()]
        if len(uv):
            return np.asarray(uv)
    if image_size is None:
        raise ValueError(f"{sample.source}: neither joints nor an image to place a crop by")
    height, width = image_size
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    half = FRACTION / 2 * np.array([width, height])
    return np.stack([middle - half, middle + half])


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
    """The sample's labels in the crop; its images are left out.

    joint_valid: labelled, and inside the crop (to within `MARGIN`). Where neither uv nor xyz is
    known there is nothing to say about joints.
    """
    uv, valid = None, sample.joint_valid
    if sample.joints_uv is not None:
        # `Crop.uv_to_crop` of one sample, in one call instead of twenty.
        seen = cv2.perspectiveTransform(sample.joints_uv.numpy()[None], crop.A.numpy())[0]
        uv = torch.from_numpy(seen)
        inside = torch.from_numpy(_within(seen, crop.size[0], MARGIN))
        valid = inside if valid is None else valid & inside
    return HandSample(
        K=crop.K,
        side=sample.side,
        joints_uv=uv,
        joints_xyz=None if sample.joints_xyz is None else crop.xyz_to_crop(sample.joints_xyz),
        joint_valid=valid,
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


def warp(image: Array, crop: Crop, border: int = cv2.BORDER_CONSTANT) -> Array:
    """An image (H, W) or (H, W, C) as seen in the crop, bilinear.

    Where the crop shows the image more than 1.5 times smaller, it is averaged down first by the
    nearest whole factor, else fine detail would alias.
    """
    back = cv2.invert(crop.A.double().numpy())[1]
    height, width = crop.size
    # Pixels of the original per pixel of the crop: for x = B x' / w the Jacobian's determinant is
    # det B / w^3, here at the crop's centre.
    w = back[2, 0] * (width - 1) / 2 + back[2, 1] * (height - 1) / 2 + back[2, 2]
    shrink = math.sqrt(abs(cv2.determinant(back) / w**3))
    if shrink > 1.5:
        sizes = image.shape[1], image.shape[0]
        small = tuple(max(1, round(side / round(shrink))) for side in sizes)
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        sx, sy = small[0] / sizes[0], small[1] / sizes[1]
        back = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]]) @ back
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(image, back, (width, height), flags=flags, borderMode=border)


def warp_depth(depth: Array, crop: Crop) -> Array:
    """A depth map (H, W) in metres in the crop: nearest values, as depth along its own axis."""
    target = crop.size[1], crop.size[0]
    A = crop.A.double().numpy()
    warped = cv2.warpPerspective(depth.astype(np.float32), A, target, flags=cv2.INTER_NEAREST)
    return np.asarray(warped * crop.depth_scale().float().numpy())


def evaluation_crop(
    sample: HandSample,
    size: int,
    fraction: float | None = None,
    view: View = "corrected",
    by: CropBy = "joints",
    hand: Array | None = None,
) -> HandSample:
    """The crop of a sample that a network is judged on: nothing about it is random.

    Args:
        sample: with an image; without joints the whole image is taken as the crop.
        size: side of the crop in pixels.
        fraction, by: see `place_crop`; `FRACTION` or `MASK_FRACTION` if None.
        view: see `View`.
        hand: (H, W) what to place it by instead of the sample's mask, which may show an arm too.

    Returns:
        image, mask and depth (where there are any) at `size`, labels in the crop's pixels and
        camera, `crop` the way back. Beyond the image its border is repeated.

    Raises:
        ValueError: a sample without an image.
    """
    if sample.image is None:
        raise ValueError(f"{sample.source}: no image to crop")
    image = sample.image.permute(1, 2, 0).numpy()
    if fraction is None:
        fraction = FRACTION if by == "joints" else MASK_FRACTION
    placed = sample if hand is None else replace(sample, mask=torch.from_numpy(hand))
    crop = place_crop(placed, size, fraction, view=view, image_size=image.shape[:2], by=by)
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
