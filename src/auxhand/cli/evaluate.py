"""`auxhand evaluate MODEL DATA`: EPE, PCK and AUC of a model on a prepared dataset."""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

RESULTS, CURVE = "evaluation.json", "pck_curve.png"


def parser() -> ArgumentParser:
    """Arguments of `auxhand evaluate`."""
    parser = ArgumentParser(
        description="Compare a model's poses with a dataset's labels (docs/evaluation.md).",
        epilog="example: auxhand evaluate default heldout --out results/heldout",
    )
    parser.add_argument("model", help="a bundle's folder, or `default` for the shipped weights")
    parser.add_argument("data", type=Path, help="a prepared dataset, as `auxhand synth` writes it")
    parser.add_argument(
        "--protocol",
        default="known_root_scale",
        help="known_root_scale, closed_form_root, scale_fitted or procrustes",
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
        ValueError: damaged files, no such protocol, a dataset without joints.
    """
    import torch
    from tqdm import tqdm

    from auxhand.data.store import PreparedDataset
    from auxhand.evaluation.protocol import EvaluationCrops, PoseMetrics, evaluate
    from auxhand.evaluation.report import (
        plot_pck,
        read_curve,
        read_rows,
        record,
        table,
        write_curve,
    )
    from auxhand.inference.estimator import HandPoseEstimator

    started = time.monotonic()
    metrics = PoseMetrics(args.protocol)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    bundle = HandPoseEstimator.load(args.model, device).bundle
    crops = EvaluationCrops(PreparedDataset(args.data), bundle.input_size)
    values = evaluate(
        lambda batch: bundle.network(batch.image),
        tqdm(crops.batches(), desc="evaluating", unit="batch"),
        metrics,
        device,
    )
    if not values:
        raise ValueError(f"{args.data}: no sample has the joints that this model predicts")

    results, drawing = args.out / RESULTS, args.out / CURVE
    command = ["auxhand", "evaluate", args.model, str(args.data), "--protocol", args.protocol]
    name = f"{args.model} on {args.data}, {args.protocol}"
    row = record(results, name, [values], shlex.join(command), started)
    if "epe_mm" in values:
        write_curve(_curve_file(args.out, row.name), *metrics.pck_curve())
    rows = read_rows(results)
    files = {row.name: _curve_file(args.out, row.name) for row in rows}
    curves = {name: read_curve(file) for name, file in files.items() if file.is_file()}
    if curves:
        plot_pck(drawing, curves)
    print(table(rows))
    print(f"results: {results}" + (f"\nPCK curve: {drawing}" if curves else ""))


def _curve_file(folder: Path, row: str) -> Path:
    """Where the values of a row's PCK curve lie."""
    return folder / (re.sub(r"[^\w.-]+", "_", row) + ".csv")
