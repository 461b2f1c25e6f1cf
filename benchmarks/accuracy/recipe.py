"""Accuracy per CPU minute: backbones, decoders, resolutions and the weight of depth.

    auxhand synth data/source --count 20000 --seed 0
    auxhand synth data/test --count 2000 --seed 1000 --size 160
    OMP_NUM_THREADS=1 python benchmarks/accuracy/recipe.py --test data/test [--only NAME]

Each recipe trains configs/laptop/supervised.yaml with other settings on one core, for as many
images as that core manages in the time that the first recipe takes for 120,000 (by the speeds of
`benchmarks/speed/training.py`; the processor time that it did take is in the row). Rows go to
results/recipe.json; seeds that are there are kept (`--force` makes them anew).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from auxhand.data.store import PreparedDataset

sys.path.append(str(Path(__file__).parents[1]))
from frame import add, budget, due, evaluate_bundle, train, training_arguments

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
    parser = training_arguments(__doc__, "recipe", RECIPES)
    parser.add_argument("--test", type=Path, required=True, help="prepared dataset")
    options = parser.parse_args()
    test = PreparedDataset(options.test)
    for work in due(parser, options, {name: [name] for name in RECIPES}):
        images, others = RECIPES[work.name]
        settings = [*budget(images, EPOCHS), f"data.init_args.phases=[{EASY}]", *others]
        processor = time.process_time()
        bundle = train(CONFIG, work.folder, work.seed, settings, options.force)
        metrics = evaluate_bundle(bundle, test) | {"images": float(images)}
        metrics["cpu_minutes"] = round((time.process_time() - processor) / 60, 1)
        add(work, work.name, metrics)


if __name__ == "__main__":
    main()
