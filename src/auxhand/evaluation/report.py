"""Results on paper: tables, their JSON, PCK curves.

    {"benchmark": "...", "machine": "...", "rows": [
      {"name": "...", "metrics": {"epe_mm": [13.1, 13.4]}, "seeds": [0, 1],
       "minutes": 21.5, "command": "...", "commit": "..."}]}

A metric has one value per seed. A row is known by its name: writing one again replaces it.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from auxhand.files import writing

HEADINGS: dict[str, tuple[str, int]] = {
    "epe_mm": ("EPE (mm)", 1),
    "pa_epe_mm": ("PA-EPE (mm)", 1),
    "auc_20_50": ("AUC 20-50", 3),
    "auc_0_50": ("AUC 0-50", 3),
    "pck_05": ("PCK@0.05 2D", 3),
    "solved": ("root solved", 3),
    "minutes": ("minutes", 0),
}
"""Heading and decimals of a column; a metric that is not here is printed under its own name."""

OTHER_DECIMALS = 3


@dataclass(frozen=True)
class Row:
    """One line of a results table.

    Attributes:
        name: what was evaluated, as the table calls it.
        metrics: values of each metric, one per seed.
        command: what makes this row again.
        seeds: of the training runs behind the values.
        minutes: wall-clock time of making the row.
        commit: git commit of the code; "" outside a checkout.
    """

    name: str
    metrics: dict[str, list[float]]
    command: str = ""
    seeds: list[int] = field(default_factory=lambda: [0])
    minutes: float = 0.0
    commit: str = ""


def table(rows: Sequence[Row], markdown: bool = False) -> str:
    """Rows as an aligned text table, or as a Markdown one.

    Columns are the metrics in the order of `HEADINGS`, then others in the order they appear; "-"
    where a row lacks one. Several seeds are shown as mean ± standard deviation.
    """
    present = dict.fromkeys(metric for row in rows for metric in row.metrics)
    columns = [m for m in HEADINGS if m in present] + [m for m in present if m not in HEADINGS]
    heads = ["", *(HEADINGS.get(m, (m, 0))[0] for m in columns)]
    lines = [[row.name, *(_cell(m, row.metrics.get(m, [])) for m in columns)] for row in rows]
    widths = [max(len(line[i]) for line in [heads, *lines]) for i in range(len(heads))]

    def render(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |" if markdown else "  ".join(padded).rstrip()

    if markdown:
        rule = f"|{'|'.join('-' * (w + 1) + (':' if i else '-') for i, w in enumerate(widths))}|"
    else:
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([render(heads), rule, *map(render, lines)])


def _cell(metric: str, values: Sequence[float]) -> str:
    if not values:
        return "-"
    decimals = HEADINGS.get(metric, ("", OTHER_DECIMALS))[1]
    text = f"{statistics.fmean(values):.{decimals}f}"
    return text if len(values) == 1 else f"{text} ± {statistics.stdev(values):.{decimals}f}"


def read_rows(path: str | os.PathLike[str]) -> list[Row]:
    """Rows of a results file; none where there is no file.

    Raises:
        ValueError: the file is not such JSON.
    """
    path = Path(path)
    if not path.exists():
        return []
    try:
        rows = [Row(**row) for row in json.loads(path.read_text())["rows"]]
        for row in rows:
            values = [value for each in row.metrics.values() for value in each]
            if not all(isinstance(value, int | float) for value in values):
                raise TypeError(f"metrics of {row.name} that are no numbers")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a results file ({error}): move it away") from error
    return rows


def write_rows(path: str | os.PathLike[str], rows: Sequence[Row]) -> None:
    """Merge rows into a results file, which is called after its benchmark (NAME.json).

    Rows of the same name are replaced where they stand, new ones appended. The file changes at
    once or not at all.
    """
    path = Path(path)
    merged = {row.name: row for row in [*read_rows(path), *rows]}
    content = {
        "benchmark": path.stem,
        "machine": machine(),
        "rows": [asdict(row) for row in merged.values()],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def record(
    path: str | os.PathLike[str],
    name: str,
    metrics: Sequence[Mapping[str, float]],
    command: str,
    begun: float,
    seeds: Sequence[int] = (0,),
) -> Row:
    """Write a row that this code has just made, and return it.

    Args:
        path: the results file, see `write_rows`.
        name, command, seeds: see `Row`.
        metrics: values of the metrics for each seed, all of the same metrics.
        begun: `time.monotonic()` when making it began.

    Raises:
        ValueError: not as many values as seeds, or the file is another one.
    """
    values = {
        key: [each[key] for each, _ in zip(metrics, seeds, strict=True)] for key in metrics[0]
    }
    minutes = round((time.monotonic() - begun) / 60, 2)
    row = Row(name, values, command, list(seeds), minutes, commit())
    write_rows(path, [row])
    return row


def is_done(path: str | os.PathLike[str], name: str, command: str) -> bool:
    """Is a row of this name there that the same command made."""
    return any(row.name == name and row.command == command for row in read_rows(path))


def machine() -> str:
    """Processor, its cores and the accelerator, in words."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    words = f"{_processor()}, {cores} cores"
    return f"{words}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else words


def _processor() -> str:
    """Model name of the CPU; Linux tells it in a file, others through `platform`."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def commit() -> str:
    """Short git commit of this checkout, "+" appended if the package differs; "" outside one."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parents[1]), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # An installed package may lie inside another project's checkout.
        git("ls-files", "--error-unmatch", str(here))
        changes = git("status", "--porcelain", "--untracked-files=no", ".")
        return git("rev-parse", "--short=9", "HEAD") + ("+" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def write_curve(path: str | os.PathLike[str], thresholds: Tensor, pck: Tensor) -> None:
    """Write a PCK curve as lines "mm, PCK", the form in which published curves are passed round."""
    path = Path(path)
    values = torch.stack([thresholds, pck], dim=1).cpu().numpy()
    with writing(path) as temporary:
        np.savetxt(temporary, values, fmt="%.6g", delimiter=", ")


_SEPARATORS = re.compile(r"[\s,;]+")


def read_curve(path: str | os.PathLike[str]) -> tuple[Tensor, Tensor]:
    """Thresholds and PCK, (T,) each, from lines "mm, PCK"; blanks, tabs and semicolons do as well,
    and further columns are left out. Lines of one number are PCK at 0, 1, 2, ... mm, as some
    authors publish it.

    Raises:
        ValueError: other lines.
    """
    lines = [_SEPARATORS.split(line.strip()) for line in Path(path).read_text().splitlines()]
    try:
        rows = [[float(x) for x in line[:2] if x] for line in filter(any, lines)]
        if all(len(row) == 1 for row in rows):
            rows = [[float(mm), *row] for mm, row in enumerate(rows)]
        points = [(mm, pck) for mm, pck in rows]
        thresholds, pck = torch.tensor(points, dtype=torch.float64).view(-1, 2).unbind(1)
        if not points:
            raise ValueError("no lines")
    except ValueError as error:
        raise ValueError(f'{path} is no PCK curve: its lines should be "mm, PCK"') from error
    return thresholds, pck


def plot_pck(
    path: str | os.PathLike[str],
    curves: Mapping[str, tuple[Tensor, Tensor]],
    published: Mapping[str, tuple[Tensor, Tensor]] | None = None,
) -> None:
    """Draw PCK curves (name -> thresholds in mm, PCK) into a PNG, `published` ones thinner,
    each dashed in its own way."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4) if published else (5.5, 4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    highest = 0.0
    for name, (thresholds, pck) in curves.items():
        axes.plot(thresholds.cpu().numpy(), pck.cpu().numpy(), label=name, linewidth=1.8)
        highest = max(highest, float(thresholds[-1]))
    # Ten colours and seven kinds of dashes come together again after 70 curves.
    dashes = ("--", "-.", ":", (0, (7, 1.5, 1, 1.5, 1, 1.5)), (0, (1, 3)), (0, (9, 3)), (0, (3, 1)))
    for number, (name, (thresholds, pck)) in enumerate((published or {}).items()):
        axes.plot(
            thresholds.numpy(),
            pck.numpy(),
            color=f"C{(len(curves) + number) % 10}",
            linestyle=dashes[number % len(dashes)],
            linewidth=1.2,
            label=name,
        )
    axes.set(xlabel="error threshold (mm)", ylabel="3D PCK", xlim=(0, highest), ylim=(0, 1))
    axes.grid(alpha=0.3)
    if published:  # too many names to lie on the curves
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small")
    else:
        # A long name may not squeeze the axes.
        axes.legend(loc="best", fontsize="small").set_in_layout(False)
    with writing(path) as temporary:
        figure.savefig(temporary, format="png")
