"""What optimisation adds to any method: learning-rate schedules, the average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch.nn import Parameter
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then constant, then a cosine to zero; optionally sudden drops.

    Attributes:
        warmup_steps: optimiser steps in which the rate rises linearly from near zero.
        hold: share of all steps before the cosine begins; 1 = no cosine.
        drops: shares of all steps, in (0, 1), at which the rate is multiplied by `drop_factor`
            (drops at epochs 60 and 90 of 100 are 0.6 and 0.9).
        drop_factor: see `drops`.
    """

    warmup_steps: int = 0
    hold: float = 1.0
    drops: Sequence[float] = field(default_factory=tuple)
    drop_factor: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.hold <= 1:
            raise ValueError(f"schedule.hold is a share of all steps in [0, 1], got {self.hold}")
        if any(not 0 < drop < 1 for drop in self.drops):
            raise ValueError(f"schedule.drops are shares of all steps in (0, 1), got {self.drops}")

    def factor(self, step: int, total_steps: int) -> float:
        """Factor of the base rate at optimiser step `step` of `total_steps`."""
        progress = min(step / max(total_steps, 1), 1.0)
        factor = min(1.0, (step + 1) / (self.warmup_steps + 1))
        if progress > self.hold:
            factor *= 0.5 * (1 + math.cos(math.pi * (progress - self.hold) / (1 - self.hold)))
        return factor * self.drop_factor ** sum(progress >= drop for drop in self.drops)

    def scheduler(self, optimizer: Optimizer, total_steps: int) -> LambdaLR:
        """The schedule as a PyTorch scheduler, to be stepped once an optimiser step."""
        return LambdaLR(optimizer, lambda step: self.factor(step, total_steps))


def adam(
    parameters: Iterable[Parameter],
    learning_rate: float,
    schedule: Schedule,
    steps: int,
    weight_decay: float = 0.0,
) -> dict[str, Any]:
    """AdamW (Adam where `weight_decay` is 0) with a schedule over `steps` optimiser steps, as
    Lightning takes them."""
    # Not the fused one: Lightning refuses to clip gradients for it under mixed precision.
    optimizer = AdamW(parameters, learning_rate, weight_decay=weight_decay)
    scheduler = schedule.scheduler(optimizer, steps)
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
    }


class WeightAverage(EMAWeightAveraging):
    """Exponential moving average of the weights, which is what is validated, saved and shipped.

    Until its first update the average is the current weights; Lightning's own would be those before
    training. Everything else, and the form of checkpoints, is Lightning's.
    """

    @property
    def state_key(self) -> str:
        """Lightning's, so that each reads the other's checkpoints."""
        return EMAWeightAveraging.__qualname__

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate the average."""
        self._follow(pl_module)
        super().on_validation_epoch_start(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the average as `state_dict`, the current weights as `current_model_state`."""
        self._follow(pl_module)
        super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the average in the module."""
        self._follow(pl_module)
        super().on_train_end(trainer, pl_module)

    def _follow(self, pl_module: LightningModule) -> None:
        """Before the first update: set the average to the current weights."""
        average = self._average_model
        if average is not None and average.n_averaged == 0:
            average.module.load_state_dict(pl_module.state_dict())
