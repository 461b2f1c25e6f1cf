"""The files that `auxhand predict` writes of a photo or video: their names, and whose they are."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from auxhand.data.drawn import FILM, NUMBERS, OVERLAY, VIEW, is_result

TABLE, TEXT = ".parquet", ".csv"
OF_PHOTO, OF_VIDEO = (NUMBERS, OVERLAY, VIEW), (NUMBERS, FILM, TABLE, TEXT)
"""The results' suffixes, that of the JSON first."""

LONGEST = 200
"""Bytes of the longest name of a result before its suffix: file systems allow 255."""


def unique_names(photos: Sequence[Path]) -> list[str]:
    """A name for each photo's results: its own; the folder's before it where two are alike.

    What is alike even then gets the suffix or a number. Upper and lower case count as one, as in
    some file systems. What is too long for a file system ends in a number made of the whole.
    """
    alike = Counter(path.stem.lower() for path in photos)
    names: dict[str, str] = {}
    for path in photos:
        name = path.stem
        if alike[name.lower()] > 1:
            name = f"{path.absolute().parent.name}_{name}"
        name = _short(name)
        more = (f"{name}_{n}" for n in itertools.count(2))
        choices = itertools.chain([name, f"{name}_{path.suffix[1:]}"], more)
        name = next(choice for choice in choices if choice.lower() not in names)
        names[name.lower()] = name
    return list(names.values())


def _short(name: str) -> str:
    """A name of at most `LONGEST` bytes."""
    whole = os.fsencode(name)
    if len(whole) <= LONGEST:
        return name
    number = hashlib.sha256(whole).hexdigest()[:10]
    return f"{whole[: LONGEST - 11].decode('utf-8', 'ignore')}~{number}"


def check_free(stem: Path, suffixes: Sequence[str] = OF_PHOTO) -> None:
    """Check that results may be written: nothing is there, or those of an earlier run.

    Raises:
        ValueError: a file of the same name that is none of ours.
    """
    from auxhand.data.image import printable

    there = [p for s in suffixes if os.path.lexists(p := _target(stem, s))]
    if there and not is_result(_target(stem, NUMBERS)):
        raise ValueError(
            f"{printable(there[0])} is there and no result of an earlier run: name another --out"
        )


def remove_results(stem: Path, suffixes: Sequence[str] = OF_PHOTO) -> None:
    """Remove the results of an earlier run, and what has been written of this one."""
    for suffix in suffixes:
        with contextlib.suppress(OSError):
            _target(stem, suffix).unlink()


def _target(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def write_result(stem: Path, suffix: str, data: bytes | None) -> None:
    """Write data; no data: no file.

    Raises:
        OSError: it cannot be written.
    """
    from auxhand.files import writing

    target = _target(stem, suffix)
    if data is None:
        target.unlink(missing_ok=True)
        return
    with writing(target) as temporary:
        temporary.write_bytes(data)
