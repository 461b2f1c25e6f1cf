"""The README's clip: what is drawn on the frames that are rendered, in its size."""

import cv2
import numpy as np
import tracked_clip
from PIL import Image, ImageSequence

import auxhand


def test_a_clip(tmp_path, monkeypatch):
    folder = tracked_clip.Path(auxhand.__file__).parent / "assets" / "photos"
    photo = np.asarray(Image.open(folder / "five.jpg").convert("RGB"))
    photo = cv2.resize(photo, (tracked_clip.WIDTH, tracked_clip.HEIGHT))
    moved = [np.roll(photo, 2 * number, 1) for number in range(5)]
    asked = []
    monkeypatch.setattr(tracked_clip, "frames", lambda count: asked.append(count) or moved)
    tracked_clip.make(tmp_path / "clip.webp", 0.5)
    assert asked == [15]
    with Image.open(tmp_path / "clip.webp") as clip:
        frames = [np.asarray(frame.convert("RGB"), int) for frame in ImageSequence.Iterator(clip)]
        assert clip.info["loop"] == 0
    assert [frame.shape for frame in frames] == [photo.shape] * 3  # every second one
    for number, frame in enumerate(frames):
        changed = np.abs(frame - moved[tracked_clip.EVERY * number]).max(2) > 60
        assert 0.005 < changed.mean() < 0.2  # the skeleton, and nothing else
