"""Training augmentation: one stored row, another picture of it at every visit, exact labels.

A crop is placed, the picture in it painted, and both are labelled. A rendered hand is kept as RGBA
and put before a new background each time it is seen, under other light, through another camera; the
crop's rotation, scale and place are random too and go through `geometry.crop`, so that labels
follow exactly. All of it is a function of (seed, visit, index): workers, resuming and order change
nothing.
"""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from auxhand.arrays import Array
from auxhand.data.background import Backgrounds, composite
from auxhand.data.cloud import random_surface
from auxhand.data.crops import USUAL, CropRule, crop_labels, place_crop, to_tensor, upright_angle
from auxhand.data.natural import paint_hand, take_photo
from auxhand.data.photometric import Photometric, cast_shadow, light_hand, occlude, take_picture
from auxhand.data.stored import Stored
from auxhand.data.strengths import Augmentation
from auxhand.geometry.crop import Crop
from auxhand.geometry.warp import warp, warp_depth
from auxhand.sample import LEFT, RIGHT, HandSample

BEYOND = 0.02
"""Joints up to this share of the side beyond the crop's edge still count as labelled: a network
that answers within the crop can come as near. Joints farther out are marked invalid."""

INSIDE, LOWEST, HIGHEST = 0.8, 0.35, 1.15
"""A crop is about a hand where 80% of its joints are inside and their box takes 0.35 to 1.15."""

OUTSIDE, TOO_SMALL, TOO_LARGE = 0.5, 0.25, 1.5
"""It is about none where half the joints or fewer are inside, or the box takes less than 0.25 or
more than 1.5. In between either answer would be arbitrary, and presence is not labelled."""


@dataclass(frozen=True)
class Contents:
    """What a sample holds besides image and labels, and how it is cropped.

    Attributes:
        depth: a depth map: True all that was stored, "hand" the hand's alone.
        cloud_points: points of the visible hand (Ch. 5.4.1); 0: none.
        crop: what places crops, how large hands are in evaluation, what is done to the viewpoint.
        sides: of hands that are mirrored the wrong way a network learns which hands they are
            (`PoseNet(side=True)`), instead of that they are none.
        content: a tag image, another picture of the same content (Ch. 4.3.3). Both are then taken
            as they are stored: a cut-out before a new background would share it with no other.
        picture: an image; without it labels cost less time.
    """

    depth: bool | Literal["hand"] = False
    cloud_points: int = 0
    crop: CropRule = USUAL["joints"]
    sides: bool = False
    content: bool = False
    picture: bool = True


def generator(seed: int, *key: int) -> np.random.Generator:
    """The source of all randomness of one use of a sample, which `key` names."""
    return np.random.default_rng([seed, *key])


def augment(
    stored: Stored,
    size: int,
    rng: np.random.Generator,
    augmentation: Augmentation,
    backgrounds: Backgrounds,
    contents: Contents,
    painter: np.random.Generator | None = None,
    tag: Stored | None = None,
) -> HandSample:
    """One training picture of a stored row.

    Presence (see `presence`): 1 where the crop is about the hand, 0 where it is not or there is
    none, absent where that is undecided. It is 0 too where a hand is mirrored the wrong way, which
    is what the side of a hand is told by: of a crop and its mirror image, the one of higher
    presence shows the right hand. With `Contents.sides` such a hand keeps its presence, and has
    its side for a label. Without presence, and mirrored the wrong way, there are no pose labels.

    Args:
        stored: with `rgba` the hand comes before a new background; without, its `image` is cropped
            as it is (real data); without either the sample has no image.
        size: side of the crop in pixels.
        rng: see `generator`.
        augmentation: strengths.
        backgrounds: where backgrounds come from.
        contents: what the sample holds, and how it is cropped.
        painter: randomness of what is seen in the crop, where that is not `rng` too: with another
            one the same place is painted anew.
        tag: another row of the same content. Its picture, in a random crop about its own hand and
            under the same light and camera, is the sample's tag image.

    Raises:
        ValueError: bytes that cannot be decoded, a row with neither joints nor any picture.
    """
    u, painter = rng.random(), painter or rng
    if u < augmentation.absent_share:
        return _background(size, painter, augmentation.photometric, backgrounds)
    placed = place(stored, size, rng, augmentation, contents, u)
    camera = painter if tag is None else deepcopy(painter)
    painted = paint(stored, placed.crop, painter, augmentation.photometric, backgrounds)
    sample = label(stored, placed, painted, rng, contents)
    if tag is None:
        return sample
    crop = place(tag, size, rng, augmentation, contents, u).crop
    image = paint(tag, crop, camera, augmentation.photometric, backgrounds).image
    return replace(sample, content=None if image is None else to_tensor(image))


class Placed(NamedTuple):
    """Where a picture is taken of a stored hand.

    Attributes:
        crop: the square.
        labels: the stored ones, with the side that the crop shows.
        misplaced: it is off the hand, far too wide or too narrow.
        other_side: the hand is mirrored the wrong way.
    """

    crop: Crop
    labels: HandSample
    misplaced: bool
    other_side: bool


class Painted(NamedTuple):
    """What is seen in a crop of S pixels.

    Attributes:
        image: (S, S, 3) float32; None where nothing is stored.
        hand: (S, S) bool, where the hand is, what is before it included; None where that is not
            known.
        covered: (S, S) bool, what lies under an obstacle.
    """

    image: Array | None
    hand: Array | None
    covered: Array


def place(
    stored: Stored,
    size: int,
    rng: np.random.Generator,
    augmentation: Augmentation,
    contents: Contents,
    u: float,
) -> Placed:
    """A random crop; `u` in [0, 1) says whether it is about the hand, and which side it shows."""
    labels, rule = stored.labels, contents.crop
    misplaced = u < augmentation.absent_share + augmentation.misplaced_share
    other_side = labels.side is not None and u >= 1 - augmentation.other_side_share
    if other_side:
        labels = replace(labels, side=LEFT if labels.side == RIGHT else RIGHT)
    by = labels
    if rule.by == "mask" and stored.hand is not None:
        by = replace(by, mask=torch.from_numpy(stored.hand))
    draw = _misplaced_crop if misplaced else _random_crop
    return Placed(draw(by, stored, size, rng, augmentation, rule), labels, misplaced, other_side)


def paint(
    stored: Stored,
    crop: Crop,
    rng: np.random.Generator,
    photometric: Photometric,
    backgrounds: Backgrounds,
) -> Painted:
    """The picture in a crop: hand, background, obstacles, camera."""
    pixels, image, hand = stored.pixels, None, None
    covered: Array = np.zeros(crop.size, bool)
    if pixels is not None:
        image = _picture(pixels, crop, rng, photometric, backgrounds)
        covered = occlude(image, rng, photometric)
        image = _camera(image, rng, photometric)
    if stored.hand is not None:
        cut_out = pixels is not None and pixels.shape[2] == 4
        border = cv2.BORDER_REPLICATE if cut_out else cv2.BORDER_CONSTANT  # as the picture's
        hand = warp(stored.hand, crop, border) > 0.5
    return Painted(image, hand, covered)


def label(
    stored: Stored, placed: Placed, painted: Painted, rng: np.random.Generator, contents: Contents
) -> HandSample:
    """What is known of a painted crop."""
    crop, size = placed.crop, placed.crop.size[0]
    mask = None
    if painted.hand is not None:
        mask = torch.from_numpy((painted.hand & ~painted.covered).astype(np.float32))
    image = None if painted.image is None else to_tensor(painted.image)
    sample = replace(answerable(crop_labels(placed.labels, crop)), image=image, mask=mask)
    if sample.joints_uv is None and (placed.misplaced or placed.other_side):
        return replace(sample, side=stored.labels.side)
    is_hand = sample.presence
    if sample.joints_uv is not None:
        seen = presence(sample.joints_uv, size)
        is_hand = None if seen is None else torch.tensor(seen)
    if placed.other_side or is_hand == 0:
        no_pose = HandSample(image=image, mask=mask, source=sample.source, crop=crop)
        if not contents.sides or is_hand == 0:
            return replace(no_pose, presence=torch.tensor(0.0))
        return replace(no_pose, presence=is_hand, side=stored.labels.side)
    cloud = None
    if contents.cloud_points:
        cloud = random_surface(stored, contents.cloud_points, rng)
    depth = None
    if contents.depth:
        depth = stored.hand_depth if contents.depth == "hand" else stored.depth
    return replace(
        sample,
        presence=is_hand,
        joint_visible=_still_visible(sample, painted.covered),
        depth=None if depth is None else torch.from_numpy(warp_depth(depth, crop)),
        cloud=None if cloud is None else crop.xyz_to_crop(cloud),
    )


def presence(uv: Tensor, size: int) -> float | None:
    """Whether a crop is about the hand whose joints are `uv` (21, 2): 1, 0, or None for undecided.

    This is what the presence of a window means to the search for hands: 1 says that the window can
    be given to the pose estimate, 0 that a window elsewhere, or of another size, would be better.
    """
    pixels = uv.numpy()
    inside = np.count_nonzero(_within(pixels, size, 0.0)) / len(pixels)
    share = float((pixels.max(0) - pixels.min(0)).max()) / size
    if inside <= OUTSIDE or not TOO_SMALL <= share <= TOO_LARGE:
        return 0.0
    if inside >= INSIDE and LOWEST <= share <= HIGHEST:
        return 1.0
    return None


def _within(uv: Array, size: int, margin: float) -> Array:
    """(N, 2) -> (N,) bool: inside the crop, or at most `margin` times its side outside."""
    low, high = -0.5 - margin * size, size - 0.5 + margin * size
    return np.asarray(((uv >= low) & (uv <= high)).all(-1))


def answerable(sample: HandSample) -> HandSample:
    """A crop's labels for training: joints beyond its edge (by more than `BEYOND`) are invalid."""
    if sample.joints_uv is None or sample.crop is None:
        return sample
    inside = torch.from_numpy(_within(sample.joints_uv.numpy(), sample.crop.size[0], BEYOND))
    valid = inside if sample.joint_valid is None else sample.joint_valid & inside
    return replace(sample, joint_valid=valid)


def _background(
    size: int, rng: np.random.Generator, photometric: Photometric, backgrounds: Backgrounds
) -> HandSample:
    """A picture without a hand."""
    empty = backgrounds.sample(rng, size)
    occlude(empty, rng, photometric)
    return HandSample(
        image=to_tensor(_camera(empty, rng, photometric)),
        mask=torch.zeros(size, size),
        presence=torch.tensor(0.0),
        source="background",
    )


def _random_crop(
    labels: HandSample,
    stored: Stored,
    size: int,
    rng: np.random.Generator,
    augmentation: Augmentation,
    rule: CropRule,
) -> Crop:
    """A crop about the hand, turned, scaled and shifted at random, or as in evaluation."""
    box = stored.box if rule.by == "box" else None
    if augmentation.still_share and rng.random() < augmentation.still_share:
        return place_crop(labels, size, rule, image_size=stored.size, box=box)
    angle = math.radians(rng.normal(0, augmentation.rotation))
    fraction = rng.uniform(augmentation.smallest, augmentation.largest)
    room = augmentation.shift * (1 - fraction) / 2
    moved = augmentation.translation
    shift = rng.uniform(-room, room, 2) + rng.uniform(-moved, moved, 2)
    upright = rng.random() < augmentation.upright_share
    if rng.random() < augmentation.any_rotation_share:
        angle = rng.uniform(-math.pi, math.pi)
    elif upright and labels.joints_uv is not None:
        angle += upright_angle(labels.joints_uv)
    rule = replace(rule, fraction=fraction)
    return place_crop(labels, size, rule, angle, tuple(shift), stored.size, box)


def _misplaced_crop(
    labels: HandSample,
    stored: Stored,
    size: int,
    rng: np.random.Generator,
    augmentation: Augmentation,
    rule: CropRule,
) -> Crop:
    """A crop beside the hand, or one far too wide or too narrow for it.

    Not view-corrected: far from the hand there is no sense in a camera that looks there.
    """
    kind = rng.random()
    if kind < 0.5:  # beside it
        fraction = rng.uniform(augmentation.smallest, 1.1)
        distance, direction = rng.uniform(0.45, 0.9), rng.uniform(0, 2 * math.pi)
        shift = distance * math.cos(direction), distance * math.sin(direction)
    elif kind < 0.8:  # too wide
        fraction = rng.uniform(0.08, 0.25)
        shift = tuple(rng.uniform(-0.4, 0.4, 2))
    else:  # too narrow
        fraction = rng.uniform(1.5, 2.5)
        shift = tuple(rng.uniform(-0.5, 0.5, 2))
    angle = math.radians(rng.normal(0, augmentation.rotation))
    rule = CropRule(rule.by, fraction, "plain")
    box = stored.box if rule.by == "box" else None
    return place_crop(labels, size, rule, angle, shift, stored.size, box)


def _picture(
    pixels: Array,
    crop: Crop,
    rng: np.random.Generator,
    photometric: Photometric,
    backgrounds: Backgrounds,
) -> Array:
    """The crop's picture (H, W, 3) float32."""
    if pixels.shape[2] == 3:
        image = warp(pixels, crop, cv2.BORDER_REPLICATE).astype(np.float32)
        return image * np.float32(1 / 255)
    # Colours are weighed by alpha while they are mixed, or the edge takes colour from outside. What
    # leaves the rendering is the arm: repeating the border lets it leave the crop too, instead of
    # ending in mid-air.
    premultiplied = warp(cv2.cvtColor(pixels, cv2.COLOR_RGBA2mRGBA), crop, cv2.BORDER_REPLICATE)
    straight = cv2.cvtColor(premultiplied, cv2.COLOR_mRGBA2RGBA)
    if photometric.natural is not None:
        behind = backgrounds.sample(rng, crop.size)
        return paint_hand(straight, behind, rng, photometric, photometric.natural)
    hand = light_hand(straight, rng, photometric)
    alpha = np.ascontiguousarray(hand[..., 3])
    behind = cast_shadow(backgrounds.sample(rng, crop.size), alpha, rng, photometric)
    return composite(hand, behind)


def _camera(image: Array, rng: np.random.Generator, photometric: Photometric) -> Array:
    """What a random camera makes of a scene."""
    if photometric.natural is not None:
        return take_photo(image, rng, photometric, photometric.natural)
    return take_picture(image, rng, photometric)


def _still_visible(sample: HandSample, covered: Array) -> Tensor | None:
    """joint_visible less the joints that lie under an obstacle or outside the crop."""
    if sample.joint_visible is None or sample.joints_uv is None:
        return sample.joint_visible
    size = covered.shape[0]
    x, y = sample.joints_uv.numpy().round().astype(np.int64).T
    inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
    hidden = covered[y.clip(0, size - 1), x.clip(0, size - 1)]
    return sample.joint_visible & torch.from_numpy(inside & ~hidden)
