"""A whole photo in a square picture, its proportions kept, and the way back."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from auxhand.arrays import Array

GREY = 127
"""What fills the rest of the square."""


class Letterbox(NamedTuple):
    """Where a photo lies in the square: u' = (u + 0.5) scale - 0.5 + left, v' likewise.

    Attributes:
        scale: pixels of the square per pixel of the photo.
        left, top: of the photo in the square, in whole pixels.
    """

    scale: float
    left: int
    top: int

    def to_square(self, boxes: Array) -> Array:
        """(..., 4) left, top, right, bottom in pixels of the photo -> in pixels of the square."""
        return (np.asarray(boxes) + 0.5) * self.scale - 0.5 + self._offset

    def to_photo(self, boxes: Array) -> Array:
        """(..., 4) left, top, right, bottom in pixels of the square -> in pixels of the photo."""
        return (np.asarray(boxes) + 0.5 - self._offset) / self.scale - 0.5

    @property
    def _offset(self) -> Array:
        return np.array([self.left, self.top, self.left, self.top], np.float64)


def letterbox(photo: Array, size: int, margin: float = 0.0) -> tuple[Array, Letterbox]:
    """The photo, as large as it fits into the middle of a grey square with a margin.

    Args:
        photo: (H, W, 3) uint8.
        size: side of the square in pixels.
        margin: grey beside the photo's longer side, on either end, over that side's length.

    Returns:
        (size, size, 3) uint8, and where the photo lies in it.
    """
    height, width = photo.shape[:2]
    scale = size / (max(height, width) * (1 + 2 * margin))
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    place = Letterbox(scale, (size - inner[0]) // 2, (size - inner[1]) // 2)
    square = np.full((size, size, 3), GREY, np.uint8)
    rows = slice(place.top, place.top + inner[1])
    columns = slice(place.left, place.left + inner[0])
    square[rows, columns] = cv2.resize(photo, inner, interpolation=way)
    return square, place
