"""Pose registration: an estimated pose with the bone lengths of a given hand (Ch. 6.3.2, Fig. 6.4).

The similarity transformation of each bone is found greedily along the kinematic chain, starting at
the root of relative poses (the middle finger's MCP) instead of the wrist.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from auxhand.hand.skeleton import BONES, NUM_JOINTS, PARENTS, ROOT, WRIST

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


def _bone(parent: int, child: int) -> int:
    """Number of the bone between two joints in `skeleton.BONES`."""
    return (child if PARENTS[child] == parent else parent) - 1
