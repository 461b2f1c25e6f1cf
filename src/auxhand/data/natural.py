"""Light and cameras as photos of hands have them: fitted to what is behind the hand.

Other strengths of `Photometric` leave no hint of how bright or how coloured a hand is; in photos it
is lit by the light of the place, and a camera exposes for both. Where `Photometric.natural` is
given, `paint_hand` and `take_photo` take the place of `light_hand`, `cast_shadow` and
`take_picture`. Their strengths were set by eye beside photos of hands.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from auxhand.arrays import Array
from auxhand.data.background import composite
from auxhand.data.camera_effects import blur, jpeg, sensor_noise
from auxhand.data.photometric import REFERENCE_SIZE, Natural, Photometric, focus, light_hand

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_LEAST, _MOST = 0.22, 0.75
"""Luminance that a hand is moved towards: what is behind it says no more than this."""


def fit_light(rgba: Array, background: Array, strength: float, cast: float, spread: float) -> Array:
    """A cut-out in the light of what is behind it; alpha untouched.

    With m and M the mean luminance of hand and background (M within limits), s and S their standard
    deviations and C the background's mean colour over its luminance, values x of channel c become
    (m' + k (x - m)) C_c^cast, where m' = m^(1 - strength) M^strength and
    k = (m' / m) (S / s)^spread, k within 0.8 to 1.8 of m' / m.

    Args:
        rgba: (H, W, 4) float32 in [0, 1].
        background: (H, W, 3) float32 in [0, 1].
        strength, cast, spread: how far luminance, colour and contrast move, 0 to 1.

    Returns:
        (H, W, 4) float32 in [0, 1].
    """
    weight = rgba[..., 3]
    total = float(weight.sum())
    if total < 1:
        return rgba
    luma = rgba[..., :3] @ _LUMA
    mean = float((luma * weight).sum() / total)
    deviation = float(np.sqrt((weight * (luma - mean) ** 2).sum() / total))
    behind = background @ _LUMA
    colour = background.mean((0, 1))
    colour = np.clip(colour / max(float(colour @ _LUMA), 1e-3), 0.6, 1.7)
    target = mean ** (1 - strength) * float(np.clip(behind.mean(), _LEAST, _MOST)) ** strength
    gain = target / max(mean, 1e-3)
    contrast = np.clip((float(behind.std()) / max(deviation, 1e-3)) ** spread, 0.8, 1.8)
    fitted = rgba.copy()
    moved = target + gain * contrast * (rgba[..., :3] - mean)
    fitted[..., :3] = np.clip(moved * (colour**cast).astype(np.float32), 0, 1)
    return fitted


def paint_hand(
    cutout: Array, behind: Array, rng: np.random.Generator, p: Photometric, n: Natural
) -> Array:
    """A cut-out (H, W, 4) uint8 before a background (H, W, 3): (H, W, 3) float32 sRGB."""
    scale = behind.shape[0] / REFERENCE_SIZE
    if rng.random() < n.defocus_share:
        behind = blur(behind, rng.uniform(0.3, n.defocus) * scale)
    hand = light_hand(cutout, rng, p)
    strength, cast, spread = rng.uniform(0, [n.luminance, n.cast, n.spread])
    hand = fit_light(hand, behind, strength, cast, spread)
    alpha = np.ascontiguousarray(hand[..., 3])
    if rng.random() < p.shadow_share:
        behind = _shadow(behind, alpha, rng)
    return composite(hand, behind)


def _shadow(behind: Array, alpha: Array, rng: np.random.Generator) -> Array:
    """A hand's shadow: close about it where it touches what is behind, further and softer else."""
    size = alpha.shape[0]
    near = rng.random() < 0.5
    offset = rng.normal(0, 0.02 if near else 0.1, 2) * size
    grow = 1.0 if near else rng.uniform(0.95, 1.2)
    centre = size / 2
    move = np.array(
        [
            [grow, 0, (1 - grow) * centre + offset[0]],
            [0, grow, (1 - grow) * centre + offset[1]],
        ]
    )
    shadow = cv2.warpAffine(alpha, move, (size, size), borderMode=cv2.BORDER_REPLICATE)
    shadow = blur(shadow, (rng.uniform(0.01, 0.05) if near else rng.uniform(0.01, 0.08)) * size)
    dark = np.float32(rng.uniform(0.15, 0.6)) * shadow
    return np.asarray(behind * (1 - dark[..., None]), np.float32)


def take_photo(image: Array, rng: np.random.Generator, p: Photometric, n: Natural) -> Array:
    """What the camera of a phone or laptop makes of a scene: automatic exposure, then as others."""
    image = focus(image, rng, p)
    image = expose(image, rng.normal(n.exposure, n.exposure_spread), n.automatic)
    luma = (image @ _LUMA)[..., None]
    grey = rng.random() < p.grey_share
    saturation = 0.0 if grey else rng.uniform(1 - p.saturation, 1 + p.saturation)
    balance = np.exp(rng.normal(0, p.balance, 3)).astype(np.float32)
    image = luma + np.float32(saturation) * (image - luma)
    pivot = np.float32(luma.mean())
    contrast = np.float32(n.tone * rng.uniform(1 - p.contrast, 1 + p.contrast))
    image = (pivot + contrast * (image - pivot)) * (1 if grey else balance)
    if rng.random() < n.sharpening_share:
        image = image + np.float32(rng.uniform(0.2, n.sharpening)) * (image - blur(image, 0.8))
    image = _shoulder(image.clip(0, None))
    if rng.random() < p.noise_share:
        read, shot = rng.uniform(0, p.noise, 2)
        noisy = sensor_noise(image, rng, read, shot)
        # Half of all cameras smooth noise away, which leaves it coarse.
        image = blur(noisy, rng.uniform(0.4, 0.8)) if rng.random() < 0.5 else noisy
    if rng.random() < p.jpeg_share:
        image = jpeg(image, int(rng.uniform(p.jpeg_quality, 95)))
    return image


def expose(image: Array, middle: float, strength: float) -> Array:
    """Multiply so that the mean luminance m becomes m^(1 - strength) middle^strength."""
    mean = max(float((image @ _LUMA).mean()), 1e-3)
    gain = (float(np.clip(middle, 0.12, 0.8)) / mean) ** strength
    return np.asarray(image * np.float32(gain))


def _shoulder(image: Array) -> Array:
    """Highlights roll off above 0.7, not burning out: x -> 0.7 + 0.3 (1 - e^(-(x-0.7)/0.3))."""
    over = np.maximum(image - np.float32(0.7), 0)
    return np.asarray(np.minimum(image, 0.7) + 0.3 * (1 - np.exp(-over / 0.3)), np.float32)


NATURAL_EASY = Photometric(
    hand_gain=0.10,
    hand_tint=0.03,
    gradient_share=0.4,
    gradient=0.25,
    shadow_share=0.4,
    occluder_share=0.04,
    border_share=0.08,
    resolution_share=0.15,
    resolution=0.5,
    blur_share=0.25,
    blur=0.8,
    motion_share=0.03,
    motion=3.0,
    gamma=0.0,
    brightness=0.0,
    contrast=0.12,
    saturation=0.3,
    hue=0.0,
    balance=0.04,
    grey_share=0.02,
    noise_share=0.35,
    noise=0.012,
    jpeg_share=0.4,
    jpeg_quality=50.0,
    natural=Natural(),
)
NATURAL_HARD = replace(
    NATURAL_EASY,
    hand_gain=0.18,
    hand_tint=0.05,
    gradient_share=0.6,
    gradient=0.4,
    occluder_share=0.2,
    border_share=0.15,
    resolution_share=0.3,
    resolution=0.3,
    blur_share=0.4,
    blur=1.5,
    motion_share=0.08,
    motion=6.0,
    contrast=0.25,
    saturation=0.5,
    balance=0.08,
    grey_share=0.05,
    noise_share=0.5,
    noise=0.03,
    jpeg_quality=25.0,
    natural=Natural(exposure_spread=0.17),
)
