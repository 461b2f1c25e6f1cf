"""Finds the hands of a photo, by a detector that looks at the whole of it."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torchvision.ops import nms

from auxhand.arrays import Array
from auxhand.data.letterbox import letterbox
from auxhand.inference.bundle import Bundle, onnx_of, open_bundle
from auxhand.inference.runtime import run_with_onnx, run_with_torch
from auxhand.models.detections import DETECTOR, DetectionMaps, decode

MARGINS = (0.0, 0.25, 0.5)
"""Grey around the photo at each look (`letterbox`): it makes a hand that fills the photo smaller. A
further look is taken only while fewer hands are found than are asked for, and adds to these: hands
that are found stay as they are, however many are asked for."""

OVERLAP = 0.4
"""Intersection over union from which two looks' boxes are one hand's."""


class FoundHand(NamedTuple):
    """A hand in a photo.

    Attributes:
        box: x, y, width, height in pixels of the photo, an integer being a pixel's centre: the
            whole of a photo is (-0.5, -0.5, W, H). It holds the hand from the wrist to the
            fingertips, and lies in the photo.
        presence: probability that it is a hand.
        right: probability that it is a right hand.
    """

    box: tuple[float, float, float, float]
    presence: float
    right: float


class Finder:
    """Finds hands with a detector that is loaded once.

    Args:
        bundle: of a `HandDetector`; its presence threshold is what counts as a hand.
        onnx: the same network as `write_onnx` wrote it, to be run instead.

    Raises:
        ValueError: the bundle's network is no detector.
    """

    def __init__(self, bundle: Bundle, onnx: Path | None = None) -> None:
        if bundle.network_class != DETECTOR:
            raise ValueError(f"{bundle.network_class} finds no hands: it is no detector")
        self.size = bundle.input_size
        self.threshold = bundle.presence_threshold
        self._run = run_with_torch(bundle.network.eval()) if onnx is None else run_with_onnx(onnx)

    @staticmethod
    def load(folder: str | PathLike[str]) -> Finder:
        """The finder of a bundle's folder, run by ONNX Runtime if it and the ONNX file are there.

        Raises:
            FileNotFoundError: no bundle there.
            ValueError: a bundle that cannot be read, or one of another network.
        """
        folder = Path(folder)
        return Finder(open_bundle(folder), onnx_of(folder))

    def find(
        self, image: Array, threshold: float | None = None, count: int | None = 1
    ) -> list[FoundHand]:
        """The hands of a photo, the most certain first: all that the looks find, which end with
        the look by which there are `count` of them.

        Args:
            image: (H, W, 3) uint8 RGB.
            threshold: least presence; by default the bundle's.
            count: hands that are asked for; None: all.

        Raises:
            ValueError: an image of another shape or type.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(
                f"a photo must be (H, W, 3) uint8 RGB, not {image.shape} {image.dtype}"
            )
        least = self.threshold if threshold is None else threshold
        found: list[FoundHand] = []
        for margin in MARGINS:
            found = _with_others(found, self._look(image, margin, least))
            if count is not None and len(found) >= count:
                break
        return sorted(found, key=lambda hand: -hand.presence)

    def _look(self, image: Array, margin: float, threshold: float) -> list[FoundHand]:
        square, place = letterbox(image, self.size, margin)
        picture = square.transpose(2, 0, 1)[None].astype(np.float32) * np.float32(1 / 255)
        maps = {name: torch.from_numpy(value) for name, value in self._run(picture).items()}
        found = decode(DetectionMaps(**maps), threshold)[0]
        height, width = image.shape[:2]
        low, high = np.full(4, -0.5), np.array([width, height, width, height]) - 0.5
        boxes = place.to_photo(found.boxes.double().numpy()).clip(low, high)
        return [
            FoundHand((x, y, right - x, bottom - y), presence, side)
            for (x, y, right, bottom), presence, side in zip(
                boxes.tolist(), found.presence.tolist(), found.side.tolist(), strict=True
            )
            if right > x and bottom > y
        ]


def _with_others(found: list[FoundHand], more: list[FoundHand]) -> list[FoundHand]:
    """What is found, and of another look the hands that are none of these, each by its most certain
    box."""
    hands = found + more
    if not hands:
        return []
    corners = torch.tensor([(x, y, x + w, y + h) for (x, y, w, h), _, _ in hands])
    first = [1.0] * len(found) + [0.0] * len(more)  # more than any presence
    rank = torch.tensor(first) + torch.tensor([hand.presence for hand in hands])
    return [hands[i] for i in nms(corners, rank, OVERLAP).tolist()]
