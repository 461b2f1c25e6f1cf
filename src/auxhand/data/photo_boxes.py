"""Photos of which it is known where the hands are, or that there is none.

A folder of photos with `photos.json` (`tools/finder_photos.py` writes one), a list of {"file",
"source", "part", "boxes"}: part is "train" or "val", boxes are those of all hands as [x, y, width,
height] in pixels, where (-0.5, -0.5) is the corner of the photo. No side and no pose is told.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np

from auxhand.arrays import Array

Split = Literal["train", "val"]

LIST = "photos.json"


class BoxedPhoto(NamedTuple):
    """A photo and its hands.

    Attributes:
        path: of the picture.
        boxes: (N, 4) left, top, right, bottom in pixels, N >= 0.
    """

    path: Path
    boxes: Array

    def read(self) -> Array:
        """(H, W, 3) uint8 RGB.

        Raises:
            ValueError: a file that is no picture.
        """
        image = cv2.imread(str(self.path), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f"{self.path} cannot be read as a picture: prepare the photos anew")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_photos(folder: str | Path, part: Split) -> list[BoxedPhoto]:
    """The photos of one part, in the order of the list.

    Raises:
        FileNotFoundError: no list in that folder.
        ValueError: a list that is none, or that has no photo of this part.
    """
    path = Path(folder) / LIST
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: tools/finder_photos.py writes it")
    try:
        photos = [
            BoxedPhoto(path.parent / entry["file"], _corners(entry["boxes"]))
            for entry in json.loads(path.read_text(encoding="utf-8"))
            if entry["part"] == part
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no list of photos with boxes ({error!r})") from error
    if not photos:
        raise ValueError(f"{path} has no photo of the part {part!r}")
    return photos


def _corners(boxes: Sequence[Sequence[float]]) -> Array:
    """(N, 4) x, y, width, height -> left, top, right, bottom."""
    array = np.array(boxes, np.float64).reshape(-1, 4)
    return np.concatenate([array[:, :2], array[:, :2] + array[:, 2:]], axis=1)
