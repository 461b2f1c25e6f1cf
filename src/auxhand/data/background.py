"""What lies behind a hand, and how a hand is put before it.

Pictures here are numpy float32 (H, W, 3) RGB in [0, 1], sRGB encoded, unless said otherwise. All
randomness comes from the generator that is passed in, so a picture is a function of its seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numba import njit

from auxhand.arrays import Array
from auxhand.data.camera_effects import color_matrix, standard_noise
from auxhand.data.image import pictures_in
from auxhand.data.rooms import draw_room

Size = int | tuple[int, int]

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
PHOTO_SIDE = 384
"""Shorter side of photos kept in memory: about 0.7 MB each."""

SKIN_TONES = np.array(
    [
        [255, 224, 196],
        [241, 194, 165],
        [224, 172, 125],
        [198, 134, 96],
        [141, 85, 54],
        [80, 48, 34],
    ],
    np.float32,
)
"""sRGB skin colours from light to dark, for things that look like skin but are no hand."""


class Backgrounds:
    """A source of backgrounds: procedural ones, and crops of the photos in a folder.

    Photos are decoded once, scaled down to `PHOTO_SIDE` and kept as uint8; worker processes that
    are forked share that memory.

    Args:
        folder: photos (searched recursively); None for procedural backgrounds alone.
        photo_share: probability of a photo where there are some.
        distractor_share: probability that skin-coloured things (arms, faces, blobs) lie about.
        kinds: weights of the procedural kinds: plain walls, noise, stripes and checks, clutter.
        room_share: probability of a room (`data.rooms`) instead of another procedural kind.

    Raises:
        FileNotFoundError: no such folder, or no picture in it.
        ValueError: a file that has a picture's name but cannot be decoded; weights that are none.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        photo_share: float = 0.7,
        distractor_share: float = 0.3,
        kinds: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
        room_share: float = 0.0,
    ) -> None:
        if len(kinds) != len(_PROCEDURAL) or min(kinds) < 0 or sum(kinds) <= 0:
            raise ValueError(f"kinds must be {len(_PROCEDURAL)} weights, got {kinds}")
        self._limits = np.cumsum(kinds) / sum(kinds)
        self.photo_share = photo_share
        self.distractor_share = distractor_share
        self.room_share = room_share
        self.photos: list[Array] = [] if folder is None else _load_photos(Path(folder))
        self._levels = [_halved(photo) for photo in self.photos]

    def sample(self, rng: np.random.Generator, size: Size) -> Array:
        """One background, float32 (H, W, 3) sRGB in [0, 1]; `size` is a side or (H, W)."""
        height, width = (size, size) if isinstance(size, int) else size
        if self.photos and rng.random() < self.photo_share:
            image = _photo_crop(rng, self._levels[rng.integers(len(self.photos))], height, width)
        elif self.room_share and rng.random() < self.room_share:
            image = draw_room(rng, height, width)
        else:
            kind = int(np.searchsorted(self._limits, rng.random(), side="right"))
            image = _PROCEDURAL[kind](rng, height, width)
            if rng.random() < 0.3:
                _draw_shapes(rng, image)
        if rng.random() < self.distractor_share:
            _draw_distractors(rng, image)
        return image.astype(np.float32) * np.float32(1 / 255)


def _load_photos(folder: Path) -> list[Array]:
    """All pictures under `folder`, in the order of their names, as uint8 RGB."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder of backgrounds {folder}")
    paths = pictures_in(folder, PICTURES)
    if not paths:
        raise FileNotFoundError(f"no pictures ({', '.join(PICTURES)}) in {folder}")
    return [_load_photo(path) for path in paths]


def _load_photo(path: Path) -> Array:
    """One picture as uint8 RGB, its shorter side at most `PHOTO_SIDE`."""
    data = np.fromfile(path, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise ValueError(f"{path} cannot be read as a picture: take it out of the folder")
    scale = PHOTO_SIDE / min(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _halved(photo: Array) -> tuple[Array, ...]:
    """The photo, and halves of it down to 96 pixels: to be shrunk by little more than 2 each."""
    levels = [photo]
    while min(photo.shape[:2]) >= 192:
        photo = cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        levels.append(photo)
    return tuple(levels)


def _photo_crop(
    rng: np.random.Generator, levels: tuple[Array, ...], height: int, width: int
) -> Array:
    """A random part of a photo, flipped, turned and recoloured at random: (H, W, 3) uint8."""
    photo = levels[0]
    fit = min(photo.shape[0] / height, photo.shape[1] / width)
    scale = fit * np.exp(rng.uniform(np.log(0.25), 0))
    level = min(int(np.log2(max(scale, 1))), len(levels) - 1)
    photo, scale = levels[level], scale / 2**level
    h, w = max(1, int(scale * height)), max(1, int(scale * width))
    y = rng.integers(max(1, photo.shape[0] - h + 1))
    x = rng.integers(max(1, photo.shape[1] - w + 1))
    image = cv2.resize(photo[y : y + h, x : x + w], (width, height))
    if rng.random() < 0.5:
        image = cv2.flip(image, 1)
    if rng.random() < 0.1:
        image = cv2.flip(image, 0)
    if rng.random() < 0.7:
        recolor = color_matrix(
            brightness=rng.uniform(0.5, 1.3),
            contrast=rng.uniform(0.6, 1.2),
            saturation=rng.uniform(0.2, 1.3),
            hue=rng.normal(0, 0.3),
            pivot=127,
        )
        image = cv2.transform(image, recolor)
    return np.asarray(image)


def _colors(rng: np.random.Generator, count: int) -> Array:
    """(count, 3) colours in [0, 255], from greyish to vivid, half the time of similar hue."""
    if rng.random() < 0.5:
        base = rng.uniform(20, 240) + rng.normal(0, 12, 3)
        colors = base + rng.normal(0, 25, (count, 1)) + rng.normal(0, 6, (count, 3))
    else:
        colors = rng.uniform(0, 255, (count, 3))
        grey = colors.mean(1, keepdims=True)
        colors = grey + rng.uniform(0.1, 1) * (colors - grey)
    return np.asarray(np.clip(colors, 0, 255))


def _to_uint8(image: Array) -> Array:
    pixels: Array = image.clip(0, 255).astype(np.uint8)
    return pixels


def _gradient(rng: np.random.Generator, height: int, width: int) -> Array:
    """A plain wall: one colour, shaded smoothly."""
    shading = rng.normal(0, rng.uniform(2, 35), (4, 1)) + rng.normal(0, 5, (4, 3))
    corners = (_colors(rng, 1) + shading).reshape(2, 2, 3).astype(np.float32)
    return _to_uint8(cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR))


def _texture(rng: np.random.Generator, height: int, width: int) -> Array:
    """Multi-octave noise, coloured or grey: cloth, plaster, foliage out of focus."""
    image = _gradient(rng, height, width).astype(np.float32)
    channels = 3 if rng.random() < 0.5 else 1
    for cells in (3, 8, 20, 60):
        grid = np.float32(rng.uniform(0, 25)) * standard_noise(rng, (cells, cells, channels))
        image += cv2.resize(grid, (width, height)).reshape(height, width, channels)
    return _to_uint8(image)


def _stripes(rng: np.random.Generator, height: int, width: int) -> Array:
    """Soft-edged stripes or checks at a random angle: shirts, blinds, tiles, keyboards."""
    angle, period = rng.uniform(0, math.pi), rng.uniform(0.06, 0.5) * width
    sharp = rng.uniform(0.5, 4)
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]

    def wave(theta: float) -> Array:
        frequency, phase = 2 * math.pi / period, rng.uniform(0, 2 * math.pi)
        u = frequency * math.cos(theta) * x + (frequency * math.sin(theta) * y + phase)
        return np.asarray((sharp * np.sin(u)).clip(-1, 1))

    pattern = wave(angle)
    if rng.random() < 0.5:
        pattern = pattern * wave(angle + math.pi / 2)
    a, b = _colors(rng, 2)
    if rng.random() < 0.6:
        b = a + (b - a) * rng.uniform(0.1, 0.5)
    # From b where the pattern is -1 to a where it is 1.
    mix = np.stack([(a - b) / 2, (a + b) / 2], 1).astype(np.float32)
    return _to_uint8(cv2.transform(pattern, mix))


def _clutter(rng: np.random.Generator, height: int, width: int) -> Array:
    """Many overlapping polygons and boxes: a room, a desk."""
    image = _gradient(rng, height, width)
    for _ in range(rng.integers(1, 4)):
        _draw_shapes(rng, image)
    return image


_PROCEDURAL: tuple[Callable[[np.random.Generator, int, int], Array], ...] = (
    _gradient,
    _texture,
    _stripes,
    _clutter,
)


def _draw_shapes(rng: np.random.Generator, image: Array) -> None:
    """Draw polygons and rectangles onto a uint8 picture."""
    height, width = image.shape[:2]
    size = np.array([width, height])
    count = int(rng.integers(1, 8))
    colors = _colors(rng, count).tolist()
    # All that is random at once: a call for each number would cost more than the drawing.
    polygons, kinds = rng.random((count, 2)) < 0.5, rng.integers(3, 6, count)
    places, extents = rng.random((count, 2)), rng.random((count, 2))
    spread, turns = rng.normal(0, 0.25, (count, 5, 2)), rng.normal(0, 0.3, count)
    for i in range(count):
        if polygons[i, 0]:
            corners = places[i] + spread[i, : kinds[i]]
        else:
            w, h = (0.03 * 30 ** extents[i]).tolist()
            t = turns[i] if polygons[i, 1] else 0.0
            c, s = math.cos(t), math.sin(t)
            across, down = (w * c, -w * s), (h * s, h * c)
            corners = (
                1.2 * places[i]
                - 0.2
                + [(0.0, 0.0), across, (across[0] + down[0], across[1] + down[1]), down]
            )
        points = (corners * size).astype(np.int32)
        cv2.fillPoly(image, [points], colors[i], lineType=cv2.LINE_AA)


def _draw_distractors(rng: np.random.Generator, image: Array) -> None:
    """Draw one to three skin-coloured arms, faces or blobs onto a uint8 picture, softly shaded."""
    height, width = image.shape[:2]
    side = max(height, width)
    layer = image.copy()
    cover = np.zeros((height, width), np.uint8)
    for _ in range(rng.integers(1, 4)):
        tone = rng.uniform(0, len(SKIN_TONES) - 1)
        low = int(tone)
        skin = SKIN_TONES[low] + (tone - low) * (SKIN_TONES[min(low + 1, 5)] - SKIN_TONES[low])
        color = (skin * rng.uniform(0.55, 1.05)).clip(0, 255).tolist()
        center = (rng.uniform(0, width), rng.uniform(0, height))
        kind = rng.random()
        if kind < 0.4:  # an arm, or a finger: a thick line that often leaves the picture
            end = np.asarray(center) + rng.normal(0, 0.6 * side, 2)
            line = (int(center[0]), int(center[1])), (int(end[0]), int(end[1]))
            thickness = max(2, int(rng.uniform(0.04, 0.3) * side))
            cv2.line(layer, *line, color, thickness, cv2.LINE_AA)
            cv2.line(cover, *line, 255, thickness)
            continue
        axes = rng.uniform(0.06, 0.4, 2) * side
        if kind < 0.7:  # a face: an upright oval with darker eyes and mouth
            axes = axes[0] * np.array([1, 1.35])
        oval = (center, (2 * axes[0], 2 * axes[1]), rng.normal(0, 20 if kind < 0.7 else 90))
        cv2.ellipse(layer, oval, color, -1, cv2.LINE_AA)
        cv2.ellipse(cover, oval, 255, -1)
        if kind < 0.7:
            dark = [0.4 * c for c in color]
            for dx, dy, rx, ry in (
                (-0.4, -0.2, 0.15, 0.08),
                (0.4, -0.2, 0.15, 0.08),
                (0, 0.5, 0.3, 0.1),
            ):
                spot = (center[0] + dx * axes[0], center[1] + dy * axes[1])
                cv2.ellipse(layer, (spot, (2 * rx * axes[0], 2 * ry * axes[1]), 0), dark, -1)
    shade = cv2.resize(rng.uniform(0.6, 1.2, (2, 2)).astype(np.float32), (width, height))
    layer = cv2.multiply(layer, cv2.merge([shade] * 3), dtype=cv2.CV_8U)
    cv2.copyTo(layer, cover, image)


# The transfer function of sRGB (IEC 61966-2-1) in 16-bit steps: powers would take half the time of
# putting a hand before a background.
_STEPS = 65535
_VALUES = np.linspace(0, 1, _STEPS + 1)
_TO_LINEAR = np.where(
    _VALUES <= 0.04045, _VALUES / 12.92, ((_VALUES + 0.055) / 1.055) ** 2.4
).astype(np.float32)
_TO_SRGB = np.where(
    _VALUES <= 0.0031308, 12.92 * _VALUES, 1.055 * _VALUES ** (1 / 2.4) - 0.055
).astype(np.float32)


def srgb_to_linear(image: Array) -> Array:
    """sRGB-encoded in [0, 1] -> linear light, float32, to within 2e-5."""
    return _look_up(_TO_LINEAR, image)


def linear_to_srgb(image: Array) -> Array:
    """Linear light in [0, 1] -> sRGB-encoded, float32, to within 1e-4."""
    return _look_up(_TO_SRGB, image)


def _look_up(table: Array, image: Array) -> Array:
    steps = (image * np.float32(_STEPS) + np.float32(0.5)).astype(np.int32)
    values: Array = table.take(steps, mode="clip")
    return values


def composite(rgba: Array, background: Array) -> Array:
    """Put a cut-out before a background: alpha F + (1 - alpha) B in linear light.

    Args:
        rgba: (H, W, 4) uint8, or float32 in [0, 1]; sRGB colours with straight alpha.
        background: (H, W, 3) float32 sRGB in [0, 1].

    Returns:
        (H, W, 3) float32 sRGB in [0, 1].

    Raises:
        ValueError: sizes that differ.
    """
    if rgba.shape[:2] != background.shape[:2]:
        raise ValueError(f"sizes differ: {rgba.shape[:2]} before {background.shape[:2]}")
    if rgba.dtype == np.uint8:
        rgba = rgba.astype(np.float32) * np.float32(1 / 255)
    image = background.copy()
    _put_before(rgba, image, _TO_LINEAR, _TO_SRGB)
    return image


@njit(cache=True, nogil=True)
def _put_before(rgba: Array, image: Array, to_linear: Array, to_srgb: Array) -> None:
    """`composite` onto `image`. Only the hand's edge needs the way to linear light and back."""
    half, steps = np.float32(0.5), np.float32(_STEPS)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            alpha = rgba[y, x, 3]
            if alpha >= 1:
                image[y, x] = rgba[y, x, :3]
            elif alpha > 0:
                for c in range(3):
                    front = to_linear[int(min(max(rgba[y, x, c], 0), 1) * steps + half)]
                    behind = to_linear[int(min(max(image[y, x, c], 0), 1) * steps + half)]
                    light = behind + alpha * (front - behind)
                    image[y, x, c] = to_srgb[int(light * steps + half)]
