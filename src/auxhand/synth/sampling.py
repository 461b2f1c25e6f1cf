"""Where a picture is shaded, and how its pixels are made of the samples.

Where all samples of a pixel see one surface, the pixel is shaded once, at its centre; at edges
every covered sample is shaded and the mean taken.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from auxhand.synth.shading import Flags, Floats, Indices

ONE_SURFACE = 0.005
"""Samples of a pixel whose depths differ by less than this (metres) see the same surface."""

_steps = np.arange(8192) / 8191.0
_SRGB = (
    np.where(_steps <= 0.0031308, 12.92 * _steps, 1.055 * _steps ** (1 / 2.4) - 0.055) * 255 + 0.5
).astype(np.uint8)


@njit(cache=True, error_model="numpy")
def plan(
    centre_face: Indices, nearness: Floats, face: Indices, supersample: int
) -> tuple[Flags, Flags]:
    """Decide where to shade.

    Returns:
        at_centre: (h, w) bool, the pixels that are shaded once.
        at_samples: (h s, w s) bool, the samples of the other pixels that are covered.
    """
    height, width = centre_face.shape
    at_centre = np.zeros((height, width), np.bool_)
    at_samples = np.zeros(face.shape, np.bool_)
    for y in range(height):
        for x in range(width):
            furthest, nearest, covered = np.inf, 0.0, 0
            for sample_y in range(y * supersample, (y + 1) * supersample):
                for sample_x in range(x * supersample, (x + 1) * supersample):
                    if face[sample_y, sample_x] >= 0:
                        covered += 1
                        furthest = min(furthest, nearness[sample_y, sample_x])
                        nearest = max(nearest, nearness[sample_y, sample_x])
            if not covered:
                continue
            full = covered == supersample * supersample and centre_face[y, x] >= 0
            if full and 1.0 / furthest - 1.0 / nearest < ONE_SURFACE:
                at_centre[y, x] = True
                continue
            for sample_y in range(y * supersample, (y + 1) * supersample):
                for sample_x in range(x * supersample, (x + 1) * supersample):
                    at_samples[sample_y, sample_x] = face[sample_y, sample_x] >= 0
    return at_centre, at_samples


@njit(cache=True, error_model="numpy")
def resolve(
    at_centre: Flags, at_samples: Flags, centres: Floats, samples: Floats, supersample: int
) -> NDArray[np.uint8]:
    """Radiance of both plans to (h, w, 4) uint8, sRGB with straight alpha."""
    height, width = at_centre.shape
    rgba = np.zeros((height, width, 4), np.uint8)
    mean = np.empty(3)
    for y in range(height):
        for x in range(width):
            covered = 0
            mean[:] = 0.0
            if at_centre[y, x]:
                covered = supersample * supersample
                for c in range(3):
                    mean[c] = min(centres[y, x, c], 1.0)
            else:
                for sample_y in range(y * supersample, (y + 1) * supersample):
                    for sample_x in range(x * supersample, (x + 1) * supersample):
                        if at_samples[sample_y, sample_x]:
                            covered += 1
                            for c in range(3):
                                mean[c] += min(samples[sample_y, sample_x, c], 1.0)
                for c in range(3):
                    mean[c] /= max(covered, 1)
            if covered:
                for c in range(3):
                    rgba[y, x, c] = _SRGB[int(mean[c] * (_SRGB.shape[0] - 1) + 0.5)]
                rgba[y, x, 3] = int(255.0 * covered / (supersample * supersample) + 0.5)
    return rgba
