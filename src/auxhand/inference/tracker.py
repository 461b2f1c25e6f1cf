"""Hands from frame to frame of a video: each found once, then followed, and smoothed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np

from auxhand.hand.skeleton import ROOT
from auxhand.inference.prediction import Prediction
from auxhand.inference.scene import Box
from auxhand.inference.smoothing import OneEuroFilter

if TYPE_CHECKING:
    from auxhand.inference.estimator import HandPoseEstimator

MIN_CUTOFF: Final = 1.5
"""Hertz at rest of the joints' filter."""

BETA: Final = 5.0
"""Hertz per hand's length a second of the joints' filter: a hand that moves by its own length in a
second is filtered at 6.5 Hz."""

REFERENCE_LENGTHS: Final = 4.0
"""A hand's length from wrist to fingertip, in lengths of its middle finger's first bone."""

SAME: Final = 0.5
"""Intersection over union of their boxes from which two predictions are of one hand."""


class TrackedHand(NamedTuple):
    """A hand in a frame.

    Attributes:
        identity: number of the hand, from 0; one that was lost and is found again is another.
        prediction: its joints smoothed, its side that of all frames until now.
    """

    identity: int
    prediction: Prediction


class HandTracker:
    """Follows hands through the frames of one video, given one after another.

        tracker = HandTracker(HandPoseEstimator.load(), hands=2)
        for image, seconds in frames:
            for identity, prediction in tracker.follow(image, seconds): ...

    A hand is looked for in the whole frame once; then the network looks where the hand was in the
    frame before. The whole frame is searched again every `search_every` frames while fewer hands
    than `hands` are followed, and at once where one is lost: its presence is below `threshold`.

    Args:
        estimator: with a finder.
        hands: how many to follow at most.
        min_cutoff, beta: of the `OneEuroFilter` of the joints, which are smoothed in hand's
            lengths; a `min_cutoff` of None: as they are.
        search_every: frames from one search to the next.
        threshold: least presence of a hand that is followed, of models that tell presence.
        K, hand_size: see `HandPoseEstimator.predict`.

    Raises:
        ValueError: not a positive number of hands or frames.
    """

    def __init__(
        self,
        estimator: HandPoseEstimator,
        hands: int = 1,
        min_cutoff: float | None = MIN_CUTOFF,
        beta: float = BETA,
        search_every: int = 10,
        threshold: float = 0.5,
        K: np.ndarray | None = None,
        hand_size: float | None = None,
    ) -> None:
        if hands < 1 or search_every < 1:
            raise ValueError(f"hands {hands} and search_every {search_every} must be positive")
        self.estimator, self.hands = estimator, hands
        self.min_cutoff, self.beta = min_cutoff, beta
        self.search_every, self.threshold = search_every, threshold
        self.K, self.hand_size = K, hand_size
        self._tracks: list[_Track] = []
        self._until_search = 0
        self._born = 0

    def follow(self, image: np.ndarray, time: float) -> list[TrackedHand]:
        """The hands in the next frame, in the order in which they were found.

        Args:
            image: (H, W, 3) uint8 RGB.
            time: of the frame, seconds, later than that of the one before.

        Raises:
            ValueError: an image that is none, a time that is not later, or a model without finder.
        """
        before = len(self._tracks)
        self._tracks = _without_doubles(self._followed(image))
        lost = len(self._tracks) < before
        self._until_search -= 1
        if len(self._tracks) < self.hands and (lost or self._until_search <= 0):
            self._search(image)
            self._until_search = self.search_every
        return [TrackedHand(track.identity, track.smoothed(time)) for track in self._tracks]

    def _followed(self, image: np.ndarray) -> list[_Track]:
        """The tracks whose hands are still there, with what is seen of them now."""
        height, width = image.shape[:2]
        tracks = [track for track in self._tracks if _overlaps(track.seen.box, width, height)]
        if not tracks:
            return []
        seen = self.estimator.predict_many(
            [image] * len(tracks),
            [track.seen.box for track in tracks],
            [track.side for track in tracks],
            None if self.K is None else [self.K] * len(tracks),
            self.hand_size,
            once=True,
        )
        kept = []
        for track, hand in zip(tracks, seen, strict=True):
            if hand is not None and (hand.presence is None or hand.presence >= self.threshold):
                track.see(hand)
                kept.append(track)
        return kept

    def _search(self, image: np.ndarray) -> None:
        """Begin tracks of hands that are not followed yet."""
        # Those that are followed already are among them.
        for hand in self.estimator.predict_hands(
            image, self.hands, self.K, self.hand_size, once=True
        ):
            if len(self._tracks) == self.hands:
                return
            if any(_overlap(hand.box, track.seen.box) > SAME for track in self._tracks):
                continue
            smooth = self.min_cutoff is not None
            filters = [OneEuroFilter(self.min_cutoff or 1.0, self.beta) for _ in range(3 * smooth)]
            self._tracks.append(_Track(self._born, hand, filters))
            self._born += 1


@dataclass
class _Track:
    """A hand that is followed: what was seen of it last, and the filters of its joints' pixels,
    relative places and root; without filters they are not smoothed."""

    identity: int
    seen: Prediction
    filters: list[OneEuroFilter]
    left: float = field(init=False)
    size: float = field(init=False)

    def __post_init__(self) -> None:
        self.left = _left(self.seen)
        self.size = max(self.seen.box[2:])

    @property
    def side(self) -> Literal["left", "right"]:
        """What all frames together say."""
        return "left" if self.left > 0.5 else "right"

    def see(self, hand: Prediction) -> None:
        """The hand in the next frame; what it says of its side counts for a tenth."""
        self.seen = hand
        if hand.side_scores is not None:
            self.left += 0.1 * (_left(hand) - self.left)

    def smoothed(self, time: float) -> Prediction:
        """What was seen last, smoothed, with the side of all frames."""
        hand = replace(self.seen, side=self.side)
        if not self.filters:
            return hand
        pixels, relative, root = self.filters
        uv = hand.joints_uv
        if uv is not None:
            hand = replace(hand, joints_uv=pixels(uv / self.size, time) * self.size)
        if hand.joints_relative is None or hand.joints_xyz is None:
            return hand
        length = REFERENCE_LENGTHS * hand.hand_size
        shape = relative(hand.joints_relative / length, time) * length
        place = root(hand.joints_xyz[ROOT] / length, time) * length
        return replace(hand, joints_relative=shape, joints_xyz=shape + place)


def _left(hand: Prediction) -> float:
    """Share of the side's scores that says left."""
    if hand.side_scores is None:
        return float(hand.side == "left")
    return hand.side_scores["left"] / max(sum(hand.side_scores.values()), 1e-12)


def _without_doubles(tracks: list[_Track]) -> list[_Track]:
    """Of tracks that have come to follow one hand, the oldest."""
    kept: list[_Track] = []
    for track in tracks:
        if all(_overlap(track.seen.box, other.seen.box) <= SAME for other in kept):
            kept.append(track)
    return kept


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes x, y, width, height."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(w, 0.0) * max(h, 0.0)
    return shared / max(a[2] * a[3] + b[2] * b[3] - shared, 1e-12)


def _overlaps(box: Box, width: int, height: int) -> bool:
    """Whether a box lies at least partly in a picture."""
    x, y, w, h = box
    return -w < x + 0.5 < width and -h < y + 0.5 < height
