"""Training augmentation: one stored row, another picture of it at every visit, exact labels.

A rendered hand is kept as RGBA and put before a new background each time it is seen, under other
light, through another camera; the crop's rotation, scale and place are random too and go through
`geometry.crop`, so that labels follow exactly. All of it is a function of (seed, visit, index):
workers, resuming and order change nothing (DESIGN section 5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from auxhand.data.background import Array, Backgrounds, composite
from auxhand.data.cloud import random_surface
from auxhand.data.columns import (
    Row,
    decode_column,
    decode_depth,
    decode_hand,
    decode_image,
    decode_labels,
    decode_mask,
)
from auxhand.data.geometric import (
    CropBy,
    View,
    crop_labels,
    place_crop,
    presence,
    to_tensor,
    upright_angle,
    warp,
    warp_depth,
)
from auxhand.data.natural import NATURAL_EASY, NATURAL_HARD, paint_hand, take_photo
from auxhand.data.photometric import Photometric, cast_shadow, light_hand, occlude, take_picture
from auxhand.geometry.crop import Crop
from auxhand.sample import LEFT, RIGHT, HandSample


@dataclass(frozen=True)
class Augmentation:
    """How much, and how often; `EASY` and `HARD` are the two ends of `Augmentation.at`.

    Attributes:
        upright_share: probability that the hand is first turned upright (wrist to middle MCP up).
        rotation: deviation of the in-plane rotation, degrees.
        any_rotation_share: probability of a rotation in -180..180 degrees instead.
        smallest, largest: share of the crop's side that the box of joints or mask takes.
        shift: how much of the room left the hand's place makes use of.
        translation: by how much at most it is moved besides, each way, in sides of the crop.
        absent_share: probability of a background without a hand.
        misplaced_share: probability of a crop that is off the hand, far too wide or too narrow.
        other_side_share: probability of a crop that shows a left hand instead of a right one.
        photometric: light, obstacles and camera.
    """

    upright_share: float
    rotation: float
    any_rotation_share: float
    smallest: float
    largest: float
    shift: float
    translation: float
    absent_share: float
    misplaced_share: float
    other_side_share: float
    photometric: Photometric

    @staticmethod
    def at(difficulty: float, natural: bool = False) -> Augmentation:
        """`EASY` at 0, `HARD` at 1, every number linearly between.

        With `natural` light and cameras are those of photos (`data.natural`), and hands take half
        to nine tenths of the crop.

        Raises:
            ValueError: a difficulty outside [0, 1].
        """
        if not 0 <= difficulty <= 1:
            raise ValueError(f"difficulty must lie in [0, 1], got {difficulty}")
        easy, hard = EASY, HARD
        if natural:
            easy = replace(EASY, smallest=0.5, largest=0.9, photometric=NATURAL_EASY)
            hard = replace(HARD, smallest=0.5, largest=0.9, photometric=NATURAL_HARD)
        augmentation: Augmentation = _between(easy, hard, difficulty)
        return augmentation


def _between(easy: Any, hard: Any, t: float) -> Any:
    """Every number of two dataclasses of one kind, interpolated."""
    if easy is None:
        return None
    if not is_dataclass(easy) or isinstance(easy, type):
        return easy + t * (hard - easy)
    values = {
        f.name: _between(getattr(easy, f.name), getattr(hard, f.name), t) for f in fields(easy)
    }
    return replace(easy, **values)


EASY = Augmentation(
    upright_share=1.0,
    rotation=12.0,
    any_rotation_share=0.0,
    smallest=0.5,
    largest=0.92,
    shift=0.7,
    translation=0.035,
    absent_share=0.06,
    misplaced_share=0.06,
    other_side_share=0.03,
    photometric=Photometric(
        hand_gain=0.12,
        hand_tint=0.05,
        gradient_share=0.3,
        gradient=0.2,
        shadow_share=0.3,
        occluder_share=0.08,
        border_share=0.03,
        resolution_share=0.1,
        resolution=0.6,
        blur_share=0.2,
        blur=1.0,
        motion_share=0.03,
        motion=4.0,
        gamma=0.08,
        brightness=0.2,
        contrast=0.25,
        saturation=0.3,
        hue=0.03,
        balance=0.03,
        grey_share=0.03,
        noise_share=0.3,
        noise=0.02,
        jpeg_share=0.1,
        jpeg_quality=40.0,
    ),
)

HARD = Augmentation(
    upright_share=0.25,
    rotation=25.0,
    any_rotation_share=0.12,
    smallest=0.42,
    largest=0.95,
    shift=0.9,
    translation=0.035,
    absent_share=0.08,
    misplaced_share=0.1,
    other_side_share=0.1,
    photometric=Photometric(
        hand_gain=0.25,
        hand_tint=0.1,
        gradient_share=0.5,
        gradient=0.4,
        shadow_share=0.4,
        occluder_share=0.3,
        border_share=0.1,
        resolution_share=0.25,
        resolution=0.35,
        blur_share=0.3,
        blur=1.8,
        motion_share=0.08,
        motion=7.0,
        gamma=0.25,
        brightness=0.35,
        contrast=0.45,
        saturation=0.7,
        hue=0.12,
        balance=0.07,
        grey_share=0.1,
        noise_share=0.5,
        noise=0.06,
        jpeg_share=0.25,
        jpeg_quality=20.0,
    ),
)


def generator(seed: int, *key: int) -> np.random.Generator:
    """The source of all randomness of one use of a sample, which `key` names."""
    return np.random.default_rng([seed, *key])


def augment(
    row: Row,
    size: int,
    rng: np.random.Generator,
    augmentation: Augmentation,
    backgrounds: Backgrounds,
    depth: bool = False,
    cloud_points: int = 0,
    by: CropBy = "joints",
    view: View = "corrected",
    labelled: bool = True,
    where: str = "",
) -> HandSample:
    """One training picture of a stored row.

    Presence (see `geometric.presence`): 1 where the crop is about the hand, 0 where it is not or
    there is none, absent where that is undecided. It is 0 too where a hand is mirrored the wrong
    way, which is what the side of a hand is told by: of a crop and its mirror image, the one of
    higher presence shows the right hand. Without presence there are no pose labels.

    Args:
        row: columns of a prepared dataset. With `rgba` the hand comes before a new background;
            without, its `image` is cropped as it is (real data); without either the sample has no
            image.
        size: side of the crop in pixels.
        rng: see `generator`.
        augmentation: strengths.
        backgrounds: where backgrounds come from.
        depth: also give the hand's depth map.
        cloud_points: also give that many random points of its visible surface (Ch. 5.4.1).
        by: what the crop is placed by, see `geometric.place_crop`.
        view: see `geometric.View`.
        labelled: False leaves out all that says something of the pose but the surface of the hand
            (Fig. 5.8): joints, and model parameters. Nothing else may then depend on them, so
            place crops by the mask.
        where: name of the dataset, for messages.

    Raises:
        ValueError: bytes that cannot be decoded, a row with neither joints nor any picture.
    """
    u = rng.random()
    if u < augmentation.absent_share:
        empty = backgrounds.sample(rng, size)
        occlude(empty, rng, augmentation.photometric)
        return HandSample(
            image=to_tensor(_camera(empty, rng, augmentation.photometric)),
            mask=torch.zeros(size, size),
            presence=torch.tensor(0.0),
            source="background",
        )
    labels = decode_labels(row, where)
    if not labelled:
        labels = HandSample(
            K=labels.K, side=labels.side, presence=labels.presence, source=labels.source
        )
    misplaced = u < augmentation.absent_share + augmentation.misplaced_share
    other_side = labels.side is not None and u >= 1 - augmentation.other_side_share
    if other_side:
        labels = replace(labels, side=LEFT if labels.side == RIGHT else RIGHT)
    pixels = _pixels(row, where)
    stored = decode_column(row, "mask", decode_mask, where)
    region = decode_hand(row, where) if by == "mask" else None
    placed = labels if region is None else replace(labels, mask=torch.from_numpy(region))
    extent = _extent(row, pixels, stored, where)
    place = _misplaced_crop if misplaced else _random_crop
    crop = place(placed, extent, size, rng, augmentation, by, view)
    sample = crop_labels(labels, crop)

    image: Array | None = None
    hand: Array | None = None
    if pixels is not None:
        image, hand = _picture(pixels, crop, rng, augmentation.photometric, backgrounds)
    if stored is not None:
        # What is cut out may hold a thing, which is no hand.
        border = cv2.BORDER_CONSTANT if hand is None else cv2.BORDER_REPLICATE
        hand = warp(stored, crop, border) > 0.5
    covered: Array = np.zeros((size, size), bool)
    if image is not None:
        covered = occlude(image, rng, augmentation.photometric)
        image = _camera(image, rng, augmentation.photometric)
    mask = None if hand is None else torch.from_numpy((hand & ~covered).astype(np.float32))
    sample = replace(sample, image=None if image is None else to_tensor(image), mask=mask)
    if sample.joints_uv is None and (misplaced or other_side):
        return sample
    is_hand = sample.presence
    if sample.joints_uv is not None:
        seen = presence(sample.joints_uv, size)
        is_hand = None if seen is None else torch.tensor(seen)
    if other_side or is_hand == 0:
        return HandSample(
            image=sample.image,
            mask=mask,
            presence=torch.tensor(0.0),
            source=sample.source,
            crop=crop,
        )
    cloud = None
    if cloud_points and (labelled or region is not None):  # else joints would tell what is hand
        cloud = random_surface(row, cloud_points, rng, where, region)
    return replace(
        sample,
        presence=is_hand,
        joint_visible=_still_visible(sample, covered),
        depth=_depth(row, crop, where) if depth else None,
        cloud=None if cloud is None else crop.xyz_to_crop(cloud),
    )


def _random_crop(
    labels: HandSample,
    image_size: tuple[int, int] | None,
    size: int,
    rng: np.random.Generator,
    augmentation: Augmentation,
    by: CropBy,
    view: View,
) -> Crop:
    """A crop about the hand, turned, scaled and shifted at random."""
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
    return place_crop(labels, size, fraction, angle, tuple(shift), view, image_size, by)


def _misplaced_crop(
    labels: HandSample,
    image_size: tuple[int, int] | None,
    size: int,
    rng: np.random.Generator,
    augmentation: Augmentation,
    by: CropBy,
    view: View,
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
    return place_crop(labels, size, fraction, angle, shift, "plain", image_size, by)


def _pixels(row: Row, where: str) -> Array | None:
    """The row's cut-out hand (H, W, 4), or else its image (H, W, 3), uint8; None without either."""
    pixels = decode_column(row, "rgba", lambda data: decode_image(data, channels=4), where)
    if pixels is None:
        pixels = decode_column(row, "image", decode_image, where)
    return pixels


def _extent(
    row: Row, pixels: Array | None, mask: Array | None, where: str
) -> tuple[int, int] | None:
    """(height, width) of what the row has a picture of; None where it has joints alone."""
    for picture in (pixels, mask):
        if picture is not None:
            return picture.shape[0], picture.shape[1]
    depth = decode_column(row, "depth", decode_depth, where)
    return None if depth is None else (depth.shape[0], depth.shape[1])


def _picture(
    pixels: Array,
    crop: Crop,
    rng: np.random.Generator,
    photometric: Photometric,
    backgrounds: Backgrounds,
) -> tuple[Array, Array | None]:
    """The crop's picture (H, W, 3) float32 and, of a cut-out, the hand's mask (H, W) bool."""
    if pixels.shape[2] == 3:
        image = warp(pixels, crop, cv2.BORDER_REPLICATE).astype(np.float32)
        return image * np.float32(1 / 255), None
    # Colours are weighed by alpha while they are mixed, or the edge takes colour from outside. What
    # leaves the rendering is the arm: repeating the border lets it leave the crop too, instead of
    # ending in mid-air.
    premultiplied = warp(cv2.cvtColor(pixels, cv2.COLOR_RGBA2mRGBA), crop, cv2.BORDER_REPLICATE)
    straight = cv2.cvtColor(premultiplied, cv2.COLOR_mRGBA2RGBA)
    if photometric.natural is not None:
        behind = backgrounds.sample(rng, crop.size)
        image = paint_hand(straight, behind, rng, photometric, photometric.natural)
        return image, straight[..., 3] > 127
    hand = light_hand(straight, rng, photometric)
    alpha = np.ascontiguousarray(hand[..., 3])
    behind = cast_shadow(backgrounds.sample(rng, crop.size), alpha, rng, photometric)
    return composite(hand, behind), alpha > 0.5


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


def _depth(row: Row, crop: Crop, where: str) -> Tensor | None:
    """The hand's depth map in the crop and along its axis."""
    stored = decode_column(row, "depth", decode_depth, where)
    return None if stored is None else torch.from_numpy(warp_depth(stored, crop))
