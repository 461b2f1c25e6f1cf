#!/usr/bin/env python3
"""Photos whose joints a model told itself, for training without a label of a person.

    python tools/label_photos.py ../shared/realdata/photos-pool data/labelled-photos --model default

A model looks at each hand several times (`inference.looks.LOOKS`), as at a right and as at a left
one. The median of its looks is the label (Radosavovic et al., "Data Distillation", 2018) of the
joints on which the looks agree. Hands on which they do not agree, or whose side is unsure, are left
out. The labels are 2D.

Taken are rows 0, 4, 8, ... of `everyday/` and `letters/`, and of `boxes/` all that is not of the
sources of `everyday/`, without every fifth: what is left out is for development and reports. Boxes
say where to look; nothing else of the pool is read.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import torch
from finder_photos import REPORTED, rows
from tqdm import tqdm

from auxhand.adaptation.crops import SURE
from auxhand.data.columns import Record, make_row
from auxhand.data.convert import MARGIN, SIZE
from auxhand.data.image import load_photo
from auxhand.data.store import claim, shard_path, write_shard
from auxhand.geometry.crop import box_center_side, plain_crop, uv_box
from auxhand.geometry.warp import warp
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.inference.prediction import Prediction

EVERY = 4
SMALLEST = 28
"""Pixels of the shorter side of a box: smaller hands show no joints."""

JOINT, HAND, FEWEST = 0.06, 0.09, 8
"""Largest spread of a joint that is labelled, and of a hand's mean joint; fewest such joints."""


class Hand(NamedTuple):
    """A hand to be labelled: in which photo, where, and of which folder of the pool."""

    file: Path
    box: tuple[float, float, float, float]
    kind: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pool", type=Path, help="folder with everyday/, letters/ and boxes/")
    parser.add_argument("out", type=Path, help="folder of the prepared dataset that is written")
    parser.add_argument("--model", default="default", help="the bundle that labels")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    labelled = list(label(hands(options.pool), options.model, counts))
    maker = {"maker": "tools/label_photos.py", "model": options.model}
    claim(options.out, {"count": len(labelled), **maker})
    write_shard(shard_path(options.out, 0), labelled)
    for name, count in sorted(counts.items()):
        print(f"{name}: {count}")


def hands(pool: Path) -> list[Hand]:
    """The hands of the pool that may be learnt from."""
    found = [
        Hand(pool / kind / row["file"], _box([float(row[k]) for k in "xywh"]), kind)
        for kind in ("everyday", "letters")
        for row in rows(pool / kind)[::EVERY]
    ]
    photos = json.loads((pool / "boxes" / "boxes.json").read_text(encoding="utf-8"))
    reported = {row["source"] for row in rows(pool / "everyday")}
    for number, (name, photo) in enumerate(photos.items()):
        if number % REPORTED != REPORTED - 1 and photo["source"] not in reported:
            kind = name.split("_")[0]
            # The pool counts from the photo's corner, not from the centre of its first pixel.
            boxes = [_box([x - 0.5, y - 0.5, w, h]) for x, y, w, h in photo["boxes"]]
            found += [Hand(pool / "boxes" / name, box, kind) for box in boxes]
    return [hand for hand in found if min(hand.box[2:]) >= SMALLEST]


def _box(numbers: Sequence[float]) -> tuple[float, float, float, float]:
    x, y, width, height = numbers
    return x, y, width, height


def label(found: Sequence[Hand], model: str, counts: Counter[str]) -> Iterator[Record]:
    """Rows of the hands of which the model is sure; `counts` learns how many there were."""
    estimator, number = HandPoseEstimator.load(model), 0
    for hand in tqdm(found, unit="hand"):
        image = load_photo(hand.file).pixels
        told = estimator.predict(image, hand.box)
        assert told is not None
        if (fault := doubtful(told)) is not None:
            counts[f"{hand.kind}, {fault}"] += 1
            continue
        assert told.joints_uv is not None
        assert told.spread is not None
        uv = torch.from_numpy(told.joints_uv)
        crop = plain_crop(*box_center_side(uv_box(uv), MARGIN / estimator.bundle.fraction), SIZE)
        uv = crop.uv_to_crop(uv)
        counts[f"{hand.kind}, labelled"] += 1
        yield make_row(
            number,
            image=warp(image, crop, cv2.BORDER_REPLICATE),
            box=uv_box(uv).numpy(),
            side=told.side,
            joints_uv=uv.numpy(),
            joint_valid=told.spread < JOINT,
            presence=1.0,
            source=hand.file.name,
        )
        number += 1


def doubtful(told: Prediction) -> str | None:
    """Why a prediction is no label, or None where it is one."""
    assert told.side_scores is not None
    assert told.spread is not None
    if told.side_scores[told.side] < SURE:
        return "of an unsure side"
    if told.spread.mean() > HAND or (told.spread < JOINT).sum() < FEWEST:
        return "read in several ways"
    return None


if __name__ == "__main__":
    main()
