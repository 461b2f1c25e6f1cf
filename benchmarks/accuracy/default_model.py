"""Models on held-out rendered hands, beside the two constant baselines.

    auxhand synth data/train --count 40000 --seed 0
    auxhand synth data/heldout --count 2000 --seed 9
    python benchmarks/accuracy/default_model.py default --data data/heldout --train data/train

EPE, PA-EPE, AUC and PCK@0.05 under `known_root_scale` (docs/evaluation.md). The baselines' mean
hand is that of the training set's first `--mean-of` hands. Rows go to results/default_model.json; a
row that the same command has made is kept (`--force` makes it anew).
"""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from torch.utils.data import Subset
from tqdm import tqdm

from auxhand.data.store import PreparedDataset
from auxhand.evaluation.baselines import MeanHand, mean_hand, mean_pose, true_uv_mean_depth
from auxhand.evaluation.protocol import EvaluationCrops, PoseMetrics, Predictor, evaluate
from auxhand.evaluation.report import is_done, read_rows, record, table
from auxhand.inference.estimator import HandPoseEstimator

SIZE = 64
"""Pixels of the crops that the baselines get; their figures hardly depend on it."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=["default"], help="bundles, or `default`")
    parser.add_argument("--data", type=Path, required=True, help="held-out prepared dataset")
    parser.add_argument("--train", type=Path, required=True, help="prepared dataset trained on")
    parser.add_argument("--mean-of", type=int, default=5000, help="hands in the baselines' mean")
    parser.add_argument("--out", type=Path, default=Path("results/default_model.json"))
    parser.add_argument("--force", action="store_true", help="make rows anew that are there")
    args = parser.parse_args()

    heldout = PreparedDataset(args.data)
    script = "python benchmarks/accuracy/default_model.py"
    data = shlex.join(
        ["--data", str(args.data), "--train", str(args.train), "--mean-of", str(args.mean_of)]
    )

    def add(name: str, models: str, make: Callable[[], tuple[Predictor, int]]) -> None:
        """One row, unless it is there."""
        command = " ".join(filter(None, (script, models, data)))
        if is_done(args.out, name, command) and not args.force:
            print(f"{name}: there already")
            return
        started = time.monotonic()
        predict, size = make()
        batches = tqdm(EvaluationCrops(heldout, size).batches(), desc=name, unit="batch")
        values = evaluate(predict, batches, PoseMetrics())
        record(args.out, name, [values], command, started)

    @cache
    def mean() -> MeanHand:
        training = PreparedDataset(args.train)
        first = Subset(training, range(min(args.mean_of, len(training))))
        batches = EvaluationCrops(first, SIZE).batches()
        return mean_hand(tqdm(batches, desc="mean hand", unit="batch"))

    def model(name: str) -> tuple[Predictor, int]:
        bundle = HandPoseEstimator.load(name).bundle
        return lambda batch: bundle.network(batch.image), bundle.input_size

    for name in args.models:
        add(name, shlex.quote(name), lambda name=name: model(name))
    add("mean pose", "", lambda: (mean_pose(mean()), SIZE))
    add("true 2D, mean depth", "", lambda: (true_uv_mean_depth(mean()), SIZE))
    print(table(read_rows(args.out)))
    print(f"results: {args.out}")


if __name__ == "__main__":
    main()
