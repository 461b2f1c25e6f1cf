"""What cannot be: labels that are readable, and yet those of no hand in this picture.

Everything that takes labels from people asks here: `data check`, `data convert`, `evaluate`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import torch
from PIL import Image
from torch import Tensor

from auxhand.data.columns import decode_labels
from auxhand.data.store import PreparedDataset
from auxhand.hand.skeleton import JOINT_NAMES, REFERENCE_BONE
from auxhand.sample import HandSample

BONE: tuple[float, float] = (0.01, 0.10)
"""Metres between which the reference bone of every hand lies, a child's or a giant's."""

FARTHEST = 100.0
"""Metres from the camera beyond which no joint is."""

OUTERMOST = 1e6
"""Pixels beyond which no joint is, in the picture or out of it."""


def problems(sample: HandSample, size: tuple[int, int] | None = None) -> list[str]:
    """What is impossible about a sample's labels, a line each; empty where nothing is.

    Args:
        sample: labels with K and 3D joints in metres, 2D joints in pixels of its image; what is not
            labelled (`joint_valid` false) is not looked at.
        size: height and width of its image in pixels; None: of `sample.image`, if it has one.
    """
    if size is None and sample.image is not None:
        size = int(sample.image.shape[-2]), int(sample.image.shape[-1])
    found: list[str] = []
    if sample.K is not None:
        found += _of_camera(sample.K.double())
    if sample.joints_xyz is not None:
        found += _of_joints_3d(sample.joints_xyz.double(), sample.joint_valid)
    if sample.joints_uv is not None:
        found += _of_joints_2d(sample.joints_uv.double(), sample.joint_valid, size)
    return found


def problems_of_rows(data: PreparedDataset) -> list[str]:
    """What is impossible about the labels of a prepared dataset, a line each that begins with its
    row.

    Raises:
        ValueError: labels of a wrong length, an image that is none; says which row.
    """
    lines = []
    for index in range(len(data)):
        row = data.row(index)
        size = None
        if row["image"] is not None:
            try:
                with Image.open(io.BytesIO(row["image"])) as image:
                    size = image.size[1], image.size[0]
            except Exception as error:  # Pillow raises nearly anything, see `data.image`
                raise ValueError(
                    f"{data.root}, row {index}: its image is damaged, or too large"
                ) from error
        sample = decode_labels(row, str(data.root))
        lines += [f"row {index} ({sample.source}): {p}" for p in problems(sample, size)]
    return lines


def _of_camera(K: Tensor) -> Iterator[str]:
    if not bool(K.isfinite().all()):
        yield "the camera matrix K is not finite"
    elif not bool((K[[0, 1], [0, 1]] > 0).all()):
        fx, fy = K[[0, 1], [0, 1]].tolist()
        yield f"the camera matrix K has focal lengths {fx:g}, {fy:g}: they must be positive"
    elif K[2].tolist() != [0, 0, 1]:
        last = ", ".join(f"{value:g}" for value in K[2].tolist())
        yield f"the camera matrix K has {last} as its last row, not 0, 0, 1: perhaps it is turned"


def _labelled(joints: Tensor, valid: Tensor | None) -> Tensor:
    return torch.ones(len(joints), dtype=torch.bool) if valid is None else valid.bool()


def _of_joints_3d(xyz: Tensor, valid: Tensor | None) -> Iterator[str]:
    labelled = _labelled(xyz, valid)
    finite = xyz.isfinite().all(-1)
    if bool((labelled & ~finite).any()):
        yield f"{_names(labelled & ~finite)}: 3D position is not a number"
    there = labelled & finite
    if not bool(there.any()):
        return
    if not bool(xyz[there].any()):
        yield "all 3D joints are zero"
        return
    if (length := _bone(xyz, there)) is not None and not BONE[0] <= length <= BONE[1]:
        yield f"bone 9-10 is {100 * length:.4g} cm long, not 1 to 10 cm{_unit(length)}"
    elif bool((far := there & (xyz.norm(dim=-1) > FARTHEST)).any()):
        yield f"{_names(far)}: more than {FARTHEST:g} m away"
    if bool((behind := there & (xyz[:, 2] <= 0)).any()):
        yield f"{_names(behind)}: behind the camera (z is not positive)"


def _bone(xyz: Tensor, there: Tensor) -> float | None:
    """Metres of the reference bone, None where one of its joints is not told."""
    first, second = REFERENCE_BONE
    if not bool(there[[first, second]].all()):
        return None
    return float((xyz[first] - xyz[second]).norm())


def _unit(length: float) -> str:
    """The unit that would explain a bone's length."""
    for factor, taken in ((1e3, "metres were taken for millimetres"),
                          (1e-3, "millimetres were taken for metres"),
                          (1e-2, "centimetres were taken for metres")):  # fmt: skip
        if BONE[0] <= length * factor <= BONE[1]:
            return f": perhaps {taken}"
    return ""


def _of_joints_2d(uv: Tensor, valid: Tensor | None, size: tuple[int, int] | None) -> Iterator[str]:
    labelled = _labelled(uv, valid)
    finite = uv.isfinite().all(-1)
    if bool((labelled & ~finite).any()):
        yield f"{_names(labelled & ~finite)}: 2D position is not a number"
    there = labelled & finite
    if bool((out := there & (uv.abs().amax(-1) > OUTERMOST)).any()):
        yield f"{_names(out)}: 2D position is more than {OUTERMOST:.0e} pixels away"
        return
    points = uv[there]
    if len(points) < 2:
        return
    if float((points.amax(0) - points.amin(0)).max()) < 1e-6:
        yield "all 2D joints are in one point"
    elif size is not None and max(size) > 4 and bool(((points >= 0) & (points <= 1)).all()):
        yield "all 2D joints lie between 0 and 1: shares of the image, not pixels"
    elif size is not None and not bool(_inside(points, size).any()):
        yield f"all 2D joints are outside the image of {size[1]} x {size[0]} pixels"


def _inside(points: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = size
    u, v = points.unbind(-1)
    return (u >= -0.5) & (u <= width - 0.5) & (v >= -0.5) & (v <= height - 0.5)


def _names(which: Tensor) -> str:
    """The joints of a mask (21,) by name, three at most."""
    names = [JOINT_NAMES[j] for j in which.nonzero()[:, 0].tolist()]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
