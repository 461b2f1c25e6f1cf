"""Checkpoints of trainings, checked before anything is made of them; loading one runs no code."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
        raise damaged(file, str(error)) from error


def damaged(file: Path, what: str) -> ValueError:
    """That a checkpoint is of no use, and the newest good one beside it."""
    others = sorted(file.parent.glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    for other in reversed(others):
        if other != file and _is_good(other):
            return ValueError(
                f"{what}; the newest good checkpoint is {other}: copy it to {file.name} to resume "
                "from it, or begin anew with --restart"
            )
    return ValueError(f"{what}; no other is good: --restart begins anew")


def other_kind(saved: Any, fresh: Any, name: str) -> str:
    """The first entry of a trainer's state that is of another kind than in one that has not begun,
    or a negative number; "" where there is none."""
    if type(saved) is not type(fresh) or (isinstance(saved, int) and saved < 0):
        return name
    if isinstance(fresh, dict):
        entries = (other_kind(saved.get(key), fresh[key], f"{name}.{key}") for key in fresh)
        return next(filter(None, entries), "")
    return ""


def unlike(old: Mapping[str, Tensor], new: Mapping[str, Tensor]) -> str:
    """The first tensor that two states do not share, in words; "" where they fit."""
    for name in [*old, *new]:
        shapes = [tuple(state[name].shape) if name in state else None for state in (old, new)]
        if shapes[0] != shapes[1]:
            was, now = ("not there" if shape is None else shape for shape in shapes)
            return f"{name} was {was}, is {now}"
    return ""


def changes(old: Any, new: Any, name: str = "") -> list[str]:
    """Entries of two configurations that differ, as "name: new (was old)"."""
    if old == new:
        return []
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [f"{name}: {new} (was {old})"]
    keys = dict.fromkeys([*old, *new])
    inner = [changes(old.get(key), new.get(key), f"{name}.{key}".lstrip(".")) for key in keys]
    return [line for lines in inner for line in lines]


def restoring(error: Exception) -> bool:
    """Whether Lightning raised it while it made something of a checkpoint."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(
        frame.f_globals.get("__name__", "").endswith(".checkpoint_connector")
        and "restore" in frame.f_code.co_name
        for frame in frames
    )


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
        if not (isinstance(name, str) and isinstance(weights, Tensor)):
            raise ValueError(f"{file} is no checkpoint of a training: {name!r} is no tensor")
    return checkpoint


def _is_good(file: Path) -> bool:
    try:
        _read(file)
    except ValueError:
        return False
    return True
