"""Geometry keeps its precision under mixed-precision training.

A trainer with `bf16-mixed` runs whole steps under autocast, which turns every matrix product into
bfloat16: 8 bits, a quarter of a pixel in 64. Functions that multiply matrices step out of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")

_HALF = (torch.bfloat16, torch.float16)


def full_precision(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function run outside autocast, its half-precision arguments in single precision."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        tensors = (a for a in (*args, *kwargs.values()) if isinstance(a, Tensor))
        device = next((t.device.type for t in tensors), "cpu")
        if not torch.is_autocast_enabled(device):
            return function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            exact: Any = function
            return exact(*map(_single, args), **{k: _single(v) for k, v in kwargs.items()})

    return run


def _single(value: object) -> object:
    return value.float() if isinstance(value, Tensor) and value.dtype in _HALF else value
