"""Fine relief of skin, pixel by pixel: nails, wrinkles, creases, veins, tendons; rings, watches.

Vertices are millimetres apart and show none of it. So each vertex carries smooth coordinates
(`Coordinates`: where along a finger, how far across it, where about the nail), which do not change
with pose or shape; they are interpolated at every pixel, and what lies there is a function of them
and of a person (`relief`).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from auxhand.arrays import Doubles, Singles
from auxhand.synth.coordinates import Coordinates
from auxhand.synth.relief import Person, relief
from auxhand.synth.scene import Detail

CHANNELS = 7
"""Of `detail_maps`: factors on red, green, blue; slope (3,); roughness (0: the surface's own)."""
_STEEPEST = 0.8
"""Largest slope, and below it the step in depth (metres) beyond which pixels are no neighbours."""
_JUMP = 0.004


def detail_maps(
    nearness: Singles,
    face: NDArray[np.int32],
    vertices: Doubles,
    faces: NDArray[np.int32],
    K: Doubles,
    detail: Detail,
) -> Singles:
    """The detail that each pixel sees.

    Args:
        nearness, face: (h, w) z-buffer at the pixels' centres.
        vertices: (V, 3) camera frame, metres.
        faces: (F, 3).
        K: (3, 3) camera.
        detail: coordinates of the vertices, person and strength.

    Returns:
        (h, w, 7) float32, see `CHANNELS`; factors of 1, no slope, roughness 0 where nothing is.
    """
    h, w = face.shape
    maps = np.zeros((h, w, CHANNELS), np.float32)
    maps[..., :3] = 1
    rows, columns = np.nonzero(face >= 0)
    points, values = _seen(
        *(rows, columns, nearness, face, vertices, faces),
        np.asarray(np.linalg.inv(K), np.float64),
        detail.coordinates,
    )
    on_skin = values[:, 0] > 0.01
    if not on_skin.any():
        return maps
    rows, columns, values = rows[on_skin], columns[on_skin], values[on_skin]
    points = points[on_skin]
    pixel = (points[:, 2] / K[0, 0]).astype(np.float32)
    at = Coordinates(*np.ascontiguousarray(values.T))
    factor, height, roughness = relief(at, Person.of(detail.pattern), pixel)
    maps[rows, columns, :3] = 1 + detail.strength * (factor - 1)
    maps[rows, columns, 6] = roughness
    grid = np.full((h, w, 4), np.nan)
    grid[rows, columns, :3] = points
    grid[rows, columns, 3] = detail.strength * height
    _add_slopes(grid, maps)
    return maps


@njit(cache=True, error_model="numpy")
def _seen(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    nearness: Singles,
    face: NDArray[np.int32],
    vertices: Doubles,
    faces: NDArray[np.int32],
    K_inverse: Doubles,
    coordinates: Singles,
) -> tuple[Doubles, Singles]:
    """The points (N, 3) that pixels see, and `Coordinates` there, (N, 12); the last column, a
    number, is that of the nearest corner."""
    points = np.empty((len(rows), 3))
    values = np.empty((len(rows), coordinates.shape[1]), np.float32)
    share = np.empty(3)
    for n in range(len(rows)):
        y, x = rows[n], columns[n]
        z = 1.0 / nearness[y, x]
        for c in range(3):
            points[n, c] = (K_inverse[c, 0] * x + K_inverse[c, 1] * y + K_inverse[c, 2]) * z
        f = face[y, x]
        total = 0.0
        for corner in range(3):
            p = vertices[faces[f, (corner + 1) % 3]]
            q = vertices[faces[f, (corner + 2) % 3]]
            share[corner] = (
                (p[1] * q[2] - p[2] * q[1]) * points[n, 0]
                + (p[2] * q[0] - p[0] * q[2]) * points[n, 1]
                + (p[0] * q[1] - p[1] * q[0]) * points[n, 2]
            )
            total += share[corner]
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        a, b, last = share[0] / total, share[1] / total, share[2] / total
        for column in range(values.shape[1]):
            values[n, column] = (
                a * coordinates[i, column]
                + b * coordinates[j, column]
                + last * coordinates[k, column]
            )
        nearest = i if a >= max(b, last) else (j if b >= last else k)
        values[n, -1] = coordinates[nearest, -1]
    return points, values


@njit(cache=True, error_model="numpy")
def _add_slopes(grid: Doubles, maps: Singles) -> None:
    """Gradient of the height along the surface, camera frame, into channels 3 to 5 of the maps.

    With P_u, P_v the steps to the neighbours and n = P_u x P_v:
    grad h = (h_u P_v x n + h_v n x P_u) / |n|^2 (Mikkelsen 2010). None across an outline.

    Args:
        grid: (h, w, 4) point and height of each pixel, not a number where there is none.
        maps: (h, w, 7), see `CHANNELS`.
    """
    for y in range(1, grid.shape[0] - 1):
        for x in range(1, grid.shape[1] - 1):
            u = 0.5 * (grid[y, x + 1] - grid[y, x - 1])
            v = 0.5 * (grid[y + 1, x] - grid[y - 1, x])
            if not (abs(u[2]) < _JUMP and abs(v[2]) < _JUMP):
                continue
            n0, n1, n2 = (
                u[1] * v[2] - u[2] * v[1],
                u[2] * v[0] - u[0] * v[2],
                u[0] * v[1] - u[1] * v[0],
            )
            scale = 1.0 / (n0 * n0 + n1 * n1 + n2 * n2 + 1e-30)
            s0 = scale * (u[3] * (v[1] * n2 - v[2] * n1) + v[3] * (n1 * u[2] - n2 * u[1]))
            s1 = scale * (u[3] * (v[2] * n0 - v[0] * n2) + v[3] * (n2 * u[0] - n0 * u[2]))
            s2 = scale * (u[3] * (v[0] * n1 - v[1] * n0) + v[3] * (n0 * u[1] - n1 * u[0]))
            steep = np.sqrt(s0 * s0 + s1 * s1 + s2 * s2)
            limit = min(1.0, _STEEPEST / max(steep, 1e-9))
            maps[y, x, 3], maps[y, x, 4], maps[y, x, 5] = limit * s0, limit * s1, limit * s2
