"""Joints of a video without jitter: the One-Euro filter.

Casiez, Roussel & Vogel, "1 Euro Filter: A Simple Speed-based Low-pass Filter for Noisy Input in
Interactive Systems" (CHI 2012): a first-order low-pass whose cutoff rises with speed, so that what
rests does not tremble and what moves does not lag.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from auxhand.arrays import Doubles

SPEED_CUTOFF: Final = 1.0
"""Hertz of the low-pass that the speed itself goes through (the paper's d_cutoff)."""


class OneEuroFilter:
    """Smooths points that are given one after another, at any distances in time.

    The cutoff is `min_cutoff` + `beta` x speed. A point's speed is the length of its velocity, so
    that the result turns and moves with the points (the paper filters each number by itself).

    Args:
        min_cutoff: hertz at rest: lower, less jitter.
        beta: hertz per unit of the points a second: higher, less lag.

    Raises:
        ValueError: a cutoff that is not positive and finite, or a negative beta.
    """

    def __init__(self, min_cutoff: float, beta: float) -> None:
        if not 0 < min_cutoff < math.inf:
            raise ValueError(f"min_cutoff must be a positive number of hertz, not {min_cutoff}")
        if not 0 <= beta < math.inf:
            raise ValueError(f"beta must be a number from 0 on, not {beta}")
        self.min_cutoff, self.beta = min_cutoff, beta
        self.reset()

    def reset(self) -> None:
        """Forget: the next points are taken as they are."""
        self._time, self._given, self._smooth, self._velocity = -math.inf, None, None, None

    _time: float
    _given: Doubles | None
    _smooth: Doubles | None
    _velocity: Doubles | None

    def __call__(self, points: npt.ArrayLike, time: float) -> Doubles:
        """The points, smoothed.

        Args:
            points: (..., D), of one shape in all calls.
            time: seconds, later than in the call before.

        Raises:
            ValueError: another shape, or a time that is not later.
        """
        points = np.asarray(points, np.float64)
        if self._given is None or self._smooth is None or self._velocity is None:
            self._smooth, self._velocity = points, np.zeros_like(points)
        elif points.shape != self._given.shape:
            raise ValueError(f"points were {self._given.shape}, and now are {points.shape}")
        elif not time > self._time:
            raise ValueError(f"time must go on: it was {self._time} s, and now is {time} s")
        else:
            passed = time - self._time
            velocity = (points - self._given) / passed
            share = _share(SPEED_CUTOFF, passed)
            self._velocity = self._velocity + share * (velocity - self._velocity)
            speed = np.linalg.norm(self._velocity, axis=-1, keepdims=True)
            share = _share(self.min_cutoff + self.beta * speed, passed)
            self._smooth = self._smooth + share * (points - self._smooth)
        self._given, self._time = points, time
        return self._smooth.copy()


def _share(cutoff: float | Doubles, passed: float) -> Doubles:
    """How much of the new value a low-pass of that cutoff takes after that many seconds."""
    turned = 2 * math.pi * np.asarray(cutoff) * passed
    return turned / (1 + turned)
