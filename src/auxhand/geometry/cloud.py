"""Point clouds of the visible surface, from depth maps, and choosing a fixed number of points."""

from __future__ import annotations

import torch
from torch import Tensor

from auxhand.geometry.camera import unproject
from auxhand.geometry.shapes import expect


def depth_to_cloud(depth: Tensor, K: Tensor, mask: Tensor | None = None) -> Tensor:
    """Points of a depth map in the camera's frame (Ch. 5.4.1).

    Args:
        depth: (H, W) metres along z, 0 = no value.
        K: (3, 3) intrinsics in pixels of the map.
        mask: (H, W), points are taken where it is above 0.5 (or True); everywhere if None.

    Returns:
        (N, 3) metres, row by row; N = 0 where there is no value.

    Raises:
        ValueError: other shapes.
    """
    if depth.ndim != 2:
        raise ValueError(f"depth must have shape (H, W), got {tuple(depth.shape)}")
    chosen = depth > 0
    if mask is not None:
        expect("mask", mask, *depth.shape)
        chosen = chosen & (mask > 0.5)
    v, u = chosen.nonzero(as_tuple=True)
    uv = torch.stack([u, v], dim=-1).to(depth)
    return unproject(K.to(depth), uv, depth[v, u])


def random_points(cloud: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
    """n random points of a cloud, each as often as any other give or take one.

    So none is taken twice where there are enough, and all are taken where there are not.

    Args:
        cloud: (N, 3).
        n: number of points.
        generator: where the randomness comes from; PyTorch's own if None.

    Returns:
        (n, 3).

    Raises:
        ValueError: another shape, or no points.
    """
    _check(cloud)
    rounds = [torch.randperm(len(cloud), generator=generator) for _ in range(-(-n // len(cloud)))]
    index = torch.cat(rounds)[:n] if rounds else torch.empty(0, dtype=torch.long)
    return cloud[index.to(cloud.device)]


def farthest_points(cloud: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
    """n points of a cloud spread evenly: after a random first, ever the one farthest from those
    chosen (Gonzalez 1985). Points repeat only where there are too few.

    Args:
        cloud: (N, 3).
        n: number of points.
        generator: where the first point comes from; PyTorch's own if None.

    Returns:
        (n, 3) in the order of choice.

    Raises:
        ValueError: another shape, or no points.
    """
    _check(cloud)
    current = int(torch.randint(len(cloud), (), generator=generator))
    distance2 = torch.full((len(cloud),), torch.inf, dtype=cloud.dtype, device=cloud.device)
    index = []
    for _ in range(n):
        index.append(current)
        distance2 = torch.minimum(distance2, (cloud - cloud[current]).square().sum(-1))
        current = int(distance2.argmax())
    return cloud[index]


def voxels(cloud: Tensor, center: Tensor, side: float, n: int) -> Tensor:
    """Occupancy of a cubic grid: which of its cells hold a point of the cloud (Ch. 1.3.2).

    Args:
        cloud: (N, 3), e.g. metres in the camera's frame.
        center: (3,) middle of the cube.
        side: length of its edges, in the unit of the cloud.
        n: cells along each edge.

    Returns:
        (n, n, n) bool, indexed x, y, z. Points outside the cube are left out; a point on the
        border of two cells is in the upper one.

    Raises:
        ValueError: other shapes, or a cube or grid of no extent.
    """
    expect("cloud", cloud, None, 3)
    expect("center", center, 3)
    if not (side > 0 and n > 0):
        raise ValueError(f"a grid needs a positive side and number of cells, got {side} and {n}")
    cell = ((cloud - center) / side * n + n / 2).floor().long()
    x, y, z = cell[((cell >= 0) & (cell < n)).all(-1)].unbind(-1)
    grid = torch.zeros(n, n, n, dtype=torch.bool, device=cloud.device)
    grid[x, y, z] = True
    return grid


def _check(cloud: Tensor) -> None:
    if cloud.ndim != 2 or cloud.shape[1] != 3 or len(cloud) == 0:
        raise ValueError(f"a cloud must have shape (N, 3) with N > 0, got {tuple(cloud.shape)}")
