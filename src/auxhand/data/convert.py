"""From a public dataset to a prepared one, and what there is to say about a dataset on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from tqdm import tqdm

from auxhand.arrays import Array
from auxhand.data.columns import Record, make_row
from auxhand.data.crops import CropRule, crop_labels, place_crop
from auxhand.data.plausible import problems
from auxhand.data.readers.reader import Reader
from auxhand.data.store import SHARD_SIZE, claim, is_complete, shard_path, write_shard
from auxhand.files import locked, sweep
from auxhand.geometry.camera import project
from auxhand.geometry.warp import warp, warp_depth
from auxhand.sample import HandSample

SIZE = 256
MARGIN = 1.5
"""Side of a stored square over that of the protocol's crop: what rotation and shift look into."""

Bad = Literal["refuse", "skip", "keep"]
"""What becomes of a sample that cannot be read, or whose labels cannot be: nothing is written until
it is mended; it is left out; it is kept where it can be read."""


class BadSamples(ValueError):
    """Samples that cannot be read, or whose labels cannot be.

    Attributes:
        lines: what is wrong with each, beginning with its row.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__(f"{len(lines)} bad samples: {lines[0]}")
        self.lines = list(lines)


def prepare(sample: HandSample, rule: CropRule, size: int = SIZE, margin: float = MARGIN) -> Record:
    """A sample of a reader as columns of a prepared dataset (`columns.make_row`), without an index.

    The image is cropped to a square about the hand, neither turned nor mirrored, so that K and
    depth keep their meaning. Without joints or mask to place it by, all of the image is kept.

    Args:
        sample: a whole image with what its dataset knows.
        rule: the dataset's.
        size: side of the square in pixels; an image that is kept whole is not resized.
        margin: see `MARGIN`.

    Raises:
        ValueError: a sample without an image.
    """
    if sample.image is None:
        raise ValueError(f"{sample.source}: no image")
    image = (sample.image.permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8)
    mask, depth = (None if m is None else m.numpy() for m in (sample.mask, sample.depth))
    labels = sample
    if sample.joints_uv is not None or (rule.by == "mask" and mask is not None):
        square = CropRule(rule.by, rule.fraction / margin, "plain")
        crop = place_crop(replace(sample, side=None), size, square, image_size=image.shape[:2])
        labels = crop_labels(sample, crop)
        image = warp(image, crop, cv2.BORDER_REPLICATE)
        mask = None if mask is None else warp(mask, crop) > 0.5
        depth = None if depth is None else warp_depth(depth, crop)
    return {
        "image": image,
        "mask": mask,
        "depth": depth,
        "side": labels.side,
        "presence": None if labels.joints_uv is None else 1.0,
        "source": sample.source,
        **{name: _array(getattr(labels, name)) for name in _LABELS},
    }


_LABELS = ("K", "joints_uv", "joints_xyz", "joint_valid", "joint_visible", "mano")


def _array(value: torch.Tensor | None) -> Array | None:
    return None if value is None else value.numpy()


def convert(
    reader: Reader,
    out: Path,
    description: dict[str, Any],
    size: int = SIZE,
    margin: float = MARGIN,
    rule: CropRule | None = None,
    progress: bool = True,
    bad: Bad = "refuse",
) -> Path:
    """Write a dataset as a prepared one, or what an interrupted run has left of it.

    Args:
        reader: the dataset.
        out: folder of the prepared dataset; made if it is not there.
        description: what `dataset.json` says besides the settings below.
        size, margin: see `prepare`.
        rule: instead of the dataset's own.
        progress: show a progress bar.
        bad: what becomes of samples that cannot be read, or whose labels cannot be.

    Returns:
        The folder.

    Raises:
        BadSamples: all that are bad and refused; the shards without any are written.
        ValueError: `out` holds another dataset, or another process is at work in it; not one good
            sample.
        OSError: `out` cannot be written to.
    """
    rule = rule or reader.CROP
    settings = {"size": size, "margin": margin, "crop": {"by": rule.by, "fraction": rule.fraction}}
    kept: Sequence[int] = range(len(reader))
    lines: list[str] = []
    if bad == "skip":
        looked = look(reader, tqdm(kept, desc="looking", disable=not progress), Findings())
        kept = [index for index, _, wrong in looked if not wrong]
        if not kept:
            raise ValueError(f"{out}: not one of the {len(reader)} samples is good")
        settings["skipped"] = len(reader) - len(kept)
    count = len(kept)
    claim(out, {"count": count, "shard_size": SHARD_SIZE, **settings, **description})
    bar = tqdm(total=count, unit="hand", disable=not progress)
    with locked(out), bar:
        sweep(out)
        for shard, first in enumerate(range(0, count, SHARD_SIZE)):
            indices = range(first, min(first + SHARD_SIZE, count))
            if not is_complete(out, shard, len(indices)):
                rows, before = [], len(lines)
                for index, place in zip(indices, kept[first : indices.stop], strict=True):
                    sample, wrong = judged(reader, place)
                    if sample is not None and (bad == "keep" or not wrong):
                        rows.append(make_row(index, **prepare(sample, rule, size, margin)))
                    else:
                        lines += wrong
                if len(lines) == before:
                    write_shard(shard_path(out, shard), rows)
            bar.update(len(indices))
    if lines:
        raise BadSamples(lines)
    return out


def judged(reader: Reader, index: int) -> tuple[HandSample | None, list[str]]:
    """Sample `index`, None where it cannot be read, and what is wrong with it, a line each."""
    try:
        sample = reader[index]
    except (OSError, ValueError) as error:
        return None, [f"row {index}: {' '.join(str(error).split())}"]
    return sample, [f"row {index} ({sample.source}): {problem}" for problem in problems(sample)]


@dataclass
class Findings:
    """What a look at a dataset found.

    Attributes:
        looked: samples that were read.
        fields: of those, how many have each field of a `HandSample`.
        problems: what is wrong with samples that could not be read or cannot be, a line each.
        bad: how many samples those are.
        reprojection: (looked,) pixels, largest distance of project(K, joints_xyz) to joints_uv
            over a sample's valid joints, of samples that have all three.
    """

    looked: int = 0
    fields: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    bad: int = 0
    reprojection: list[float] = field(default_factory=list)


_FIELDS = (
    *("image", "K", "side", "joints_uv", "joints_xyz", "joint_visible", "depth", "mask", "cloud"),
    "mano",
)


def look(
    reader: Reader, indices: Iterable[int], findings: Findings
) -> Iterator[tuple[int, HandSample | None, list[str]]]:
    """Read samples one by one and write down what is found; yields index, sample (None for one that
    cannot be read) and what is wrong with it."""
    for index in indices:
        findings.looked += 1
        sample, wrong = judged(reader, index)
        findings.problems += wrong
        findings.bad += bool(wrong)
        if sample is None:
            yield index, None, wrong
            continue
        findings.fields.update(n for n in _FIELDS if getattr(sample, n) is not None)
        if sample.K is not None and sample.joints_xyz is not None and sample.joints_uv is not None:
            uv = project(sample.K.double(), sample.joints_xyz.double())
            away = torch.linalg.vector_norm(uv - sample.joints_uv, dim=-1)
            away = away if sample.joint_valid is None else away[sample.joint_valid]
            if len(away := away[away.isfinite()]):
                findings.reprojection.append(float(away.max()))
        yield index, sample, wrong


def evenly(count: int, most: int | None) -> Sequence[int]:
    """At most `most` evenly spaced numbers of 0 .. count - 1."""
    if most is None or most >= count:
        return range(count)
    return [count * i // most for i in range(most)]
