"""`auxhand evaluate MODEL DATA`: EPE, PCK and AUC of a model on a prepared dataset."""

from __future__ import annotations

import hashlib
import re
import shlex
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from auxhand.cli.arguments import Parser

if TYPE_CHECKING:
    from torch import Tensor

    from auxhand.data.store import PreparedDataset

RESULTS, CURVE = "evaluation.json", "pck_curve.png"


def parser() -> Parser:
    """Arguments of `auxhand evaluate`."""
    parser = Parser(
        description="Compare a model's poses with a dataset's labels (docs/evaluation.md).",
        epilog="example: auxhand evaluate default heldout --out results/heldout",
    )
    parser.add_argument("model", help="a bundle's folder, or `default` for the shipped weights")
    parser.add_argument("data", type=Path, help="a prepared dataset, as `auxhand synth` writes it")
    parser.add_argument(
        "--protocol",
        default="known_root_scale",
        help="known_root_scale, closed_form_root, scale_fitted, procrustes or centroid; or a "
        "dataset's: rhd, stb, freihand, obman, hsd, h3d, yt3d, do",
    )
    parser.add_argument(
        "--crop",
        choices=("joints", "mask"),
        help="place crops by the true joints or by the hand's true mask, not as the dataset's "
        "protocol does, or else the model's training did",
    )
    parser.add_argument(
        "--curves",
        type=Path,
        nargs="*",
        default=[],
        help='published PCK curves to draw beside ours: files of lines "mm, PCK", or folders',
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("evaluation"),
        help="folder for table (JSON) and PCK curve; evaluations into one folder share them",
    )
    return parser


def run(args: Namespace) -> None:
    """Evaluate, print the table, write the results.

    Raises:
        FileNotFoundError: no such bundle or dataset.
        ValueError: damaged files, no such protocol, a dataset without joints, or with labels that
            cannot be.
    """
    import torch
    from tqdm import tqdm

    from auxhand.data.crops import USUAL
    from auxhand.data.plausible import problems_of_rows
    from auxhand.data.store import PreparedDataset
    from auxhand.evaluation.datasets import protocol_named
    from auxhand.evaluation.protocol import EvaluationCrops, evaluate
    from auxhand.evaluation.report import (
        plot_pck,
        read_curve,
        read_rows,
        record,
        table,
        write_curve,
    )
    from auxhand.files import check_writable, sweep
    from auxhand.inference.bundle import bundle_folder, load_bundle
    from auxhand.inference.estimator import HandPoseEstimator

    started = time.monotonic()
    protocol = protocol_named(args.protocol)
    metrics = protocol.metrics()
    published = _published(args.curves)
    results, drawing = args.out / RESULTS, args.out / CURVE
    read_rows(results)  # a file of other things is found now, not after the work
    check_writable(args.out)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    bundle = HandPoseEstimator(load_bundle(bundle_folder(args.model)), device).bundle
    data = PreparedDataset(args.data)
    if wrong := problems_of_rows(data):
        print("\n".join(f"  {line}" for line in wrong), file=sys.stderr)
        raise ValueError(
            f"{args.data}: {len(wrong)} labels cannot be those of a hand, see above; nothing is "
            "evaluated: mend them, or convert anew with --skip-bad"
        )
    rule = USUAL[args.crop] if args.crop else protocol.crop or bundle.crop
    rule = replace(rule, view=bundle.view)
    crops = EvaluationCrops(data, bundle.input_size, rule)
    values = evaluate(
        lambda batch: bundle.predict(batch, rule),
        tqdm(crops.batches(), desc="evaluating", unit="batch"),
        metrics,
        device,
    )
    if not values:
        raise ValueError(f"{args.data}: no sample has the joints that this model predicts")

    sweep(args.out)
    command = ["auxhand", "evaluate", args.model, str(args.data), "--protocol", args.protocol]
    name = f"{args.model} on {args.data}, {args.protocol}"
    if args.crop:
        command += ["--crop", args.crop]
        name += f", crops by {args.crop}"
    row = record(results, name, [values], shlex.join(command), started)
    if "epe_mm" in values:
        write_curve(_curve_file(args.out, row.name), *metrics.pck_curve())
    rows = read_rows(results)
    files = {row.name: _curve_file(args.out, row.name) for row in rows}
    curves = {name: read_curve(file) for name, file in files.items() if file.is_file()}
    if curves:
        plot_pck(drawing, curves, published)
    print(table(rows))
    if "epe_mm" not in values:
        print(f"no EPE: {_why_no_epe(data)}")
    print(f"results: {results}" + (f"\nPCK curve: {drawing}" if curves else ""))


def _why_no_epe(data: PreparedDataset) -> str:
    """What a comparison in 3D is missing."""
    rows = [data.row(index) for index in range(len(data))]
    for name, what in (("joints_xyz", "3D joints"), ("K", "camera matrix K")):
        if all(row[name] is None for row in rows):
            return f"the dataset has no {what}"
    return "the model gives no 3D pose that could be brought to the labels' scale and depth"


def _published(paths: Sequence[Path]) -> dict[str, tuple[Tensor, Tensor]]:
    """Curves by the names of their files (FOLDER/FILE in a folder); of a folder those that
    can be read, others are named.

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: a file that is named and holds no curve, or nothing that can be read.
    """
    from auxhand.evaluation.report import read_curve

    curves = {}
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"no curve {path}")
        inside = sorted(p for p in path.glob("[!.]*") if p.is_file()) if path.is_dir() else [path]
        for file in inside:
            try:
                curves[str(file.relative_to(path.parent))] = read_curve(file)
            except ValueError as error:
                if not path.is_dir():
                    raise
                print(f"left out: {error}")
    if paths and not curves:
        raise ValueError(f"no PCK curves in {', '.join(map(str, paths))}")
    return curves


def _curve_file(folder: Path, row: str) -> Path:
    """Where the values of a row's PCK curve lie: no two rows are alike in the number at the end."""
    name = re.sub(r"[^\w.-]+", "_", row)[-60:].lstrip("_")  # names of more than 255 bytes are none
    return folder / f"{name}_{hashlib.sha256(row.encode('utf-8', 'replace')).hexdigest()[:8]}.csv"
