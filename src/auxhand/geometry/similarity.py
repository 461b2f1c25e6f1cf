"""Similarities of the image plane about a crop's centre: what turns, shifts and scales its pixels.

A perturbation of Ch. 6.3.4 and 7.3.4 acts on the pixels of a crop, so that the crop's camera turns
into K' = A K: uv moves by A, depths stay, maps follow as pictures do.
"""

from __future__ import annotations

import torch
from torch import Tensor

from auxhand.geometry.precision import full_precision
from auxhand.geometry.warp import warp_image


@full_precision
def similarity(size: int, angle: Tensor, shift: Tensor, scale: float | Tensor = 1.0) -> Tensor:
    """Turn about the centre of a crop, scale, then shift.

    Args:
        size: side of the crop in pixels.
        angle: (...) radians by which the content turns from +x towards +y (clockwise on screen).
        shift: (..., 2) pixels.
        scale: (...) factor of lengths.

    Returns:
        (..., 3, 3) homographies A, pixels of the crop -> pixels of the turned crop.
    """
    c, s = scale * torch.cos(angle), scale * torch.sin(angle)
    middle = (size - 1) / 2
    linear = torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)
    centre = torch.full_like(shift, middle)
    offset = centre + shift - (linear @ centre[..., None])[..., 0]
    top = torch.cat([linear, offset[..., None]], dim=-1)
    return torch.cat([top, top.new_tensor([[0.0, 0.0, 1.0]]).expand(*top.shape[:-2], 1, 3)], -2)


@full_precision
def compose(second: Tensor, first: Tensor) -> Tensor:
    """(..., 3, 3) of pixels: `first`, a similarity or a camera's matrix, and then `second`."""
    return second @ first


@full_precision
def move_uv(A: Tensor, uv: Tensor) -> Tensor:
    """(..., N, 2) pixels through similarities (..., 3, 3)."""
    return uv @ A[..., :2, :2].mT + A[..., None, :2, 2]


@full_precision
def for_cells(A: Tensor, size: int, cells: int) -> Tensor:
    """The same similarity between maps of `cells` x `cells` over crops of `size` x `size` pixels.

    A cell's centre u lies at pixel (u + 1/2) size / cells - 1/2.
    """
    r = cells / size
    to_cells = A.new_tensor([[r, 0, (r - 1) / 2], [0, r, (r - 1) / 2], [0, 0, 1]])
    to_pixels = A.new_tensor([[1 / r, 0, (1 / r - 1) / 2], [0, 1 / r, (1 / r - 1) / 2], [0, 0, 1]])
    return to_cells @ A @ to_pixels


def move_maps(A: Tensor, maps: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Maps over a crop, carried along by a similarity of its pixels.

    Args:
        A: (B, 3, 3) similarities in pixels of the crop.
        maps: (B, h, h), differentiable.
        size: side of the crop in pixels.

    Returns:
        The maps (B, h, h), 0 where they would come from outside the crop, and (B, h, h) bool: the
        cells that come from within.
    """
    cells = maps.shape[-1]
    B = for_cells(A, size, cells)
    both = torch.stack([maps, torch.ones_like(maps)], dim=1)
    moved, share = warp_image(both, B.to(maps), (cells, cells)).unbind(dim=1)
    inside = share > 1 - 1e-3
    return torch.where(inside, moved, 0.0), inside
