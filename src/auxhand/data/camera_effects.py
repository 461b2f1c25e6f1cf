"""What a camera does to a picture: colours, noise, blur, resolution, compression.

Pictures are as in `data.background`: numpy float32 (H, W, 3) RGB in [0, 1].
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from auxhand.arrays import Array

_IDENTITY = np.eye(3)
_LUMA = np.tile([0.299, 0.587, 0.114], (3, 1))
_ABOUT_GREY = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
"""Cross product with the grey axis (1, 1, 1) / sqrt(3), for Rodrigues' formula."""
_ABOUT_GREY_TWICE = _ABOUT_GREY @ _ABOUT_GREY


def color_matrix(
    brightness: float = 1.0,
    contrast: float = 1.0,
    saturation: float = 1.0,
    hue: float = 0.0,
    balance: tuple[float, float, float] = (1.0, 1.0, 1.0),
    pivot: float = 0.5,
) -> Array:
    """The changes of colour that are affine in RGB, as one (3, 4) matrix for `cv2.transform`.

    One matrix product a pixel does what a way through HSV does, many times faster. In this order:
    hue turns colours about the grey axis by `hue` radians, saturation scales the distance from grey
    (0 = grey, by the luma of Rec. 601), contrast scales about `pivot`, brightness and white
    balance multiply (per channel).
    """
    turn = _IDENTITY + math.sin(hue) * _ABOUT_GREY + (1 - math.cos(hue)) * _ABOUT_GREY_TWICE
    gain = brightness * np.asarray(balance)[:, None]
    matrix = np.empty((3, 4), np.float32)
    matrix[:, :3] = gain * contrast * ((_LUMA + saturation * (_IDENTITY - _LUMA)) @ turn)
    matrix[:, 3:] = gain * pivot * (1 - contrast)
    return matrix


_STOCK = np.random.default_rng(0).standard_normal(1 << 20, dtype=np.float32)
"""A stock of noise, of which each use gets another stretch: drawing it anew costs ten times as
much."""


def standard_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Standard normal float32."""
    count = math.prod(shape)
    if count >= _STOCK.size:
        return rng.standard_normal(shape, dtype=np.float32)
    start = rng.integers(_STOCK.size - count)
    return _STOCK[start : start + count].reshape(shape)


def sensor_noise(image: Array, rng: np.random.Generator, read: float, shot: float) -> Array:
    """Add Gaussian noise of variance read^2 + shot^2 x, x the picture's value, per channel."""
    variance = np.float32(shot**2) * image.clip(0, 1) + np.float32(read**2)
    return np.asarray(image + np.sqrt(variance) * standard_noise(rng, image.shape))


def blur(image: Array, sigma: float) -> Array:
    """Gaussian blur of `sigma` pixels (out of focus)."""
    return cv2.GaussianBlur(image, (0, 0), sigma)


def motion_blur(image: Array, length: float, angle: float) -> Array:
    """Mean along a centred line of `length` pixels at `angle` radians; content stays in place."""
    half = max(1, int(np.ceil(length / 2)))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    for t in np.linspace(-length / 2, length / 2, 4 * half + 1):
        x, y = half + t * np.cos(angle), half + t * np.sin(angle)
        kernel[round(y), round(x)] += 1
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)


def lower_resolution(image: Array, factor: float) -> Array:
    """Shrink by `factor` < 1 and enlarge again (a hand far from a coarse sensor)."""
    height, width = image.shape[:2]
    small = (max(1, round(width * factor)), max(1, round(height * factor)))
    image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def jpeg(image: Array, quality: int) -> Array:
    """What is left after JPEG at `quality` (1 to 100)."""
    pixels = (np.clip(image, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    # Channel order does not matter much to JPEG, and swapping it twice would only cost time.
    decoded: Array = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.float32)
    return decoded * np.float32(1 / 255)
