#!/usr/bin/env python3
"""Photos with the boxes of their hands, and photos without hands, for the finder's training.

    python tools/finder_photos.py ../shared/realdata/photos-pool data/finder-photos

Of `boxes/` (in the order of boxes.json) every fifth photo is kept for reports and left out here, so
are the sources of odd rows of `everyday/`, which are reported on: the first photos of `boxes/`
are of these sources, in the same order. Of `no-hands/` odd rows are left out. Of the rest every
eighth photo with boxes and every fourth without hands is for validation ("val"), the others are for
training. Photos are copied as they are, with `photos.json` as `auxhand.data.photo_boxes` reads it.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from pathlib import Path
from typing import Any

from auxhand.data.photo_boxes import LIST
from auxhand.files import writing

REPORTED = 5
"""Every that many photos of `boxes/`, the last of them, is for reports alone."""

VALIDATED = 8
VALIDATED_EMPTY = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pool", type=Path, help="folder with boxes/, no-hands/ and everyday/")
    parser.add_argument("out", type=Path, help="folder for the photos")
    options = parser.parse_args()
    pool, out = options.pool, options.out
    entries = with_boxes(pool) + without_hands(pool)
    for entry in entries:
        target = out / entry["file"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(pool / entry["file"], target)
    with writing(out / LIST) as unfinished:
        unfinished.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    for part in ("train", "val"):
        mine = [entry for entry in entries if entry["part"] == part]
        empty = sum(not entry["boxes"] for entry in mine)
        print(f"{part}: {len(mine) - empty} photos with boxes, {empty} without hands")


def with_boxes(pool: Path) -> list[dict[str, Any]]:
    """Entries of the list for `boxes/`."""
    photos = json.loads((pool / "boxes" / "boxes.json").read_text(encoding="utf-8"))
    reported = {row["source"] for row in rows(pool / "everyday")[1::2]}
    free = [
        (name, photo)
        for number, (name, photo) in enumerate(photos.items())
        if number % REPORTED != REPORTED - 1 and photo["source"] not in reported
    ]
    return [
        {
            "file": f"boxes/{name}",
            "source": photo["source"],
            "part": "train" if number % VALIDATED else "val",
            # The pool counts from the photo's corner, not from the centre of its first pixel.
            "boxes": [[x - 0.5, y - 0.5, w, h] for x, y, w, h in photo["boxes"]],
        }
        for number, (name, photo) in enumerate(free)
    ]


def without_hands(pool: Path) -> list[dict[str, Any]]:
    """Entries of the list for `no-hands/`."""
    return [
        {
            "file": f"no-hands/{row['file']}",
            "source": row["source"],
            "part": "train" if number % VALIDATED_EMPTY else "val",
            "boxes": [],
        }
        for number, row in enumerate(rows(pool / "no-hands")[0::2])
    ]


def rows(folder: Path) -> list[dict[str, str]]:
    """The rows of a folder's index.csv."""
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
