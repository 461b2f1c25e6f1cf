"""Models on a pool of real photos, beside MediaPipe's landmarks as a reference (not truth).

    python benchmarks/accuracy/real_hands.py [BUNDLE ...] [--photos ../shared/realdata]

everyday, letters, lab: crops of hands with the box of each. Photos without a reference are left
out. Distances are in longer sides of the reference's box.
    SET_pck_05, SET_pck_10   share of joints nearer than 0.05, 0.1, box and side given
    SET_median_pct           median distance in % of that side
    SET_side                 share of photos whose side is found, the box given
    SET_found_pck_10         SET_pck_10 with neither given (joints of hands not found count as far)
no-hands: photos without a hand.
    false_hands              share in which a hand is reported
boxes: whole photos with the box of every hand, each fifth picture.
    missed                   share of boxes without a found hand of IoU 0.5, of as many hands as
                             the model reports at most in one photo
dataset-samples: FreiHAND 8, OneHand10K 4, with true 2D joints, the box given.
    labelled_pck_10

In every set of the pool even rows of `index.csv` are for development, odd rows for reports, which
is what is read unless `--rows even` is said. Rows go to results/real_hands.json; those that are
there are kept (`--force` makes them anew).
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.ops import box_iou
from tqdm import tqdm

from auxhand.data.image import load_photo
from auxhand.inference.estimator import HandPoseEstimator

sys.path.append(str(Path(__file__).parents[1]))
from frame import add, due, model_arguments

SETS = ("everyday", "letters", "lab")
NEAR, FAR = 0.05, 0.1
"""Thresholds of PCK in longer sides of the reference's box."""

FIRST = {"odd": 1, "even": 0}
"""First row of a share of rows."""

KEPT = 5
"""The last of every so many pictures of `boxes` is kept for reports (tools/finder_photos.py)."""


def share(rows: Sequence[Any], which: str, limit: int) -> list[Any]:
    """The odd or even rows, thinned evenly to at most `limit`."""
    chosen = rows[FIRST[which] :: 2]
    return list(chosen[:: max(1, len(chosen) // limit)][:limit])


def index(folder: Path) -> list[dict[str, str]]:
    """The rows of a set's index.csv."""
    with (folder / "index.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def distances(uv: np.ndarray | None, true: np.ndarray) -> np.ndarray:
    """(21,) distances in longer sides of the box of `true` (21, 2); infinite without a hand."""
    if uv is None:
        return np.full(len(true), np.inf)
    distance: np.ndarray = np.linalg.norm(uv - true, axis=1) / np.ptp(true, axis=0).max()
    return distance


def hands(estimator: HandPoseEstimator, folder: Path, which: str, limit: int) -> dict[str, float]:
    """One of `SETS`."""
    references = json.loads((folder / "mediapipe_reference.json").read_text())["images"]
    given, found, sides = [], [], []
    for row in tqdm(share(index(folder), which, limit), desc=folder.name, unit="photo"):
        reference = references.get(row["file"])
        if reference is None:
            continue
        image = load_photo(folder / row["file"]).pixels
        true = np.array(reference["landmarks_px"])[:, :2]
        x, y, w, h = (float(row[name]) for name in "xywh")
        boxed = estimator.predict(image, (x, y, w, h), reference["handedness"])
        sides.append(estimator.predict(image, (x, y, w, h)).side == reference["handedness"])
        free = estimator.predict(image)
        given.append(distances(boxed.joints_uv, true))
        found.append(distances(None if free is None else free.joints_uv, true))
    name = folder.name
    return {
        f"{name}_pck_05": float(np.mean(np.array(given) < NEAR)),
        f"{name}_pck_10": float(np.mean(np.array(given) < FAR)),
        f"{name}_median_pct": 100 * float(np.median(given)),
        f"{name}_side": float(np.mean(sides)),
        f"{name}_found_pck_10": float(np.mean(np.array(found) < FAR)),
    }


def no_hands(
    estimator: HandPoseEstimator, folder: Path, which: str, limit: int
) -> dict[str, float]:
    """Hands that are not there."""
    rows = tqdm(share(index(folder), which, limit), desc=folder.name, unit="photo")
    seen = [estimator.predict(load_photo(folder / row["file"]).pixels) is not None for row in rows]
    return {"false_hands": float(np.mean(seen))}


def boxes(estimator: HandPoseEstimator, folder: Path, limit: int) -> dict[str, float]:
    """True boxes that no found hand overlaps."""
    kept = list(json.loads((folder / "boxes.json").read_text()).items())[KEPT - 1 :: KEPT]
    kept = kept[:: max(1, len(kept) // limit)][:limit]
    missed = []
    for name, entry in tqdm(kept, desc=folder.name, unit="photo"):
        prediction = estimator.predict(load_photo(folder / name).pixels)
        if prediction is None:
            missed.append(1.0)
            continue
        true = torch.tensor(entry["boxes"])
        iou = box_iou(torch.tensor([prediction.box], dtype=true.dtype), true, fmt="xywh")
        missed.append(float(iou.max() < 0.5))
    return {"missed": float(np.mean(missed))}


def labelled(estimator: HandPoseEstimator, folder: Path) -> dict[str, float]:
    """FreiHAND's and OneHand10K's samples against their labels."""
    near = []
    for name in ("freihand", "onehand10k"):
        content = json.loads((folder / name / f"test_{name}.json").read_text())
        files = {image["id"]: image["file_name"] for image in content["images"]}
        for entry in content["annotations"]:
            joints = np.array(entry["keypoints"], float).reshape(-1, 3)
            told = joints[:, 2] > 0
            image = load_photo(folder / name / Path(files[entry["image_id"]]).name).pixels
            x, y = joints[told, :2].min(0)
            w, h = np.ptp(joints[told, :2], axis=0)
            uv = estimator.predict(image, (x, y, w, h)).joints_uv
            near.append(distances(uv[told], joints[told, :2]) < FAR)
    return {"labelled_pck_10": float(np.mean(np.concatenate(near)))}


def evaluate(
    estimator: HandPoseEstimator, photos: Path, which: str, limit: int
) -> dict[str, float]:
    """All figures of one model."""
    pool = photos / "photos-pool"
    values = {"images_seen": float(estimator.bundle.metadata.get("images_seen", 0))}
    for name in SETS:
        values |= hands(estimator, pool / name, which, limit)
    values |= no_hands(estimator, pool / "no-hands", which, limit)
    values |= boxes(estimator, pool / "boxes", limit)
    return values | labelled(estimator, photos / "dataset-samples")


def main() -> None:
    parser = model_arguments(__doc__, "real_hands")
    parser.add_argument("--photos", type=Path, default=Path("../shared/realdata"))
    parser.add_argument("--rows", choices=list(FIRST), default="odd")
    parser.add_argument("--limit", type=int, default=200, help="photos of each set at most")
    options = parser.parse_args()
    if not (options.photos / "photos-pool").is_dir():
        raise SystemExit(f"no photos-pool in {options.photos}: say where it is with --photos")
    for work in due(parser, options, {name: [name] for name in options.models}):
        estimator = HandPoseEstimator.load(work.name)
        add(work, work.name, evaluate(estimator, options.photos, options.rows, options.limit))


if __name__ == "__main__":
    main()
