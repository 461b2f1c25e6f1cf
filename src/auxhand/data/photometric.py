"""Random light, obstacles and cameras: what changes a picture of a hand and none of its labels.

Pictures are float32 (H, W, 3) sRGB as in `data.background`. Lengths are given for a crop of
`REFERENCE_SIZE` pixels and scale with the crop, so that a schedule of sizes does not change what is
hard. `Photometric` says how strong and how frequent everything is.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit

from auxhand.arrays import Array
from auxhand.data.camera_effects import (
    blur,
    color_matrix,
    jpeg,
    lower_resolution,
    motion_blur,
    sensor_noise,
)

REFERENCE_SIZE = 96


@dataclass(frozen=True)
class Natural:
    """Light that fits the background, and automatic exposure (`data.natural`).

    Attributes:
        luminance, cast, spread: how far the hand's luminance, colour and contrast move towards
            those of the background at most, 0 to 1 (`natural.fit_light`).
        defocus_share, defocus: the background alone out of focus, sigma at most, in pixels at the
            reference size.
        exposure, exposure_spread: mean and deviation of the picture's mean luminance.
        automatic: how far the exposure gets there, 0 to 1.
        tone: contrast of the camera's tone curve, about which `Photometric.contrast` varies.
        sharpening_share, sharpening: of the camera, strength at most.
    """

    luminance: float = 0.6
    cast: float = 0.7
    spread: float = 0.9
    defocus_share: float = 0.25
    defocus: float = 1.6
    exposure: float = 0.45
    exposure_spread: float = 0.11
    automatic: float = 0.55
    tone: float = 1.2
    sharpening_share: float = 0.3
    sharpening: float = 0.8


@dataclass(frozen=True)
class Photometric:
    """Strengths ("..._share": probability). Colour jitter, grey and erasing: Ch. 6.3.4, 7.4.3.

    Attributes:
        hand_gain, hand_tint: log deviation of the hand's brightness, common and per channel.
        gradient_share, gradient: light that changes across the hand, by 1 - gradient .. 1 + it.
        shadow_share: of the hand on what lies behind it.
        occluder_share: one to three boxes or ovals before the hand (random erasing).
        border_share: the picture ends within the crop, as at the edge of a photo.
        resolution_share, resolution: shrink to this factor at least, and enlarge again.
        blur_share, blur: out of focus, sigma at most, in pixels at the reference size.
        motion_share, motion: blur along a line of this length at most.
        gamma: log deviation of the exponent.
        brightness, contrast, saturation: uniform in 1 - x .. 1 + x.
        hue: deviation in radians. balance: deviation of the gain of each channel.
        grey_share: no colour.
        noise_share, noise: deviation at most, for read and shot noise each.
        jpeg_share, jpeg_quality: lowest quality.
        natural: light and camera of `data.natural` instead; gamma, brightness and hue are then
            not used.
    """

    hand_gain: float = 0.0
    hand_tint: float = 0.0
    gradient_share: float = 0.0
    gradient: float = 0.0
    shadow_share: float = 0.0
    occluder_share: float = 0.0
    border_share: float = 0.0
    resolution_share: float = 0.0
    resolution: float = 1.0
    blur_share: float = 0.0
    blur: float = 0.0
    motion_share: float = 0.0
    motion: float = 0.0
    gamma: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    balance: float = 0.0
    grey_share: float = 0.0
    noise_share: float = 0.0
    noise: float = 0.0
    jpeg_share: float = 0.0
    jpeg_quality: float = 90.0
    natural: Natural | None = None


def light_hand(rgba: Array, rng: np.random.Generator, p: Photometric) -> Array:
    """Another light on a cut-out hand, alpha untouched.

    Args:
        rgba: (H, W, 4), float32 in [0, 1] or uint8.
        rng: source of randomness.
        p: strengths.

    Returns:
        (H, W, 4) float32 in [0, 1].
    """
    gain = np.exp(rng.normal(0, p.hand_gain) + rng.normal(0, p.hand_tint, 3))
    corners = np.ones((2, 2))
    if rng.random() < p.gradient_share:
        corners = rng.uniform(1 - p.gradient, 1 + p.gradient, (2, 2))
    top, bottom = (gain * corners[..., None]).astype(np.float32)
    lit = np.empty(rgba.shape, np.float32)
    _light(rgba, top, bottom, np.float32(1 / 255 if rgba.dtype == np.uint8 else 1), lit)
    return lit


@njit(cache=True, nogil=True)
def _light(rgba: Array, top: Array, bottom: Array, unit: np.float32, lit: Array) -> None:
    """Multiply by gains (2, 3) at the upper and lower corners, and what lies between (bilinear)."""
    height, width = rgba.shape[:2]
    zero, half, one = np.float32(0), np.float32(0.5), np.float32(1)
    row, column = np.float32(2 / height), np.float32(2 / width)
    for y in range(height):
        down = min(max((np.float32(y) + half) * row - half, zero), one)
        left = top[0] + down * (bottom[0] - top[0])
        step = top[1] + down * (bottom[1] - top[1]) - left
        for x in range(width):
            along = min(max((np.float32(x) + half) * column - half, zero), one)
            for c in range(3):
                lit[y, x, c] = min(rgba[y, x, c] * unit * (left[c] + along * step[c]), one)
            lit[y, x, 3] = rgba[y, x, 3] * unit


def cast_shadow(background: Array, alpha: Array, rng: np.random.Generator, p: Photometric) -> Array:
    """Darken the background where a soft, displaced shadow of the hand falls (or nothing)."""
    if rng.random() >= p.shadow_share:
        return background
    height, width = alpha.shape
    dx, dy = rng.normal(0, 0.05, 2) * width
    shadow = cv2.warpAffine(alpha, np.array([[1, 0, dx], [0, 1, dy]]), (width, height))
    softness = max(1, int(rng.uniform(0.02, 0.15) * width))
    light = 1 - np.float32(rng.uniform(0.2, 0.75)) * cv2.blur(shadow, (softness, softness))
    return np.asarray(cv2.multiply(background, cv2.merge([light, light, light])))


def occlude(image: Array, rng: np.random.Generator, p: Photometric) -> Array:
    """Draw obstacles and photo edges onto `image` in place; (H, W) bool: what they cover.

    An obstacle is a box or an oval of one colour, or of another part of the picture.
    """
    size = image.shape[0]
    cover = np.zeros((size, size), np.uint8)
    if rng.random() < p.occluder_share:
        for _ in range(rng.integers(1, 4)):
            obstacle = np.zeros_like(cover)
            w, h = rng.uniform(0.05, 0.3, 2) * size
            x, y = rng.uniform(0, size, 2)
            if rng.random() < 0.5:
                cv2.ellipse(obstacle, ((x, y), (w, h), rng.uniform(0, 180)), 1, -1)
            else:
                x, y = int(x - w / 2), int(y - h / 2)
                obstacle[max(0, y) : y + int(h) + 1, max(0, x) : x + int(w) + 1] = 1
            hidden = obstacle > 0
            if rng.random() < 0.6:
                image[hidden] = rng.random(3)
            else:
                image[hidden] = np.roll(image, rng.integers(size, size=2), (0, 1))[hidden]
            cover |= obstacle
    if rng.random() < p.border_share:
        _end_picture(image, cover, rng)
    return cover > 0


def _end_picture(image: Array, cover: Array, rng: np.random.Generator) -> None:
    """Let the picture end at one side of the crop: black, or its last row repeated."""
    turns = int(rng.integers(4))
    image, cover = np.rot90(image, turns), np.rot90(cover, turns)  # views of the originals
    width = int(rng.uniform(0.02, 0.25) * image.shape[0])
    image[:width] = 0 if rng.random() < 0.5 else image[width]
    cover[:width] = 1


def focus(image: Array, rng: np.random.Generator, p: Photometric) -> Array:
    """What a random lens makes of a scene: out of focus or moved, and of fewer pixels."""
    scale = image.shape[0] / REFERENCE_SIZE
    kind = rng.random()
    if kind < p.blur_share:
        image = blur(image, rng.uniform(0.3, p.blur) * scale)
    elif kind < p.blur_share + p.motion_share:
        image = motion_blur(image, rng.uniform(1.5, p.motion) * scale, rng.uniform(0, np.pi))
    if rng.random() < p.resolution_share:
        image = lower_resolution(image, rng.uniform(p.resolution, 0.9))
    return image


def take_picture(image: Array, rng: np.random.Generator, p: Photometric) -> Array:
    """What a random camera makes of a scene: focus, resolution, colours, noise, compression.

    Noise may leave [0, 1].
    """
    image = focus(image, rng, p)

    grey = rng.random() < p.grey_share
    colors = color_matrix(
        brightness=rng.uniform(1 - p.brightness, 1 + p.brightness),
        contrast=rng.uniform(1 - p.contrast, 1 + p.contrast),
        saturation=0.0 if grey else rng.uniform(1 - p.saturation, 1 + p.saturation),
        hue=rng.normal(0, p.hue),
        balance=(1, 1, 1) if grey else tuple(np.exp(rng.normal(0, p.balance, 3))),
        pivot=float(cv2.mean(image)[1]),
    )
    image = cv2.transform(image, colors).clip(0, 1)
    image = image ** np.float32(np.exp(rng.normal(0, p.gamma)))
    if rng.random() < p.noise_share:
        read, shot = rng.uniform(0, p.noise, 2)
        image = sensor_noise(image, rng, read, shot)
    if rng.random() < p.jpeg_share:
        image = jpeg(image, int(rng.uniform(p.jpeg_quality, 90)))
    return image
