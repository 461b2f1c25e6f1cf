"""What the comparators share: a supervised network that goes on learning, with unlabelled images
beside the labelled ones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from auxhand.losses.consistency import OUTPUT_CELLS, UVD, joint_distance
from auxhand.losses.supervision import LossWeights, Supervision
from auxhand.models.pose_net import PoseNet
from auxhand.optim import Schedule
from auxhand.pose_module import SOURCE, TARGET, PoseModule
from auxhand.sample import HandBatch, HandPose, Views

WEIGHTS = LossWeights(uv_squared=OUTPUT_CELLS**2, d_squared=50.0, mask=100.0)
"""Eq. 6.3, of which the papers' heatmap losses take the place here."""


class Adaptation(PoseModule):
    """Trains a `PoseNet` with 2.5D poses on labelled crops and on two views of unlabelled ones.

    Args:
        network: with one stage; from weights that were pre-trained on the source (`start_from`).
        weights: of the losses of labelled crops.
        learning_rate, schedule: of Adam.
        seed: of what a comparator draws.
    """

    def __init__(
        self,
        network: PoseNet,
        weights: LossWeights = WEIGHTS,
        learning_rate: float = 1e-4,
        schedule: Schedule | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(learning_rate, schedule)
        self.network = network.to(memory_format=torch.channels_last)
        self.supervision = Supervision(weights)
        self.seed = seed

    @abstractmethod
    def terms(self, source: HandBatch, target: Views) -> dict[str, Tensor]:
        """The weighted terms of the comparator's loss."""

    def estimator(self) -> PoseNet:
        """The RGB-only test path, as a bundle holds it."""
        return self.network

    @property
    def progress(self) -> float:
        """Share of the training that is over, in [0, 1]."""
        return min(self.global_step / max(float(self.trainer.estimated_stepping_batches), 1.0), 1.0)

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """The sum of the terms.

        Raises:
            ValueError: the source has no label that is learnt from, or crops of the target that
                turn the camera.
        """
        source: HandBatch = batch[SOURCE]
        self.expect_plain(batch[TARGET].first)
        self.lessons.check(lambda: {"a label": self.supervision.labelled(source)})
        terms = self.terms(source, batch[TARGET])
        return self.logged(torch.stack(list(terms.values())).sum(), terms, len(source))

    def supervised(self, pose: HandPose, source: HandBatch) -> Tensor:
        """Eq. 6.3 on the labelled crops, which are the first of those that `pose` is about."""
        own = HandPose(**{name: value[: len(source)] for name, value in pose.items()})
        return self.supervision.total(self.supervision.terms(own, source))

    def on_train_start(self) -> None:
        """The data must be what is learnt from.

        Raises:
            ValueError: they are not.
        """
        self.expect_source_and_target()


def pose_of(pose: HandPose) -> UVD:
    """uv and d.

    Raises:
        ValueError: a network that does not predict them.
    """
    if pose.uv is None or pose.d is None:
        raise ValueError("a comparator needs uv and d: a 2.5D head")
    return pose.uv, pose.d


def distances(pose: UVD, label: UVD, size: int) -> Tensor:
    """(B, 21) l of Eq. 6.2 joint by joint; the label gets no gradient."""
    fixed = label[0].detach(), label[1].detach()
    return joint_distance(pose, fixed, size / OUTPUT_CELLS)


def scaled_gradient(x: Tensor, factor: float) -> Tensor:
    """x, whose gradient is multiplied: by a negative factor it is reversed."""
    return x.detach() + factor * (x - x.detach())
