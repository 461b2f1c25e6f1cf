"""What the figures of several tables share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from frame import SHARES, file_name
from matplotlib.axes import Axes
from torch import Tensor

from auxhand.evaluation.report import plot_pck, read_curve, read_rows

TILE = 192
"""Side of a picture in a sheet, before the sheet scales it."""


def picture(image: Tensor) -> np.ndarray:
    """(3, S, S) in [0, 1] -> (TILE, TILE, 3) uint8."""
    pixels = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    return cv2.resize(pixels, (TILE, TILE), interpolation=cv2.INTER_CUBIC)


def pck_figure(results: Path, names: tuple[str, ...], file: Path) -> None:
    """PCK curves of those rows of a table that have one."""
    curves = {name: results.with_suffix("") / f"pck_{file_name(name)}.csv" for name in names}
    if there := {name: read_curve(curve) for name, curve in curves.items() if curve.is_file()}:
        plot_pck(file, there)


def errors(results: Path) -> dict[str, float]:
    """EPE (mm) of the first seed of each row that has one."""
    rows = read_rows(results)
    return {row.name: row.metrics["epe_mm"][0] for row in rows if "epe_mm" in row.metrics}


def draw_shares(axes: Axes, kinds: Mapping[str, list[tuple[int, float]]], of: str) -> None:
    """EPE against a share of what a method learns from.

    Args:
        axes: to draw on.
        kinds: (percent, EPE in mm) by kind; a kind without any is left out.
        of: what the share is of.
    """
    for kind, points in kinds.items():
        if points:
            axes.plot(*zip(*points, strict=True), "o-", label=kind)
    axes.set(xlabel=f"{of} (%)", ylabel="test EPE (mm)", xscale="log", xlim=(4, 125))
    axes.set_xticks(SHARES, [str(share) for share in SHARES])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
