"""Models on held-out rendered hands, beside the two constant baselines.

    auxhand synth data/train --count 40000 --seed 0
    auxhand synth data/heldout --count 2000 --seed 9
    python benchmarks/accuracy/default_model.py default --data data/heldout --train data/train

EPE, PA-EPE, AUC and PCK@0.05 under `known_root_scale` (docs/evaluation.md). The baselines' mean
hand is that of the training set's first `--mean-of` hands. Rows go to results/default_model.json;
those that are there are kept (`--force` makes them anew).
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

from torch.utils.data import Subset
from tqdm import tqdm

from auxhand.data.store import PreparedDataset
from auxhand.evaluation.baselines import MeanHand, mean_hand, mean_pose, true_uv_mean_depth
from auxhand.evaluation.protocol import EvaluationCrops

sys.path.append(str(Path(__file__).parents[1]))
from frame import add, due, evaluate_bundle, model_arguments, scores

SIZE = 64
"""Pixels of the crops that the baselines get; their figures hardly depend on it."""


BASELINES = {"mean pose": mean_pose, "true 2D, mean depth": true_uv_mean_depth}


def main() -> None:
    parser = model_arguments(__doc__, "default_model")
    parser.add_argument("--data", type=Path, required=True, help="held-out prepared dataset")
    parser.add_argument("--train", type=Path, required=True, help="prepared dataset trained on")
    parser.add_argument("--mean-of", type=int, default=5000, help="hands in the baselines' mean")
    options = parser.parse_args()
    heldout = PreparedDataset(options.data)

    @cache
    def mean() -> MeanHand:
        training = PreparedDataset(options.train)
        first = Subset(training, range(min(options.mean_of, len(training))))
        return mean_hand(tqdm(EvaluationCrops(first, SIZE).batches(), unit="batch"))

    for work in due(parser, options, {name: [name] for name in (*options.models, *BASELINES)}):
        if work.name in BASELINES:
            batches = EvaluationCrops(heldout, SIZE).batches()
            metrics = scores(BASELINES[work.name](mean()), batches)
        else:
            metrics = evaluate_bundle(work.name, heldout)
        add(work, work.name, metrics)


if __name__ == "__main__":
    main()
