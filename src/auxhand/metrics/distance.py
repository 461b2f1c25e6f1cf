"""How far poses are from each other: EPE, PCK and AUC (Ch. 2.5), and what is forgiven before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from auxhand.geometry.canonical import fit_scale_translation, procrustes
from auxhand.hand.skeleton import ROOT

AlignBy = Literal["none", "root", "centroid", "scale", "procrustes"]
"""What is forgiven before distances are taken; see `align`."""


def distances(predicted: Tensor, true: Tensor, valid: Tensor | None = None) -> Tensor:
    """Euclidean distances of the valid joints.

    Args:
        predicted: (..., J, D).
        true: (..., J, D), same unit.
        valid: (..., J) bool; all joints if None.

    Returns:
        (M,) distances of the M valid joints, in the order of the joints.

    Raises:
        ValueError: `predicted` and `true` differ in shape.
    """
    if predicted.shape != true.shape:
        raise ValueError(
            f"predicted joints have shape {tuple(predicted.shape)}, true ones {tuple(true.shape)}"
        )
    distance: Tensor = torch.linalg.vector_norm(predicted - true, dim=-1)
    return distance.flatten() if valid is None else distance[valid]


def epe(predicted: Tensor, true: Tensor, valid: Tensor | None = None) -> Tensor:
    """() mean end-point error (Eq. 2.7) over the valid joints of all poses (see `distances`)."""
    return distances(predicted, true, valid).mean()


def pck(
    predicted: Tensor, true: Tensor, threshold: float | Tensor, valid: Tensor | None = None
) -> Tensor:
    """() share of the valid joints nearer than `threshold` (Eq. 2.8: strictly nearer).

    `threshold` has the unit of the joints: a number, or a tensor that broadcasts to (..., J), such
    as a (B, 1) fraction of each hand's size.
    """
    limit = torch.as_tensor(threshold, dtype=predicted.dtype, device=predicted.device)
    limit = limit.expand(predicted.shape[:-1])
    limit = limit.flatten() if valid is None else limit[valid]
    return (distances(predicted, true, valid) < limit).to(predicted.dtype).mean()


def pck_curve(
    predicted: Tensor, true: Tensor, thresholds: Tensor, valid: Tensor | None = None
) -> Tensor:
    """(T,) PCK at each of the (T,) thresholds, which have the unit of the joints."""
    near = distances(predicted, true, valid)[:, None] < thresholds
    return near.to(predicted.dtype).mean(dim=0)


def auc(thresholds: Tensor, pck: Tensor) -> Tensor:
    """() area under a PCK curve by the trapezoid rule, divided by the range of its thresholds.

    Args:
        thresholds: (T,) ascending, T >= 2.
        pck: (T,) in [0, 1].

    Returns:
        A number in [0, 1]: 1 where every joint is nearer than the lowest threshold.
    """
    return torch.trapezoid(pck, thresholds) / (thresholds[-1] - thresholds[0])


def align(
    predicted: Tensor, true: Tensor, valid: Tensor, how: AlignBy, root: int = ROOT
) -> tuple[Tensor, Tensor]:
    """Move predicted poses onto the true ones as far as the alignment allows.

    - "none": nothing is moved.
    - "root": translation that brings joint `root` onto the true one, which stays in the mean.
    - "centroid": translation with the least squared distance.
    - "scale": scale and translation with the least squared distance.
    - "procrustes": rotation, scale and translation with the least squared distance.

    The last three fit the valid joints alone.

    Args:
        predicted, true: (B, J, 3), same unit.
        valid: (B, J) bool.
        how: the alignment.
        root: the joint of "root".

    Returns:
        The aligned poses (B, J, 3) and the (B, J) joints to be counted: the valid ones, less those
        of poses whose alignment is not determined (no valid root; fewer than 2 valid joints for
        "centroid" and "scale", 3 for "procrustes").
    """
    if how == "none":
        return predicted, valid
    if how == "root":
        shift = true[:, root] - predicted[:, root]
        return predicted + shift[:, None], valid & valid[:, root, None]
    if how == "centroid":
        count = valid.sum(dim=1, keepdim=True)
        weight = valid / count.clamp(min=1)
        shift = torch.einsum(
            "bj,bjd->bd", weight.to(true), torch.where(valid[..., None], true - predicted, 0.0)
        )
        return predicted + shift[:, None], valid & (count >= 2)
    fit: Callable[[Tensor, Tensor], Tensor]
    if how == "scale":
        fit, needed = fit_scale_translation, 2
    else:
        fit, needed = _procrustes, 3
    counted = valid & (valid.sum(dim=1, keepdim=True) >= needed)
    aligned = predicted.clone()
    # Poses with the same valid joints are fitted together: usually one group, all joints valid.
    patterns, group = torch.unique(counted, dim=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        if pattern.any():
            rows = torch.nonzero(group == number)
            joints = torch.nonzero(pattern)[:, 0]
            aligned[rows, joints] = fit(predicted[rows, joints], true[rows, joints])
    return aligned, counted


def _procrustes(source: Tensor, target: Tensor) -> Tensor:
    aligned: Tensor = procrustes(source, target)[0]
    return aligned
