"""Pictures of hands that somebody has: photos of folders and patterns, frames of videos."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from auxhand.data.image import SUFFIXES, VIDEOS, load_photo, pictures_in, printable
from auxhand.inference.video import Video

EVERY = 0.2
"""Seconds between two frames of a video that are looked at, at least."""

MOST_FRAMES = 2000
"""Of a long video frames are taken farther apart, so that there are about as many at most."""


class Picture(NamedTuple):
    """A picture that is read when it is asked for.

    Attributes:
        name: of its file; of a frame with its time.
        film: the video that it is of; "" for a photo.
        load: (H, W, 3) uint8 RGB, upright; raises ValueError or OSError where it is damaged.
    """

    name: str
    film: str
    load: Callable[[], np.ndarray]


def files_of(arguments: Sequence[str]) -> list[Path]:
    """Photos and videos that arguments name, each once: files, folders (with theirs), patterns.

    Raises:
        FileNotFoundError: an argument that names nothing.
        ValueError: not one photo or video.
    """
    found: dict[str, Path] = {}
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            paths = [*pictures_in(path), *pictures_in(path, VIDEOS)]
        elif path.exists():
            paths = [path]
        else:
            matches = sorted(glob.glob(argument, recursive=True))
            if not matches:
                raise FileNotFoundError(2, "No such photo, video or folder", argument)
            known = (*SUFFIXES, *VIDEOS)
            paths = [Path(m) for m in matches if m.lower().endswith(known)]
        for path in paths:
            found.setdefault(os.path.realpath(path), path)
    if not found:
        raise ValueError(f"no photos or videos in {', '.join(arguments)}")
    return list(found.values())


def digest(files: Sequence[Path]) -> str:
    """What tells a list of files from another: names, sizes and times of change of those that can
    be read."""
    told = hashlib.sha256()
    for path in files:
        with contextlib.suppress(OSError):
            state = path.stat()
            told.update(os.fsencode(os.path.realpath(path)))
            told.update(f"|{state.st_size}|{state.st_mtime_ns}\n".encode())
    return told.hexdigest()


class Pictures:
    """The pictures of files, in their order.

    Args:
        files: see `files_of`.

    Attributes:
        expected: about how many there will be.
        broken: frames of videos of the last iteration that could not be decoded, as far as it has
            come; a photo is decoded by whoever loads it.
        unread: what is wrong with files of which nothing could be read, a line each.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = list(files)
        self.broken = 0
        self.unread: list[str] = []
        self.expected = 0
        for path in self.files:
            if path.suffix.lower() not in VIDEOS:
                self.expected += 1
                continue
            try:
                video = _video(path)
            except (OSError, ValueError):
                continue
            self.expected += int(video.seconds / video.every)

    def __iter__(self) -> Iterator[Picture]:
        self.broken, self.unread = 0, []
        for path in self.files:
            name = printable(path)
            if path.suffix.lower() not in VIDEOS:
                yield Picture(name, "", lambda path=path: load_photo(path).pixels)  # type: ignore[misc]
                continue
            try:
                video = _video(path)
                for frame in video:
                    pixels = frame.pixels
                    where = f"{name} at {frame.time:.2f} s"
                    yield Picture(where, name, lambda pixels=pixels: pixels)  # type: ignore[misc]
                self.broken += video.broken
            except (OSError, ValueError) as error:
                self.unread.append(str(error))


def _video(path: Path) -> Video:
    seconds = Video(path).seconds
    return Video(path, max(EVERY, seconds / MOST_FRAMES))
