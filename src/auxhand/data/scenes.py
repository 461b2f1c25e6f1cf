"""Whole pictures with hands in them, or without, for a hand detector.

Three kinds: rendered hands, cut out of prepared datasets, put before backgrounds (their side is
known); photos with the boxes of their hands (no side); photos and backgrounds without hands. A
picture is a function of the seed and its key, as in `data.streams`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from auxhand.arrays import Array
from auxhand.data.augment import generator
from auxhand.data.background import Backgrounds, composite
from auxhand.data.crops import to_tensor
from auxhand.data.letterbox import letterbox
from auxhand.data.photo_boxes import BoxedPhoto
from auxhand.data.photometric import Photometric, cast_shadow, light_hand, occlude, take_picture
from auxhand.data.sampler import Key
from auxhand.data.streams import Part
from auxhand.sample import RIGHT

SEEN = 0.5
"""Of a hand in a scene at least this share lies in the picture, and is not hidden."""

TRIES = 6
"""Places that are tried for a hand, an obstacle or a cut-out of a photo."""


class BoxedScene(NamedTuple):
    """One picture.

    Attributes:
        image: (3, S, S) float32 RGB in [0, 1].
        boxes: (N, 4) float32 left, top, right, bottom of the hands in pixels, N >= 0.
        right: (N,) float32, 1 = right hand, 0 = left hand, NaN = not known.
    """

    image: Tensor
    boxes: Tensor
    right: Tensor


class SceneBatch(NamedTuple):
    """B scenes, each with up to N hands.

    Attributes:
        image: (B, 3, S, S).
        boxes: (B, N, 4), zero where there is no hand.
        valid: (B, N) bool, where there is one.
        right: (B, N), zero where the side is not known.
        right_known: (B, N) bool.
    """

    image: Tensor
    boxes: Tensor
    valid: Tensor
    right: Tensor
    right_known: Tensor

    @staticmethod
    def collate(scenes: Sequence[BoxedScene]) -> SceneBatch:
        """Scenes of one size as a batch; N is at least 1."""
        most = max(1, *(len(scene.boxes) for scene in scenes))
        boxes = torch.zeros(len(scenes), most, 4)
        right = torch.full((len(scenes), most), math.nan)
        valid = torch.zeros(len(scenes), most, dtype=torch.bool)
        for i, scene in enumerate(scenes):
            count = len(scene.boxes)
            boxes[i, :count], right[i, :count], valid[i, :count] = scene.boxes, scene.right, True
        known = ~right.isnan()
        images = torch.stack([scene.image for scene in scenes])
        return SceneBatch(images, boxes, valid, right.nan_to_num(0.0), known)


@dataclass(frozen=True)
class SceneMix:
    """What scenes are made of.

    Attributes:
        rendered, photos, empty: weights of the three kinds.
        smallest, largest: longer side of a rendered hand's box, in sides of the picture.
        counts: weights of one, two, three rendered hands.
        upright_share: probability that the photo of a scene is not turned by a multiple of 90
            degrees.
        mosaic_share: probability of four photos in one.
        whole_share: probability of a photo as it is looked at in use: all of it, letterboxed.
        occluder_share: probability of obstacles before the hands.
    """

    rendered: float = 0.45
    photos: float = 0.35
    empty: float = 0.2
    smallest: float = 0.08
    largest: float = 0.9
    counts: tuple[float, ...] = (0.55, 0.35, 0.1)
    upright_share: float = 0.85
    mosaic_share: float = 0.15
    whole_share: float = 0.35
    occluder_share: float = 0.25


class Scenes(Dataset[BoxedScene]):
    """Training scenes by `Key`; the key's sample is nothing but a number.

    Args:
        hands: rows of prepared datasets with cut-outs.
        photos: with the boxes of their hands, and without hands.
        backgrounds: without hands.
        photometric: light and camera.
        mix: what scenes are made of.
        size: side of the pictures.
        seed: of everything random.

    Raises:
        ValueError: a kind of scene that is asked for, but nothing to make it of.
    """

    def __init__(
        self,
        hands: Sequence[Part],
        photos: Sequence[BoxedPhoto],
        backgrounds: Backgrounds,
        photometric: Photometric,
        mix: SceneMix,
        size: int,
        seed: int,
    ) -> None:
        self.hands = list(hands)
        self.photos = [photo for photo in photos if len(photo.boxes)]
        self.empty = [photo for photo in photos if not len(photo.boxes)]
        self.backgrounds = backgrounds
        self.photometric = photometric
        self.mix = mix
        self.size = size
        self.seed = seed
        if (mix.rendered > 0 and not self.hands) or (mix.photos > 0 and not self.photos):
            raise ValueError("scenes of rendered hands need datasets, those of photos boxed photos")
        weights = np.array([mix.rendered, mix.photos, mix.empty])
        self._shares = weights / weights.sum()
        self._counts = np.array(mix.counts) / sum(mix.counts)

    def __getitem__(self, key: Key) -> BoxedScene:
        rng = generator(self.seed, *key)
        kind = rng.choice(3, p=self._shares)
        if kind == 0:
            image, boxes, sides = self._rendered(rng)
        else:
            photo = self._mosaic if rng.random() < self.mix.mosaic_share else self._photo
            image, boxes = photo(rng, self.photos if kind == 1 else self.empty)
            sides = [math.nan] * len(boxes)
        return BoxedScene(
            to_tensor(take_picture(image, rng, self.photometric).clip(0, 1)),
            torch.from_numpy(np.asarray(boxes, np.float32).reshape(-1, 4)),
            torch.from_numpy(np.asarray(sides, np.float32)),
        )

    def _rendered(self, rng: np.random.Generator) -> tuple[Array, list[Array], list[float]]:
        """Hands before a background, those that come later nearer."""
        image = self.backgrounds.sample(rng, self.size)
        count = int(rng.choice(len(self._counts), p=self._counts)) + 1
        seen: list[Array] = []
        areas: list[float] = []
        boxes, right = [], []
        for _ in range(count):
            dataset, rows = self.hands[rng.integers(len(self.hands))]
            number = rows[rng.integers(len(rows))]
            stored = dataset.stored(number)
            rgba, region = stored.pixels, stored.hand
            if rgba is None or rgba.shape[2] != 4 or region is None or region.max() < 0.5:
                raise ValueError(f"{dataset.root}, row {number}: no cut-out hand for a scene")
            for _ in range(TRIES):
                place = _random_place(region, self.size, self.mix, count, rng)
                hand = cv2.warpAffine(region, place, (self.size, self.size)) > 0.5
                whole = region.sum() * np.linalg.det(place[:, :2])
                cut = _warp_cutout(rgba, place, self.size)
                left = [mask & (cut[..., 3] < 128) for mask in seen] + [hand]
                totals = [*areas, whole]
                if all(m.sum() >= SEEN * a for m, a in zip(left, totals, strict=True)):
                    break
            else:
                continue
            lit = light_hand(cut, rng, self.photometric)
            alpha = np.ascontiguousarray(lit[..., 3])
            image = composite(lit, cast_shadow(image, alpha, rng, self.photometric))
            seen, areas = left, totals
            boxes.append(_box(hand))
            right.append(float(stored.labels.side == RIGHT))
        return self._hide(image, seen, areas, rng), boxes, right

    def _hide(
        self, image: Array, seen: list[Array], areas: list[float], rng: np.random.Generator
    ) -> Array:
        """The scene, perhaps with obstacles that leave enough of every hand."""
        if rng.random() < self.mix.occluder_share:
            for _ in range(TRIES):
                hidden = image.copy()
                cover = occlude(hidden, rng, self.photometric)
                if all((m & ~cover).sum() >= SEEN * a for m, a in zip(seen, areas, strict=True)):
                    return hidden
        return image

    def _photo(
        self, rng: np.random.Generator, photos: Sequence[BoxedPhoto]
    ) -> tuple[Array, list[Array]]:
        """A photo, whole and letterboxed, or at a random scale and place before a background."""
        size = self.size
        if not photos:
            return self.backgrounds.sample(rng, size), []
        photo = photos[int(rng.integers(len(photos)))]
        pixels, boxes = _turned(photo.read(), photo.boxes, rng, self.mix.upright_share)
        if rng.random() < self.mix.whole_share:
            square, place = letterbox(pixels, size)
            return _unit(square), list(place.to_square(boxes))
        if not len(boxes) and rng.random() < 0.6:  # its backgrounds add colours and arms to it
            return self.backgrounds.sample(rng, size), []
        height, width = pixels.shape[:2]
        behind = _unit(np.full((size, size, 3), 127, np.uint8))
        if rng.random() < 0.6:
            behind = self.backgrounds.sample(rng, size)
        for _ in range(TRIES):
            scale = size / max(height, width) * math.exp(rng.uniform(math.log(0.4), math.log(2.0)))
            room = np.array([size - scale * width, size - scale * height])
            left, top = rng.uniform(np.minimum(room, 0), np.maximum(room, 0))
            moved = boxes * scale + np.array([left, top, left, top])
            shares = _inside(moved, size)
            # What is neither in nor out of the picture would be no clear case.
            if all((shares >= SEEN) | (shares < 0.05)):
                break
        else:
            square, place = letterbox(pixels, size)
            return _unit(square), list(place.to_square(boxes))
        image = _put(pixels, behind, scale, (left, top))
        kept = moved[shares >= SEEN].clip(-0.5, size - 0.5)
        return image, list(kept)

    def _mosaic(
        self, rng: np.random.Generator, photos: Sequence[BoxedPhoto]
    ) -> tuple[Array, list[Array]]:
        """Four photos, each in a quarter of the picture."""
        if not photos:
            return self.backgrounds.sample(rng, self.size), []
        image = np.empty((self.size, self.size, 3), np.float32)
        half, boxes = self.size // 2, []
        for top in (0, half):
            for left in (0, half):
                # Of a few photos each part may be one without hands.
                pool = self.empty if self.empty and rng.random() < 0.3 else photos
                photo = pool[int(rng.integers(len(pool)))]
                pixels, own = _turned(photo.read(), photo.boxes, rng, self.mix.upright_share)
                square, place = letterbox(pixels, half)
                image[top : top + half, left : left + half] = _unit(square)
                boxes += list(place.to_square(own) + np.array([left, top, left, top]))
        return image, boxes


class WholePhotos(Dataset[BoxedScene]):
    """Photos as a detector sees them in use: whole, letterboxed (`size`, `margin`), in order; by
    `Key`."""

    def __init__(self, photos: Sequence[BoxedPhoto], size: int, margin: float = 0.0) -> None:
        self.photos = photos
        self.size = size
        self.margin = margin

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, key: Key) -> BoxedScene:
        photo = self.photos[key.sample]
        square, place = letterbox(photo.read(), self.size, self.margin)
        boxes = torch.from_numpy(place.to_square(photo.boxes).astype(np.float32))
        return BoxedScene(to_tensor(_unit(square)), boxes, torch.full((len(boxes),), math.nan))


def _unit(pixels: Array) -> Array:
    """uint8 -> float32 in [0, 1]."""
    return pixels.astype(np.float32) * np.float32(1 / 255)


def _put(pixels: Array, behind: Array, scale: float, place: tuple[float, float]) -> Array:
    """`behind` with the photo before it, scaled, its first pixel at `place`."""
    if scale < 0.6:  # else it would alias
        height, width = pixels.shape[:2]
        pixels = cv2.resize(pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        scale *= width / pixels.shape[1]
    matrix = np.array([[scale, 0, place[0]], [0, scale, place[1]]])
    return cv2.warpAffine(
        _unit(pixels),
        matrix,
        (behind.shape[1], behind.shape[0]),
        behind.copy(),
        cv2.INTER_LINEAR,
        cv2.BORDER_TRANSPARENT,
    )


def _random_place(
    region: Array, size: int, mix: SceneMix, count: int, rng: np.random.Generator
) -> Array:
    """(2, 3) from a cut-out's pixels to the scene's, for a hand of random size, place and turn."""
    left, top, right, bottom = _box(region > 0.5)
    largest = mix.largest / math.sqrt(count)
    extent = size * math.exp(rng.uniform(math.log(mix.smallest), math.log(largest)))
    scale = extent / max(right - left, bottom - top)
    angle = rng.uniform(-180, 180) if rng.random() < 0.15 else rng.normal(0, 20)
    centre = (left + right) / 2, (top + bottom) / 2
    place = cv2.getRotationMatrix2D(centre, angle, scale)
    place[:, 2] += rng.uniform(0, size, 2) - centre
    return np.asarray(place)


def _warp_cutout(rgba: Array, place: Array, size: int) -> Array:
    """(size, size, 4) uint8 with straight alpha; an arm that leaves the rendering goes on."""
    premultiplied = cv2.warpAffine(
        cv2.cvtColor(rgba, cv2.COLOR_RGBA2mRGBA),
        place,
        (size, size),
        flags=cv2.INTER_AREA if np.linalg.det(place[:, :2]) < 1 else cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cv2.cvtColor(premultiplied, cv2.COLOR_mRGBA2RGBA)


def _box(mask: Array) -> Array:
    """(4,) left, top, right, bottom of the true pixels, their outer edges."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return np.array([columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5])


def _inside(boxes: Array, size: int) -> Array:
    """(N,) share of each box's area that lies in the picture."""
    cut = boxes.clip(-0.5, size - 0.5)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return np.asarray((cut[:, 2:] - cut[:, :2]).prod(1) / np.maximum(area, 1e-9))


def _turned(
    pixels: Array, boxes: Array, rng: np.random.Generator, upright_share: float
) -> tuple[Array, Array]:
    """Flipped at random, and sometimes turned by quarters; the boxes with it."""
    if rng.random() < 0.5:
        width = pixels.shape[1]
        pixels = np.ascontiguousarray(pixels[:, ::-1])
        boxes = np.stack(
            [width - 1 - boxes[:, 2], boxes[:, 1], width - 1 - boxes[:, 0], boxes[:, 3]], axis=1
        )
    turns = 0 if rng.random() < upright_share else int(rng.integers(1, 4))
    for _ in range(turns):  # anticlockwise: the right edge becomes the top
        width = pixels.shape[1]
        pixels = np.rot90(pixels)
        boxes = np.stack(
            [boxes[:, 1], width - 1 - boxes[:, 2], boxes[:, 3], width - 1 - boxes[:, 0]], axis=1
        )
    return np.ascontiguousarray(pixels), boxes
