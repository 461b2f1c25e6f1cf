"""Crops of the hands in somebody's pictures: found once, kept, resumed, split.

A prepared dataset of squares about the hands, with the box of the predicted joints and the side.
The pictures are worked off in parts of `PART`; each part that is done is a file of its own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from tqdm import tqdm

from auxhand.adaptation.pictures import Picture, Pictures
from auxhand.arrays import Array
from auxhand.data.columns import Record, make_row
from auxhand.data.convert import MARGIN, SIZE, evenly
from auxhand.data.crops import CropRule, evaluation_crop
from auxhand.data.store import (
    DESCRIPTION,
    PreparedDataset,
    read_description,
    shard_path,
    write_description,
    write_shard,
)
from auxhand.files import sweep, writing
from auxhand.geometry.crop import box_center_side, plain_crop, uv_box
from auxhand.geometry.warp import warp
from auxhand.hand.skeleton import JOINT_NAMES
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.inference.prediction import Prediction

PART = 50
"""Pictures that are looked at between two savings."""

LEAST = 20
"""Usable crops below which there is nothing to fit a model to."""

LEAST_HELD = 24
"""Crops that are kept from training at least, where there are three times as many."""

MOST_HELD = 200

SURE = 0.7
"""Least probability of a hand's side, as far as a network says one: crops of the wrong one would
teach joints in the wrong order."""

JOINT, HAND, FEWEST = 0.06, 0.09, 8
"""Largest spread of a joint that is a label, and of such a hand's mean joint; fewest such joints.
Spreads are of all looks at a hand (`Prediction.spread`)."""

STILL, THUMB = 6.0, 32
"""A frame is a near-duplicate where the square about the hand of the last kept one, at 32 x 32, has
changed by less than 6 of 255 on average."""


def find(
    pictures: Pictures, estimator: HandPoseEstimator, folder: Path, progress: bool = True
) -> Counter[str]:
    """Look at all pictures, and keep the hands as files of rows; parts that are there are kept.

    Args:
        pictures: where to look.
        estimator: finds hands.
        folder: of the parts; made if it is not there.
        progress: show a progress bar.

    Returns:
        Number of pictures "seen", and of them "kept", "without a hand", "of an unsure side",
        "near-duplicates" and "broken".
    """
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    total: Counter[str] = Counter()
    rest = iter(pictures)
    with tqdm(
        total=pictures.expected, unit="picture", desc="finding hands", disable=not progress
    ) as bar:
        for number in range(1_000_000):
            part = islice(rest, PART)
            first = next(part, None)
            if first is None:
                break
            told, shard = (folder / f"part-{number:05d}.{kind}" for kind in ("json", "parquet"))
            if told.is_file() and shard.is_file():
                list(part)
                counts: Counter[str] = Counter(json.loads(told.read_text()))
                bar.update(counts["seen"])
            else:
                counts = Counter()
                rows = list(_found(_first_then(first, part), estimator, counts, bar))
                write_shard(shard, rows)
                with writing(told) as temporary:
                    temporary.write_text(json.dumps(counts))
            total += counts
    total["broken"] += pictures.broken
    return total


def _first_then(first: Picture, rest: Iterable[Picture]) -> Iterator[Picture]:
    yield first
    yield from rest


def _found(
    part: Iterable[Picture], estimator: HandPoseEstimator, counts: Counter[str], bar: Any
) -> Iterator[Record]:
    """Rows of the hands in a part's pictures, without numbers."""
    film, last, thumb = "", None, None
    for picture in part:
        bar.update()
        counts["seen"] += 1
        try:
            pixels = picture.load()
        except (OSError, ValueError):
            counts["broken"] += 1
            continue
        if picture.film != film:
            film, last = picture.film, None
        if film and last is not None and thumb is not None:
            difference = np.abs(_thumb(pixels, last) - thumb).mean()
            if difference < STILL:
                counts["near-duplicates"] += 1
                continue
        hand = estimator.predict(pixels)
        if hand is None or hand.joints_uv is None:
            counts["without a hand"] += 1
            continue
        scores = hand.side_scores if estimator.tells_side else None
        if scores is not None and scores[hand.side] < SURE:
            counts["of an unsure side"] += 1
            continue
        counts["kept"] += 1
        fraction = estimator.bundle.fraction
        box = uv_box(torch.from_numpy(hand.joints_uv))
        last = box_center_side(box, MARGIN / fraction)
        thumb = _thumb(pixels, last)
        crop = plain_crop(*last, SIZE)
        uv = crop.uv_to_crop(torch.from_numpy(hand.joints_uv))
        sure = agreed(hand)
        yield make_row(
            0,
            image=warp(pixels, crop, cv2.BORDER_REPLICATE),
            box=uv_box(uv).numpy(),
            side=hand.side,
            joints_uv=uv.numpy() if sure.any() else None,
            joint_valid=sure if sure.any() else None,
            presence=1.0 if sure.any() else None,
            source=picture.name,
            factors={"film": picture.film, "presence": hand.presence},
        )


def agreed(hand: Prediction) -> Array:
    """(21,) bool: the joints on which the looks at a hand agree, whose median is a label
    (Radosavovic et al., "Data Distillation", 2018); none of a hand that is read in several ways."""
    if hand.spread is None:
        return np.zeros(len(JOINT_NAMES), bool)
    sure = hand.spread < JOINT
    labels: Array = sure & (hand.spread.mean() <= HAND) & (sure.sum() >= FEWEST)
    return labels


def _thumb(pixels: Array, square: tuple[Tensor, Tensor]) -> Array:
    """(32, 32) grey, what a square shows."""
    small = warp(pixels, plain_crop(*square, THUMB), cv2.BORDER_REPLICATE)
    grey: Array = small.astype(np.float32).mean(-1)
    return grey


def split(parts: Path, train: Path, held: Path, labelled: Path) -> tuple[int, int]:
    """Write the rows of all parts as two prepared datasets, which share no picture.

    Of photos evenly spaced ones are held, of a video its end: frames beside each other are alike.

    Args:
        parts: folder that `find` has written.
        train, held: folders of the datasets; where all are there they are kept.
        labelled: folder of a third one, of those rows of `train` whose joints are known (`agreed`).

    Returns:
        Number of crops of `train` and `held`.

    Raises:
        ValueError: a damaged part.
    """
    if all((folder / DESCRIPTION).is_file() for folder in (train, held, labelled)):
        return read_description(train)["count"], read_description(held)["count"]
    rows = [row for file in sorted(parts.glob("part-*.parquet")) for row in _rows(file)]
    films = [json.loads(row["factors"])["film"] for row in rows]
    chosen = held_out(films)
    groups = {
        train: [row for i, row in enumerate(rows) if i not in chosen],
        held: [row for i, row in enumerate(rows) if i in chosen],
    }
    groups[labelled] = [row for row in groups[train] if row["joints_uv"] is not None]
    for folder, own in groups.items():
        folder.mkdir(parents=True, exist_ok=True)
        write_shard(shard_path(folder, 0), [{**row, "index": i} for i, row in enumerate(own)])
        write_description(folder, len(own), maker="auxhand adapt")
    return len(groups[train]), len(groups[held])


def _rows(part: Path) -> list[Record]:
    """What `find` has written.

    Raises:
        ValueError: a damaged file.
    """
    try:
        rows: list[Record] = pq.read_table(part).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{part} is damaged: delete it, and the same command looks for its hands anew"
        ) from error
    return rows


def held_out(films: Sequence[str]) -> set[int]:
    """Numbers of the crops that training does not see.

    Args:
        films: the video that each crop is of; "" for photos.
    """
    count = len(films)
    share = min(max(count // 5, min(LEAST_HELD, count // 3)), MOST_HELD) / max(count, 1)
    chosen: set[int] = set()
    seen = 0
    for film in dict.fromkeys(films):
        own = [i for i, name in enumerate(films) if name == film]
        seen += len(own)
        # Of what has been seen so far, so that many short videos have their share too.
        wanted = round(share * seen) - len(chosen)
        if film:
            chosen.update(own[len(own) - wanted :])
        else:
            chosen.update(own[(2 * k + 1) * len(own) // (2 * wanted)] for k in range(wanted))
    return chosen


def images_of(folder: Path, size: int, fraction: float, most: int | None = None) -> Tensor:
    """(N, 3, size, size) plain crops of a dataset, as a network is to see them in use.

    Args:
        folder: the dataset's.
        size: of the network's input.
        fraction: share of the crop's side that the joints' box takes.
        most: of a larger dataset so many, evenly spaced.
    """
    dataset, rule = PreparedDataset(folder), CropRule("box", fraction, "plain")
    images = []
    for i in evenly(len(dataset), most):
        stored = dataset.stored(i)
        image = evaluation_crop(stored.sample, size, rule, stored.box).image
        assert image is not None
        images.append(image)
    return torch.stack(images)
