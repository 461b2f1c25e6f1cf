"""Have a finder's presences be probabilities, and choose the least of them that counts as a hand.

    python tools/calibrate_finder.py runs/finder/bundle data/finder-photos src/auxhand/assets/finder

Judged by the validation photos of `tools/finder_photos.py`: whether what was found is a hand (IoU
0.5 with its box) decides on slope and intercept (Platt), and the photos without hands on the
threshold, by which something is found in at most one in fifty of them. The calibrated bundle is
written with its ONNX file and, with --plot, a reliability diagram before and after.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from auxhand.calibration import (
    expected_calibration_error,
    platt,
    plot_reliability,
    reliability,
)
from auxhand.data.photo_boxes import read_photos
from auxhand.data.sampler import KeySampler
from auxhand.data.scenes import SceneBatch, WholePhotos
from auxhand.detection_metrics import match, missed_share, threshold_at
from auxhand.inference.bundle import ONNX, load_bundle, save_bundle
from auxhand.inference.finder import MARGINS
from auxhand.inference.runtime import write_onnx
from auxhand.methods.detector import FALSE_SHARE, LEAST
from auxhand.models.detections import decode


class Found(NamedTuple):
    """What a finder says of P photos.

    Attributes:
        presence: (N,) of all that it found.
        true: (N,) bool, whether that is a hand.
        highest: of each photo without a hand, the highest presence; 0 where nothing was found.
        hands: (M,) presence of what was found at each hand, 0 where nothing was.
    """

    presence: Tensor
    true: Tensor
    highest: Tensor
    hands: Tensor


@torch.no_grad()
def look(network: nn.Module, photos: WholePhotos) -> Found:
    """Everything that a network finds in photos."""
    loader = DataLoader(
        photos,  # type: ignore[arg-type]
        16,
        sampler=KeySampler(len(photos)),
        collate_fn=SceneBatch.collate,
    )
    presence, true, highest, hands = [], [], [], []
    for batch in tqdm(loader, unit="batch"):
        for i, found in enumerate(decode(network(batch.image), LEAST)):
            boxes = batch.boxes[i][batch.valid[i]]
            matched = match(found.boxes, boxes)
            presence.append(found.presence)
            true.append(matched.detected)
            hands.append(torch.cat([found.presence, torch.zeros(1)])[matched.hand])
            if not len(boxes):
                highest.append(found.presence.max() if len(found.presence) else torch.zeros(()))
    return Found(
        torch.cat(presence),
        torch.cat(true),
        torch.stack(highest) if highest else torch.zeros(0),
        torch.cat(hands),
    )


def calibrate(
    network: nn.Module, photos: WholePhotos
) -> tuple[float, dict[str, float], list[Found]]:
    """Calibrate a detector in place: threshold, figures, and what was found before and after.

    Raises:
        ValueError: no photo without a hand, or none with one that is found.
    """
    before = look(network, photos)
    network.calibrate(*platt(before.presence.double().logit(), before.true))
    after = look(network, photos)
    # A photo in which nothing is found is looked at again, with grey around it.
    empty = [photo for photo in photos.photos if not len(photo.boxes)]
    looks = [look(network, WholePhotos(empty, photos.size, margin)).highest for margin in MARGINS]
    highest = torch.stack(looks).amax(0)
    threshold = threshold_at(highest, FALSE_SHARE)
    figures = {
        "ece_before": expected_calibration_error(before.presence, before.true),
        "ece": expected_calibration_error(after.presence, after.true),
        "missed": missed_share(after.hands, threshold),
        "false": float((highest > threshold).double().mean()),
    }
    # A presence counts from the threshold on, which itself was that of a photo without a hand.
    return threshold + 1e-6, figures, [before, after]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, help="of a training of configs/laptop/finder.yaml")
    parser.add_argument("photos", type=Path, help="folder that tools/finder_photos.py wrote")
    parser.add_argument("out", type=Path, help="folder of the calibrated bundle")
    parser.add_argument("--plot", type=Path, help="PNG of the reliability diagram")
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    photos = WholePhotos(read_photos(options.photos, "val"), bundle.input_size)
    threshold, figures, found = calibrate(bundle.network, photos)
    metadata = {**bundle.metadata, "calibration": figures}
    save_bundle(
        options.out, bundle.network, bundle.input_size, metadata, presence_threshold=threshold
    )
    write_onnx(bundle.network, bundle.input_size, options.out / ONNX)
    if options.plot is not None:
        bins = [reliability(said.presence, said.true) for said in found]
        plot_reliability(options.plot, bins, "presence", "share that is a hand")
    print(", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    print(f"threshold {threshold:.3f}: {options.out}")


if __name__ == "__main__":
    main()
