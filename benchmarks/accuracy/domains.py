"""The gap between the benchmark domains, as in Table 6.1: one method, trained on one or on both.

    auxhand synth data/domains/source --count 20000 --seed 0 --config configs/synth/source.yaml \\
        --no-cutouts
    auxhand synth data/domains/source-test --count 1000 --seed 103 \\
        --config configs/synth/source.yaml configs/synth/source_test.yaml --no-cutouts
    auxhand synth data/domains/target --count 6000 --seed 100 --config configs/synth/target.yaml \\
        --renderer pathtrace --no-cutouts
    auxhand synth data/domains/target-val --count 500 --seed 101 \\
        --config configs/synth/target.yaml configs/synth/target_val.yaml \\
        --renderer pathtrace --no-cutouts
    auxhand synth data/domains/target-test --count 1000 --seed 102 \\
        --config configs/synth/target.yaml configs/synth/target_test.yaml \\
        --renderer pathtrace --no-cutouts
    OMP_NUM_THREADS=1 python benchmarks/accuracy/domains.py [--only source target both]

Trains configs/laptop/supervised.yaml on 204,800 crops of 64 px, on one core, from the source, the
target or both, labels used; each is evaluated on both tests under `known_root_scale`. Rows go to
results/domains.json; seeds that are there are kept (`--force` makes them anew).
"""

from __future__ import annotations

import sys
from pathlib import Path

from auxhand.data.store import PreparedDataset

sys.path.append(str(Path(__file__).parents[1]))
from frame import add, budget, due, evaluate_bundle, train, training_arguments

CONFIG = Path("configs/laptop/supervised.yaml")
DOMAINS = ("source", "target")
TRAININGS = {"source": ["source"], "target": ["target"], "both": ["source", "target"]}
PHASES = "data.init_args.phases=[{epoch: 0, size: 64, difficulty: 0.0}]"


def main() -> None:
    parser = training_arguments(__doc__, "domains", TRAININGS)
    parser.add_argument("--data", type=Path, default=Path("data/domains"), help="their folder")
    options = parser.parse_args()
    rows = {name: [f"{name} -> {domain}" for domain in DOMAINS] for name in TRAININGS}
    for work in due(parser, options, rows):
        folders = ", ".join(str(options.data / domain) for domain in TRAININGS[work.name])
        settings = [*budget(204_800, 16), PHASES, f"data.init_args.train=[{folders}]"]
        if work.name == "target":  # too few to hold some out
            settings += [f"data.init_args.val={options.data / 'target-val'}"]
            settings += ["data.init_args.val_count=null"]
        bundle = train(CONFIG, work.folder, work.seed, settings, options.force)
        for domain, row in zip(DOMAINS, rows[work.name], strict=True):
            test = PreparedDataset(options.data / f"{domain}-test")
            add(work, row, evaluate_bundle(bundle, test))


if __name__ == "__main__":
    main()
