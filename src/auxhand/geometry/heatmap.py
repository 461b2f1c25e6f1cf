"""Heatmaps of joints: drawing them, and reading positions and values out of them.

Positions are in cells, an integer coordinate being a cell's centre, as with pixels; cell and pixel
coordinates differ by the stride (pixels per cell) as images of two sizes do (geometry.crop).
"""

from __future__ import annotations

import torch
from torch import Tensor

from auxhand.geometry.precision import full_precision
from auxhand.geometry.shapes import expect


def pixels_to_cells(uv: Tensor, stride: float) -> Tensor:
    """Coordinates in pixels -> in cells of `stride` pixels."""
    return (uv + 0.5) / stride - 0.5


def cells_to_pixels(uv: Tensor, stride: float) -> Tensor:
    """Coordinates in cells of `stride` pixels -> in pixels."""
    return (uv + 0.5) * stride - 0.5


def gaussian_heatmap(uv: Tensor, size: tuple[int, int], sigma: float) -> Tensor:
    """Target heatmap of Eq. 2.1: exp(-|p - uv|^2 / (2 sigma^2)), 1 at a joint on a cell's centre.

    Args:
        uv: (..., 2) joints in cells.
        size: (h, w) cells.
        sigma: standard deviation in cells.

    Returns:
        (..., h, w).

    Raises:
        ValueError: another shape, or a sigma that is not positive.
    """
    expect("uv", uv, 2)
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    rows, columns = (
        torch.exp((cells(n, uv) - uv[..., i, None]).square() / (-2 * sigma**2))
        for n, i in ((size[0], 1), (size[1], 0))
    )
    return rows[..., :, None] * columns[..., None, :]


@full_precision
def soft_argmax(logits: Tensor, beta: float | Tensor = 1.0) -> tuple[Tensor, Tensor]:
    """Integral regression (Eq. 2.3; with a temperature, first line of Eq. 3.1).

    Args:
        logits: (..., h, w) latent heatmaps.
        beta: inverse temperature, a number or a tensor that broadcasts with the leading dimensions.

    Returns:
        The expected position (..., 2) in cells and the probability softmax(beta logits)
        (..., h, w) that it is the expectation under.

    Raises:
        ValueError: fewer than two dimensions.
    """
    expect("logits", logits, None, None)
    scaled = logits * (beta[..., None, None] if isinstance(beta, Tensor) else beta)
    probability = scaled.flatten(-2).softmax(-1).reshape(scaled.shape)
    h, w = probability.shape[-2:]
    u = probability.sum(-2) @ cells(w, probability)
    v = probability.sum(-1) @ cells(h, probability)
    return torch.stack([u, v], dim=-1), probability


@full_precision
def near_peak(probability: Tensor, radius: float) -> Tensor:
    """Expected position under what of a heatmap lies about its maximum.

    Where a joint may be in two places, the expectation of `soft_argmax` lies between them, where
    it is not; this one lies in the likelier place.

    Args:
        probability: (..., h, w), not negative, with a positive maximum.
        radius: cells from the maximum's within which probability counts, each way.

    Returns:
        (..., 2) in cells.

    Raises:
        ValueError: fewer than two dimensions.
    """
    expect("probability", probability, None, None)
    h, w = probability.shape[-2:]
    index = probability.flatten(-2).argmax(-1)
    columns, rows = cells(w, probability), cells(h, probability)
    in_u = (columns - (index % w)[..., None]).abs() <= radius
    in_v = (rows - (index // w)[..., None]).abs() <= radius
    near = probability * in_v[..., :, None] * in_u[..., None, :]
    total = near.sum((-2, -1))
    u = (near.sum(-2) @ columns) / total
    v = (near.sum(-1) @ rows) / total
    return torch.stack([u, v], dim=-1)


def expected_value(maps: Tensor, probability: Tensor) -> Tensor:
    """Value read out of a latent map under a heatmap: second line of Eq. 3.1.

    Args:
        maps: (..., h, w) values, for instance latent depth maps.
        probability: (..., h, w) with a sum of 1, from `soft_argmax`.

    Returns:
        (...).

    Raises:
        ValueError: maps of different sizes.
    """
    expect("maps", maps, *probability.shape[-2:])
    return (maps * probability).sum((-2, -1))


def argmax_subpixel(heatmap: Tensor) -> Tensor:
    """Position of the maximum, refined within its cell.

    Along each axis a parabola is put through the logarithm of the maximum and its two neighbours,
    which is exact for a Gaussian (Eq. 2.1) and, the neighbours not being higher, never leaves the
    cell. Values of zero or less count as the smallest number; at the border there is no offset.
    Differentiable in the offset only.

    Args:
        heatmap: (..., h, w); the first of several equal maxima is taken.

    Returns:
        (..., 2) in cells.

    Raises:
        ValueError: fewer than two dimensions.
    """
    expect("heatmap", heatmap, None, None)
    h, w = heatmap.shape[-2:]
    flat = heatmap.flatten(-2)
    index = flat.argmax(-1)
    u, v = index % w, index // w
    log = flat.clamp_min(torch.finfo(heatmap.dtype).tiny).log()

    def refined(position: Tensor, step: int, count: int) -> Tensor:
        inside = (position > 0) & (position < count - 1)
        around = torch.stack([torch.where(inside, index + i * step, index) for i in (-1, 0, 1)], -1)
        before, here, after = log.gather(-1, around).unbind(-1)
        curvature = before - 2 * here + after
        bent = curvature < 0
        offset = (before - after) / (2 * torch.where(bent, curvature, -1.0))
        return position + torch.where(bent, offset, 0.0)

    return torch.stack([refined(u, 1, w), refined(v, w, h)], dim=-1)


def cells(count: int, like: Tensor) -> Tensor:
    """0, 1, ..., count - 1 in the type and on the device of `like`."""
    return torch.arange(count, dtype=like.dtype, device=like.device)
