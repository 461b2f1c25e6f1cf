"""Supervised pose estimation (Ch. 2.3, 3.1.1): one network, labelled crops, a sum of losses.

The default is latent 2.5D heatmap regression (Iqbal et al. 2018; Eq. 3.1, 3.2). The other
representations of Ch. 2.3 are the same module with another head and other weights; each is a
configuration in `configs/laptop/representations/`.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor

from auxhand.data.augment import Contents
from auxhand.losses.supervision import LossWeights, Supervision
from auxhand.metrics import ValidationMetrics
from auxhand.models.pose_net import PoseNet
from auxhand.monitor import Lessons
from auxhand.optim import Parts, Schedule, adam
from auxhand.sample import HandBatch, HandPose


class Supervised(LightningModule):
    """Trains a `PoseNet` on labelled crops.

    Args:
        network: the network; its RGB-only forward is the test path.
        weights: of the loss terms; a term whose field the head does not predict is refused.
        learning_rate: base rate of AdamW.
        weight_decay: of AdamW.
        betas: of AdamW.
        schedule: factors of the rate over the run.
        parts: parts of the network that learn more slowly, or not at all.
    """

    needs = Contents()

    def __init__(
        self,
        network: PoseNet,
        weights: LossWeights,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.02,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule | None = None,
        parts: Parts | None = None,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.supervision = Supervision(weights)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.betas = betas
        self.schedule = schedule or Schedule()
        self.parts = parts or Parts()
        self.validation = ValidationMetrics()
        self.lessons = Lessons()

    def forward(self, image: Tensor) -> HandPose:
        """(B, 3, H, W) RGB in [0, 1], crops of right hands -> their poses."""
        pose: HandPose = self.network(image)
        return pose

    def estimator(self) -> PoseNet:
        """The RGB-only test path, as a bundle holds it."""
        return self.network

    def training_step(self, batch: HandBatch, batch_idx: int) -> Tensor:
        """L = sum_k lambda_k L_k, each L_k a mean over the network's stages.

        Raises:
            ValueError: the data has no label that is learnt from.
        """
        self.lessons.check(lambda: {"a label": self.supervision.labelled(batch)})
        image = batch.image.contiguous(memory_format=torch.channels_last)
        terms = self.supervision.mean_terms(self.network.stages(image), batch)
        loss = self.supervision.total(terms)
        logged = {f"train/{name}": term.detach() for name, term in terms.items()}
        self.log_dict(logged, batch_size=len(batch))
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch))
        return loss

    def on_train_epoch_start(self) -> None:
        """Keep what is frozen as it is."""
        self.parts.freeze(self)

    def on_train_epoch_end(self) -> None:
        """An epoch without any label is enough to say so."""
        self.lessons.end()

    def validation_step(self, batch: HandBatch, batch_idx: int) -> None:
        """EPE with known root and scale (3D), PCK at 0.05 of the crop (2D)."""
        pose = self(batch.image.contiguous(memory_format=torch.channels_last))
        self.log_dict(self.validation(pose, batch), prog_bar=True, batch_size=len(batch))

    def configure_optimizers(self) -> Any:
        """AdamW with the schedule, stepped once an optimiser step."""
        groups = self.parts.groups(self, self.learning_rate)
        steps = int(self.trainer.estimated_stepping_batches)
        return adam(groups, self.learning_rate, self.schedule, steps, self.weight_decay, self.betas)
