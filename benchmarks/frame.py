"""What the benchmarks share: their options, what is still to be made, and the record of it.

A table of accuracy/ fills over several sittings: `due` leaves out what its results file has from
the same options, `add` joins what one seed gave to its row. Several stages are several calls of
`train`, a later one with `start_from=RUN` in its settings. A script of speed/ measures anew each
time and records with `measured`.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from auxhand.cli.main import main as auxhand
from auxhand.data.store import PreparedDataset
from auxhand.evaluation.protocol import EvaluationCrops, PoseMetrics, Predictor, evaluate
from auxhand.evaluation.report import read_rows, record, table, write_curve
from auxhand.hand.anatomy import bone_lengths
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.sample import HandBatch

ROOT = Path(__file__).parents[1]
APART = {"models", "only", "seed", "seeds", "out", "runs", "force"}
"""Options that choose among rows or say where things lie, and change no figure. (`--seed` is short
for `--seeds`.)"""

SHARES = (5, 10, 25, 50, 100)
"""Percent of the samples, as in Fig. 4.9, 5.8 and 6.10."""

HALF = "trainer.precision=bf16-mixed"
"""A setting: where a CPU has instructions for it, a ResNet trains in three quarters of the time."""

EXACT = "model.init_args.objective.tolerance=0"
"""A setting of SemiHand: bones are as long as the template says."""

WIDEST = 8
"""Columns of a table."""


# ---- options ----


def arguments(doc: str, benchmark: str) -> ArgumentParser:
    """Where results go: results/BENCHMARK.json."""
    parser = ArgumentParser(description=doc, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(f"results/{benchmark}.json"))
    return parser


def training_arguments(doc: str, benchmark: str, names: Iterable[str]) -> ArgumentParser:
    """Those of a table whose rows are trainings, of these names."""
    parser = arguments(doc, benchmark)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="*", choices=list(names), help="these trainings alone")
    parser.add_argument("--runs", type=Path, default=Path("runs") / benchmark, help="their folder")
    parser.add_argument("--force", action="store_true", help="train anew what is there already")
    return parser


def model_arguments(doc: str, benchmark: str) -> ArgumentParser:
    """Those of a table whose rows are trained models."""
    parser = arguments(doc, benchmark)
    parser.add_argument("models", nargs="*", default=["default"], help="bundles, or `default`")
    parser.add_argument("--force", action="store_true", help="make rows anew that are there")
    return parser


# ---- what is still to be made, and the record of it ----


@dataclass(frozen=True)
class Work:
    """One seed of a training, or one model, whose rows are still to be made.

    Attributes:
        name, seed: of the training or model.
        parser, options: the script's.
        begun: `time.monotonic()` when this began.
    """

    name: str
    seed: int
    parser: ArgumentParser
    options: Namespace
    begun: float = field(default_factory=time.monotonic)

    @property
    def folder(self) -> Path:
        """The training's."""
        run: Path = self.options.runs / f"{file_name(self.name)}_{self.seed}"
        return run

    @property
    def command(self) -> str:
        """What makes its rows, without the seeds."""
        options = vars(self.options)
        words = [self.name] if self.name in options.get("models", ()) else []
        words += ["--only", self.name] if "only" in options else []
        for key, value in options.items():
            if key not in APART:
                words += [f"--{key.replace('_', '-')}", str(value)]
        return _shell(words)

    def there(self, row: str) -> tuple[dict[int, dict[str, float]], float]:
        """Figures by seed that the results file has of a row from the same options, and the minutes
        that they took."""
        wanted = configuration(self.command, self.parser)
        for old in read_rows(self.options.out):
            if old.name == row and configuration(old.command, self.parser) == wanted:
                figures = zip(*old.metrics.values(), strict=True)
                by_seed = [dict(zip(old.metrics, each, strict=True)) for each in figures]
                return dict(zip(old.seeds, by_seed, strict=True)), old.minutes
        return {}, 0.0


def due(
    parser: ArgumentParser, options: Namespace, rows: Mapping[str, Iterable[str]]
) -> Iterator[Work]:
    """What is chosen and not there yet, one seed after another; all that is chosen with `--force`.
    In the end the results are printed.

    Args:
        parser, options: the script's.
        rows: names of the rows that each training or model makes.
    """
    only = getattr(options, "only", None) or rows
    for name in filter(only.__contains__, rows):
        for seed in getattr(options, "seeds", [0]):
            work = Work(name, seed, parser, options)
            if all(seed in work.there(row)[0] for row in rows[name]) and not options.force:
                print(f"{name}, seed {seed}: there already")
            else:
                yield work
    show(options.out)


def add(work: Work, row: str, metrics: Mapping[str, float]) -> None:
    """Join a seed's figures to a row, or put them in the place of that seed's last ones.

    Figures from other options give way. A row has the metrics that all of its seeds have.

    Args:
        work: what made them.
        row: its name.
        metrics: if "minutes" is among them, the work took that long; else the time since it began.
    """
    minutes = metrics.get("minutes", (time.monotonic() - work.begun) / 60)
    by_seed, before = work.there(row)
    others = [seed for seed in by_seed if seed != work.seed]
    if others:
        minutes += before * len(others) / len(by_seed)
    by_seed[work.seed] = dict(metrics)
    seeds = sorted(by_seed)
    shared = [name for name in metrics if all(name in by_seed[seed] for seed in seeds)]
    told = f" --seeds {' '.join(map(str, seeds))}" if "seeds" in work.options else ""
    values = [{name: by_seed[seed][name] for name in shared} for seed in seeds]
    begun = time.monotonic() - 60 * minutes
    record(work.options.out, row, values, work.command + told, begun, seeds)


def measured(out: Path, row: str, metrics: Mapping[str, float], begun: float) -> None:
    """Write and print a row that this command has made from `begun` (`time.monotonic()`)."""
    print(table([record(out, row, [metrics], _shell(sys.argv[1:]), begun)]))


def show(out: Path) -> None:
    """Print a results file: as a table or, where that is too wide, a line for each metric."""
    rows = read_rows(out)
    if all(len(row.metrics) <= WIDEST for row in rows):
        print(table(rows))
        return
    for row in rows:
        print(row.name)
        for metric, values in row.metrics.items():
            print(f"    {metric:<24}{values[0]:12.4g}")


def _shell(words: Sequence[str]) -> str:
    """The script that runs, with these arguments, as it is called from the repository's folder."""
    script = Path(os.path.relpath(Path(sys.argv[0]).resolve(), ROOT)).as_posix()
    threads = os.environ.get("OMP_NUM_THREADS")
    return (f"OMP_NUM_THREADS={threads} " if threads else "") + shlex.join(
        ["python", script, *words]
    )


def configuration(command: str, parser: ArgumentParser) -> dict[str, list[str]]:
    """What decides about the figures in a recorded command: options with other values than their
    defaults, in any order, those `APART` aside."""
    found: dict[str, list[str]] = {}
    for word in shlex.split(command.partition(".py")[2]):
        if word.startswith("--"):
            found[word[2:].replace("-", "_")] = []
        elif found:
            found[list(found)[-1]].append(word)
    return {
        key: values
        for key, values in found.items()
        if key not in APART and values != [str(parser.get_default(key))]
    }


def file_name(row: str) -> str:
    """A row's name without blanks and signs."""
    return re.sub(r"[^\w.]+", "_", row).strip("_")


# ---- training and evaluation ----


def budget(images: int, epochs: int, every: int | None = None) -> list[str]:
    """Settings of a training on `images` RGB images on one core, with a validation `every` so many
    epochs; None: at the end."""
    return [
        f"trainer.max_epochs={epochs}",
        f"trainer.check_val_every_n_epoch={every or epochs}",
        f"data.init_args.images_per_epoch={images // epochs}",
        "data.init_args.workers=0",
    ]


def template_of(target: Path) -> str:
    """A setting: the lengths of the bones of a domain's one person."""
    lengths = bone_lengths(PreparedDataset(target)[0].joints_xyz)
    return f"model.init_args.template={lengths.tolist()}"


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


def evaluate_bundle(
    model: Path | str, test: PreparedDataset, curve: Path | None = None
) -> dict[str, float]:
    """Metrics of a bundle, or of the `default` one, on crops as it was trained on; see `scores`."""
    bundle = HandPoseEstimator.load(model).bundle
    crops = EvaluationCrops(test, bundle.input_size, bundle.crop)
    return scores(bundle.predict, crops.batches(), curve)


def scores(
    predict: Predictor, batches: Iterable[HandBatch], curve: Path | None = None
) -> dict[str, float]:
    """Metrics under `known_root_scale`; the PCK curve is written into the file `curve`."""
    metrics = PoseMetrics()
    values = evaluate(predict, tqdm(batches, unit="batch"), metrics)
    if curve is not None and "epe_mm" in values:
        write_curve(curve, *metrics.pck_curve())
    return values
