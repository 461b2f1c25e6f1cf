"""Photos in which everything is a hand, for whole adaptations."""

import cv2
import pytest

from auxhand.data.columns import decode_image
from auxhand.inference.finder import Finder, FoundHand


@pytest.fixture
def hands_everywhere(monkeypatch):
    """A finder that takes the middle of every picture for a hand: pictures here are too small."""

    def find(self, image, threshold=None, count=1):
        height, width = image.shape[:2]
        return [FoundHand((0.1 * width, 0.1 * height, 0.8 * width, 0.8 * height), 0.9, 0.5)]

    monkeypatch.setattr(Finder, "find", find)


@pytest.fixture(scope="session")
def photos(tmp_path_factory, hand_row):
    """A folder of 21 photos."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(21):
        pixels = decode_image(hand_row(100 + i, size=64)["image"])
        cv2.imwrite(str(folder / f"{i:02d}.png"), pixels[..., ::-1])
    return folder
