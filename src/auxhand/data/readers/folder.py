"""Photos of a folder, or frames of a video, without labels.

A video's frames are read when they are asked for. Not every file can be entered at any frame, nor
does each hold as many frames as it says: both are found out, the number of frames at construction.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from auxhand.arrays import Array
from auxhand.data.crops import CropRule
from auxhand.data.image import VIDEOS, load_stored, pictures_in, printable, upright
from auxhand.data.readers.files import image_tensor
from auxhand.sample import HandSample


class Folder:
    """Samples (`auxhand.data.readers.reader.Reader`) with `image` and `source` alone.

    Args:
        root: a folder, searched recursively for photos (see `pictures_in`), whose EXIF
            orientation is applied; or a video file.
        split: "all".
        step: every `step`-th photo or frame.

    Raises:
        FileNotFoundError: no such folder or file, or no photo in it.
        ValueError: another split, a step less than 1, a file that is no video or has no frame.
    """

    NAME: ClassVar[str] = "folder"
    LAYOUT: ClassVar[str] = """\
a folder of .jpg, .png and .webp files, also in folders of it
or a video: .mp4, .avi, .mov, .mkv, .webm, .m4v"""
    COUNTS: ClassVar[Mapping[str, int]] = {}
    CROP: ClassVar[CropRule] = CropRule(by="joints", fraction=0.8)
    """Of no use here: there are no joints."""

    def __init__(self, root: Path, split: str = "all", step: int = 1) -> None:
        root = Path(root)
        if split != "all":
            raise ValueError(f"{self.NAME} has no split {split!r}; it has: all")
        if step < 1:
            raise ValueError(f"step must be at least 1, got {step}")
        if not root.exists():
            raise FileNotFoundError(f"no folder or file {root}; expected:\n{self.LAYOUT}")
        self._root, self._step = root, step
        self._video = None if root.is_dir() else _Video(root)
        self._photos = pictures_in(root)[::step] if self._video is None else []
        if self._video is None and not self._photos:
            raise FileNotFoundError(f"no photo in {root}; expected:\n{self.LAYOUT}")

    def __len__(self) -> int:
        if self._video is None:
            return len(self._photos)
        return -(-self._video.count // self._step)

    def __getitem__(self, index: int) -> HandSample:
        index = range(len(self))[index]
        if self._video is None:
            path = self._photos[index]
            pixels = upright(*load_stored(path))
            source = printable(path.relative_to(self._root))
        else:
            frame = index * self._step
            pixels = cv2.cvtColor(self._video.read(frame), cv2.COLOR_BGR2RGB)
            source = f"{printable(self._root.name)}/{frame}"
        return HandSample(
            image=image_tensor(pixels),
            source=f"{self.NAME}/{source}",
        )


class _Video:
    """Frames of a video file by number.

    Attributes:
        count: frames that can be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._capture: cv2.VideoCapture | None = None
        self._next = 0
        where = printable(path)
        if path.suffix.lower() not in VIDEOS or not path.is_file():
            raise ValueError(f"{where} is neither a folder nor a video ({', '.join(VIDEOS)})")
        try:
            str(path).encode()
        except UnicodeEncodeError:  # at which OpenCV ends the process
            raise ValueError(f"{where}: a video whose name is not UTF-8: rename it") from None
        capture = self._open()
        self.count = 0
        while capture.grab():
            self.count += 1
        if not self.count:
            raise ValueError(f"{path} is a video without a frame that can be read")
        self._capture = None

    def read(self, frame: int) -> Array:
        """(H, W, 3) uint8 BGR.

        Raises:
            ValueError: the frame cannot be read (any more).
        """
        capture = self._at(frame)
        good, pixels = capture.read()
        self._next += 1
        if not good:
            self._capture = None
            raise ValueError(f"{self._path}: frame {frame} cannot be read: copy the file anew")
        return np.asarray(pixels)

    def _at(self, frame: int) -> cv2.VideoCapture:
        """The capture before a frame: by going on where it is near, or by a jump that arrives."""
        capture = self._capture
        if capture is None or frame < self._next:
            capture = self._open()
        if frame - self._next > 32:
            capture.set(cv2.CAP_PROP_POS_FRAMES, frame)
            if capture.get(cv2.CAP_PROP_POS_FRAMES) == frame:
                self._next = frame
            else:
                capture = self._open()
        while self._next < frame and capture.grab():
            self._next += 1
        return capture

    def _open(self) -> cv2.VideoCapture:
        self._capture, self._next = cv2.VideoCapture(str(self._path)), 0
        if not self._capture.isOpened():
            raise ValueError(f"{self._path} is no video that can be read")
        return self._capture

    def __getstate__(self) -> dict[str, Any]:
        """Without the open file, which loader workers cannot share."""
        return {**self.__dict__, "_capture": None, "_next": 0}
