"""Poses made plausible, greedily along the kinematic chain.

Pose registration gives an estimated pose the bone lengths of a given hand (Ch. 6.3.2, Fig. 6.4);
pose correction brings bone lengths and joint angles into the limits of any hand (Ch. 7.3.5.1).
Both start at the root of relative poses (the middle finger's MCP) instead of the wrist, and head
from each corrected joint towards where the next one was estimated: errors do not add up.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from auxhand.hand.anatomy import (
    ABDUCTION_SIGN,
    ANGLE_LIMITS,
    BONE_RANGES,
    FIRST,
    ROUNDING,
    base_frames,
    bend,
    turn,
)
from auxhand.hand.skeleton import BONES, NUM_JOINTS, PARENTS, REFERENCE_BONE, ROOT, WRIST

CHAIN: Final[tuple[tuple[tuple[int, int], ...], ...]] = (
    ((ROOT, WRIST), (9, 10)),
    ((WRIST, 1), (WRIST, 5), (WRIST, 13), (WRIST, 17), (10, 11)),
    ((1, 2), (5, 6), (13, 14), (17, 18), (11, 12)),
    ((2, 3), (6, 7), (14, 15), (18, 19)),
    ((3, 4), (7, 8), (15, 16), (19, 20)),
)
"""The tree of registration as (parent, child), level by level from the root: every parent is the
root or a child of an earlier level."""


def register(xyz: Tensor, lengths: Tensor) -> Tensor:
    """P of Eq. 6.5 in 3D: the pose whose bones have the template's lengths (Ch. 6.3.2).

    The root is kept. Then child' = parent' + L (child - parent') / |child - parent'|, from the
    REGISTERED parent towards the ESTIMATED child: errors do not add up along a finger. Where the
    two coincide, and no direction is known, the bone points along +z.

    Args:
        xyz: (..., 21, 3) estimated joints; only their distances matter, so any frame will do.
        lengths: (..., 20) lengths of `skeleton.BONES` in the unit of `xyz`.

    Returns:
        (..., 21, 3) registered joints, differentiable in both arguments.

    Raises:
        ValueError: not 21 joints in space, or not 20 lengths.
    """
    if xyz.shape[-2:] != (NUM_JOINTS, 3) or lengths.shape[-1:] != (len(BONES),):
        raise ValueError(
            f"joints must be (..., {NUM_JOINTS}, 3) and lengths (..., {len(BONES)}), got "
            f"{tuple(xyz.shape)} and {tuple(lengths.shape)}"
        )
    batch = torch.broadcast_shapes(xyz.shape[:-2], lengths.shape[:-1])  # type: ignore[no-untyped-call]
    registered: dict[int, Tensor] = {ROOT: xyz[..., ROOT, :].expand(*batch, 3)}
    ahead = xyz.new_tensor([0.0, 0.0, 1.0])
    for level in CHAIN:
        parents, children = (list(ends) for ends in zip(*level, strict=True))
        start = torch.stack([registered[parent] for parent in parents], dim=-2)
        towards = xyz[..., children, :] - start
        distance = torch.linalg.vector_norm(towards, dim=-1, keepdim=True)
        apart = distance > torch.finfo(xyz.dtype).tiny
        direction = torch.where(apart, towards / torch.where(apart, distance, 1.0), ahead)
        bones = [_bone(*ends) for ends in level]
        end = start + lengths[..., bones, None] * direction
        registered |= dict(zip(children, end.unbind(dim=-2), strict=True))
    return torch.stack([registered[joint] for joint in range(NUM_JOINTS)], dim=-2)


def correct(xyz: Tensor, ranges: Tensor = BONE_RANGES, unit: float | None = None) -> Tensor:
    """The pose with all bone lengths and joint angles in their limits (Ch. 7.3.5.1).

    The root is kept, and the length of the reference bone where no other is given. Bone by bone
    from there, a length outside its range becomes the nearest inside. So does a finger joint's
    flexion or abduction, read in the local frame that the bones before have after their correction
    (`hand.anatomy`). A feasible pose stays as it is, a corrected one is `anatomy.feasible`. For
    predictions, never for labels: the limits are no measurement.

    Args:
        xyz: (..., 21, 3) estimated joints of a right hand, in any unit and frame. Undefined where
            the reference bone has no length, or where the wrist, the index finger's and the little
            finger's MCP lie on one line.
        ranges: (..., 20, 2) least and greatest length of `skeleton.BONES` in reference lengths; of
            a hand that is known, twice the template's.
        unit: the reference length, where the pose's own reference bone is no good measure of it.

    Returns:
        (..., 21, 3) corrected joints, differentiable: where a limit holds a length or an angle, no
        gradient reaches it.

    Raises:
        ValueError: not 21 joints in space, or not 20 ranges.
    """
    if xyz.shape[-2:] != (NUM_JOINTS, 3) or ranges.shape[-2:] != (len(BONES), 2):
        raise ValueError(
            f"joints must be (..., {NUM_JOINTS}, 3) and ranges (..., {len(BONES)}, 2), got "
            f"{tuple(xyz.shape)} and {tuple(ranges.shape)}"
        )
    root = xyz[..., ROOT, None, :]
    relative = xyz - root
    start, end = REFERENCE_BONE
    size = torch.linalg.vector_norm(xyz[..., end, :] - xyz[..., start, :], dim=-1)
    if unit is not None:
        size = torch.full_like(size, unit)
    bounds = ranges.to(xyz) * size[..., None, None]
    # Joint numbers of the five fingers' first, second, third joints and tips.
    rows = [[first + step for first in FIRST] for step in range(4)]

    length, way = _length_and_way(relative[..., WRIST, :])
    wrist = _held(length, bounds[..., _bone(ROOT, WRIST), :], size)[..., None] * way
    length, way = _length_and_way(relative[..., rows[0], :] - wrist[..., None, :])
    length = _held(length, bounds[..., [j - 1 for j in rows[0]], :], size[..., None])
    firsts = wrist[..., None, :] + length[..., None] * way
    is_root = torch.tensor(FIRST, device=xyz.device)[:, None] == ROOT
    joints = [torch.where(is_root, 0.0, firsts)]  # the root is where it was, to the last bit

    palm = torch.cat([wrist[..., None, :], joints[0].repeat_interleave(4, dim=-2)], dim=-2)
    frame = base_frames(palm)
    limits, sign = ANGLE_LIMITS.to(xyz), ABDUCTION_SIGN.to(xyz)
    for step in range(1, 4):
        length, way = _length_and_way(relative[..., rows[step], :] - joints[-1], frame[..., 2])
        length = _held(length, bounds[..., [j - 1 for j in rows[step]], :], size[..., None])
        allowed = limits[step - 1 :: 3]
        flexion, abduction = bend(frame, way)
        flexion = _held(_around(flexion, allowed[:, 0].mean(dim=-1)), allowed[:, 0])
        abduction = _held(abduction * sign, allowed[:, 1]) * sign
        frame = frame @ turn(flexion, abduction)
        joints.append(joints[-1] + length[..., None] * frame[..., 2])
    fingers = torch.stack(joints, dim=-2).flatten(-3, -2)
    return root + torch.cat([wrist[..., None, :], fingers], dim=-2)


def _length_and_way(bone: Tensor, otherwise: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Length (...) and direction of vectors (..., 3); `otherwise`, or +z, where there is none."""
    if otherwise is None:
        otherwise = bone.new_tensor([0.0, 0.0, 1.0])
    apart = bone.abs().amax(dim=-1, keepdim=True) > torch.finfo(bone.dtype).tiny ** 0.5
    bone = torch.where(apart, bone, 0.0)
    length = torch.linalg.vector_norm(torch.where(apart, bone, 1.0), dim=-1, keepdim=True)
    return torch.where(apart, length, 0.0)[..., 0], torch.where(apart, bone / length, otherwise)


def _held(value: Tensor, bounds: Tensor, unit: Tensor | float = 1.0) -> Tensor:
    """Values (...) in bounds (..., 2); what is outside by rounding, in `unit`, stays."""
    inside = value.clamp(bounds[..., 0], bounds[..., 1])
    return torch.where((value - inside).abs() <= ROUNDING / 2 * unit, value, inside)


def _around(angle: Tensor, middle: Tensor) -> Tensor:
    """Radians within half a turn of the middle, so that the nearest edge is the nearest on the
    circle."""
    full = 2 * torch.pi
    angle = torch.where(angle > middle + torch.pi, angle - full, angle)
    return torch.where(angle < middle - torch.pi, angle + full, angle)


def _bone(parent: int, child: int) -> int:
    """Number of the bone between two joints in `skeleton.BONES`."""
    return (child if PARENTS[child] == parent else parent) - 1
