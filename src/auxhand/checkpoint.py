"""Checkpoints of trainings, checked before anything is made of them; loading one runs no code."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

PARTS = {
    "state_dict": dict,
    "global_step": int,
    "epoch": int,
    "loops": dict,
    "optimizer_states": list,
}
"""What every checkpoint holds, and of which type."""


def read_checkpoint(file: Path) -> dict[str, Any]:
    """A training's checkpoint, on the CPU.

    Raises:
        ValueError: a file that is damaged or something else; names the newest good one beside it.
    """
    try:
        return _read(file)
    except ValueError as error:
        others = sorted(file.parent.glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns)
        for other in reversed(others):
            if other != file and _is_good(other):
                raise ValueError(
                    f"{error}; the newest good checkpoint is {other}: copy it to {file.name} to "
                    "resume from it, or begin anew with --restart"
                ) from error
        raise ValueError(f"{error}; no other is good: --restart begins anew") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other forms of pickles
            checkpoint = torch.load(file, "cpu", weights_only=True)
    except Exception as error:  # whatever unpickling makes of a file that is something else
        raise ValueError(f"checkpoint {file} is damaged, or none") from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f"{file} is no checkpoint of a training")
    for name, kind in PARTS.items():
        if not isinstance(checkpoint.get(name), kind):
            raise ValueError(f"{file} is no checkpoint of a training: {name} is missing or none")
    for name, weights in checkpoint["state_dict"].items():
        if not (isinstance(name, str) and isinstance(weights, torch.Tensor)):
            raise ValueError(f"{file} is no checkpoint of a training: {name!r} is no tensor")
    return checkpoint


def _is_good(file: Path) -> bool:
    try:
        _read(file)
    except ValueError:
        return False
    return True
