"""Accuracy per CPU minute: backbones, decoders, resolutions and the weight of depth.

    auxhand synth data/source --count 20000 --seed 0
    auxhand synth data/test --count 2000 --seed 1000 --size 160
    OMP_NUM_THREADS=1 python benchmarks/accuracy/recipe.py --test data/test [--only NAME]

Each recipe trains configs/laptop/supervised.yaml with other settings on one core, for as many
images as that core manages in the time that the first recipe takes for 120,000 (by the speeds of
`benchmarks/speed/training.py`; the processor time that it did take is in the row). Rows go to
results/recipe.json; a row that the same command has made is kept (`--force` makes it anew).
"""

from __future__ import annotations

import argparse
import shlex
import time
from pathlib import Path

from supervised import evaluate_bundle, train

from auxhand.data.store import PreparedDataset
from auxhand.evaluation.report import is_done, read_rows, record, table

CONFIG = Path("configs/laptop/supervised.yaml")
BODY = "model.init_args.network.init_args.body"
EPOCHS = 10
EASY = (
    "{epoch: 0, size: 64, difficulty: 0.0, viewpoints: upright}, "
    "{epoch: 3, size: 64, difficulty: 0.2}"
)

RECIPES: dict[str, tuple[int, list[str]]] = {
    "regnetx_002, pyramid, 64 px": (120_000, []),
    "regnetx_004": (105_000, [f"{BODY}.init_args.backbone=regnetx_004"]),
    "resnet18": (67_000, [f"{BODY}.init_args.backbone=resnet18"]),
    "deconvolutions of 128": (
        109_000,
        [
            f"{BODY}=auxhand.models.pose_resnet.PoseResNet",
            f"{BODY}.init_args.backbone=regnetx_002",
            f"{BODY}.init_args.width=128",
        ],
    ),
    "64 then 96 px": (
        88_000,
        [f"data.init_args.phases=[{EASY}, {{epoch: 6, size: 96, difficulty: 0.2}}]"],
    ),
    "96 px": (66_000, [f"data.init_args.phases=[{EASY.replace('size: 64', 'size: 96')}]"]),
    "depth weighs 0.25": (120_000, ["model.init_args.weights.depth=0.25"]),
    "cross-entropy weighs 0.2": (
        120_000,
        ["model.init_args.weights.heatmap_cross_entropy=0.2"],
    ),
}
"""Name -> images, and what differs from the first."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--test", type=Path, required=True, help="prepared dataset")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="names of recipes")
    parser.add_argument("--out", type=Path, default=Path("results/recipe.json"))
    parser.add_argument("--force", action="store_true", help="make rows anew that are there")
    options = parser.parse_args()
    test = PreparedDataset(options.test)
    for number, (name, (images, settings)) in enumerate(RECIPES.items()):
        if options.only and name not in options.only:
            continue
        command = (
            f"OMP_NUM_THREADS=1 python benchmarks/accuracy/recipe.py --test {options.test} "
            f"--seed {options.seed} --only {shlex.quote(name)}"
        )
        if is_done(options.out, name, command) and not options.force:
            print(f"{name}: there already")
            continue
        budget = [
            f"trainer.max_epochs={EPOCHS}",
            f"trainer.check_val_every_n_epoch={EPOCHS}",
            f"data.init_args.images_per_epoch={images // EPOCHS}",
            "data.init_args.workers=0",
            f"data.init_args.phases=[{EASY}]",
        ]
        begun, processor = time.monotonic(), time.process_time()
        folder = Path("runs/recipes") / f"{number}_{options.seed}"
        bundle = train(CONFIG, folder, options.seed, [*budget, *settings])
        metrics = evaluate_bundle(bundle, test)
        metrics["images"] = float(images)
        metrics["cpu_minutes"] = round((time.process_time() - processor) / 60, 1)
        record(options.out, name, [metrics], command, begun, [options.seed])
    print(table(read_rows(options.out)))


if __name__ == "__main__":
    main()
