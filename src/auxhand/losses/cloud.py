"""Distances between point clouds (Ch. 5.4.2): Chamfer and earth mover's, in the clouds' unit.

Both find the pairs of points without a gradient, and measure them with one: the same gradient, for
less. Where two points coincide it is zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

from auxhand.geometry.precision import full_precision
from auxhand.losses.assignment import LARGEST_COST, assign


@full_precision
def pairwise(cloud: Tensor, other: Tensor) -> Tensor:
    """(B, N, 3), (B, M, 3) -> (B, N, M) distances, without a gradient: what finds the pairs.

    Raises:
        ValueError: other shapes.
    """
    if cloud.ndim != 3 or other.ndim != 3 or cloud.shape[::2] != other.shape[::2]:
        raise ValueError(
            f"clouds must be (B, N, 3) and (B, M, 3), got {tuple(cloud.shape)} and "
            f"{tuple(other.shape)}"
        )
    return torch.cdist(cloud.detach(), other.detach())


@full_precision
def chamfer(cloud: Tensor, other: Tensor, distances: Tensor | None = None) -> Tensor:
    """Chamfer distance (Eq. 5.7), distances not squared.

    The mean over the points of `cloud` of the distance to the nearest of `other`, plus the same
    the other way.

    Args:
        cloud: (B, N, 3).
        other: (B, M, 3).
        distances: their `pairwise`, if it is there already.

    Returns:
        (B,).

    Raises:
        ValueError: other shapes.
    """
    distances = pairwise(cloud, other) if distances is None else distances
    there = _between(cloud, _points(other, distances.argmin(dim=2)))
    back = _between(other, _points(cloud, distances.argmin(dim=1)))
    return there.mean(dim=1) + back.mean(dim=1)


@full_precision
def earth_movers(cloud: Tensor, other: Tensor, distances: Tensor | None = None) -> Tensor:
    """Earth mover's distance (Eq. 5.8): mean distance under the best one-to-one assignment.

    The assignment is exact. The equation writes a minimum over phi and means that of what follows.

    Args:
        cloud, other: (B, N, 3).
        distances: their `pairwise`, if it is there already.

    Returns:
        (B,); NaN for clouds that are not finite, or farther apart than 1e20.

    Raises:
        ValueError: other shapes, or clouds of different sizes.
    """
    if cloud.shape != other.shape:
        raise ValueError(
            f"clouds to be assigned need one shape, got {tuple(cloud.shape)} and "
            f"{tuple(other.shape)}"
        )
    distances = pairwise(cloud, other) if distances is None else distances
    known = distances.amax(dim=(1, 2)) < LARGEST_COST  # not so for NaN
    if not known.all():
        distances = distances.where(known[:, None, None], 0.0)
    match = torch.from_numpy(assign(distances.cpu().numpy())).to(cloud.device)
    mean = _between(cloud, _points(other, match)).mean(dim=1)
    return mean.where(known, torch.nan)


def _points(cloud: Tensor, index: Tensor) -> Tensor:
    """(B, M, 3) by (B, N) -> (B, N, 3)."""
    return cloud.gather(1, index[..., None].expand(-1, -1, cloud.shape[2]))


def _between(a: Tensor, b: Tensor) -> Tensor:
    """(B, N) distances of pairs. PyTorch's norm has gradient 0 at 0, not NaN."""
    distance: Tensor = torch.linalg.vector_norm(a - b, dim=-1)
    return distance
