"""A photo and what is asked about it: the hand's box, its crops, the camera."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import cv2
import numpy as np
import torch

from auxhand.data.crops import View, square_crop
from auxhand.geometry.camera import CROP_FOV, intrinsics_from_fov
from auxhand.geometry.crop import Crop
from auxhand.sample import SIDES

Side = Literal["auto", "left", "right"]
Box = Sequence[float]

FOV = 60.0
"""Degrees over the photo's longer side, where the camera is not known."""


class Square(NamedTuple):
    """An upright square of a photo, in its pixels."""

    u: float
    v: float
    side: float


def square_around(uv: np.ndarray, fraction: float) -> Square:
    """The square in which the box of (N, 2) points takes that fraction of the side."""
    low, high = uv.min(0), uv.max(0)
    u, v = (low + high) / 2
    return Square(float(u), float(v), max(float((high - low).max()), 1.0) / fraction)


class Scene:
    """A photo and what is asked about it.

    Args:
        image: (H, W, 3) uint8 RGB.
        K: (3, 3) intrinsics in pixels of the photo; None: a field of view of `FOV` is assumed.
        box: (x, y, width, height) of the hand in pixels; None: it is to be found.
        side: the person's true hand; "auto": it is to be found.

    Raises:
        ValueError: one of them that is none; a box outside of the photo.
    """

    def __init__(
        self, image: np.ndarray, K: np.ndarray | None, box: Box | None, side: Side
    ) -> None:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(
                f"a photo must be (H, W, 3) uint8 RGB, not {image.shape} {image.dtype}"
            )
        if side not in ("auto", *SIDES):
            raise ValueError(f"side must be one of auto, {', '.join(SIDES)}, not {side!r}")
        self.image = image
        self.height, self.width = image.shape[:2]
        self.known = K is not None
        self.side = side
        self.box = None if box is None else self.square(box)
        if K is None:
            self.K = intrinsics_from_fov(FOV, self.width, self.height).double()
        elif np.shape(K) == (3, 3):
            self.K = torch.as_tensor(K, dtype=torch.float64)
        else:
            raise ValueError(f"K must be (3, 3), not {np.shape(K)}")
        self._reduced = {1: image}

    def square(self, box: Box) -> Square:
        """The square around a box that lies at least partly in the photo.

        Raises:
            ValueError: it does not.
        """
        x, y, w, h = box
        inside = -w < x + 0.5 < self.width and -h < y + 0.5 < self.height
        if not (w > 0 and h > 0 and inside and math.isfinite(x + y + w + h)):
            raise ValueError(
                f"the box x, y, width, height = {x:g}, {y:g}, {w:g}, {h:g} is not in the photo "
                f"of {self.width} x {self.height} pixels"
            )
        return Square(x + w / 2, y + h / 2, max(w, h))

    def cut(
        self,
        square: Square,
        mirrored: bool,
        size: int,
        view: View,
        afar: bool,
        angle: float = 0.0,
    ) -> tuple[np.ndarray, Crop]:
        """(size, size, 3) uint8 and the crop that it is, turned clockwise by `angle` (radians);
        `afar`: see `CROP_FOV`.

        Sampled as in `geometry.warp.warp`: bilinear, averaged down first by the nearest whole
        factor where it would alias, the border repeated beyond the photo.
        """
        K = self.K
        if afar:
            focal = square.side / 2 / math.tan(math.radians(CROP_FOV) / 2)
            K = K.new_tensor([[focal, 0, square.u], [0, focal, square.v], [0, 0, 1]])
        crop = square_crop(K, square[:2], square.side, size, angle, mirrored, view)
        shrink = square.side / size
        image = self._reduce(round(shrink) if shrink > 1.5 else 1)
        sx, sy = self.width / image.shape[1], self.height / image.shape[0]
        to_photo = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
        A, target = crop.A.numpy() @ to_photo, (size, size)
        pixels = cv2.warpPerspective(
            image, A, target, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return pixels, crop

    def _reduce(self, factor: int) -> np.ndarray:
        if factor not in self._reduced:
            size = max(1, round(self.width / factor)), max(1, round(self.height / factor))
            self._reduced[factor] = cv2.resize(self._reduced[1], size, interpolation=cv2.INTER_AREA)
        return self._reduced[factor]
