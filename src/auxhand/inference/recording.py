"""What a tracker says of a whole video, written while it runs: a table, and the video with its
hands drawn in by whoever calls.

Memory does not grow with the video: rows are written by the thousand, frames one by one.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from auxhand.files import writing
from auxhand.hand.skeleton import JOINT_NAMES
from auxhand.inference.tracker import TrackedHand

ROWS: Final = 1000
"""Rows that are kept until they are written."""

_KEYS: Final = ("frame", "time_s", "hand", "side", "presence")
_BOX: Final = ("box_x_px", "box_y_px", "box_width_px", "box_height_px")
_OF_A_JOINT: Final = (
    *("u_px", "v_px"),
    *("relative_x_m", "relative_y_m", "relative_z_m"),
    *("camera_x_m", "camera_y_m", "camera_z_m"),
    "confidence",
)

COLUMNS: Final = (
    *_KEYS,
    *_BOX,
    *(f"{joint}_{name}" for joint in JOINT_NAMES for name in _OF_A_JOINT),
)
"""Names of a table's columns, with their units: of pixels, an integer is a pixel's centre; metres
are relative to the root joint 9, or from the camera (x right, y down, z away)."""


class Table(Protocol):
    """Takes rows."""

    def add(self, frame: int, time: float, hands: list[TrackedHand]) -> None:
        """A row for each hand of a frame.

        Args:
            frame: its number, from 0.
            time: seconds from the first frame.
            hands: those in it.
        """


def row(frame: int, time: float, hand: TrackedHand) -> dict[str, Any]:
    """A hand's numbers by `COLUMNS`; None where the model gives none."""
    said = hand.prediction
    empty = np.full((len(JOINT_NAMES), 3), np.nan)
    parts = [
        empty[:, :2] if said.joints_uv is None else said.joints_uv,
        empty if said.joints_relative is None else said.joints_relative,
        empty if said.joints_xyz is None else said.joints_xyz,
        empty[:, :1] if said.confidence is None else np.asarray(said.confidence)[:, None],
    ]
    joints = np.concatenate(parts, 1).flatten()
    values = [frame, time, hand.identity, said.side, said.presence, *map(float, said.box)]
    numbers = [None if np.isnan(value) else float(value) for value in joints]
    return dict(zip(COLUMNS, [*values, *numbers], strict=True))


@contextmanager
def parquet(path: Path) -> Iterator[Table]:
    """A Parquet file of rows, which appears when the block ends.

    Raises:
        OSError: it cannot be written.
    """
    import pyarrow as pa
    from pyarrow import parquet as pq

    kinds = {"frame": pa.int64(), "hand": pa.int64(), "side": pa.string(), "time_s": pa.float64()}
    schema = pa.schema([(name, kinds.get(name, pa.float32())) for name in COLUMNS])

    class Rows:
        def __init__(self, writer: pq.ParquetWriter) -> None:
            self.writer, self.rows = writer, list[dict[str, Any]]()

        def add(self, frame: int, time: float, hands: list[TrackedHand]) -> None:
            self.rows += [row(frame, time, hand) for hand in hands]
            if len(self.rows) >= ROWS:
                self.flush()

        def flush(self) -> None:
            self.writer.write_table(pa.Table.from_pylist(self.rows, schema))
            self.rows.clear()

    with (
        writing(path) as unfinished,
        unfinished.open("wb") as file,  # Arrow takes UTF-8 names alone
        pq.ParquetWriter(file, schema) as writer,
    ):
        rows = Rows(writer)
        yield rows
        rows.flush()


@contextmanager
def comma_separated(path: Path) -> Iterator[Table]:
    """A CSV file of rows, which appears when the block ends; what is unknown is empty.

    Raises:
        OSError: it cannot be written.
    """

    class Rows:
        def __init__(self, writer: csv.DictWriter[str]) -> None:
            self.writer = writer

        def add(self, frame: int, time: float, hands: list[TrackedHand]) -> None:
            self.writer.writerows(row(frame, time, hand) for hand in hands)

    with writing(path) as unfinished, unfinished.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        yield Rows(writer)


class Film:
    """An MP4 (H.264) of pictures of one size, each shown from its own time on."""

    CLOCK: Final = 90_000
    """Ticks a second."""

    def __init__(self, container: Any) -> None:
        self._container = container
        self._stream: Any = None
        self._last = -1

    def add(self, picture: np.ndarray, time: float) -> None:
        """The next picture.

        Args:
            picture: (H, W, 3) uint8 RGB; an odd last row or column is left out, since H.264 halves
                the colours' size.
            time: seconds from the first one.
        """
        import av

        height, width = (max(n - n % 2, 2) for n in picture.shape[:2])
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=30)
            self._stream.width, self._stream.height = width, height
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = Fraction(1, self.CLOCK)
        whole = np.ascontiguousarray(picture[: self._stream.height, : self._stream.width])
        frame = av.VideoFrame.from_ndarray(whole, format="rgb24")
        self._last = max(self._last + 1, round(time * self.CLOCK))
        frame.pts, frame.time_base = self._last, Fraction(1, self.CLOCK)
        self._container.mux(self._stream.encode(frame))

    def end(self) -> None:
        """Write what the encoder has kept."""
        if self._stream is not None:
            self._container.mux(self._stream.encode())


@contextmanager
def film(path: Path) -> Iterator[Film]:
    """An MP4 file, which appears when the block ends.

    Raises:
        OSError: it cannot be written.
    """
    import av

    with ExitStack() as stack:
        unfinished = stack.enter_context(writing(path))
        file = stack.enter_context(unfinished.open("wb"))  # FFmpeg takes UTF-8 names alone
        made = Film(stack.enter_context(av.open(file, "w", format="mp4")))
        yield made
        made.end()
