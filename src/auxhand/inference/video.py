"""Frames of a video file, upright, each with its time; what cannot be decoded is counted. And
those of a camera."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import InputContainer

from auxhand.data.image import printable

_TURNS = {
    90: cv2.ROTATE_90_COUNTERCLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_CLOCKWISE,
}
"""Degrees counterclockwise that the metadata ask for, and what turns a picture by them."""


@dataclass(frozen=True)
class Frame:
    """A frame as it is to be shown.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        time: seconds from the first frame, as the file says it: distances may vary.
        number: of the frame among all that could be decoded, from 0.
    """

    pixels: np.ndarray
    time: float
    number: int


class Video:
    """The frames of a video, to be iterated over, each time from the first one.

    Args:
        path: the file, in any format that FFmpeg reads.
        every: seconds between two frames that are given, at least; 0: all are.

    Attributes:
        seconds: how long the video says it is; 0.0 where it does not.
        width, height: of its frames before they are turned upright, as it says.
        broken: frames of the last iteration that could not be decoded, and were skipped.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no video, or a negative `every`.
    """

    def __init__(self, path: str | Path, every: float = 0.0) -> None:
        if every < 0:
            raise ValueError(f"seconds between frames cannot be negative: {every}")
        self.path, self.every, self.broken = Path(path), every, 0
        with self._open() as container:
            self.seconds = float(container.duration or 0) / av.time_base
            stream = container.streams.video[0]
            self.width, self.height = stream.width, stream.height

    def _open(self) -> InputContainer:
        where = printable(self.path)
        if not self.path.is_file():
            raise FileNotFoundError(2, "No such file", where)
        try:
            container = av.open(str(self.path), metadata_errors="replace")
        except (av.FFmpegError, ValueError) as error:
            raise ValueError(f"{where}: no video that can be read") from error
        if not container.streams.video:
            container.close()
            raise ValueError(f"{where}: a file without pictures")
        return container

    def __iter__(self) -> Iterator[Frame]:
        """The frames, in the order in which they are shown.

        Raises:
            ValueError: not one could be decoded.
        """
        self.broken, number, first, due = 0, -1, 0.0, 0.0
        with self._open() as container:
            for frame in self._decoded(container):
                number += 1
                seconds = frame.time or 0.0
                first = seconds if number == 0 else first
                if seconds - first < due - 1e-6:
                    continue
                due = seconds - first + self.every
                pixels = frame.to_ndarray(format="rgb24")
                turn = _TURNS.get(round(frame.rotation / 90) * 90 % 360)
                upright = pixels if turn is None else cv2.rotate(pixels, turn)
                yield Frame(np.ascontiguousarray(upright), seconds - first, number)
        if number < 0:
            raise ValueError(f"{printable(self.path)}: a video without a frame that can be read")

    def _decoded(self, container: InputContainer) -> Iterator[av.VideoFrame]:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                frames = [] if packet is None else packet.decode()
            except av.FFmpegError:
                self.broken += 1
                if self.broken > _MOST_BROKEN:
                    return
                continue
            if packet is None:
                return
            for frame in frames:
                if frame.is_corrupt:
                    self.broken += 1
                else:
                    yield frame


_MOST_BROKEN = 10_000
"""A file that fails as often is given up: reading it may never end."""


class Camera:
    """The frames of a camera, as it gives them, without end; a frame's time is when it arrived.

    Args:
        number: of the camera, from 0, as the operating system counts them.
    """

    def __init__(self, number: int = 0) -> None:
        self.number = number

    def __iter__(self) -> Iterator[Frame]:
        """The frames; they end where the camera gives no more.

        Raises:
            ValueError: no such camera, or it gives no picture.
        """
        # OpenCV's own lines about each way in which it tried to open the camera.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        camera = cv2.VideoCapture(self.number)
        try:
            # Of frames that wait while the last one is looked at, the latest counts.
            camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            given, pixels = camera.read()
            if not given:
                raise ValueError(
                    f"camera {self.number}: there is none, it is in use, or this program may not "
                    "use it; name another number, or a video file, by --source"
                )
            first, number = time.monotonic(), 0
            while given:
                seconds = time.monotonic() - first
                yield Frame(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), seconds, number)
                given, pixels = camera.read()
                number += 1
        finally:
            camera.release()
