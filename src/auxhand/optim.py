"""What optimisation adds to any method: learning-rate schedules, parts of a network that learn more
slowly or not at all, the average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn
from torch.nn import Parameter
from torch.nn.modules.batchnorm import _BatchNorm
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


@dataclass(frozen=True)
class Parts:
    """Parts of a network that learn more slowly, or not at all: for a pretrained backbone.

    A part is the name of a module or parameter as in the method's state, and all below it, as
    "network.body.backbone". Where two rates fit, that of the longer name counts.

    Attributes:
        rates: factors of the learning rate.
        frozen: parts that do not learn; their batch normalisation keeps its statistics too.
        frozen_statistics: parts whose batch normalisation keeps its statistics, and which learn.
    """

    rates: Mapping[str, float] = field(default_factory=dict)
    frozen: Sequence[str] = field(default_factory=tuple)
    frozen_statistics: Sequence[str] = field(default_factory=tuple)

    def freeze(self, module: nn.Module) -> None:
        """Stop what does not learn; to be called when training begins and after every `train()`.

        Raises:
            ValueError: a part that the module does not have.
        """
        names = [name for name, _ in (*module.named_modules(), *module.named_parameters())]
        for part in (*self.rates, *self.frozen, *self.frozen_statistics):
            if part not in names:
                raise ValueError(f"parts: the network has no {part!r}")
        for name, parameter in module.named_parameters():
            if any(_within(name, part) for part in self.frozen):
                parameter.requires_grad_(False)
        still = (*self.frozen, *self.frozen_statistics)
        for name, inner in module.named_modules():
            if isinstance(inner, _BatchNorm) and any(_within(name, part) for part in still):
                inner.eval()

    def groups(self, module: nn.Module, learning_rate: float) -> list[dict[str, Any]]:
        """Parameters that learn, in a group for each rate, as optimisers take them.

        Raises:
            ValueError: see `freeze`.
        """
        self.freeze(module)
        groups: dict[float, list[Parameter]] = {}
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                fitting = [part for part in self.rates if _within(name, part)]
                rate = self.rates[max(fitting, key=len)] if fitting else 1.0
                groups.setdefault(rate, []).append(parameter)
        return [{"params": group, "lr": learning_rate * rate} for rate, group in groups.items()]


def _within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def adam(
    parameters: Iterable[Parameter] | Iterable[dict[str, Any]],
    learning_rate: float,
    schedule: Schedule,
    steps: int,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
) -> dict[str, Any]:
    """AdamW (Adam where `weight_decay` is 0) of parameters or groups (`Parts.groups`), with a
    schedule over `steps` optimiser steps, as Lightning takes them."""
    # On a CPU the fused one takes a quarter of the time.
    optimizer = AdamW(parameters, learning_rate, betas, weight_decay=weight_decay, fused=True)
    # This says that it unscales gradients of half precision itself, and Lightning refuses to clip
    # what is still scaled. Without it, they are unscaled before.
    optimizer._step_supports_amp_scaling = False
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
