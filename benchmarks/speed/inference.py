"""Tracking and searching of one hand at 640 x 480: AuxHand and MediaPipe by turns.

A rendered hand that moves (benchmarks/motion.py), frames in memory. `tracking_fps` is the rate at
the median time of a frame that is followed; `search_ms` the median of a frame whose hand is looked
for, its joints included, as at the beginning of a video; `photo_ms` that of a photo, whose hand is
looked at until the looks agree (MediaPipe treats both alike). Each round measures all systems one
after another, and the median of the rounds counts; `of_mediapipe` rows are AuxHand's time over
MediaPipe's in the same round.

    python benchmarks/speed/inference.py [--mediapipe PYTHON]

PYTHON is the interpreter of an environment with `mediapipe==0.10.21`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from auxhand.inference.estimator import HandPoseEstimator
from auxhand.inference.tracker import HandTracker, TrackedHand

sys.path.append(str(Path(__file__).parents[1]))
from frame import arguments, measured
from motion import FPS, SETTLE, clip, mediapipe_tracks


def auxhand_seconds(
    see: Callable[[np.ndarray, float], Any], frames: np.ndarray
) -> tuple[np.ndarray, int]:
    """Seconds (T,) of each frame, and in how many of them there was a hand."""
    seconds, seen = [], 0
    for number, frame in enumerate(frames):
        begun = time.perf_counter()
        found = see(frame, number / FPS)
        seconds.append(time.perf_counter() - begun)
        seen += bool(found)
    return np.array(seconds), seen


def first_frame(estimator: HandPoseEstimator, frame: np.ndarray, time: float) -> list[TrackedHand]:
    """What is seen in a frame as if it were the first of a video."""
    return HandTracker(estimator).follow(frame, time)


def figures(tracking: np.ndarray, searching: np.ndarray, photos: np.ndarray) -> dict[str, float]:
    """Metrics of seconds (T,) a frame, without those in which caches fill."""
    return {
        "tracking_fps": 1 / float(np.median(tracking[SETTLE:])),
        "search_ms": 1000 * float(np.median(searching[SETTLE:])),
        "photo_ms": 1000 * float(np.median(photos[SETTLE:])),
    }


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Of each metric over the rounds."""
    return {key: float(np.median([each[key] for each in rounds])) for key in rounds[0]}


def main() -> None:
    """Measure by turns, add the rows to the results, print the table."""
    parser = arguments(__doc__, "speed")
    parser.add_argument("--model", default="default")
    parser.add_argument("--count", type=int, default=60, help="frames of the clip")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mediapipe", type=Path, help="interpreter that has it")
    options = parser.parse_args()
    if options.count <= SETTLE:
        parser.error(f"--count must be more than {SETTLE}")
    frames, _ = clip(options.count, moving=True)
    estimator = HandPoseEstimator.load(options.model)
    begun, ours, theirs = time.monotonic(), [], []
    for _ in range(options.rounds):
        tracking, seen = auxhand_seconds(HandTracker(estimator).follow, frames)
        searching, _ = auxhand_seconds(partial(first_frame, estimator), frames)
        photos, _ = auxhand_seconds(lambda frame, _: estimator.predict(frame), frames)
        own = figures(tracking, searching, photos)
        ours.append(own | {"frames_with_hand": seen / len(frames)})
        if options.mediapipe is not None:
            uv, tracking = mediapipe_tracks(options.mediapipe, frames, static=False)
            _, searching = mediapipe_tracks(options.mediapipe, frames, static=True)
            shown = float(np.isfinite(uv).all((1, 2)).mean())
            other = figures(tracking, searching, searching)
            theirs.append(other | {"frames_with_hand": shown})
    measured(options.out, "inference, 640 x 480", medians(ours), begun)
    if theirs:
        measured(options.out, "inference, 640 x 480, MediaPipe", medians(theirs), begun)
        ratios = [
            {
                "tracking_time": other["tracking_fps"] / own["tracking_fps"],
                "search_time": own["search_ms"] / other["search_ms"],
                "photo_time": own["photo_ms"] / other["photo_ms"],
            }
            for own, other in zip(ours, theirs, strict=True)
        ]
        measured(options.out, "inference, 640 x 480, of MediaPipe", medians(ratios), begun)


if __name__ == "__main__":
    main()
