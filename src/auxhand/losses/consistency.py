"""Losses without labels of Ch. 6.3.3 and 7.3.5.2, and the distance of 2.5D poses that they share
(Eq. 6.2).

Pixels of `uv` count in units of the chapter's 64x64 output (`unit`: so many pixels of the crop),
depths in reference lengths. All terms are MEANS over joints and over cells: as sums, the chapter's
tau = 1.5 would allow 0.07 squared pixels a joint, and lambda_w = 100 would drown the poses.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from auxhand.geometry.heatmap import pixels_to_cells
from auxhand.geometry.similarity import move_maps, move_uv
from auxhand.hand.primitives import hand_circles, rendered_mask, union_distance

DEPTH_WEIGHT = 50.0
"""lambda_d of Eq. 6.2."""

OUTPUT_CELLS = 64
"""Cells along the side of the chapter's output, in whose pixels its constants are meant."""

UVD = tuple[Tensor, Tensor]
"""A 2.5D pose: uv (B, J, 2) pixels of the crop and d (B, J) in reference lengths."""

Detached = Literal["neither", "original", "transformed"]
DetachedBranch = Literal["neither", "rgb", "fusion"]


class PoseAndMask(NamedTuple):
    """What f says of B crops: uv (B, J, 2) pixels of the crop, d (B, J) in reference lengths and
    mask (B, h, h) in [0, 1]."""

    uv: Tensor
    d: Tensor
    mask: Tensor

    def detach(self) -> PoseAndMask:
        """The same without gradients."""
        return PoseAndMask(self.uv.detach(), self.d.detach(), self.mask.detach())


def joint_distance(
    first: tuple[Tensor, Tensor],
    second: tuple[Tensor, Tensor],
    unit: float,
    depth_weight: float = DEPTH_WEIGHT,
) -> Tensor:
    """The summands of Eq. 6.2, (..., J): one a joint; see `pose_distance`."""
    in_image = ((first[0] - second[0]) / unit).square().sum(dim=-1)
    return in_image + depth_weight * (first[1] - second[1]).square()


def pose_distance(
    first: tuple[Tensor, Tensor],
    second: tuple[Tensor, Tensor],
    unit: float,
    depth_weight: float = DEPTH_WEIGHT,
) -> Tensor:
    """l(p1, p2) = |uv1 - uv2|^2 + lambda_d |d1 - d2|^2, mean over joints (Eq. 6.2).

    Args:
        first, second: 2.5D poses, each uv (..., J, 2) in pixels of the crop and d (..., J) in
            reference lengths.
        unit: pixels of the crop that count as 1; its side over 64 for the chapter's.
        depth_weight: lambda_d.

    Returns:
        (...), one distance a pose.
    """
    return joint_distance(first, second, unit, depth_weight).mean(dim=-1)


def view_consistency(
    transformed: PoseAndMask,
    original: PoseAndMask,
    A: Tensor,
    size: int,
    depth_weight: float = DEPTH_WEIGHT,
    detached: Detached = "neither",
) -> Tensor:
    """L_vc = l(f(T x), T f(x)) + |w(T x) - T w(x)|_1, a mean over samples (Eq. 6.10).

    T acts on pixels (`geometry.similarity`): uv and mask follow, d stays. Cells of the transformed
    mask that come from outside the crop are left out. The equation lets gradients into both sides.

    Args:
        transformed: f(T x).
        original: f(x).
        A: (B, 3, 3) T, pixels of the crop -> pixels of the transformed crop.
        size: side of the crops in pixels.
        depth_weight: lambda_d of Eq. 6.2.
        detached: the side that gets no gradient.
    """
    match detached:
        case "original":
            original = original.detach()
        case "transformed":
            transformed = transformed.detach()
    moved = move_uv(A.to(original.uv), original.uv), original.d
    pose = pose_distance(transformed[:2], moved, size / OUTPUT_CELLS, depth_weight).mean()
    mask, inside = move_maps(A, original.mask, size)
    difference = torch.where(inside, (transformed.mask - mask).abs(), 0.0)
    return pose + difference.sum() / inside.sum().clamp(min=1)


def model_to_data(uv: Tensor, mask: Tensor, size: int) -> Tensor:
    """L_m2d = |R(G(uv)) - w|_1, a mean over cells (Eq. 6.12); see `cross_modal_consistency`."""
    cells = mask.shape[-1]
    centres, radii = hand_circles(pixels_to_cells(uv, size / cells))
    return (rendered_mask(centres, radii, cells, cells) - mask).abs().mean(dim=(-2, -1))


def data_to_model(uv: Tensor, mask: Tensor, size: int) -> Tensor:
    """L_d2m, the mean over cells g of d(w(g), G(uv)) (Eq. 6.13, 6.14); see
    `cross_modal_consistency`.

    The distance, which the equation leaves in pixels, is in 64ths of the crop's side whatever the
    size of the mask. A cell belongs to the hand where w(g) > 1/2.
    """
    cells = mask.shape[-1]
    centres, radii = hand_circles(pixels_to_cells(uv, size / cells))
    at = torch.arange(cells, device=uv.device, dtype=uv.dtype)
    grid = torch.stack(torch.meshgrid(at, at, indexing="xy"), dim=-1).flatten(0, 1)
    signed = union_distance(grid.expand(*uv.shape[:-2], -1, -1), centres, radii)
    hand = mask.flatten(-2) > 0.5
    distance = torch.where(hand, signed, -signed).clamp(min=0).mean(dim=-1)
    return distance * (OUTPUT_CELLS / cells)


def cross_modal_consistency(uv: Tensor, mask: Tensor, size: int) -> Tensor:
    """L_cc = L_m2d(uv, stop(w)) + L_d2m(uv, stop(w)), for each sample (Eq. 6.11).

    The hand is drawn as 55 circles placed by its joints (`hand.primitives`). The mask must be of
    the hand alone: the circles cover no forearm.

    Args:
        uv: (B, 21, 2) pixels of the crop.
        mask: (B, h, h) in [0, 1]; gets no gradient, so that wrong poses cannot spoil it.
        size: side of the crop in pixels.

    Returns:
        (B,).
    """
    mask = mask.detach()
    return model_to_data(uv, mask, size) + data_to_model(uv, mask, size)


class MultiModal(NamedTuple):
    """y = (p, m, d), what a branch of chapter 7's network says of B crops (Ch. 7.3.2): uv (B, J, 2)
    pixels of the crop, d (B, J) in reference lengths, mask (B, h, h) in [0, 1] and depth (B, h, h),
    the hand's relative to the root in reference lengths, 0 outside of it."""

    uv: Tensor
    d: Tensor
    mask: Tensor
    depth: Tensor

    def detach(self) -> MultiModal:
        """The same without gradients."""
        return MultiModal(*(value.detach() for value in self))

    def rows(self, rows: slice) -> MultiModal:
        """Those crops alone."""
        return MultiModal(*(value[rows] for value in self))

    @property
    def p(self) -> tuple[Tensor, Tensor]:
        """The 2.5D pose."""
        return self.uv, self.d


def multimodal_distance(
    first: MultiModal,
    second: MultiModal,
    size: int,
    mask_weight: float = 100.0,
    map_weight: float = 50.0,
    depth_weight: float = DEPTH_WEIGHT,
) -> Tensor:
    """M(y1, y2) = l(p1, p2) + lambda_m |m1 - m2|_1 + lambda_d |d1 - d2|_1 (Eq. 7.1).

    Args:
        first, second: what two branches say of the same crops.
        size: side of the crops in pixels.
        mask_weight: lambda_m, of the masks' mean over cells.
        map_weight: lambda_d, of the depth maps' mean over cells.
        depth_weight: of the joints' depths within l; see `pose_distance`.

    Returns:
        (B,).
    """
    pose = pose_distance(first[:2], second[:2], size / OUTPUT_CELLS, depth_weight)
    mask = (first.mask - second.mask).abs().mean(dim=(-2, -1))
    depth = (first.depth - second.depth).abs().mean(dim=(-2, -1))
    return pose + mask_weight * mask + map_weight * depth


def self_distillation(
    rgb: MultiModal,
    fusion: MultiModal,
    size: int,
    detached: DetachedBranch = "neither",
    mask_weight: float = 100.0,
    map_weight: float = 50.0,
    depth_weight: float = DEPTH_WEIGHT,
) -> Tensor:
    """L_f = M(y_RGB, y_F), a mean over samples (Eq. 7.9).

    The fusion branch, fed the depth that the RGB branch predicts, refines it; the two learn to
    agree. The equation prints no stop-gradient: which side gets none is an argument.

    Args:
        rgb, fusion: what the two branches say of the same crops.
        size, mask_weight, map_weight, depth_weight: of `multimodal_distance`.
        detached: the side that gets no gradient.
    """
    match detached:
        case "rgb":
            rgb = rgb.detach()
        case "fusion":
            fusion = fusion.detach()
    return multimodal_distance(rgb, fusion, size, mask_weight, map_weight, depth_weight).mean()
