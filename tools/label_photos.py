#!/usr/bin/env python3
"""Photos whose joints a model told itself, for training without a label of a person.

    python tools/label_photos.py ../shared/realdata data/labelled-photos --model default

A model looks at each hand several times (`inference.looks.LOOKS`), as at a right and as at a left
one. The median of its looks is the label (Radosavovic et al., "Data Distillation", 2018) of the
joints on which the looks agree. Hands on which they do not agree, or whose side is unsure, are left
out. The labels are 2D.

Taken are rows 0, 4, 6, 8, 12, 14, ... of `photos-pool/everyday/` and `photos-pool/letters/`, whose
boxes say where to look, and the photos of `finger-counting/photos/Set1/` that show a finger and are
not among `finger-counting/silhouettes/`, where the finder looks. Rows 2, 10, 18, ... are left for
development, odd ones for reports. Nothing else is read.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import torch
from finder_photos import rows
from tqdm import tqdm

from auxhand.adaptation.crops import SURE, agreed
from auxhand.data.columns import Record, make_row
from auxhand.data.convert import MARGIN, SIZE
from auxhand.data.image import load_photo
from auxhand.data.store import claim, shard_path, write_shard
from auxhand.geometry.crop import box_center_side, plain_crop, uv_box
from auxhand.geometry.warp import warp
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.inference.prediction import Prediction

PERIOD, TAKEN = 8, (0, 4, 6)
"""Of each so many rows, those that are learnt from."""

SHIPPED = {"five_17.jpg", "four_38.jpg"}
"""Photos that come with the package: shown as examples, so not learnt from."""


class Hand(NamedTuple):
    """A hand to be labelled: in which photo, where (None: to be found), and of which folder."""

    file: Path
    box: tuple[float, float, float, float] | None
    kind: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="folder with photos-pool/ and finger-counting/")
    parser.add_argument("out", type=Path, help="folder of the prepared dataset that is written")
    parser.add_argument("--model", default="default", help="the bundle that labels")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    labelled = list(label(hands(options.photos), options.model, counts))
    maker = {"maker": "tools/label_photos.py", "model": options.model}
    claim(options.out, {"count": len(labelled), **maker})
    write_shard(shard_path(options.out, 0), labelled)
    for name, count in sorted(counts.items()):
        print(f"{name}: {count}")


def hands(photos: Path) -> list[Hand]:
    """The hands that may be learnt from."""
    found = [
        Hand(photos / "photos-pool" / kind / row["file"], _box(row), kind)
        for kind in ("everyday", "letters")
        for number, row in enumerate(rows(photos / "photos-pool" / kind))
        if number % PERIOD in TAKEN
    ]
    counting = photos / "finger-counting"
    reported = {path.name for path in (counting / "silhouettes").glob("*.jpg")} | SHIPPED
    return found + [
        Hand(path, None, "finger-counting")
        for path in sorted((counting / "photos" / "Set1").glob("[1-5]/*.jpg"))
        if path.name not in reported
    ]


def _box(row: dict[str, str]) -> tuple[float, float, float, float]:
    return float(row["x"]), float(row["y"]), float(row["w"]), float(row["h"])


def label(found: Sequence[Hand], model: str, counts: Counter[str]) -> Iterator[Record]:
    """Rows of the hands of which the model is sure; `counts` learns how many there were."""
    estimator, number = HandPoseEstimator.load(model), 0
    estimator.thorough = True
    for hand in tqdm(found, unit="hand"):
        image = load_photo(hand.file).pixels
        told = estimator.predict(image, hand.box)
        fault = "not found" if told is None else doubtful(told)
        if told is None or fault is not None:
            counts[f"{hand.kind}, {fault}"] += 1
            continue
        assert told.joints_uv is not None
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
            joint_valid=agreed(told),
            presence=1.0,
            source=hand.file.name,
        )
        number += 1


def doubtful(told: Prediction) -> str | None:
    """Why a prediction is no label, or None where it is one."""
    assert told.side_scores is not None
    if told.side_scores[told.side] < SURE:
        return "of an unsure side"
    if not agreed(told).any():
        return "read in several ways"
    return None


if __name__ == "__main__":
    main()
