"""Crops of photos, what a network says of them, and how several readings of one hand become one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from auxhand.geometry.crop import Crop
from auxhand.hand.skeleton import ROOT, WRIST
from auxhand.inference.finder import FoundHand
from auxhand.inference.scene import Side, Square
from auxhand.sample import LEFT, RIGHT, HandPose

LOOKS = tuple(
    (math.radians(degrees), size)
    for degrees, size in ((0, 1.0), (-15, 0.88), (15, 0.88), (-15, 1.14), (15, 1.14))
)
"""The further looks at a hand: radians by which they are turned from upright, and the side of their
square over that of the first look's. The first of them is the one whose mask and crop count."""

SAID, SCORED = 0.3, 6
"""Powers of what a network says of the side, and of a reading's score, by which both ways to read a
crop are compared; set on photos for development, where the scores of sides were then right about
as often as they say."""

CLEAR = 0.9
"""A side of that score is not open to doubt."""


class Request(NamedTuple):
    """A crop to look at.

    Attributes:
        photo: of which photo.
        square: where.
        mirrored: whether mirrored (read as a left hand).
        angle: radians by which the crop's content is turned clockwise.
        found: what the finder says of the hand; None: a box was given.
    """

    photo: int
    square: Square
    mirrored: bool
    found: FoundHand | None = None
    angle: float = 0.0


@dataclass(frozen=True, eq=False)
class Look:
    """What a network says about a crop; the tensors of `pose` have no batch dimension.

    Attributes:
        request: for this crop.
        crop: from the photo to it.
        pose: what is said.
        spread: of the median of several looks, (21,) the mean distance of their joints from it, in
            longer sides of the joints' box.
    """

    request: Request
    crop: Crop
    pose: HandPose
    spread: Tensor | None = None

    @property
    def score(self) -> float:
        """Presence times mean confidence, as far as the model gives them."""
        presence, confidence = self.pose.presence, self.pose.confidence
        return (1.0 if presence is None else float(presence)) * (
            1.0 if confidence is None else float(confidence.mean())
        )

    @property
    def upright(self) -> float:
        """Radians by which the photo turns clockwise until the middle finger's first knuckle is
        above the wrist."""
        assert self.pose.uv is not None
        ends = self.crop.uv_to_original(self.pose.uv[[ROOT, WRIST]].double())
        x, y = (ends[0] - ends[1]).tolist()
        return -math.atan2(x, -y)


class Reading(NamedTuple):
    """A hand as it was read.

    Attributes:
        look: the one that counts.
        side: of the hand.
        scores: of either side, where it was to be decided or judged.
        other: the look at the hand as one of the other side, where the scores leave that open.
    """

    look: Look
    side: str
    scores: dict[str, float] | None
    other: Look | None = None


def decide(ways: Sequence[Look], asked: Side, tells_side: bool, judge: bool = False) -> Reading:
    """The reading of a hand that counts.

    Args:
        ways: the looks at it: as it is, mirrored (read as a left hand), or both.
        asked: the hand's side, or "auto".
        tells_side: whether the network says which side it sees.
        judge: with scores of the sides where the side is given, too.
    """
    read = {LEFT if look.request.mirrored else RIGHT: look for look in ways}
    scores = None
    if tells_side and (judge or asked == "auto"):
        shown = {side: float(look.pose.left) for side, look in read.items()}  # type: ignore[arg-type]
        left = sum(1 - s if side == LEFT else s for side, s in shown.items()) / len(shown)
        scores = {RIGHT: 1 - left, LEFT: left}
        if len(read) == 2:
            scores = {side: p**SAID * read[side].score ** SCORED for side, p in scores.items()}
            total = max(sum(scores.values()), 1e-30)
            scores = {side: p / total for side, p in scores.items()}
    elif asked == "auto":
        scores = {side: look.score for side, look in read.items()}
    if scores is None or asked != "auto":
        return Reading(ways[0], str(asked), scores)
    side = max(scores, key=scores.__getitem__)
    clear = tells_side and scores[side] >= CLEAR
    other = next((look for look in ways if look is not read[side] and not clear), None)
    return Reading(read[side], side, scores, other)


def median_of(looks: Sequence[Look]) -> Look:
    """The first of several looks at one hand, with the median of all their joints, how far they lie
    from it, and the mean of their confidences, presences and sides."""
    first, told = looks[0], [look.pose for look in looks]
    joints = [
        first.crop.uv_to_crop(look.crop.uv_to_original(look.pose.uv.double()))
        for look in looks
        if look.pose.uv is not None
    ]
    uv = torch.stack(joints)
    median = uv.median(dim=0).values
    longer = (median.amax(0) - median.amin(0)).amax().clamp_min(1e-9)
    spread = (uv - median).norm(dim=-1).mean(dim=0) / longer
    pose = replace(first.pose, uv=median.float())
    # A turn of the picture about the line of sight changes no depth, but all other axes.
    if first.pose.d is not None:
        depths = torch.stack([each.d for each in told if each.d is not None])
        pose = replace(pose, d=depths.median(dim=0).values)
    for name in ("confidence", "presence", "left"):
        if getattr(first.pose, name) is not None:
            mean = torch.stack([getattr(each, name) for each in told]).mean(dim=0)
            pose = replace(pose, **{name: mean})
    return replace(first, pose=pose, spread=spread.float())
