"""From a network's relative pose to points in front of a camera, given the size of the hand.

The closed form of Iqbal et al. (`geometry.pose25d.lift_closed_form`) takes the root's depth from
one bone, and has nothing to say where that bone points at the camera. Here all twenty bones of a
mean hand vote: bones seen from the side decide, and a finger that was estimated wrongly is
outvoted.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from auxhand.geometry.camera import project, rays
from auxhand.hand.skeleton import BONES
from auxhand.sample import HandBatch, HandPose

_PARENTS, _CHILDREN = (list(ends) for ends in zip(*BONES, strict=True))
_STEPS, _ROUNDS = 33, 5
_FITS = 20
_FAR = 1000  # focal length of a camera that sees in parallel, in sides of the crop


def root_depth(uv: Tensor, d: Tensor, K: Tensor, lengths: Tensor, scale: Tensor | float) -> Tensor:
    """The root's depth at which the lifted bones are, on the whole, as long as they should be.

    With rays r_i at z = 1, joint i is at (z + scale d_i) r_i. The result minimises over z the sum
    over bones of | |bone(z)| - length |, by a grid over log z about the depth that the hand's size
    in the image suggests, refined around its best point (in each of 5 rounds by a factor of 16).

    Args:
        uv: (..., 21, 2) pixels.
        d: (..., 21) depths relative to the root, in reference lengths.
        K: (..., 3, 3) intrinsics.
        lengths: (20,) lengths of the bones in metres.
        scale: (...) reference length in metres.

    Returns:
        (...) metres; every joint comes to lie in front of the camera.
    """
    r = rays(K, uv)
    depth = d * torch.as_tensor(scale, dtype=d.dtype, device=d.device)[..., None]
    at_root = depth[..., None] * r
    # A bone is z across + along: three products tell its length at any z.
    across = r[..., _CHILDREN, :] - r[..., _PARENTS, :]
    along = at_root[..., _CHILDREN, :] - at_root[..., _PARENTS, :]
    squares = across.square().sum(-1)[..., None, :]
    twice = 2 * (across * along).sum(-1)[..., None, :]
    rest = along.square().sum(-1)[..., None, :]
    start = torch.linalg.vector_norm(lengths.to(d)) / squares.sum((-2, -1)).sqrt().clamp_min(1e-9)
    least = 1e-3 - depth.amin(-1)

    def misfit(z: Tensor) -> Tensor:
        """(..., steps) root depths -> (..., steps) sum of absolute differences of length."""
        z = z[..., None]
        found = ((squares * z + twice) * z + rest).clamp_min(0).sqrt()
        total: Tensor = (found - lengths.to(d)).abs().sum(-1)
        return total

    best: Tensor = start.maximum(least)
    width = torch.as_tensor(3.0, dtype=d.dtype, device=d.device)  # e^3: 20 times nearer or farther
    steps = torch.linspace(-1, 1, _STEPS, dtype=d.dtype, device=d.device)
    for _ in range(_ROUNDS):
        z = (best[..., None] * (steps * width).exp()).maximum(least[..., None])
        best = z.gather(-1, misfit(z).argmin(-1, keepdim=True))[..., 0]
        width = width / (_STEPS // 2)
    return best


def fill_crop(
    xyz: Tensor, K: Tensor, size: int, fraction: float, joints: Tensor | None = None
) -> Tensor:
    """The translation t at which relative joints fill a crop as its hand does: their projected box
    has the crop's middle and a longer side of `fraction` of the crop's.

    For poses without pixels of their own, in crops that were placed by the joints' box. Perspective
    within a hand is slight, so scaling the distance and shifting by what is left converges fast.

    Args:
        xyz: (..., 21, 3) relative, in metres or reference lengths.
        K: (..., 3, 3) intrinsics of a crop that is not turned.
        size: side of the crop in pixels.
        fraction: see `Bundle.fraction`.
        joints: (..., 21) bool, those whose box it is; None: all, as for poses where none is.

    Returns:
        (..., 3) in the units of `xyz`.
    """
    if joints is None:
        joints = torch.ones_like(xyz[..., 0], dtype=torch.bool)
    joints = (joints | ~joints.any(-1, keepdim=True))[..., None]

    def box(points: Tensor) -> tuple[Tensor, Tensor]:
        """(..., 21, 2) -> its least and greatest coordinates, (..., 2) each."""
        low, high = points.masked_fill(~joints, torch.inf), points.masked_fill(~joints, -torch.inf)
        return low.amin(-2), high.amax(-2)

    wanted, focal = fraction * size, torch.stack([K[..., 0, 0], K[..., 1, 1]], dim=-1)
    low, high = box(xyz[..., :2])
    extent = (high - low).amax(-1)
    nearest = 1e-3 - xyz[..., 2].amin(-1)
    z = (K[..., 0, 0] * extent / wanted).maximum(nearest)
    xy = xyz.new_zeros(*z.shape, 2)
    for _ in range(_FITS):
        uv = project(K, xyz + torch.cat([xy, z[..., None]], dim=-1)[..., None, :])
        low, high = box(uv)
        off = (size - 1) / 2 - (low + high) / 2
        xy = xy + off / focal * z[..., None]
        z = (z * (high - low).amax(-1) / wanted).maximum(nearest)
    return torch.cat([xy, z[..., None]], dim=-1)


def with_pixels(pose: HandPose, batch: HandBatch, fraction: float) -> HandPose:
    """The pose of a batch of crops with `uv`, for a method that has xyz alone: see `fill_crop`.

    The box is that of the joints that the batch has in pixels. Crops without intrinsics are taken
    for parallel projections.
    """
    if pose.uv is not None or pose.xyz is None:
        return pose
    size = batch.image.shape[-1]
    parallel = batch.K.new_tensor(
        [[_FAR * size, 0, (size - 1) / 2], [0, _FAR * size, (size - 1) / 2], [0, 0, 1]]
    )
    K = torch.where(batch.valid["K"][:, None, None], batch.K, parallel).double()
    xyz = pose.xyz.double()
    t = fill_crop(xyz, K, size, fraction, batch.joint_mask("joints_uv"))
    uv = project(K, xyz + t[:, None])
    return replace(pose, uv=uv.to(pose.xyz))


def translation(uv: Tensor, xyz: Tensor, K: Tensor) -> Tensor:
    """The translation t that makes relative joints project onto their pixels, by least squares.

    A joint at xyz + t lies on the ray (a, b, 1) if x + t_x = a (z + t_z) and y + t_y = b (z + t_z),
    which is linear in t.

    Args:
        uv: (..., 21, 2) pixels.
        xyz: (..., 21, 3) metres, relative.
        K: (..., 3, 3) intrinsics.

    Returns:
        (..., 3) metres.
    """
    a, b, one = rays(K, uv).unbind(-1)
    x, y, z = xyz.unbind(-1)
    zero = torch.zeros_like(one)
    rows = torch.cat([torch.stack([one, zero, -a], -1), torch.stack([zero, one, -b], -1)], -2)
    right = torch.cat([a * z - x, b * z - y], -1)
    # Normal equations: well conditioned (a hand's rays spread), and fine on any device.
    normal = rows.mT @ rows
    t: Tensor = torch.linalg.solve(normal, (rows.mT @ right[..., None])[..., 0])
    return t
