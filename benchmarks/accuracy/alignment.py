"""Table 5.1, Fig. 5.5 and Fig. 5.8 on the source domain, at equal budget.

    auxhand synth data/domains/source --count 20000 --seed 0 --config configs/synth/source.yaml \\
        --no-cutouts
    auxhand synth data/domains/source-test --count 1000 --seed 103 \\
        --config configs/synth/source.yaml configs/synth/source_test.yaml --no-cutouts
    OMP_NUM_THREADS=1 python benchmarks/accuracy/alignment.py --only "S1 R2P" --seeds 0 1 2

Trains configs/laptop/alignment.yaml, 160,256 RGB images of 64 px a row on one core (five times as
many for the rows "x5"), and evaluates the last weights on the test set under `known_root_scale`,
from RGB alone; a row "from C" or "from RC" gives the same network other inputs. "supervised m%"
trains on the first m% of the training samples. "weak m%" trains on them the same, and besides, in
each step, on as many of the others, of which only the cloud is known: 320,512 images. With "equal
images" labelled and others together are as many as elsewhere. Rows "lambda_cloud 0.1" weigh clouds
a tenth of what they weigh elsewhere. "places" are rows on hands anywhere in wide-angle pictures
(made as configs/synth/places.yaml says), with view correction, without ("no vc"), and with that of
points alone ("vc of labels").

Rows go to results/alignment.json, PCK and validation curves to results/alignment/. A seed joins its
row when it is done; one that is there is kept, a training that was cut off is resumed; `--force`
trains anew.
"""

from __future__ import annotations

import statistics
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning import LightningDataModule, LightningModule
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from auxhand.training import assemble

sys.path.append(str(Path(__file__).parents[1]))
from frame import add, budget, due, file_name, scores, train, training_arguments

CONFIG = Path("configs/laptop/alignment.yaml")
SOURCE = "data/domains/source"
EPOCHS, IMAGES, BATCH = 16, 10016, 32
SAMPLES = 19_000  # of the training set, without those held out


def strategy(name: str, pairs: str) -> list[str]:
    points = 256 if "C" in pairs else 0
    return [
        f"model.init_args.strategy={name}",
        f"model.init_args.pairs={pairs}",
        f"data.init_args.cloud_points={points}",
    ]


def labelled(percent: int) -> list[str]:
    streams = f"{{labelled: {{roots: {SOURCE}, count: {SAMPLES * percent // 100}}}}}"
    return [*strategy("S4", "RC2CHP"), f"data.init_args.train={streams}"]


def weakly(percent: int, times: int) -> list[str]:
    count, half = SAMPLES * percent // 100, times * BATCH // 2
    streams = (
        f"{{labelled: {{roots: {SOURCE}, count: {count}, batch_size: {half}}}, "
        f"weak: {{roots: {SOURCE}, start: {count}, batch_size: {half}, use: weak, "
        "told: [K, side, presence, mask, depth, cloud]}}"
    )
    return [
        *strategy("S4", "RC2CHP"),
        f"data.init_args.train={streams}",
        "data.init_args.joined=true",
        f"data.init_args.images_per_epoch={times * IMAGES}",
    ]


LONG = [f"trainer.max_epochs={5 * EPOCHS}", "trainer.check_val_every_n_epoch=5"]
ROWS: dict[str, list[str]] = {
    "S1 R2P": strategy("S1", "R2P"),
    "S2 R2HP": strategy("S2", "R2HP"),
    "S2 R2CP": strategy("S2", "R2CP"),
    "S2 R2CHP": strategy("S2", "R2CHP"),
    "S3 RC2CHP": [*strategy("S3", "RC2CHP"), "model.init_args.beta_prime=0.001"],
    "S3 RC2CHP beta' 1": [*strategy("S3", "RC2CHP"), "model.init_args.beta_prime=1"],
    "S4 RC2CHP": strategy("S4", "RC2CHP"),
    "S1 R2P no vc": [*strategy("S1", "R2P"), "data.init_args.crop.view=plain"],
    "S1 R2P places": strategy("S1", "R2P"),
    "S1 R2P places no vc": [*strategy("S1", "R2P"), "data.init_args.crop.view=plain"],
    "S1 R2P places vc of labels": [*strategy("S1", "R2P"), "data.init_args.crop.view=labels"],
    "Spurr RP2RP": strategy("Spurr", "RP2RP"),
    "S1 R2P x5": [*strategy("S1", "R2P"), *LONG],
    "S4 RC2CHP x5": [*strategy("S4", "RC2CHP"), *LONG],
    **{f"supervised {m}%": labelled(m) for m in (5, 10, 25, 50)},
    **{f"weak {m}%": weakly(m, 2) for m in (5, 10, 25, 50)},
    **{f"weak {m}% equal images": weakly(m, 1) for m in (5, 10, 25, 50)},
}
"""Name and settings of each training; supervised and weak at 100% are "S4 RC2CHP"."""

LIGHT_CLOUDS = (
    *("S2 R2CP", "S2 R2CHP", "S3 RC2CHP", "S3 RC2CHP beta' 1", "S4 RC2CHP"),
    *("supervised 5%", "weak 5% equal images"),
)
ROWS |= {
    f"{row} lambda_cloud 0.1": [*ROWS[row], "model.init_args.weights.cloud=0.1"]
    for row in LIGHT_CLOUDS
}


def domain(row: str) -> str:
    """What a row trains on, and with "-test" what it is tested on."""
    return "places" if "places" in row else "source"


OTHER_INPUTS = {
    "S3 RC2CHP": ("RC",),
    "S3 RC2CHP beta' 1": ("RC",),
    "S4 RC2CHP": ("C", "RC"),
}
OTHER_INPUTS |= {f"{row} lambda_cloud 0.1": inputs for row, inputs in OTHER_INPUTS.items()}


def rows_of(name: str) -> dict[str, str]:
    """What a training's network is given at the test, by the rows that it makes."""
    return {name: "R"} | {f"{name} from {inputs}": inputs for inputs in OTHER_INPUTS.get(name, ())}


def trained(folder: Path, test: Path) -> tuple[LightningModule, LightningDataModule]:
    """A run's last weights, and crops of the test set as that run made those of validation."""
    cli = assemble([folder / "config.yaml"])
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", "cpu", weights_only=True)
    cli.model.load_state_dict(checkpoint["state_dict"])
    cli.datamodule.val_root, cli.datamodule.val_count = str(test), None
    return cli.model.eval(), cli.datamodule


def validation(folder: Path, batch_size: int) -> tuple[np.ndarray, float]:
    """(images seen, EPE in mm) of each validation of a run, and the minutes that it took: those
    from one validation to the next, of which the median counts, times their number."""
    events = EventAccumulator(str(folder))
    events.Reload()
    points = events.Scalars("val/epe_mm")
    curve = np.array([((p.step + 1) * batch_size, p.value) for p in points])
    times = [p.wall_time for p in points]
    seconds = statistics.median(np.diff(times)) * len(points) if len(points) > 1 else 0.0
    return curve, seconds / 60


def main() -> None:
    parser = training_arguments(__doc__, "alignment", ROWS)
    parser.add_argument("--data", type=Path, default=Path("data/domains"), help="their folder")
    options = parser.parse_args()
    curves = options.out.with_suffix("")
    curves.mkdir(parents=True, exist_ok=True)
    for work in due(parser, options, {name: rows_of(name) for name in ROWS}):
        name = work.name
        settings = [
            f"data.init_args.train={options.data / domain(name)}",
            *budget(EPOCHS * IMAGES, EPOCHS, every=1),
            f"model.init_args.seed={work.seed}",
            *(each.replace(SOURCE, str(options.data / "source")) for each in ROWS[name]),
        ]
        train(CONFIG, work.folder, work.seed, settings, options.force)
        model, data = trained(work.folder, options.data / f"{domain(name)}-test")
        curve, minutes = validation(work.folder, data.batch_size)
        np.savetxt(curves / f"val_{work.folder.name}.csv", curve, "%.6g", ", ")
        for row, inputs in rows_of(name).items():
            file = curves / f"pck_{file_name(row)}.csv" if work.seed == 0 else None
            predict = partial(model.predict, inputs=inputs)
            metrics = scores(predict, data.val_dataloader(), file)
            add(work, row, metrics | {"minutes": round(minutes, 2)})


if __name__ == "__main__":
    main()
