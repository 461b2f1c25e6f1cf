"""Crops of photos, what a network says of them, and how several readings of one hand become one.

A hand is looked at in stages (`Hand`), and each stage leaves out what those before it have settled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from auxhand.geometry.crop import Crop
from auxhand.hand.skeleton import ROOT, WRIST
from auxhand.inference.finder import FoundHand
from auxhand.inference.scene import Side, Square
from auxhand.sample import LEFT, RIGHT, HandPose

LOOKS = tuple(
    (math.radians(degrees), size)
    for degrees, size in ((0, 1.0), (15, 0.88), (-15, 1.14), (-15, 0.88), (15, 1.14))
)
"""The further looks at a hand: radians by which they are turned from upright, and the side of their
square over that of the first look's. The first of them is the one whose mask and crop count."""

SAID, SCORED = 0.3, 6
"""Powers of what a network says of the side, and of a reading's score, by which both ways to read a
crop are compared; set on photos for development, where the scores of sides were then right about
as often as they say."""


class Stage(NamedTuple):
    """Looks that are taken at once, and what then is settled.

    Attributes:
        turned: how many of `LOOKS` there are by its end.
        clear: score from which a side is not asked again.
        agree: mean spread of the joints, in longer sides of their box, below which a hand of a
            clear side is not looked at again.
    """

    turned: int
    clear: float
    agree: float


STAGES = (Stage(0, 0.85, 0.0), Stage(1, 0.75, 0.012), Stage(3, 0.65, 0.035), Stage(5, 0.65, 0.0))
"""The stages in which a hand is looked at. Chosen on photos for development, of all of
which together joints and sides are as right as by all looks, to 0.005 (docs/models.md)."""


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

    @cached_property
    def photo_uv(self) -> Tensor:
        """(21, 2) joints in pixels of the photo."""
        assert self.pose.uv is not None
        return self.crop.uv_to_original(self.pose.uv.double())

    @property
    def upright(self) -> float:
        """Radians by which the photo turns clockwise until the middle finger's first knuckle is
        above the wrist."""
        x, y = (self.photo_uv[ROOT] - self.photo_uv[WRIST]).tolist()
        return -math.atan2(x, -y)


class Reading(NamedTuple):
    """A hand as it was read.

    Attributes:
        look: the one that counts.
        side: of the hand.
        scores: of either side, where it was to be decided or judged.
    """

    look: Look
    side: str
    scores: dict[str, float] | None


class Hand:
    """A hand that is looked at in stages (`STAGES`).

    The first stage is a look as at a hand of either side; the others are looks turned upright, as
    that first look says. A side that is clear, or given, ends the looks as at the other side's
    hand; joints of which all looks say nearly the same end the looks at all.

    Args:
        request: a look at the hand as it is.
        asked: the hand's side, or "auto".
        tells_side: whether the network says which side it sees.
        judge: see `decide`.
        thorough: take all of `LOOKS`, however well the first ones agree.
    """

    def __init__(
        self, request: Request, asked: Side, tells_side: bool, judge: bool, thorough: bool
    ) -> None:
        self._request, self._asked, self._tells_side = request, asked, tells_side
        self._judge, self._thorough = judge, thorough
        self._open = (RIGHT, LEFT) if asked == "auto" else (str(asked),)
        self._looks: dict[str, list[Look]] = {side: [] for side in self._open}
        self._settled = False
        self.reading: Reading
        """By what was seen until now."""

    def wanted(self, stage: Stage) -> list[Request]:
        """The looks of a stage at this hand; none where the stages before settled it."""
        if self._settled:
            return []
        return [request for side in self._open for request in self._of(side, stage)]

    def _of(self, side: str, stage: Stage) -> list[Request]:
        if not self._looks[side]:
            return [self._request._replace(mirrored=side == LEFT)]
        first, *turned = self._looks[side]
        square = self._request.square
        return [
            first.request._replace(
                angle=first.upright + angle, square=square._replace(side=square.side * size)
            )
            for angle, size in LOOKS[len(turned) : stage.turned]
        ]

    def see(self, stage: Stage, looks: Sequence[Look]) -> None:
        """What the looks say that were wanted."""
        for look in looks:
            self._looks[LEFT if look.request.mirrored else RIGHT].append(look)
        told = [self._told(side) for side in self._open]
        if len(told) == 1 and self._asked == "auto":
            self.reading = self.reading._replace(look=told[0])
        else:
            self.reading = decide(told, self._asked, self._tells_side, self._judge)
        look, side, scores = self.reading
        if self._tells_side and scores is not None and scores[side] >= stage.clear:
            self._open = (side,)
        agree = look.spread is not None and float(look.spread.mean()) < stage.agree
        self._settled = agree and len(self._open) == 1 and not self._thorough

    def _told(self, side: str) -> Look:
        """What the looks as at a hand of that side say: all of `LOOKS`, or the few so far."""
        first, *turned = self._looks[side]
        if not turned:
            return first
        return median_of(turned if len(turned) == len(LOOKS) else [*turned, first])


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
    return Reading(read[side], side, scores)


def median_of(looks: Sequence[Look]) -> Look:
    """The first of several looks at one hand, with the median of all their joints, how far they lie
    from it, and the mean of their confidences, presences and sides."""
    first, told = looks[0], [look.pose for look in looks]
    uv = torch.stack([first.crop.uv_to_crop(look.photo_uv) for look in looks])
    median = _median(uv)
    longer = (median.amax(0) - median.amin(0)).amax().clamp_min(1e-9)
    spread = (uv - median).norm(dim=-1).mean(dim=0) / longer
    joined = {"uv": median.float()}
    # A turn of the picture about the line of sight changes no depth, but all other axes.
    if first.pose.d is not None:
        joined["d"] = _median(torch.stack([each.d for each in told if each.d is not None]))
    for name in ("confidence", "presence", "left"):
        if getattr(first.pose, name) is not None:
            joined[name] = torch.stack([getattr(each, name) for each in told]).mean(dim=0)
    return replace(first, pose=replace(first.pose, **joined), spread=spread.float())


def _median(values: Tensor) -> Tensor:
    """(N, ...) -> (...); of two, the mean, where PyTorch's is the lesser one."""
    return torch.from_numpy(np.median(values.numpy(), axis=0))
