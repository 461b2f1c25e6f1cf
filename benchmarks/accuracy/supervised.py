"""The representations of Ch. 2.3 at equal budget: the same body, images, epochs and augmentation.

    auxhand synth data/source --count 20000 --seed 0
    auxhand synth data/test --count 2000 --seed 1000 --size 160
    python benchmarks/accuracy/supervised.py --test data/test [--seeds 0 1 2]

Trains each configuration of configs/laptop/representations (128,000 images at 64 px) and evaluates
it on the test set under `known_root_scale`. Rows go to results/supervised.json; seeds that are
there are kept (`--force` makes them anew), so a table can fill over several sittings.
"""

from __future__ import annotations

import sys
from pathlib import Path

from auxhand.data.store import PreparedDataset

sys.path.append(str(Path(__file__).parents[1]))
from frame import add, due, evaluate_bundle, train, training_arguments

CONFIGS = Path("configs/laptop/representations")


def main() -> None:
    configs = {config.stem: config for config in sorted(CONFIGS.glob("*.yaml"))}
    parser = training_arguments(__doc__, "supervised", configs)
    parser.add_argument("--test", type=Path, required=True, help="prepared dataset")
    options = parser.parse_args()
    test = PreparedDataset(options.test)
    for work in due(parser, options, {name: [name] for name in configs}):
        bundle = train(configs[work.name], work.folder, work.seed, restart=options.force)
        add(work, work.name, evaluate_bundle(bundle, test))


if __name__ == "__main__":
    main()
