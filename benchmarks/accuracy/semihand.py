"""Table 6.1 and Fig. 6.6 to 6.10: SemiHand from the source domain to the target, without labels.

    OMP_NUM_THREADS=1 python benchmarks/accuracy/semihand.py
    OMP_NUM_THREADS=1 python benchmarks/accuracy/semihand.py --seeds 0 1 2 \\
        --only pre-trained "source only" "source+target (bound)" SemiHand

    auxhand synth data/domains/source --count 20000 --seed 0 --config configs/synth/source.yaml \\
        --no-cutouts
    auxhand synth data/domains/person --count 3000 --seed 100 --config configs/synth/person.yaml \\
        --no-cutouts
    auxhand synth data/domains/person-val --count 500 --seed 101 \\
        --config configs/synth/person.yaml configs/synth/person_val.yaml --no-cutouts
    auxhand synth data/domains/person-test --count 1000 --seed 102 \\
        --config configs/synth/person.yaml configs/synth/person_test.yaml --no-cutouts

Crops of 64 px. The target is one person before six backgrounds, as STB is, and the lengths of that
person's bones are given, as in Ch. 6.4.2: the one label of the target that rows with registration
have. The first stage begins with the shipped weights, which saw neither domain, and has 64,000
images; beside L_sup its heatmaps learn from a cross-entropy, which the chapter has not. The second
stage has 30,720 RGB images in ten iterations, in batches of 32; the rate drops after eight of them.

"pre-trained" is the first stage (configs/laptop/semihand_pretrain.yaml) on labels of the source.
Others go on from it (configs/laptop/semihand.yaml): "source only" with more of the same; "vc",
"cc", "vc+cc", "pseudo-labels" and "SemiHand" with the target's images beside it, half of each
batch, without labels; "SemiHand on target test" and "on both" take the target's test images, or
both. "source+target (bound)" goes on with the target's images and their labels, half of each batch;
"target only" learns from these alone, from the shipped weights and on as many images as two stages
have.

Fig. 6.10 are the rows "SemiHand m%", "strong m%" (all labels), "weak 2D m%" and "weak masks m%":
the second stage with the first m% of the target's images ("SemiHand 100%" is "SemiHand",
"strong 100%" the bound). Masks teach the masks by Eq. 6.3 and the pose by L_cc, at the same weight.

Tested under `known_root_scale` on the target's test set and, as `train_*`, on the target's training
images, whose labels are read for nothing else in rows without them. By the labels of target-val,
which the logs show, one thing was chosen: when the rate drops. `closed_pct` is the percent of the
distance in EPE from "source only" to the bound that a row closes, seed by seed.

Rows go to results/semihand.json, PCK curves to results/semihand/. Seeds that are there are kept, a
training that was cut off is resumed (`--force` makes them anew). Curves of each term (train/view,
train/cross_modal, train/pseudo_labels, train/supervised), of the shares of labels that are trusted
and that no hand fits (train/trusted, train/uncorrected) and of the error on target-val are in the
event files of runs/semihand/ROW_SEED: `tensorboard --logdir runs/semihand`. Pictures:
semihand_figures.py.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from auxhand.data.store import PreparedDataset
from auxhand.evaluation.report import Row, read_rows, write_rows

sys.path.append(str(Path(__file__).parents[1]))
from frame import (
    EXACT,
    SHARES,
    Work,
    add,
    budget,
    due,
    evaluate_bundle,
    file_name,
    template_of,
    train,
    training_arguments,
)

CONFIGS = Path("configs/laptop")
FIRST, SECOND, BATCH = 64_000, 30_720, 32
"""RGB images of either stage, of both domains together, and of a step."""

TRAINED, SOURCE_ONLY, BOUND = "pre-trained", "source only", "source+target (bound)"
TARGET_ONLY, OWN_TEMPLATE = "target only", "SemiHand, own template"
OBJECTIVES = {
    "vc": {"cross_modal", "pseudo_labels"},
    "cc": {"view", "pseudo_labels"},
    "vc+cc": {"pseudo_labels"},
    "pseudo-labels": {"view", "cross_modal"},
    "SemiHand": set[str](),
    OWN_TEMPLATE: set[str](),
}
"""Rows of Table 6.1, and the parts of the objective that are left out; and one whose template is
the median of its own predictions."""

TARGET, TARGETS = "person", 3_000  # its folder, and the images of it that a share is of
OTHER_IMAGES = {
    "SemiHand on target test": (f"{TARGET}-test",),
    "SemiHand on both": (TARGET, f"{TARGET}-test"),
}
LABELS = {
    "strong": "use: labelled, told: []",
    "weak 2D": "use: weak, told: [side, joints_uv]",
    "weak masks": "use: weak, told: [side, mask]",
}
"""What Fig. 6.10 compares with, and what it is told of the target."""

ALL_IMAGES = {"SemiHand": "SemiHand", "strong": BOUND}
"""Rows of Table 6.1 that are also a kind's row of Fig. 6.10, with all images."""


def of_share(kind: str, percent: int) -> str:
    """The row of Fig. 6.10 of a kind with that share of the target's images."""
    return ALL_IMAGES[kind] if percent == 100 and kind in ALL_IMAGES else f"{kind} {percent}%"


KINDS = {of_share(kind, m): (kind, m) for kind in ("SemiHand", *LABELS) for m in SHARES}
FIGURE = [row for row in KINDS if row not in ALL_IMAGES.values()]
ROWS = (TRAINED, SOURCE_ONLY, BOUND, TARGET_ONLY, *OBJECTIVES, *OTHER_IMAGES, *FIGURE)
EVERY_EPOCH = (
    "trainer.callbacks=[{class_path: lightning.pytorch.callbacks.ModelCheckpoint, "
    "init_args: {save_last: true, save_top_k: -1}}]"
)
"""Keeps the weights after each iteration, for Fig. 6.9."""

_MODEL, _TRAIN = "model.init_args.", "data.init_args.train"
CLOSED = {"epe_mm": "closed_pct", "train_epe_mm": "train_closed_pct"}


# ---- training ----


def common(work: Work) -> list[str]:
    data = work.options.data
    validation = [f"data.init_args.val={data / f'{TARGET}-val'}", "data.init_args.val_count=null"]
    return [*validation, f"{_MODEL}seed={work.seed}"]


def half_of_each(data: Path, target: str) -> list[str]:
    """L_sup alone, on batches half of which are the source's, and half the target's as `target`
    says."""
    half = f"batch_size: {BATCH // 2}"
    # The second stage's configuration has a target that differs in all of this.
    target = f"target: {{roots: {data / TARGET}, {half}, views: 1, phases: null, {target}}}"
    streams = f"source: {{roots: {data / 'source'}, {half}}}, {target}"
    joined = "data.init_args.joined=true"
    return [f"{_TRAIN}={{{streams}}}", joined, f"{_MODEL}stage=pretrain"]


def pretrained(work: Work) -> Path:
    """Folder of the first stage, which is made where it is not there."""
    folder = work.options.runs / f"{file_name(TRAINED)}_{work.seed}"
    source = f"{_TRAIN}={work.options.data / 'source'}"
    settings = [*budget(FIRST, 16, every=4), *common(work), source]
    again = work.options.force and work.name == TRAINED
    train(CONFIGS / "semihand_pretrain.yaml", folder, work.seed, settings, again)
    return folder


def second_stage(work: Work) -> list[str]:
    """Settings of a row that goes on from the first stage."""
    name, data = work.name, work.options.data
    if name == SOURCE_ONLY:
        batch = f"data.init_args.batch_size={BATCH}"
        return [f"{_TRAIN}={data / 'source'}", batch, f"{_MODEL}stage=pretrain"]
    kind, share = KINDS.get(name, (name, 100))
    count = TARGETS * share // 100
    if kind in LABELS:
        masks = [f"{_MODEL}objective.mask_consistency=100"] if kind == "weak masks" else []
        return [*half_of_each(data, f"{LABELS[kind]}, count: {count}"), *masks]
    images = ", ".join(str(data / each) for each in OTHER_IMAGES.get(kind, (TARGET,)))
    return [
        f"{_TRAIN}.source.roots={data / 'source'}",
        f"{_TRAIN}.target.roots=[{images}]",
        *(f"{_TRAIN}.{stream}.batch_size={BATCH // 2}" for stream in ("source", "target")),
        *([f"{_TRAIN}.target.count={count}"] if share < 100 else []),
        *([] if kind == OWN_TEMPLATE else [template_of(data / TARGET), EXACT]),
        *(f"{_MODEL}objective.{part}=false" for part in sorted(OBJECTIVES.get(kind, ()))),
        *([EVERY_EPOCH] if (name, work.seed) == ("SemiHand", 0) else []),
    ]


def model(work: Work) -> Path:
    """Bundle of a row."""
    if work.name == TRAINED:
        return pretrained(work) / "bundle"
    if work.name == TARGET_ONLY:
        config = "semihand_pretrain.yaml"
        target = f"{_TRAIN}={work.options.data / TARGET}"
        settings = [*budget(FIRST + SECOND, 16, every=4), target]
    else:
        config = "semihand.yaml"
        start = f"start_from={pretrained(work)}"
        settings = [*budget(SECOND, 10, every=1), start, *second_stage(work)]
    settings += common(work)
    return train(CONFIGS / config, work.folder, work.seed, settings, work.options.force)


# ---- the table ----


def measure(work: Work) -> dict[str, float]:
    """Figures of a row, which is trained where it is not; of Fig. 6.10 on test images alone."""
    bundle, data = model(work), work.options.data
    name = f"pck_{file_name(work.name)}.csv"
    curve = work.options.out.with_suffix("") / name if work.seed == 0 else None
    metrics = evaluate_bundle(bundle, PreparedDataset(data / f"{TARGET}-test"), curve)
    if work.name not in FIGURE:
        seen = evaluate_bundle(bundle, PreparedDataset(data / TARGET))
        metrics |= {f"train_{key}": value for key, value in seen.items()}
    return metrics


def close(out: Path) -> None:
    """Tell in each row what percent of the distance from source only to the bound it closes, where
    both are there for all of its seeds."""
    rows = read_rows(out)
    write_rows(out, [replace(row, metrics=_with_closed(row, rows)) for row in rows])


def _with_closed(row: Row, rows: list[Row]) -> dict[str, list[float]]:
    metrics = {key: values for key, values in row.metrics.items() if key not in CLOSED.values()}
    for key, closed in CLOSED.items():
        far, near, own = (_by_seed(name, key, rows) for name in (SOURCE_ONLY, BOUND, row.name))
        if own and own.keys() <= far.keys() & near.keys():
            metrics[closed] = [100 * (far[s] - own[s]) / (far[s] - near[s]) for s in row.seeds]
    return metrics


def _by_seed(name: str, key: str, rows: list[Row]) -> dict[int, float]:
    """Values of a metric of the row of that name; none where there is no such thing."""
    for row in rows:
        if row.name == name and key in row.metrics:
            return dict(zip(row.seeds, row.metrics[key], strict=True))
    return {}


def main() -> None:
    parser = training_arguments(__doc__, "semihand", ROWS)
    parser.add_argument("--data", type=Path, default=Path("data/domains"), help="their folder")
    options = parser.parse_args()
    options.out.with_suffix("").mkdir(parents=True, exist_ok=True)
    for work in due(parser, options, {name: [name] for name in ROWS}):
        add(work, work.name, measure(work))
        close(options.out)


if __name__ == "__main__":
    main()
