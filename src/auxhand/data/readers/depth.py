"""Depth maps in two bytes, and those of a camera beside the colour camera."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from auxhand.arrays import Array
from auxhand.data.readers.files import read_pixels


def read_red_green(path: Path) -> tuple[Array, Array]:
    """(H, W) float64 red and green of an image that holds depth in two of its channels.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no image of three channels of 8 bits.
    """
    stored = read_pixels(path)
    if stored.ndim != 3 or stored.dtype != np.uint8:
        raise ValueError(f"{path}: expected depth in three channels of 8 bits, got {stored.shape}")
    return stored[..., 2].astype(np.float64), stored[..., 1].astype(np.float64)


def register(
    depth: Array, K_depth: Array, K_colour: Array, R: Array, t: Array, size: tuple[int, int]
) -> Array:
    """The depth map of one camera seen by another.

    Every pixel becomes a point, and the point a square as wide as its pixel in the other image;
    where squares overlap the nearest one counts (a z-buffer), where none lies there is no value.

    Args:
        depth: (h, w) metres along z, 0 = no value.
        K_depth, K_colour: (3, 3) intrinsics of both cameras.
        R, t: (3, 3) and (3,) metres, x_colour = R x_depth + t.
        size: (H, W) of the colour image.

    Returns:
        (H, W) float32 metres along the colour camera's z, 0 = no value.
    """
    v, u = np.nonzero(depth > 0)
    rays = np.linalg.solve(K_depth, np.stack([u, v, np.ones_like(u)]).astype(np.float64))
    points = R @ (rays * depth[v, u]) + t[:, None]
    points = points[:, points[2] > 0]
    x, y = (K_colour @ points)[:2] / points[2]
    wide, high = (K_colour[i, i] / K_depth[i, i] for i in (0, 1))
    nearest = np.full(size, np.inf)
    for down in range(math.ceil(high)):
        for across in range(math.ceil(wide)):
            column = np.ceil(x - wide / 2).astype(np.int64) + across
            row = np.ceil(y - high / 2).astype(np.int64) + down
            inside = (column < x + wide / 2) & (row < y + high / 2)
            inside &= (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
            np.minimum.at(nearest, (row[inside], column[inside]), points[2, inside])
    return np.where(np.isfinite(nearest), nearest, 0).astype(np.float32)
