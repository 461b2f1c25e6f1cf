"""Have the confidences of a model's joints be probabilities, and write the model as it is shipped.

    python tools/calibrate_confidence.py runs/default_finish/bundle data/natural OUT

The confidence of a joint is to be the probability that it lies within a tenth of the hand's box of
its true place. The last samples of a prepared dataset, which training has held out, decide on slope
and intercept (Platt), as `HandPoseEstimator` answers them with box and side given: those of even
number are fitted to, those of odd number say how far the confidences are off before and after. OUT
gets weights of half precision and the same as an ONNX file.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from auxhand.calibration import (
    expected_calibration_error,
    platt,
    plot_reliability,
    reliability,
)
from auxhand.data.store import PreparedDataset
from auxhand.geometry.crop import uv_box
from auxhand.inference.bundle import ONNX, Bundle, load_bundle, save_bundle
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.inference.runtime import write_onnx
from auxhand.models.heads import LEAST, Peak25D
from auxhand.models.pose_net import PoseNet

NEAR = 0.1
"""Of the longer side of the joints' box: how near to its true place a joint is right."""


class Said(NamedTuple):
    """Joints that were predicted.

    Attributes:
        confidence: (N, 21).
        right: (N, 21) bool, whether they are near to their true places.
    """

    confidence: Tensor
    right: Tensor


def look(estimator: HandPoseEstimator, dataset: PreparedDataset, count: int) -> Said:
    """What an estimator says of the last `count` hands of a dataset.

    Raises:
        ValueError: a sample without an image, joints or side, or a model without confidences.
    """
    confidence, right = [], []
    for index in tqdm(range(len(dataset) - count, len(dataset)), unit="hand"):
        sample = dataset.stored(index).sample
        if sample.image is None or sample.joints_uv is None or sample.side is None:
            raise ValueError(f"{dataset.root}, sample {index}: no image, joints or side")
        pixels = (sample.image * 255).round().byte().permute(1, 2, 0).numpy()
        box = uv_box(sample.joints_uv)
        hand = estimator.predict(pixels, tuple(box.tolist()), sample.side)
        if hand is None or hand.confidence is None or hand.joints_uv is None:
            raise ValueError("this model says no confidences of joints in pixels")
        error = (torch.from_numpy(hand.joints_uv) - sample.joints_uv).norm(dim=1)
        confidence.append(torch.from_numpy(hand.confidence))
        right.append(error < NEAR * box[2:].max())
    return Said(torch.stack(confidence), torch.stack(right))


def calibrate(bundle: Bundle, dataset: PreparedDataset, count: int) -> list[Said]:
    """Calibrate a bundle's network in place: what it said before and after of the hands of odd
    number.

    Raises:
        ValueError: another network than that of `Peak25D`; see `look`.
    """
    network = bundle.network
    if not isinstance(network, PoseNet) or not isinstance(network.heads[-1], Peak25D):
        raise ValueError("confidences can be calibrated of the head Peak25D alone")
    before = look(HandPoseEstimator(bundle), dataset, count)
    logits = before.confidence[0::2].double().clamp(LEAST, 1 - LEAST).logit()
    network.heads[-1].calibrate(*platt(logits.flatten(), before.right[0::2].flatten()))
    after = look(HandPoseEstimator(bundle), dataset, count)
    return [Said(said.confidence[1::2], said.right[1::2]) for said in (before, after)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", type=Path, help="a prepared dataset of rendered hands")
    parser.add_argument("out", type=Path, help="folder of the calibrated bundle")
    parser.add_argument("--count", type=int, default=400, help="how many of the last hands")
    parser.add_argument("--plot", type=Path, help="PNG of the reliability diagram")
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    said = calibrate(bundle, PreparedDataset(options.data), options.count)
    errors = [expected_calibration_error(s.confidence.flatten(), s.right.flatten()) for s in said]
    figures = {"confidence_ece_before": errors[0], "confidence_ece": errors[1]}
    save_bundle(
        options.out,
        bundle.network,
        bundle.input_size,
        {**bundle.metadata, "calibration": figures},
        bundle.crop,
        bundle.presence_threshold,
        half=True,
    )
    write_onnx(load_bundle(options.out).network, bundle.input_size, options.out / ONNX)
    if options.plot is not None:
        bins = [reliability(s.confidence.flatten(), s.right.flatten()) for s in said]
        plot_reliability(options.plot, bins, "confidence of a joint", "share within 0.1 of the box")
    print(", ".join(f"{name} {value:.3f}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
