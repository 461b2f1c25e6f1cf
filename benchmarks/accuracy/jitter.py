"""Jitter of a tracked hand, with and without the filter, and the lag that it costs.

Two rendered clips of one hand at 640 x 480 and 30 frames a second (benchmarks/motion.py): one that
rests, in new noise each frame, and one that moves and bends its fingers. `acceleration` is the mean
length of the joints' second differences (pixels per frame squared; of the moving clip, of their
errors); `error_px` their mean distance from the truth; `lag_ms` how far they are behind it.

    python benchmarks/accuracy/jitter.py [--mediapipe PYTHON]

PYTHON is the interpreter of an environment with `mediapipe==0.10.21`, which has no filter in this
interface.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from auxhand.inference.estimator import HandPoseEstimator
from auxhand.inference.tracker import BETA, MIN_CUTOFF, HandTracker

sys.path.append(str(Path(__file__).parents[1]))
from frame import arguments, measured
from motion import FPS, SETTLE, acceleration, clip, lag, mediapipe_tracks


def tracks(
    estimator: HandPoseEstimator, frames: np.ndarray, cutoff: float | None, beta: float
) -> np.ndarray:
    """Joints (T, 21, 2) in pixels, NaN where no hand is found."""
    tracker = HandTracker(estimator, 1, cutoff, beta)
    uv = np.full((len(frames), 21, 2), np.nan)
    for number, frame in enumerate(frames):
        for _, hand in tracker.follow(frame, number / FPS):
            uv[number] = hand.joints_uv
    return uv


def figures(uv: np.ndarray, truth: np.ndarray, moving: bool) -> dict[str, float]:
    """Metrics of tracks (T, 21, 2).

    Raises:
        ValueError: hardly a frame shows a hand.
    """
    known = np.isfinite(uv).all((1, 2))
    if known[SETTLE:].sum() < 10:
        raise ValueError("the hand is hardly ever found: nothing can be said of its jitter")
    error = np.linalg.norm(uv - truth, axis=-1)[SETTLE:]
    said = {
        "acceleration": acceleration(uv - truth),
        "error_px": float(np.nanmean(error)),
        "frames_with_hand": float(known.mean()),
    }
    return said | ({"lag_ms": lag(uv, truth)} if moving else {})


def main() -> None:
    """Track both clips, add the rows to the results, print the table."""
    parser = arguments(__doc__, "jitter")
    parser.add_argument("--model", default="default")
    parser.add_argument("--count", type=int, default=150, help="frames of each clip")
    parser.add_argument("--seed", type=int, default=0, help="another hand, light and background")
    parser.add_argument("--mediapipe", type=Path, help="interpreter that has it")
    options = parser.parse_args()
    estimator = HandPoseEstimator.load(options.model)
    for name, moving in (("still", False), ("moving", True)):
        frames, truth = clip(options.count, moving, options.seed)
        for filtered, cutoff in (("filter", MIN_CUTOFF), ("no filter", None)):
            begun = time.monotonic()
            uv = tracks(estimator, frames, cutoff, BETA)
            measured(options.out, f"{name}, {filtered}", figures(uv, truth, moving), begun)
        if options.mediapipe is not None:
            begun = time.monotonic()
            uv, _ = mediapipe_tracks(options.mediapipe, frames, static=False)
            measured(options.out, f"{name}, MediaPipe", figures(uv, truth, moving), begun)


if __name__ == "__main__":
    main()
