"""What every training watches: finite losses and weights, collapse, and this step's noise."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from auxhand.sample import HandBatch

SPREAD = "val/spread"
"""Name under which `metrics.ValidationMetrics` measures how far predictions differ."""

COLLAPSED_SPREAD = 0.1
"""Share of the true poses' spread below which predicted poses are one and the same."""

COLLAPSED_KL = 0.01
"""Nats: a dimension of a posterior nearer to the prior than that says nothing."""

FIRST_STEPS = 50
"""Batches in which all that is to be learnt must have been seen."""

_SETTLING = 200  # steps in which a posterior may still be as it was initialised
_ADVICE = "lower the learning rate, or clip gradients (trainer.gradient_clip_val)"


class Monitor(Callback):
    """Ends a training whose loss or weights are no longer finite, before such weights are saved;
    reports predictions that become the same for all hands.

    Raises (while training):
        FloatingPointError: what is not finite, and since which step.
    """

    def __init__(self) -> None:
        self.sources: tuple[str, ...] = ()
        self.spread = 0.0  # networks begin with predictions that hardly differ

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remember whose loss comes next."""
        self.sources = tuple(batch.source[:3]) if isinstance(batch, HandBatch) else ()

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        """The loss must be finite."""
        if loss.isfinite().all():
            return
        terms = [
            name.removeprefix("train/")
            for name, value in trainer.callback_metrics.items()
            if name.startswith("train/") and name != "train/loss" and not value.isfinite().all()
        ]
        broken = broken_tensor(pl_module)
        where = [f"terms {', '.join(terms)}"] if terms else []
        if broken:
            where.append(f"weights ({broken}, ...)")
        elif self.sources:
            where.append(f"samples {', '.join(self.sources)}")
        raise FloatingPointError(
            f"step {trainer.global_step}: the loss is not finite ({'; '.join(where)}): {_ADVICE}"
        )

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """The weights must be finite, before anything is validated or saved with them."""
        if broken := broken_tensor(pl_module):
            raise FloatingPointError(
                f"step {trainer.global_step}: weights are not finite ({broken}, ...): {_ADVICE}"
            )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report predictions that differ less than before, and hardly at all."""
        if SPREAD not in trainer.callback_metrics:
            return
        spread = float(trainer.callback_metrics[SPREAD])
        if spread < min(COLLAPSED_SPREAD, self.spread):
            warnings.warn(
                f"step {trainer.global_step}: predicted poses collapse to one: they differ by "
                f"{spread:.3f} of what true poses do, and did by {self.spread:.3f} before",
                stacklevel=2,
            )
        self.spread = spread

    def state_dict(self) -> dict[str, float]:
        """The last spread, for a resumed run."""
        return {"spread": self.spread}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on from it."""
        self.spread = state_dict["spread"]


def broken_tensor(module: nn.Module) -> str:
    """Name of the first weight or statistic of a network that is not finite; "" if none is."""
    state = {
        name: value
        for name, value in module.state_dict(keep_vars=True).items()
        if value.is_floating_point() and value.numel()
    }
    if not state:
        return ""
    # One number for all of them: a look at each would wait for the device each time. A sum is not
    # finite where a summand is not, and takes no copy.
    sums = [value.detach().sum(dtype=torch.float32) for value in state.values()]
    if torch.stack(sums).isfinite().all():
        return ""
    return next((name for name, value in state.items() if not value.isfinite().all()), "")


def noise(
    seed: int, module: LightningModule, device: torch.device | str | None = None
) -> torch.Generator:
    """Generator of a batch's noise, the same where a run is resumed.

    Args:
        seed: of the run.
        module: whose step and process it is, and where gradients are accumulated whose batch of a
            step.
        device: of the noise; None: the module's.
    """
    # PyTorch's generator keeps 32 bits of a seed.
    trainer = module._trainer
    part = 0 if trainer is None else trainer.fit_loop.batch_idx % trainer.accumulate_grad_batches
    words = np.random.SeedSequence([seed, module.global_step, module.global_rank, part])
    return torch.Generator(device or module.device).manual_seed(int(words.generate_state(1)[0]))


class Lessons:
    """Sees to it that the data has what a method is to learn from."""

    def __init__(self) -> None:
        self.untaught: set[str] | None = None
        self.checked = 0

    def check(self, wanted: Callable[[], Mapping[str, Tensor]]) -> None:
        """Look at a batch, as long as something is missing.

        Args:
            wanted: gives what is to be learnt from, in words, and which samples have it, (B,) bool.

        Raises:
            ValueError: none of the first batches has some of it.
        """
        if self.untaught == set():
            return
        has = wanted()
        untaught = has.keys() if self.untaught is None else self.untaught
        self.untaught = {name for name in untaught if not has[name].any()}
        self.checked += 1
        if self.checked >= FIRST_STEPS:
            self.end()

    def end(self) -> None:
        """Raise where something is still missing."""
        if self.untaught:
            raise ValueError(
                f"no sample of the first {self.checked} batches has "
                f"{', '.join(sorted(self.untaught))}: learn something else, or from other data"
            )


class Posteriors:
    """Reports, once and as it happens, that a posterior has become the prior."""

    def __init__(self) -> None:
        self.collapsed: set[str] = set()

    def watch(
        self, name: str, kl: Tensor, valid: Tensor, step: int, beta: float
    ) -> dict[str, Tensor]:
        """What there is to log: "active_NAME", the number of dimensions that say something.

        Args:
            name: of the posterior.
            kl: (B, D) divergence of each dimension from the prior, in nats.
            valid: (B,) bool, samples that have the posterior; none: nothing is logged.
            step: of the training.
            beta: weight of the divergence at this step.
        """
        if not valid.any():
            return {}
        near = kl.detach()[valid].mean(dim=0) <= COLLAPSED_KL
        if not near.all():
            self.collapsed.discard(name)
        elif name not in self.collapsed and step >= _SETTLING:
            self.collapsed.add(name)
            warnings.warn(
                f"step {step}: the posterior of {name} has collapsed, its KL divergence is below "
                f"{COLLAPSED_KL} nats in all {len(near)} dimensions: lower beta ({beta:.1e} now), "
                "or look for a loss that drowns in it",
                stacklevel=2,
            )
        return {f"active_{name}": (~near).sum().float()}
