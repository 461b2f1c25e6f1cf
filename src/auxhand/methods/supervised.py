"""Supervised pose estimation (Ch. 2.3, 3.1.1): one network, labelled crops, a sum of losses.

The default is latent 2.5D heatmap regression (Iqbal et al. 2018; Eq. 3.1, 3.2). The other
representations of Ch. 2.3 are the same module with another head and other weights; each is a
configuration in `configs/laptop/representations/`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from auxhand.losses.supervision import LossWeights, Supervision
from auxhand.models.pose_net import PoseNet
from auxhand.optim import Parts, Schedule
from auxhand.pose_module import PoseModule
from auxhand.sample import HandBatch


class Supervised(PoseModule):
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
        super().__init__(learning_rate, schedule)
        self.network = network.to(memory_format=torch.channels_last)
        self.supervision = Supervision(weights)
        self.weight_decay = weight_decay
        self.betas = betas
        self.parts = parts or Parts()

    def estimator(self) -> PoseNet:
        """The RGB-only test path, as a bundle holds it."""
        return self.network

    def training_step(self, batch: HandBatch, batch_idx: int) -> Tensor:
        """L = sum_k lambda_k L_k, each L_k a mean over the network's stages.

        Raises:
            ValueError: the data has no label that is learnt from.
        """
        self.lessons.check(lambda: {"a label": self.supervision.labelled(batch)})
        terms = self.supervision.mean_terms(self.network.stages(batch.image), batch)
        return self.logged(self.supervision.total(terms), terms, len(batch))

    def on_train_epoch_start(self) -> None:
        """Keep what is frozen as it is."""
        self.parts.freeze(self)

    def configure_optimizers(self) -> Any:
        """AdamW, with a rate for each part."""
        groups = self.parts.groups(self, self.learning_rate)
        return self.adam(groups, weight_decay=self.weight_decay, betas=self.betas)
