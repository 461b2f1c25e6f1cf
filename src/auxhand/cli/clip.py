"""One video of `auxhand predict`: its hands from frame to frame, and the files that say it
(docs/predict.md)."""

from __future__ import annotations

import contextlib
import json
from argparse import Namespace
from itertools import chain
from pathlib import Path

from auxhand.cli.photo import camera, draw_hands
from auxhand.cli.results import FILM, NUMBERS, TABLE, TEXT, write_result
from auxhand.data.image import printable
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.inference.recording import comma_separated, film, parquet
from auxhand.inference.tracker import HandTracker
from auxhand.inference.video import Video

MOST_HANDS = 8
"""Hands of a video where all are asked for."""


def predict_clip(
    estimator: HandPoseEstimator, path: Path, stem: Path, args: Namespace
) -> tuple[int, str]:
    """Follow the hands of a video and write STEM.parquet, STEM_overlay.mp4, STEM.json and, if it is
    asked for, STEM.csv. The JSON comes last: where it is, the others are complete.

    Returns:
        how many hands were followed, and what was found in a few words.

    Raises:
        FileNotFoundError, ValueError: no video; the message has the path.
        OSError: one of the files cannot be written.
    """
    video = Video(path)
    frames = iter(video)
    first = next(frames)
    height, width = first.pixels.shape[:2]
    K, camera_from = camera(width, height, args)
    cutoff, beta = args.smoothing
    tracker = HandTracker(
        estimator,
        MOST_HANDS if args.hands is None else args.hands,
        cutoff,
        beta,
        threshold=0.5 if args.threshold is None else args.threshold,
        K=None if args.fov is None and args.focal is None else K,
        hand_size=args.hand_size,
    )
    count, with_hands, identities, seconds = 0, 0, set(), 0.0
    with contextlib.ExitStack() as stack:
        tables = [stack.enter_context(parquet(stem.with_name(stem.name + TABLE)))]
        if args.csv:
            text = comma_separated(stem.with_name(stem.name + TEXT))
            tables.append(stack.enter_context(text))
        overlay = stack.enter_context(film(stem.with_name(stem.name + FILM)))
        for frame in chain([first], frames):
            # Two frames of one time, or frames without: they are a millisecond apart.
            seconds = max(frame.time, seconds + 0.001) if count else frame.time
            hands = tracker.follow(frame.pixels, seconds)
            for table in tables:
                table.add(frame.number, seconds, hands)
            names = [f"{hand.side} {identity}" for identity, hand in hands]
            drawn = draw_hands(frame.pixels, [hand for _, hand in hands], names)
            overlay.add(drawn, seconds)
            count, with_hands = count + 1, with_hands + bool(hands)
            identities |= {hand.identity for hand in hands}
    said = {
        "video": printable(path),
        "width_px": width,
        "height_px": height,
        "model": args.model,
        "camera": {"K_px": K.round(3).tolist(), "source": camera_from},
        "frames": count,
        "frames_with_hands": with_hands,
        "frames_broken": video.broken,
        "seconds": round(seconds, 3),
        "hands": len(identities),
        "smoothing": None if cutoff is None else {"min_cutoff_hz": cutoff, "beta": beta},
    }
    if not args.csv:
        write_result(stem, TEXT, None)
    write_result(stem, NUMBERS, (json.dumps(said, indent=2) + "\n").encode())
    broken = f", {video.broken} broken frames skipped" if video.broken else ""
    summary = f"{with_hands} of {count} frames show a hand, {len(identities)} in all{broken}"
    return len(identities), summary
