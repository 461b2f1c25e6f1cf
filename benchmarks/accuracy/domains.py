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
results/domains.json; rows that the same command has made are kept (`--force` makes them anew).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from supervised import evaluate_bundle, train

from auxhand.data.store import PreparedDataset
from auxhand.evaluation.report import is_done, read_rows, record, table

CONFIG = Path("configs/laptop/supervised.yaml")
DOMAINS = ("source", "target")
TRAININGS = {"source": ["source"], "target": ["target"], "both": ["source", "target"]}
BUDGET = [
    "trainer.max_epochs=16",
    "trainer.check_val_every_n_epoch=16",
    "data.init_args.images_per_epoch=12800",
    "data.init_args.workers=0",
    "data.init_args.phases=[{epoch: 0, size: 64, difficulty: 0.0}]",
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("data/domains"), help="their folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=TRAININGS, help="what to train on")
    parser.add_argument("--out", type=Path, default=Path("results/domains.json"))
    parser.add_argument("--force", action="store_true", help="make rows anew that are there")
    options = parser.parse_args()
    for name, domains in TRAININGS.items():
        if options.only and name not in options.only:
            continue
        rows = {domain: f"{name} -> {domain}" for domain in DOMAINS}
        command = (
            f"OMP_NUM_THREADS=1 python benchmarks/accuracy/domains.py --data {options.data} "
            f"--seed {options.seed} --only {name}"
        )
        done = all(is_done(options.out, row, command) for row in rows.values())
        if done and not options.force:
            print(f"{name}: there already")
            continue
        begun = time.monotonic()
        folders = ", ".join(str(options.data / domain) for domain in domains)
        settings = [*BUDGET, f"data.init_args.train=[{folders}]"]
        if name == "target":  # too few to hold some out
            settings += [f"data.init_args.val={options.data / 'target-val'}"]
            settings += ["data.init_args.val_count=null"]
        folder = Path("runs/domains") / f"{name}_{options.seed}"
        bundle = train(CONFIG, folder, options.seed, settings)
        for domain, row in rows.items():
            metrics = evaluate_bundle(bundle, PreparedDataset(options.data / f"{domain}-test"))
            record(options.out, row, [metrics], command, begun, [options.seed])
    print(table(read_rows(options.out)))


if __name__ == "__main__":
    main()
