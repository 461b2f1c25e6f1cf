"""The clip of the README: a rendered hand in motion, with what `auxhand predict` draws on it.

    PYTHONPATH=benchmarks .venv/bin/python tools/tracked_clip.py docs/images/tracked.webp

The hand and its motion are those of the jitter benchmark (benchmarks/motion.py), nearer to the
camera and before a drawn room.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from motion import FPS, at, open_hand
from PIL import Image

from auxhand.cli.main import main as auxhand
from auxhand.data.background import Backgrounds
from auxhand.data.columns import decode_image
from auxhand.files import writing
from auxhand.inference.recording import film
from auxhand.inference.video import Video
from auxhand.synth.factory import render_factors

WIDTH, HEIGHT = 320, 240
SEED, FILL = 2, 0.55
EVERY = 2
"""Frames of the video to one of the clip."""


def frames(count: int) -> Iterator[np.ndarray]:
    """(HEIGHT, WIDTH, 3) uint8 RGB."""
    hand, rooms = open_hand(SEED), Backgrounds(distractor_share=0.0, room_share=1.0)
    top = (WIDTH - HEIGHT) // 2
    for number in range(count):
        moved = at(hand, number, moving=True)
        nearer = replace(moved, camera=replace(moved.camera, fill=FILL))
        image = decode_image(render_factors(nearer, WIDTH, rooms)["image"])
        yield image[top : top + HEIGHT]


def make(out: Path, seconds: float) -> None:
    """Render, predict, and write what was drawn as an animated WebP."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        with film(clip) as rendered:
            for number, image in enumerate(frames(round(seconds * FPS))):
                rendered.add(image, number / FPS)
        assert auxhand(["predict", str(clip), "--out", folder]) == 0
        drawn = [
            Image.fromarray(frame.pixels) for frame in Video(Path(folder) / "clip_overlay.mp4")
        ]
    small = [image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS) for image in drawn[::EVERY]]
    options = {"save_all": True, "append_images": small[1:], "loop": 0, "quality": 55, "method": 6}
    with writing(out) as unfinished:
        small[0].save(unfinished, "WEBP", duration=1000 * EVERY // FPS, **options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=4.0, help="the motion repeats after 2")
    args = parser.parse_args()
    make(args.out, args.seconds)
