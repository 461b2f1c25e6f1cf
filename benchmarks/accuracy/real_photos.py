"""Models on real photos, in 2D: against another estimator's landmarks, and against true masks.

    python benchmarks/accuracy/real_photos.py [BUNDLE ...] [--photos ../shared/realdata]

sign-digits: 2,062 photos of hands that fill the picture, with MediaPipe's landmarks as a reference
(not truth). The 12 photos in which it found no hand are left out. The whole photo is the first crop
and the side is the reference's.
    sign_median_pct   median distance to the reference over all joints, in % of the photo's width
    sign_pck_10       share of joints nearer than 0.1 of the longer side of the reference's box
    sign_pck_10_mean  mean over the ten digits of sign_pck_10_0 ... sign_pck_10_9
    sign_pck_10_once  sign_pck_10 where the network sees the whole photo as a plain crop; all others
                      are the estimator's
    sign_side         share of photos whose side, not given now, is found as the reference has it
finger-counting/silhouettes: 200 photos with boxes and masks (hand and wrist); no side is given.
    in_mask           share of joints inside the true mask, starting from 1.45 times the true box
    mask_iou          mean IoU of the mask and the true one in that first crop
    box_found         no box given: share of photos whose box has an IoU above 0.5 with the true one
    hand_found        no box given: share of photos in which a hand is reported at all
    find_ms           median milliseconds that this takes, reading the file not counted
finger-counting/photos/Set1/0: photos without a hand (there is one).
    false_hands       number of those in which a hand is reported
images_seen is what the bundle says about its training: several bundles of one training give the
curve of accuracy against images seen. Rows go to results/real_photos.json; those that are there are
kept (`--force` makes them anew).
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import numpy as np
import torch
from torchvision.ops import box_iou
from tqdm import tqdm

from auxhand.data.crops import to_tensor
from auxhand.data.image import load_photo
from auxhand.geometry.crop import Crop, box_center_side, plain_crop
from auxhand.geometry.warp import warp
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.inference.prediction import FLESH
from auxhand.sample import HandPose

sys.path.append(str(Path(__file__).parents[1]))
from frame import add, due, model_arguments

CLOSE = 0.1
"""Threshold of PCK in longer sides of the reference's box."""

CROP = 1.45
"""Side of the first crop over the longer side of a silhouette's box."""

CHUNK = 16
"""Photos whose crops share forward passes."""

Box = tuple[float, float, float, float]


def sign_digits(estimator: HandPoseEstimator, folder: Path) -> dict[str, float]:
    """Distances to the reference's landmarks."""
    references = json.loads((folder / "mediapipe_reference.json").read_text())["images"]
    found = {name: reference for name, reference in sorted(references.items()) if reference}
    distances, near, near_once, sides = [], [], [], []
    names = list(found)
    for start in tqdm(range(0, len(names), CHUNK), desc="sign-digits", unit=f"{CHUNK} photos"):
        chunk = names[start : start + CHUNK]
        images = [load_photo(folder / "images" / name).pixels for name in chunk]
        photos = [(-0.5, -0.5, float(i.shape[1]), float(i.shape[0])) for i in images]
        given = [box_for(estimator, photo, 1.0) for photo in photos]
        known = [found[name]["handedness"] for name in chunk]
        hands = estimator.predict_many(images, given, known)
        guesses = estimator.predict_many(images, given)
        sides += [guess.side == side for guess, side in zip(guesses, known, strict=True)]
        for i, name in enumerate(chunk):
            true = np.array(found[name]["landmarks_px"])[:, :2]
            limit = CLOSE * np.ptp(true, axis=0).max()
            distance = np.linalg.norm(hands[i].joints_uv - true, axis=1)
            distances.append(100 * distance / images[i].shape[1])
            near.append(distance < limit)
            pose, crop = look_once(estimator, images[i], photos[i], 1.0, known[i])
            once = crop.uv_to_original(pose.uv[0].double()).numpy()
            near_once.append(np.linalg.norm(once - true, axis=1) < limit)
    digits = np.array([int(name.split("/")[0]) for name in found])
    by_digit = [float(np.mean(np.array(near)[digits == digit])) for digit in range(10)]
    return {
        "sign_median_pct": float(np.median(distances)),
        "sign_pck_10": float(np.mean(near)),
        "sign_pck_10_mean": statistics.fmean(by_digit),
        "sign_pck_10_once": float(np.mean(near_once)),
        "sign_side": float(np.mean(sides)),
        **{f"sign_pck_10_{digit}": share for digit, share in enumerate(by_digit)},
    }


def box_for(estimator: HandPoseEstimator, box: Box, factor: float) -> Box:
    """The box that makes the estimator's first crop `factor` times the longer side of `box`."""
    center, side = box_center_side(box, factor * estimator.bundle.fraction * (1 + 2 * FLESH))
    u, v, side = *center.tolist(), float(side)
    return u - side / 2, v - side / 2, side, side


@torch.inference_mode()
def look_once(
    estimator: HandPoseEstimator, image: np.ndarray, box: Box, factor: float, side: str
) -> tuple[HandPose, Crop]:
    """What the network says about one crop, `factor` times the longer side of `box`."""
    center, extent = box_center_side(box, factor)
    crop = plain_crop(center, extent, estimator.bundle.input_size, mirror=side == "left")
    pixels = warp(image, crop, cv2.BORDER_REPLICATE).astype(np.float32) / 255
    return estimator.bundle.network(to_tensor(pixels)[None]), crop


def silhouettes(estimator: HandPoseEstimator, folder: Path) -> dict[str, float]:
    """Joints and masks in a true box's crop; boxes that are found."""
    inside, masks, found, overlaps, milliseconds = [], [], [], [], []
    for path in tqdm(sorted(folder.glob("*.xml")), desc="silhouettes", unit="photo"):
        image = load_photo(path.with_suffix(".jpg")).pixels
        true = cv2.imread(str(path.with_suffix(".png")), cv2.IMREAD_GRAYSCALE) > 127
        height, width = true.shape
        corners = ET.parse(path).find(".//bndbox")
        left, top, right, bottom = (
            float(corners.find(name).text) for name in ("xmin", "ymin", "xmax", "ymax")
        )
        box = (left - 0.5, top - 0.5, right - left, bottom - top)

        hand = estimator.predict(image, box_for(estimator, box, CROP))
        u, v = hand.joints_uv.round().astype(int).T
        within = (u >= 0) & (u < width) & (v >= 0) & (v < height)
        inside.append(within & true[v.clip(0, height - 1), u.clip(0, width - 1)])
        pose, crop = look_once(estimator, image, box, CROP, hand.side)
        if pose.mask is not None:
            mask = cv2.resize(pose.mask[0].numpy(), crop.size) > 0.5
            hand_mask = warp(true.astype(np.float32), crop) > 0.5
            masks.append((mask & hand_mask).sum() / (mask | hand_mask).sum())

        started = time.perf_counter()
        hand = estimator.predict(image)
        milliseconds.append(1000 * (time.perf_counter() - started))
        found.append(hand is not None)
        overlaps.append(0.0 if hand is None else iou(hand.box, box))
    values = {
        "in_mask": float(np.mean(inside)),
        "box_found": float(np.mean(np.array(overlaps) > 0.5)),
        "hand_found": float(np.mean(found)),
        "find_ms": statistics.median(milliseconds),
    }
    return {**values, "mask_iou": float(np.mean(masks))} if masks else values


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes (x, y, width, height)."""
    return float(box_iou(torch.tensor([a]), torch.tensor([b]), fmt="xywh"))


def empty(estimator: HandPoseEstimator, folder: Path) -> dict[str, float]:
    """Hands that are not there."""
    photos = [load_photo(path).pixels for path in sorted(folder.glob("*.jpg"))]
    return {"false_hands": float(sum(estimator.predict(photo) is not None for photo in photos))}


def main() -> None:
    parser = model_arguments(__doc__, "real_photos")
    parser.add_argument("--photos", type=Path, default=Path("../shared/realdata"))
    options = parser.parse_args()
    if not options.photos.is_dir():
        raise SystemExit(f"no photos at {options.photos}: say where they are with --photos")
    counting = options.photos / "finger-counting"
    for work in due(parser, options, {name: [name] for name in options.models}):
        estimator = HandPoseEstimator.load(work.name)
        if not estimator.finds:
            raise SystemExit(f"{work.name}: a model without uv or presence cannot find hands")
        metrics = {
            "images_seen": float(estimator.bundle.metadata.get("images_seen", 0)),
            **sign_digits(estimator, options.photos / "sign-digits"),
            **silhouettes(estimator, counting / "silhouettes"),
            **empty(estimator, counting / "photos" / "Set1" / "0"),
        }
        add(work, work.name, metrics)


if __name__ == "__main__":
    main()
