"""MediaPipe Hands on the sets of `real_hands.py` where a truth exists, for comparison.

In an environment of its own, without AuxHand (`pip install mediapipe==0.10.21`, which has its
models in it and needs numpy < 2):

    python benchmarks/accuracy/mediapipe_hands.py [--photos ../shared/realdata]

Static pictures, model complexity 1, its usual thresholds of 0.5, one hand a photo. Rows and
definitions are those of `real_hands.py`; a hand's box is that of its landmarks, grown by 0.08 of
its longer side as AuxHand's. The labelled photos are given whole: MediaPipe takes no box.
Writes results/real_hands_mediapipe.json.
"""

import argparse
import csv
import json
import shlex
import sys
import time
from pathlib import Path

import cv2
import numpy as np

KEPT, FLESH, FAR = 5, 0.08, 0.1


def landmarks(hands, path):
    """(21, 2) pixels, or None."""
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    found = hands.process(image).multi_hand_landmarks
    if not found:
        return None
    height, width = image.shape[:2]
    return np.array([[p.x * width - 0.5, p.y * height - 0.5] for p in found[0].landmark])


def thinned(rows, limit):
    return list(rows[:: max(1, len(rows) // limit)][:limit])


def overlap(uv, box):
    """IoU of the hand's box and a true one (x, y, w, h)."""
    low, high = uv.min(0), uv.max(0)
    margin = FLESH * (high - low).max()
    low, high = low - margin, high + margin
    start = np.array(box[:2])
    end = start + box[2:]
    inner = np.clip(np.minimum(high, end) - np.maximum(low, start), 0, None).prod()
    return inner / ((high - low).prod() + (end - start).prod() - inner)


def labelled(hands, folder):
    near = []
    for name in ("freihand", "onehand10k"):
        content = json.loads((folder / name / f"test_{name}.json").read_text())
        files = {image["id"]: image["file_name"] for image in content["images"]}
        for entry in content["annotations"]:
            joints = np.array(entry["keypoints"], float).reshape(-1, 3)
            told = joints[:, 2] > 0
            true = joints[told, :2]
            uv = landmarks(hands, folder / name / Path(files[entry["image_id"]]).name)
            if uv is None:
                near.append(np.zeros(len(true), bool))
                continue
            near.append(np.linalg.norm(uv[told] - true, axis=1) / np.ptp(true, axis=0).max() < FAR)
    return float(np.concatenate(near).mean())


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, default=Path("../shared/realdata"))
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("results/real_hands_mediapipe.json"))
    options = parser.parse_args()
    import mediapipe  # which AuxHand's own environment cannot have

    begun = time.monotonic()
    pool = options.photos / "photos-pool"
    hands = mediapipe.solutions.hands.Hands(static_image_mode=True, max_num_hands=1)
    with (pool / "no-hands" / "index.csv").open(newline="") as file:
        empty = thinned(list(csv.DictReader(file))[1::2], options.limit)
    false = [landmarks(hands, pool / "no-hands" / row["file"]) is not None for row in empty]
    told = json.loads((pool / "boxes" / "boxes.json").read_text())
    kept = thinned(list(told.items())[KEPT - 1 :: KEPT], options.limit)
    missed = []
    for name, entry in kept:
        uv = landmarks(hands, pool / "boxes" / name)
        missed.append(uv is None or max(overlap(uv, box) for box in entry["boxes"]) < 0.5)
    metrics = {
        "false_hands": [float(np.mean(false))],
        "missed": [float(np.mean(missed))],
        "labelled_pck_10": [labelled(hands, options.photos / "dataset-samples")],
    }
    row = {
        "name": f"MediaPipe {mediapipe.__version__}",
        "metrics": metrics,
        "command": shlex.join(["python", *sys.argv]),
        "seeds": [0],
        "minutes": round((time.monotonic() - begun) / 60, 2),
        "commit": "",
    }
    text = json.dumps({"benchmark": "real_hands_mediapipe", "machine": "", "rows": [row]}, indent=2)
    options.out.write_text(text + "\n")
    print(metrics)


if __name__ == "__main__":
    main()
