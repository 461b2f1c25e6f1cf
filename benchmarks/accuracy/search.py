"""Finding hands: rendered hands pasted into photos, where the true box is known.

    auxhand synth data/test --count 2000 --seed 1000 --size 160
    python tools/collect_backgrounds.py data/backgrounds
    python benchmarks/accuracy/search.py default --data data/test --backgrounds data/backgrounds

Hands of all views take 0.22 to 0.85 of the height of a 640x480 photo, anywhere in it. The settings
of the search (`inference/detection.py`) are chosen here, so that real photos remain a test.
    found      share of scenes whose joints' box has an IoU above 0.5 with the true one
    reported   share of scenes in which a hand is reported at all
    side       share of scenes whose side is right
    given_box  found, where the true box is given
    find_ms    processor time of a search, milliseconds
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torchvision.ops import box_iou
from tqdm import tqdm

from auxhand.data.background import composite
from auxhand.data.columns import decode_image, decode_labels
from auxhand.data.image import load_photo
from auxhand.data.store import PreparedDataset
from auxhand.inference.estimator import HandPoseEstimator

sys.path.append(str(Path(__file__).parents[1]))
from frame import add, due, model_arguments

WIDTH, HEIGHT = 640, 480
EXTENT = 0.22, 0.85
"""Longer side of the joints' box, in heights of the photo."""


class Scene(NamedTuple):
    """A photo (480, 640, 3) uint8 with one hand: its joints (21, 2) in pixels, and its side."""

    image: np.ndarray
    joints_uv: np.ndarray
    side: str


def scenes(data: PreparedDataset, photos: list[Path], count: int, seed: int) -> Iterator[Scene]:
    """`count` scenes; the same seed gives the same ones."""
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        photo = load_photo(photos[rng.integers(len(photos))]).pixels
        height, width = photo.shape[:2]
        scale = max(WIDTH / width, HEIGHT / height) * rng.uniform(1, 1.6)
        photo = cv2.resize(photo, (int(width * scale) + 1, int(height * scale) + 1))
        x = rng.integers(photo.shape[1] - WIDTH + 1)
        y = rng.integers(photo.shape[0] - HEIGHT + 1)
        behind = photo[y : y + HEIGHT, x : x + WIDTH].astype(np.float32) / 255

        row = data.row(int(rng.integers(len(data))))
        labels = decode_labels(row)
        uv = labels.joints_uv.numpy()
        low, high = uv.min(0), uv.max(0)
        extent = rng.uniform(*EXTENT) * HEIGHT
        scale, half = extent / (high - low).max(), extent / 2
        center = rng.uniform(half, WIDTH - half), rng.uniform(half, HEIGHT - half)
        shift = np.array(center) - scale * (low + high) / 2
        A = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        rgba = cv2.cvtColor(decode_image(row["rgba"], channels=4), cv2.COLOR_RGBA2mRGBA)
        hand = cv2.cvtColor(cv2.warpAffine(rgba, A, (WIDTH, HEIGHT)), cv2.COLOR_mRGBA2RGBA)
        image = (composite(hand, behind) * 255).round().astype(np.uint8)
        yield Scene(image, uv * scale + shift, labels.side)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of the boxes around two sets of points (N, 2)."""
    corners = (torch.from_numpy(np.array([[*uv.min(0), *uv.max(0)]])) for uv in (a, b))
    return float(box_iou(*corners))


def measure(estimator: HandPoseEstimator, tests: Iterator[Scene]) -> dict[str, float]:
    """Means over the scenes."""
    rows = []
    for scene in tests:
        begun = time.process_time()
        hand = estimator.predict(scene.image)
        seconds = time.process_time() - begun
        low, high = scene.joints_uv.min(0), scene.joints_uv.max(0)
        given = estimator.predict(scene.image, (*low, *(high - low)), scene.side)
        rows.append(
            (
                hand is not None and iou(hand.joints_uv, scene.joints_uv) > 0.5,
                hand is not None,
                hand is not None and hand.side == scene.side,
                iou(given.joints_uv, scene.joints_uv) > 0.5,
                1000 * seconds,
            )
        )
    names = "found", "reported", "side", "given_box", "find_ms"
    return dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True))


def main() -> None:
    parser = model_arguments(__doc__, "search")
    parser.add_argument("--data", type=Path, required=True, help="prepared dataset with cut-outs")
    parser.add_argument("--backgrounds", type=Path, required=True, help="folder of photos")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the scenes")
    options = parser.parse_args()
    photos = sorted(options.backgrounds.glob("*.jpg"))
    if not photos:
        raise SystemExit(f"no photos *.jpg in {options.backgrounds}")
    torch.set_num_threads(1)
    data = PreparedDataset(options.data)
    for work in due(parser, options, {name: [name] for name in options.models}):
        tests = tqdm(scenes(data, photos, options.count, work.seed), total=options.count)
        add(work, work.name, measure(HandPoseEstimator.load(work.name), tests))


if __name__ == "__main__":
    main()
