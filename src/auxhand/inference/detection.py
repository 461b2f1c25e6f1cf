"""Where to look for a hand: windows over a photo, the best of them, the next crop.

Geometry alone: the looking itself, a network that says how much a crop is a hand's, is the
estimator's. Squares are in pixels of the photo.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

FRACTIONS = (1.25, 0.72, 0.42)
"""Sides of the windows, in units of the photo's extent (see `windows`)."""

STEP = 0.45
"""Distance between neighbouring windows at most, in sides."""


class Square(NamedTuple):
    """An upright square of a photo."""

    u: float
    v: float
    side: float


def windows(
    width: int, height: int, fractions: Sequence[float] = FRACTIONS, step: float = STEP
) -> list[Square]:
    """Overlapping squares over a photo, large to small, row by row.

    Their sides are `fractions` of the shorter side of the photo, or of a third of the longer one
    where that is more: a panorama does not get thousands of windows.
    """
    extent = max(min(width, height), max(width, height) / 3)
    return [
        Square(u, v, fraction * extent)
        for fraction in fractions
        for v in _centres(height, fraction * extent, step)
        for u in _centres(width, fraction * extent, step)
    ]


def _centres(extent: int, side: float, step: float) -> list[float]:
    """Centres that let windows of `side` cover [-0.5, extent - 0.5], evenly spaced."""
    if side >= extent:
        return [(extent - 1) / 2]
    count = math.ceil((extent - side) / (step * side)) + 1
    return [float(c) for c in np.linspace(side / 2 - 0.5, extent - side / 2 - 0.5, count)]


def overlap(a: Square, b: Square) -> float:
    """Intersection over union."""
    inner = 1.0
    for p, q in ((a.u, b.u), (a.v, b.v)):
        inner *= max(0.0, min(p + a.side / 2, q + b.side / 2) - max(p - a.side / 2, q - b.side / 2))
    return inner / (a.side**2 + b.side**2 - inner)


def best_squares(
    squares: Sequence[Square], scores: Sequence[float], count: int, most_overlap: float = 0.3
) -> list[int]:
    """Indices of up to `count` squares of highest score, none much over another (ties: first)."""
    chosen: list[int] = []
    for i in sorted(range(len(squares)), key=lambda i: -scores[i]):
        if len(chosen) == count:
            break
        if all(overlap(squares[i], squares[j]) <= most_overlap for j in chosen):
            chosen.append(i)
    return chosen


def square_around(uv: np.ndarray, fraction: float) -> Square:
    """The square in which the box of (N, 2) points takes that fraction of the side."""
    low, high = uv.min(0), uv.max(0)
    u, v = (low + high) / 2
    return Square(float(u), float(v), max(float((high - low).max()), 1.0) / fraction)


def settled(before: Square, after: Square, tolerance: float = 0.04) -> bool:
    """Whether two squares differ by less than `tolerance` sides in place and in size."""
    moved = max(abs(before.u - after.u), abs(before.v - after.v))
    grown = abs(before.side - after.side)
    return max(moved, grown) < tolerance * before.side
