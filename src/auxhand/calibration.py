"""Do probabilities mean what they say: reliability, its error, and a correction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Reliability(NamedTuple):
    """Probabilities sorted into bins of equal width over [0, 1].

    Attributes:
        confidence: (bins,) mean probability in each, NaN where it is empty.
        share: (bins,) share that was true, NaN where it is empty.
        counts: (bins,) number of probabilities.
    """

    confidence: Tensor
    share: Tensor
    counts: Tensor


def reliability(probability: Tensor, true: Tensor, bins: int = 10) -> Reliability:
    """What a reliability diagram shows.

    Args:
        probability: (N,) in [0, 1].
        true: (N,) bool, whether what was said with that probability is so.
        bins: number of bins; a probability of 1 belongs to the last.
    """
    place = (probability.double() * bins).long().clamp(0, bins - 1)
    count = torch.bincount(place, minlength=bins)
    confidence = torch.bincount(place, probability.double(), minlength=bins) / count
    share = torch.bincount(place, true.double(), minlength=bins) / count
    return Reliability(confidence, share, count)


def expected_calibration_error(probability: Tensor, true: Tensor, bins: int = 10) -> float:
    """Mean of |share - confidence| over the bins, weighed by their counts (Naeini et al. 2015).

    Raises:
        ValueError: no probabilities.
    """
    if not len(probability):
        raise ValueError("there are no probabilities whose calibration could be told")
    confidence, share, count = reliability(probability, true, bins)
    gap = (share - confidence).abs().nan_to_num(0.0)
    return float((gap * count).sum() / count.sum())


def plot_reliability(path: Path, before_after: Sequence[Reliability], said: str, so: str) -> None:
    """Write the diagram of probabilities as they were trained and as they were calibrated.

    Args:
        path: a PNG's.
        before_after: of both.
        said, so: what the axes show: the probability, and the share that was true.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    names, styles = ("as trained", "calibrated"), ("o--", "o-")
    for bins, name, style in zip(before_after, names, styles, strict=True):
        axes.plot(bins.confidence, bins.share, style, label=name)
    axes.set(xlabel=said, ylabel=so, xlim=(0, 1), ylim=(0, 1))
    axes.set_aspect("equal")
    axes.legend()
    figure.savefig(path, dpi=120)


def platt(logits: Tensor, true: Tensor, steps: int = 50) -> tuple[float, float]:
    """Slope and intercept that make sigmoid(slope * logit + intercept) a probability (Platt 1999).

    Maximum likelihood by Newton's method, towards Platt's softened targets, so that data which can
    be told apart without error have a solution too.

    Args:
        logits: (N,).
        true: (N,) bool.
        steps: of Newton's method at most.

    Raises:
        ValueError: not both kinds of data.
    """
    positive = int(true.sum())
    negative = len(true) - positive
    if not (positive and negative):
        raise ValueError(f"calibration takes both kinds: {positive} true, {negative} false")
    target = torch.where(true, (positive + 1) / (positive + 2), 1 / (negative + 2)).double()
    x = torch.stack([logits.double(), torch.ones(len(logits), dtype=torch.float64)], 1)

    def loss(w: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(x @ w, target, reduction="sum")

    w = torch.tensor([1.0, 0.0], dtype=torch.float64)
    for _ in range(steps):
        p = (x @ w).sigmoid()
        gradient = x.T @ (p - target)
        curvature = x.T @ ((p * (1 - p))[:, None] * x) + 1e-9 * torch.eye(2, dtype=torch.float64)
        step = torch.linalg.solve(curvature, gradient)
        while loss(w - step) > loss(w) and step.abs().max() > 1e-12:
            step = step / 2
        w = w - step
        if step.abs().max() < 1e-10:
            break
    return float(w[0]), float(w[1])
