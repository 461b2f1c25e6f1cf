"""Hands from frame to frame, of a video of `auxhand predict` or of a camera, and the files that say
it (docs/predict.md)."""

from __future__ import annotations

import contextlib
import json
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from auxhand.cli.photo import camera, draw_hands
from auxhand.cli.results import TABLE, TEXT, write_result
from auxhand.data.drawn import FILM, NUMBERS
from auxhand.data.image import VIDEOS, Animation, printable
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.inference.prediction import Prediction
from auxhand.inference.recording import Film, Table, comma_separated, film, parquet
from auxhand.inference.tracker import HandTracker, TrackedHand
from auxhand.inference.video import Frame, Video

MOST_HANDS = 8
"""Hands of a video where all are asked for."""


@dataclass
class Clip:
    """Frames one after another: their hands are followed, written and drawn.

    Attributes:
        tracker: follows them.
        tables: take the numbers.
        film: takes the pictures, where one is made.
        mirrored: draw the frames as in a mirror; numbers and sides are not mirrored.
        frames, with_hands: how many were seen, and of these with a hand.
        seconds: time of the last one.
        identities: of the hands.
    """

    tracker: HandTracker
    tables: list[Table] = field(default_factory=list)
    film: Film | None = None
    mirrored: bool = False
    frames: int = 0
    with_hands: int = 0
    seconds: float = 0.0
    identities: set[int] = field(default_factory=set)

    def see(self, frame: Frame, drawn: bool = True) -> np.ndarray | None:
        """The next frame.

        Args:
            frame: its pixels, time and number.
            drawn: whether somebody looks at it; a film is drawn anyway.

        Returns:
            (H, W, 3) uint8 RGB, the frame with its hands drawn in, if it was drawn.
        """
        # Two frames of one time, or frames without: they are a millisecond apart.
        self.seconds = max(frame.time, self.seconds + 0.001) if self.frames else frame.time
        hands = self.tracker.follow(frame.pixels, self.seconds)
        self.frames += 1
        self.with_hands += bool(hands)
        self.identities |= {hand.identity for hand in hands}
        for table in self.tables:
            table.add(frame.number, self.seconds, hands)
        if not drawn and self.film is None:
            return None
        picture = _drawn(frame.pixels, hands, self.mirrored)
        if self.film is not None:
            self.film.add(picture, self.seconds)
        return picture

    def told(self, source: str, size: tuple[int, int], args: Namespace) -> dict[str, Any]:
        """What the JSON says of the clip.

        Args:
            source: what the frames are of.
            size: (width, height) of them.
            args: of the command.
        """
        K, camera_from = camera(*size, args)
        cutoff, beta = args.smoothing
        return {
            "video": source,
            "width_px": size[0],
            "height_px": size[1],
            "model": args.model,
            "camera": {"K_px": K.round(3).tolist(), "source": camera_from},
            "frames": self.frames,
            "frames_with_hands": self.with_hands,
            "seconds": round(self.seconds, 3),
            "hands": len(self.identities),
            "smoothing": None if cutoff is None else {"min_cutoff_hz": cutoff, "beta": beta},
        }


def _drawn(image: np.ndarray, hands: list[TrackedHand], mirrored: bool) -> np.ndarray:
    """A frame with its hands, each named by its side and number."""
    names = [f"{hand.side} {identity}" for identity, hand in hands]
    seen = [hand for _, hand in hands]
    if mirrored:
        image = np.ascontiguousarray(image[:, ::-1])
        seen = [_mirrored(hand, image.shape[1]) for hand in seen]
    return draw_hands(image, seen, names)


def _mirrored(hand: Prediction, width: int) -> Prediction:
    """A hand to be drawn on the mirrored picture: its pixels alone are mirrored."""
    if hand.joints_uv is None:
        return hand
    uv = hand.joints_uv * [-1, 1] + [width - 1, 0]
    return replace(hand, joints_uv=uv)


def tracker(estimator: HandPoseEstimator, size: tuple[int, int], args: Namespace) -> HandTracker:
    """The tracker that a command's options ask for, of frames of a (width, height)."""
    cutoff, beta = args.smoothing
    unknown = args.fov is None and args.focal is None
    return HandTracker(
        estimator,
        MOST_HANDS if args.hands is None else args.hands,
        cutoff,
        beta,
        threshold=0.5 if args.threshold is None else args.threshold,
        K=None if unknown else camera(*size, args)[0],
        hand_size=args.hand_size,
    )


@contextlib.contextmanager
def written(clip: Clip, stem: Path, csv: bool) -> Iterator[None]:
    """Inside, what the clip sees goes into STEM.parquet, STEM_overlay.mp4 and, if it is asked for,
    STEM.csv, which appear when the block ends.

    Raises:
        OSError: one of them cannot be written.
    """
    with contextlib.ExitStack() as stack:
        clip.tables = [stack.enter_context(parquet(stem.with_name(stem.name + TABLE)))]
        if csv:
            text = comma_separated(stem.with_name(stem.name + TEXT))
            clip.tables.append(stack.enter_context(text))
        clip.film = stack.enter_context(film(stem.with_name(stem.name + FILM)))
        yield


def predict_clip(
    estimator: HandPoseEstimator,
    path: Path,
    stem: Path,
    args: Namespace,
    source: str | None = None,
    watch: Callable[[Frame], None] = lambda frame: None,
) -> tuple[int, str]:
    """Follow the hands of a video or animated picture and write STEM.parquet, STEM_overlay.mp4,
    STEM.json and, if it is asked for, STEM.csv. The JSON comes last: where it is, the others are
    complete.

    Args:
        estimator: of the model.
        path: of the clip.
        stem: of the files.
        args: of the command.
        source: what the JSON calls the clip; default: its path.
        watch: is told of each frame before it is looked at; what it raises ends the work, of which
            no file is left.

    Returns:
        how many hands were followed, and what was found in a few words.

    Raises:
        FileNotFoundError, ValueError: it cannot be read; the message has the path.
        OSError: one of the files cannot be written.
    """
    video = Video(path) if path.suffix.lower() in VIDEOS else None
    frames = iter(video if video is not None else _animation(path))
    first = next(frames)
    size = first.pixels.shape[1], first.pixels.shape[0]
    clip = Clip(tracker(estimator, size, args))
    with written(clip, stem, args.csv):
        for frame in chain([first], frames):
            watch(frame)
            clip.see(frame)
    broken = 0 if video is None else video.broken
    said = clip.told(source or printable(path), size, args) | {"frames_broken": broken}
    if not args.csv:
        write_result(stem, TEXT, None)
    write_result(stem, NUMBERS, (json.dumps(said, indent=2) + "\n").encode())
    return len(clip.identities), summary(clip, broken)


def _animation(path: Path) -> Iterator[Frame]:
    for number, (pixels, seconds) in enumerate(Animation(path)):
        yield Frame(pixels, seconds, number)


def summary(clip: Clip, broken: int = 0) -> str:
    """What was found, in a few words."""
    skipped = f", {broken} broken frames skipped" if broken else ""
    return (
        f"{clip.with_hands} of {clip.frames} frames show a hand, {len(clip.identities)} in all"
        f"{skipped}"
    )
