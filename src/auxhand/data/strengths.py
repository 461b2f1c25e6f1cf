"""How much training pictures vary: `Augmentation`, by default not at all, from EASY to HARD."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from auxhand.data.crops import FRACTION
from auxhand.data.natural import NATURAL_EASY, NATURAL_HARD
from auxhand.data.photometric import Photometric


@dataclass(frozen=True)
class Augmentation:
    """How much, and how often; `EASY` and `HARD` are the two ends of `Augmentation.at`.

    Attributes:
        still_share: probability of a crop as in evaluation: not turned, scaled or moved.
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

    still_share: float = 0.0
    upright_share: float = 0.0
    rotation: float = 0.0
    any_rotation_share: float = 0.0
    smallest: float = FRACTION
    largest: float = FRACTION
    shift: float = 0.0
    translation: float = 0.0
    absent_share: float = 0.0
    misplaced_share: float = 0.0
    other_side_share: float = 0.0
    photometric: Photometric = field(default_factory=Photometric)

    @property
    def always_the_hand(self) -> bool:
        """Whether every crop is about the hand, mirrored as its side says."""
        return not (self.absent_share or self.misplaced_share or self.other_side_share)

    @property
    def in_place(self) -> bool:
        """Whether crops of a hand are all one and the same, however their pictures vary."""
        turned = self.upright_share or self.rotation or self.any_rotation_share
        moved = self.shift or self.translation or self.smallest != self.largest
        return self.always_the_hand and (self.still_share == 1 or not (turned or moved))

    @staticmethod
    def at(difficulty: float, natural: bool = False) -> Augmentation:
        """`EASY` at 0, `HARD` at 1, every number linearly between.

        With `natural` light and cameras are those of photos (`data.natural`), and hands take six to
        nine tenths of the crop, whose place varies less: as boxes of hands are found. A quarter are
        mirrored the wrong way, so that sides are learnt.

        Raises:
            ValueError: a difficulty outside [0, 1].
        """
        if not 0 <= difficulty <= 1:
            raise ValueError(f"difficulty must lie in [0, 1], got {difficulty}")
        easy, hard = EASY, HARD
        if natural:
            placed = {"smallest": 0.6, "largest": 0.9, "shift": 0.5, "other_side_share": 0.25}
            easy = replace(EASY, **placed, photometric=NATURAL_EASY)
            hard = replace(HARD, **placed, photometric=NATURAL_HARD)
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
