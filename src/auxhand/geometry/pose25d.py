"""The 2.5D pose of Iqbal et al. (ECCV 2018; Ch. 2.3.2, 3.1.1) and its lifting to 3D.

A 2.5D pose is `uv` in pixels and `d` = (z - z_root) / reference length, without unit. The root
joint and the reference bone are parameters; the defaults, middle MCP and middle MCP to PIP, are
`auxhand.hand.skeleton.ROOT` and `REFERENCE_BONE` (this floor does not import that one).

Three ways up: `lift` takes the true root depth and reference length, which is what the protocols
use; `lift_closed_form` has only the length of one bone, `lift_to_bones` of several, and both say
where that is not enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from auxhand.geometry.camera import TINY, rays, unproject
from auxhand.geometry.shapes import expect

ROOT = 9
REFERENCE_BONE = (9, 10)


class Pose25D(NamedTuple):
    """uv (..., N, 2) pixels, d (..., N) in reference lengths, scale (...) the reference length in
    the unit of root_z (...), the root's depth."""

    uv: Tensor
    d: Tensor
    scale: Tensor
    root_z: Tensor


class ClosedForm(NamedTuple):
    """xyz (..., N, 3), root_z (...) and valid (...) bool of a lifted pose."""

    xyz: Tensor
    root_z: Tensor
    valid: Tensor


def reference_length(xyz: Tensor, bone: tuple[int, int] = REFERENCE_BONE) -> Tensor:
    """(..., N, 3) joints -> (...) length of the bone between two of them.

    Raises:
        ValueError: another shape.
    """
    expect("xyz", xyz, None, 3)
    return torch.linalg.vector_norm(xyz[..., bone[1], :] - xyz[..., bone[0], :], dim=-1)


def relative(xyz: Tensor, root: int = ROOT, bone: tuple[int, int] = REFERENCE_BONE) -> Tensor:
    """(..., N, 3) joints -> (xyz - xyz_root) / reference length; zeros where all joints coincide,
    as in a label that is absent.

    Raises:
        ValueError: another shape.
    """
    length = reference_length(xyz, bone).clamp_min(TINY)
    return (xyz - xyz[..., root, None, :]) / length[..., None, None]


def to_25d(
    uv: Tensor, xyz: Tensor, root: int = ROOT, bone: tuple[int, int] = REFERENCE_BONE
) -> Pose25D:
    """The 2.5D pose of joints whose position is known, with what lifts it back.

    Args:
        uv: (..., N, 2) pixels.
        xyz: (..., N, 3) in the camera's frame.
        root: joint that d is relative to.
        bone: joints whose distance is the unit of d.

    Returns:
        (uv, d, scale, root_z); `lift(uv, d, K, root_z, scale)` gives xyz.

    Raises:
        ValueError: other shapes.
    """
    expect("uv", uv, xyz.shape[-2], 2)
    d = relative(xyz, root, bone)[..., 2]
    return Pose25D(uv, d, reference_length(xyz, bone), xyz[..., root, 2])


def lift(uv: Tensor, d: Tensor, K: Tensor, root_z: Tensor, scale: Tensor) -> Tensor:
    """3D pose from a 2.5D pose, the root's depth and the reference length.

    Args:
        uv: (..., N, 2) pixels.
        d: (..., N) depths relative to the root, in reference lengths.
        K: (..., 3, 3) intrinsics.
        root_z: (...) depth of the root.
        scale: (...) reference length in the unit of `root_z`.

    Returns:
        (..., N, 3) in the camera's frame, in the unit of `root_z`.

    Raises:
        ValueError: other shapes.
    """
    return unproject(K, uv, root_z[..., None] + d * scale[..., None])


def lift_closed_form(
    uv: Tensor,
    d: Tensor,
    K: Tensor,
    bone: tuple[int, int] = REFERENCE_BONE,
    length: float | Tensor = 1.0,
    min_sine: float = 0.2,
) -> ClosedForm:
    """3D pose from a 2.5D pose and the length of its reference bone (Iqbal et al. 2018).

    With rays r_i at z = 1 and the root at depth Z (in bone lengths), joint i is at (Z + d_i) r_i.
    That the bone (n, m) has length 1 is a quadratic in Z, see `lift_to_bones`. It is badly
    conditioned where the bone points at the camera: if it shows the share s of its length across
    the optical axis, an error e of its depth changes Z by up to e / s^2 of itself.

    Args:
        uv: (..., N, 2) pixels.
        d: (..., N) depths relative to the root, in lengths of `bone`.
        K: (..., 3, 3) intrinsics.
        bone: the joints (n, m).
        length: (...) length of that bone, in the unit wanted for xyz; 1 for bone lengths.
        min_sine: least s that counts as valid.

    Returns:
        As `lift_to_bones`, in the unit of `length`.

    Raises:
        ValueError: other shapes.
    """
    lifted = lift_to_bones(uv, d, K, (bone,), d.new_ones(1), min_sine)
    unit = torch.as_tensor(length, dtype=d.dtype, device=d.device)
    return ClosedForm(lifted.xyz * unit[..., None, None], lifted.root_z * unit, lifted.valid)


def lift_to_bones(
    uv: Tensor,
    d: Tensor,
    K: Tensor,
    bones: Sequence[tuple[int, int]],
    lengths: Tensor,
    min_sine: float = 0.2,
) -> ClosedForm:
    """3D pose from a 2.5D pose and the lengths of some bones, which the pose need not have: the sum
    of their squares is right.

    With rays r_i at z = 1 and the root at depth Z, joint i is at (Z + d_i) r_i, and

        sum over bones (n, m) of |Z (r_n - r_m) + (d_n r_n - d_m r_m)|^2 = sum of L_nm^2

    is a quadratic in Z, a Z^2 + 2 b Z + c = 0, of which the larger solution is taken. On one bone
    it is the closed form of Iqbal et al. (2018). The more bones, the less an error of one joint
    says about the depth of the hand.

    Args:
        uv: (..., N, 2) pixels.
        d: (..., N) depths relative to the root.
        K: (..., 3, 3) intrinsics.
        bones: B pairs of joints (n, m).
        lengths: (..., B) their lengths L, in the unit of d.
        min_sine: least share of its length, over all bones, that must show across the optical axis.

    Returns:
        xyz (..., N, 3) and root_z (...) in the unit of d, and valid (...): there is a solution, it
        puts every joint in front of the camera, the smaller one does not, and the bones show
        enough. Where invalid, xyz is finite and may mean nothing.

    Raises:
        ValueError: other shapes.
    """
    expect("uv", uv, None, 2)
    expect("d", d, uv.shape[-2])
    if lengths.shape[-1:] != (len(bones),):
        raise ValueError(f"{len(bones)} bones have as many lengths, got {tuple(lengths.shape)}")
    r = rays(K, uv)
    at_zero = d[..., None] * r
    n, m = (list(ends) for ends in zip(*bones, strict=True))
    slope, offset = r[..., n, :] - r[..., m, :], at_zero[..., n, :] - at_zero[..., m, :]
    squares = lengths.square().sum(-1)
    a = slope.square().sum((-2, -1))
    b = (slope * offset).sum((-2, -1))
    c = offset.square().sum((-2, -1)) - squares
    discriminant = b.square() - a * c
    q = discriminant.clamp_min(TINY).sqrt()
    # The solutions are (q - b) / a and (-q - b) / a. Where b > 0 the first cancels and is written
    # as -c / (q + b), and the second is negative; where not, the second is c / (q - b).
    plain = b <= 0
    root_z = torch.where(plain, q - b, -c) / torch.where(plain, a, q + b).clamp_min(TINY)
    smaller = torch.where(plain, c / torch.where(plain, q - b, 1.0), -1.0)

    z = root_z[..., None] + d
    seen = _in_front(root_z, d) & ~_in_front(smaller, d)
    shown = a.sqrt() * root_z >= min_sine * squares.sqrt()
    return ClosedForm(r * z[..., None], root_z, seen & (discriminant >= 0) & shown)


def _in_front(root_z: Tensor, d: Tensor) -> Tensor:
    """(...) root and joints all have positive depth."""
    return (root_z > 0) & (root_z[..., None] + d > 0).all(-1)
