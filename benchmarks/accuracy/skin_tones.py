"""The shipped model by skin tone and by side, on photos of many people.

    python benchmarks/accuracy/skin_tones.py [BUNDLE ...] [--photos ../shared/realdata]

Nobody has noted the tones, so they are read from the pictures: the individual typology angle
(Chardon et al. 1991), ITA = atan((L* - 50) / b*), of the median colour in the palm of MediaPipe's
landmarks (a reference, not truth; wrist to the four fingers' MCPs). Groups are Chardon's: light
above 41 degrees, intermediate 28, tan 10, brown -30, dark below. The light of a room moves a hand
across them, so a group is a tone as the camera saw it. One of fewer than `LEAST` photos is left
out.

Rows BUNDLE everyday (odd rows of the pool) and BUNDLE sign-digits (every fourth photo; 218 people
before plain walls), box and side given:
    GROUP_photos, GROUP_pck_05, GROUP_pck_10   by tone, and of true "left" and "right" hands
    GROUP_side                                 share whose side is found, the box given
Rows go to results/skin_tones.json; those that are there are kept (`--force` makes them anew).
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from auxhand.data.image import load_photo
from auxhand.inference.estimator import HandPoseEstimator

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1])]
from frame import add, due, model_arguments
from real_hands import FAR, NEAR, distances, index, share
from real_photos import box_for

TONES = {"light": 41.0, "intermediate": 28.0, "tan": 10.0, "brown": -30.0, "dark": -91.0}
"""Least ITA in degrees of each group, from the lightest."""

PALM = [0, 5, 9, 13, 17]
LEAST = 15
Array = np.ndarray


class Photo(NamedTuple):
    """A picture with a reference: box None is the whole photo."""

    path: Path
    box: tuple[float, ...] | None
    side: str
    joints: Array


def tone(image: Array, joints: Array) -> str:
    """Group of `TONES` of the palm of (21, 2) joints in an 8-bit RGB image."""
    inside = np.zeros(image.shape[:2], np.uint8)
    cv2.fillConvexPoly(inside, cv2.convexHull(joints[PALM].round().astype(np.int32)), 1)
    if not inside.any():
        raise ValueError("the palm lies outside the picture")
    colour = np.median(image[inside > 0], axis=0).astype(np.float32) / 255
    lightness, _, yellow = cv2.cvtColor(colour[None, None], cv2.COLOR_RGB2LAB)[0, 0]
    angle = np.degrees(np.arctan2(lightness - 50, max(float(yellow), 1e-6)))
    return next(name for name, least in TONES.items() if angle >= least)


def everyday(photos: Path) -> Iterator[Photo]:
    folder = photos / "photos-pool" / "everyday"
    told = json.loads((folder / "mediapipe_reference.json").read_text())["images"]
    for row in share(index(folder), "odd", 10_000):
        if reference := told.get(row["file"]):
            box = tuple(float(row[name]) for name in "xywh")
            yield Photo(folder / row["file"], box, *_pose(reference))


def sign_digits(photos: Path) -> Iterator[Photo]:
    folder = photos / "sign-digits"
    told = json.loads((folder / "mediapipe_reference.json").read_text())["images"]
    for name in sorted(told)[::4]:
        if told[name]:
            yield Photo(folder / "images" / name, None, *_pose(told[name]))


SETS = {"everyday": everyday, "sign-digits": sign_digits}


def _pose(reference: dict) -> tuple[str, Array]:
    return reference["handedness"], np.array(reference["landmarks_px"])[:, :2]


def by_group(estimator: HandPoseEstimator, photos: list[Photo], name: str) -> dict[str, float]:
    """Metrics of each group that is large enough."""
    away, sides = defaultdict(list), defaultdict(list)
    for photo in tqdm(photos, desc=name, unit="photo"):
        image = load_photo(photo.path).pixels
        height, width = image.shape[:2]
        box = photo.box or box_for(estimator, (-0.5, -0.5, float(width), float(height)), 1.0)
        hand = estimator.predict(image, box, photo.side)
        free = estimator.predict(image, box)
        for group in (tone(image, photo.joints), photo.side):
            away[group].append(distances(hand.joints_uv, photo.joints))
            sides[group].append(free.side == photo.side)
    metrics = {}
    for group in (*TONES, "left", "right"):
        if len(away[group]) >= LEAST:
            each = np.array(away[group])
            metrics[f"{group}_photos"] = float(len(each))
            metrics[f"{group}_pck_05"] = float(np.mean(each < NEAR))
            metrics[f"{group}_pck_10"] = float(np.mean(each < FAR))
            metrics[f"{group}_side"] = float(np.mean(sides[group]))
    return metrics


def main() -> None:
    parser = model_arguments(__doc__, "skin_tones")
    parser.add_argument("--photos", type=Path, default=Path("../shared/realdata"))
    options = parser.parse_args()
    if not options.photos.is_dir():
        raise SystemExit(f"no photos at {options.photos}: say where they are with --photos")
    rows = {model: [f"{model} {name}" for name in SETS] for model in options.models}
    for work in due(parser, options, rows):
        estimator = HandPoseEstimator.load(work.name)
        for name, photos in SETS.items():
            metrics = by_group(estimator, list(photos(options.photos)), name)
            add(work, f"{work.name} {name}", metrics)


if __name__ == "__main__":
    main()
