"""The representations of Ch. 2.3 at equal budget: the same body, images, epochs and augmentation.

    auxhand synth data/source --count 20000 --seed 0
    auxhand synth data/test --count 2000 --seed 1000 --size 160
    python benchmarks/accuracy/supervised.py --test data/test [--seeds 0 1 2]

Trains each configuration of configs/laptop/representations (128,000 images at 64 px) and evaluates
it on the test set under `known_root_scale`. Rows go to results/supervised.json; a row that the same
command has made is kept (`--force` makes it anew), so a table can fill over several sittings.
"""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from auxhand.cli.main import main as auxhand
from auxhand.data.store import PreparedDataset
from auxhand.evaluation.protocol import EvaluationCrops, PoseMetrics, evaluate
from auxhand.evaluation.report import is_done, read_rows, record, table
from auxhand.inference.bundle import load_bundle

CONFIGS = Path("configs/laptop/representations")


def train(
    config: Path, folder: Path, seed: int, settings: Sequence[str] = (), restart: bool = False
) -> Path:
    """Bundle of one configuration, with other `settings`, trained with one seed in `folder`: what
    lies there is resumed, or made anew with `restart`.

    Raises:
        SystemExit: the training failed; it has said why.
    """
    common = [
        f"trainer.default_root_dir={folder}",
        f"seed_everything={seed}",
        f"data.init_args.seed={seed}",
    ]
    again = ["--restart"] if restart else []
    code = auxhand(["train", str(config), *again, "--set", *common, *settings])
    if code:
        raise SystemExit(code)
    return folder / "bundle"


def evaluate_bundle(folder: Path, test: PreparedDataset) -> dict[str, float]:
    """Metrics of a bundle."""
    bundle = load_bundle(folder)
    return evaluate(
        lambda batch: bundle.network(batch.image),
        EvaluationCrops(test, bundle.input_size).batches(),
        PoseMetrics(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--test", type=Path, required=True, help="prepared dataset")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="*", help="names of configurations")
    parser.add_argument("--out", type=Path, default=Path("results/supervised.json"))
    parser.add_argument("--force", action="store_true", help="make rows anew that are there")
    options = parser.parse_args()
    test = PreparedDataset(options.test)
    seeds = " ".join(map(str, options.seeds))
    for config in sorted(CONFIGS.glob("*.yaml")):
        name = config.stem
        if options.only and name not in options.only:
            continue
        data = shlex.quote(str(options.test))
        command = (
            f"python benchmarks/accuracy/supervised.py --test {data} --seeds {seeds} --only {name}"
        )
        if is_done(options.out, name, command) and not options.force:
            print(f"{name}: there already")
            continue
        begun = time.monotonic()
        runs = Path("runs/representations")
        values = [
            evaluate_bundle(train(config, runs / f"{name}_{seed}", seed), test)
            for seed in options.seeds
        ]
        record(options.out, name, values, command, begun, options.seeds)
    print(table(read_rows(options.out)))


if __name__ == "__main__":
    main()
