"""What every method does in the same way while it trains a network that estimates poses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from lightning import LightningModule
from torch import Tensor
from torch.nn import Module, Parameter

from auxhand.data.augment import Contents
from auxhand.data.module import HandDataModule
from auxhand.metrics import ValidationMetrics
from auxhand.monitor import Lessons
from auxhand.optim import Schedule, adam
from auxhand.sample import HandBatch, HandPose

SOURCE, TARGET = "source", "target"
"""Names of the streams of a method that adapts: labelled, unlabelled. A batch of the latter is two
views of its samples: the plain crop, and one with strong augmentation."""


class PoseModule(LightningModule):
    """A method: its objective is `training_step`, what is tested and shipped is `estimator`.

    Args:
        learning_rate: of Adam.
        schedule: of the learning rate.

    Attributes:
        lessons: sees to it that the data has what is to be learnt from.
    """

    def __init__(self, learning_rate: float, schedule: Schedule | None) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.schedule = schedule or Schedule()
        self.validation = ValidationMetrics()
        self.lessons = Lessons()

    @property
    def needs(self) -> Contents:
        """What the samples must hold."""
        return Contents()

    @abstractmethod
    def estimator(self) -> Module:
        """The RGB-only test path, as a bundle holds it."""

    def on_estimator_loaded(self) -> None:
        """For what else begins as the test path, once a bundle has given that its weights."""

    def forward(self, image: Tensor) -> HandPose:
        """(B, 3, H, W) RGB in [0, 1], crops of right hands -> their poses."""
        pose: HandPose = self.estimator()(image)
        return pose

    def logged(self, loss: Tensor, terms: Mapping[str, Tensor], count: int) -> Tensor:
        """The loss of `count` samples, which is logged with its terms."""
        values = {f"train/{name}": term.detach() for name, term in terms.items()}
        self.log_dict(values, batch_size=count)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=count)
        return loss

    def on_train_epoch_end(self) -> None:
        """An epoch without what is to be learnt from is enough to say so."""
        self.lessons.end()

    def validation_step(self, batch: HandBatch, batch_idx: int) -> None:
        """EPE with known root and scale (3D), PCK at 0.05 of the crop (2D)."""
        self.validate(self(batch.image), batch)

    def validate(self, pose: HandPose, batch: HandBatch) -> None:
        """Log how far poses are from the batch's labels."""
        self.log_dict(self.validation(pose, batch), prog_bar=True, batch_size=len(batch))

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        return int(self.trainer.estimated_stepping_batches)

    def adam(
        self, parameters: Iterable[Parameter] | Iterable[dict[str, Any]], **settings: Any
    ) -> dict[str, Any]:
        """Adam of parameters or groups with the schedule, stepped once an optimiser step; settings
        are of `optim.adam`."""
        return adam(parameters, self.learning_rate, self.schedule, self.steps, **settings)

    def configure_optimizers(self) -> Any:
        """Adam of all parameters that learn."""
        return self.adam([p for p in self.parameters() if p.requires_grad])

    def expect_plain(self, batch: HandBatch) -> None:
        """Pseudo-labels are carried by similarities of the pixels.

        Raises:
            ValueError: crops that turn the camera.
        """
        if batch.turned.any():
            raise ValueError(
                "pseudo-labels are carried by similarities of the pixels, but the crops of the "
                "unlabelled images turn the camera: set data.init_args.crop.view=plain"
            )

    @property
    def data(self) -> HandDataModule:
        """What the training reads."""
        data: HandDataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        return data

    def expect_source_and_target(self) -> None:
        """The streams must be those of a method that adapts.

        Raises:
            ValueError: they are not.
        """
        views = {name: stream.views for name, stream in self.data.streams.items()}
        if views != {SOURCE: 1, TARGET: 2}:
            raise ValueError(
                f"{type(self).__name__} takes two streams, {SOURCE} and {TARGET}, and of the "
                "latter two views (data.init_args.train)"
            )
        source, target = (self.data.schedules[name] for name in (SOURCE, TARGET))
        for first, second in target.augmentations:
            if not (first.in_place and second.always_the_hand):
                raise ValueError(
                    f"what {type(self).__name__} finds in the first view of {TARGET} is carried "
                    "into the second: give this stream phases whose augmentation always makes one "
                    "and the same crop of a hand, and whose second one has neither absent_share, "
                    f"misplaced_share nor other_side_share (data.init_args.train.{TARGET}.phases)"
                )
        for phase in (*source.phases, *target.phases):
            sizes = source.size(phase.epoch), target.size(phase.epoch)
            if sizes[0] != sizes[1]:
                raise ValueError(
                    f"from epoch {phase.epoch} on crops of {SOURCE} have {sizes[0]} pixels and of "
                    f"{TARGET} {sizes[1]}: give their phases one size (data.init_args.phases, "
                    "data.init_args.train)"
                )
