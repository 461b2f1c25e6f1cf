"""Slope and intercept by which a network's logits become those of probabilities (Platt 1999)."""

from __future__ import annotations

import torch
from torch import Tensor


def uncalibrated() -> Tensor:
    """(2,) slope 1 and intercept 0: logits as they were trained. A buffer of the network."""
    return torch.tensor([1.0, 0.0])


def calibrated(logits: Tensor, calibration: Tensor) -> Tensor:
    """slope * logits + intercept."""
    slope, intercept = calibration
    said: Tensor = slope * logits + intercept
    return said


def recalibrate(calibration: Tensor, slope: float, intercept: float) -> None:
    """In place: slope and intercept for the logits that were calibrated until now."""
    calibration.mul_(slope)
    calibration[1] += intercept
