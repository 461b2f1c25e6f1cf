"""`auxhand adapt` on one half of each set of real photos, judged on the other half.

    python benchmarks/accuracy/adapt.py --realdata ../shared/realdata

    sign-digits      halves by file order within each digit
    lab              halves by source within each gesture; two people, one room
    everyday         even rows of index.csv learnt from, odd rows judged on
    finger-counting  silhouettes with true masks; even files learnt from, odd ones judged on

Only images of the first half are read to adapt; MediaPipe's landmarks (a reference, not truth) and
the true masks are read to judge. Each set has two rows, SET before and SET after. With the
reference's box and side given (of silhouettes: the true box):
    median_pct       median distance to the reference in % of the longer side of its box
    pck_05, pck_10   share of joints nearer than 0.05, 0.1 of that side
    bone_variation   deviation of bone lengths, relative to bone 9-10, by their mean
    mask_iou         mean IoU of the mask and the true one
    kept             (after) 1: `adapt` found its result better and kept it
    change_low, change_high   (after) 95% bootstrap interval over photos of the change of
                     median_pct, or of mask_iou in %, in % of its value before
The rows "SET, dual-modality" are of `--method dual_modality`, from the run --start of
benchmarks/accuracy/dual_modality.py: that network before, and what `adapt` makes of it.
"""

from __future__ import annotations

import json
import shutil
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from auxhand.adaptation.adapt import Settings, adapt
from auxhand.data.image import load_photo
from auxhand.hand.skeleton import BONES
from auxhand.inference.estimator import HandPoseEstimator

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1])]
from frame import add, due, training_arguments
from real_hands import distances, index
from real_photos import box_for

Box = tuple[float, float, float, float]
NEAR, FAR = 0.05, 0.1
WIDER = 1.45
"""Side of the crop over the longer side of a silhouette's box, which has the wrist in it."""


class Test(NamedTuple):
    """A photo to be judged on: box None is the whole photo."""

    path: Path
    box: Box | None
    side: str
    joints: np.ndarray | None
    mask: Path | None


Halves = tuple[list[Path], list[Test]]


def halves(items: list[Any], group: Callable[[Any], str]) -> tuple[list[Any], list[Any]]:
    """First and second half of each group, in order."""
    groups = defaultdict(list)
    for item in items:
        groups[group(item)].append(item)
    first = [item for own in groups.values() for item in own[: len(own) // 2]]
    second = [item for own in groups.values() for item in own[len(own) // 2 :]]
    return first, second


def references(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "mediapipe_reference.json").read_text())["images"]


def sign_digits(root: Path) -> Halves:
    folder = root / "sign-digits"
    told = references(folder)
    first, second = halves(sorted(told), lambda name: name.split("/")[0])
    tests = [
        Test(folder / "images" / name, None, *_pose(told[name]), None)
        for name in second
        if told[name]
    ]
    return [folder / "images" / name for name in first], tests


def lab(root: Path) -> Halves:
    folder = root / "photos-pool" / "lab"
    rows = sorted(index(folder), key=lambda row: Path(row["source"]).stem)
    first, second = halves(rows, lambda row: Path(row["source"]).parent.name)
    return [folder / row["file"] for row in first], _pool(folder, second)


def everyday(root: Path) -> Halves:
    folder = root / "photos-pool" / "everyday"
    rows = index(folder)
    return [folder / row["file"] for row in rows[::2]], _pool(folder, rows[1::2])


def finger_counting(root: Path) -> Halves:
    files = sorted((root / "finger-counting" / "silhouettes").glob("*.xml"))
    tests = []
    for path in files[1::2]:
        corners = ET.parse(path).find(".//bndbox")
        left, top, right, bottom = (
            float(corners.find(name).text) for name in ("xmin", "ymin", "xmax", "ymax")
        )
        box = (left - 0.5, top - 0.5, right - left, bottom - top)
        tests.append(Test(path.with_suffix(".jpg"), box, "auto", None, path.with_suffix(".png")))
    return [path.with_suffix(".jpg") for path in files[::2]], tests


SETS = {
    "sign-digits": sign_digits,
    "lab": lab,
    "everyday": everyday,
    "finger-counting": finger_counting,
}

DUAL_MODALITY = ", dual-modality"
"""Ending of the rows of `--method dual_modality`."""

ROWS = [*SETS, *(f"{name}{DUAL_MODALITY}" for name in ("sign-digits", "everyday", "lab"))]


def _pose(reference: dict[str, Any]) -> tuple[str, np.ndarray]:
    return reference["handedness"], np.array(reference["landmarks_px"])[:, :2]


def _pool(folder: Path, rows: list[dict[str, str]]) -> list[Test]:
    told = references(folder)
    return [
        Test(
            folder / row["file"],
            tuple(float(row[name]) for name in "xywh"),
            *_pose(told[row["file"]]),
            None,
        )
        for row in rows
        if told.get(row["file"])
    ]


class Judged(NamedTuple):
    """Metrics, and (N, J) what the first of them is of, a row for each photo."""

    metrics: dict[str, float]
    each: np.ndarray


def judge(estimator: HandPoseEstimator, tests: list[Test], name: str) -> Judged:
    away, ious, lengths = [], [], []
    for test in tqdm(tests, desc=name, unit="photo"):
        image = load_photo(test.path).pixels
        height, width = image.shape[:2]
        box = test.box or box_for(estimator, (-0.5, -0.5, float(width), float(height)), 1.0)
        if test.mask is not None:
            box = box_for(estimator, test.box, WIDER)
        hand = estimator.predict(image, box, test.side)
        ends = hand.joints_relative[[b for _, b in BONES]]
        bones = np.linalg.norm(ends - hand.joints_relative[[a for a, _ in BONES]], axis=1)
        lengths.append(bones / hand.hand_size)
        if test.joints is not None:
            away.append(distances(hand.joints_uv, test.joints))
        if test.mask is not None:
            true = cv2.imread(str(test.mask), cv2.IMREAD_GRAYSCALE) > 127
            mask = hand.photo_mask(width, height) > 0.5
            ious.append([(mask & true).sum() / (mask | true).sum()])
    bones = np.array(lengths)
    metrics = {"bone_variation": float((bones.std(0) / bones.mean(0)).mean())}
    if ious:
        return Judged({"mask_iou": float(np.mean(ious)), **metrics}, np.array(ious))
    each = np.array(away)
    shares = {"pck_05": float(np.mean(each < NEAR)), "pck_10": float(np.mean(each < FAR))}
    return Judged({"median_pct": 100 * float(np.median(each)), **shares, **metrics}, each)


def change(before: np.ndarray, after: np.ndarray, draws: int = 1000) -> dict[str, float]:
    """95% bootstrap interval over photos of the change, in %."""
    center = np.mean if before.shape[1] == 1 else np.median
    picks = np.random.default_rng(0).integers(0, len(before), (draws, len(before)))
    changes = [100 * (center(after[p]) / center(before[p]) - 1) for p in picks]
    low, high = np.quantile(changes, [0.025, 0.975])
    return {"change_low": float(low), "change_high": float(high)}


def main() -> None:
    parser = training_arguments(__doc__, "adapt", ROWS)
    parser.add_argument("--realdata", type=Path, default=Path("../shared/realdata"))
    parser.add_argument("--model", default="default")
    parser.add_argument("--start", type=Path, default=Path("runs/dual_modality/w_SG_0"))
    parser.add_argument("--minutes", type=float, default=18.0)
    parser.add_argument("--limit", type=int, default=1000, help="photos of each half at most")
    options = parser.parse_args()
    if not options.realdata.is_dir():
        raise SystemExit(f"no photos at {options.realdata}: say where they are with --realdata")
    for work in due(parser, options, {name: [f"{name} before", f"{name} after"] for name in ROWS}):
        learnt, tests = (
            half[:: max(1, len(half) // options.limit)][: options.limit]
            for half in SETS[work.name.removesuffix(DUAL_MODALITY)](options.realdata)
        )
        dual = work.name.endswith(DUAL_MODALITY)
        start = options.start / "bundle" if dual else options.model
        before = judge(HandPoseEstimator.load(start), tests, f"{work.name} before")
        add(work, f"{work.name} before", {**before.metrics, "minutes": 0.0})
        if options.force:  # else `adapt` says again what it has found
            shutil.rmtree(work.folder, ignore_errors=True)
        images = tuple(str(path) for path in learnt)
        settings = Settings(images, minutes=options.minutes, seed=work.seed)
        if dual:
            settings = replace(settings, method="dual_modality", start=str(options.start))
        else:
            settings = replace(settings, model=options.model)
        outcome = adapt(settings, work.folder)
        after = judge(HandPoseEstimator.load(work.folder), tests, f"{work.name} after")
        told = {"kept": float(outcome.better), "minutes": outcome.minutes}
        add(
            work,
            f"{work.name} after",
            {**after.metrics, **told, **change(before.each, after.each)},
        )


if __name__ == "__main__":
    main()
