"""Supervised pose estimation (Ch. 2.3, 3.1.1): one network, labelled crops, a sum of losses.

The default is latent 2.5D heatmap regression (Iqbal et al. 2018; Eq. 3.1, 3.2). The other
representations of Ch. 2.3 are the same module with another head and other weights; each is a
configuration in `configs/laptop/representations/`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor

from auxhand.geometry.heatmap import pixels_to_cells
from auxhand.geometry.pose25d import relative
from auxhand.hand.skeleton import REFERENCE_BONE, ROOT
from auxhand.losses.model_fit import model_regulariser
from auxhand.losses.pose import (
    coordinate_loss,
    heatmap_cross_entropy,
    heatmap_loss,
    mask_cross_entropy,
    mask_loss,
    pose25d_loss,
    presence_loss,
    side_loss,
)
from auxhand.metrics import ValidationMetrics
from auxhand.models.pose_net import PoseNet
from auxhand.optim import Schedule, adam
from auxhand.sample import HandBatch, HandPose

Term = Callable[[HandPose, HandBatch], Tensor]


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; a term with weight 0 is not computed.

    Each term is a mean over what is labelled. uv is in widths of the crop, d and xyz in reference
    lengths.

    Attributes:
        pose_25d: absolute differences of 2.5D poses (Eq. 3.2).
        depth: lambda_2 of Eq. 3.2, the weight of d beside uv within `pose_25d`.
        uv_squared: squared distance in the image (Eq. 2.2, 2.3).
        d_squared: squared difference of depths, the third coordinate of Eq. 2.2 in 2.5D.
        xyz_squared: squared distance of root-relative 3D poses (Eq. 2.2 in 3D).
        heatmap: plain heatmaps (Eq. 2.1), Gaussian of 1 cell.
        heatmap_cross_entropy: latent heatmaps against a normalised Gaussian, beside uv.
        mask: absolute difference of masks (Eq. 6.3).
        mask_cross_entropy: binary cross-entropy of masks.
        presence: binary cross-entropy of the presence of a hand.
        side: binary cross-entropy of the side of the hand, as the crop shows it.
        model: regulariser R(h) of a hand surface model (Eq. 2.4).
    """

    pose_25d: float = 0.0
    depth: float = 0.1
    uv_squared: float = 0.0
    d_squared: float = 0.0
    xyz_squared: float = 0.0
    heatmap: float = 0.0
    heatmap_cross_entropy: float = 0.0
    mask: float = 0.0
    mask_cross_entropy: float = 0.0
    presence: float = 0.0
    side: float = 0.0
    model: float = 0.0


class Supervised(LightningModule):
    """Trains a `PoseNet` on labelled crops.

    Args:
        network: the network; its RGB-only forward is the test path.
        weights: of the loss terms; a term whose field the head does not predict is refused.
        learning_rate: base rate of AdamW.
        weight_decay: of AdamW.
        schedule: factors of the rate over the run.
    """

    def __init__(
        self,
        network: PoseNet,
        weights: LossWeights,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.02,
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.depth_weight = weights.depth
        self.weights = {k: v for k, v in asdict(weights).items() if k != "depth" and v > 0}
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule or Schedule()
        self.validation = ValidationMetrics()
        if not self.weights:
            raise ValueError("every loss weight is 0: nothing to train")

    def forward(self, image: Tensor) -> HandPose:
        """(B, 3, H, W) RGB in [0, 1], crops of right hands -> their poses."""
        pose: HandPose = self.network(image)
        return pose

    def estimator(self) -> PoseNet:
        """The RGB-only test path, as a bundle holds it."""
        return self.network

    def training_step(self, batch: HandBatch, batch_idx: int) -> Tensor:
        """Mean over the network's stages (intermediate supervision) of the weighted loss."""
        image = batch.image.contiguous(memory_format=torch.channels_last)
        losses = [self.losses(pose, batch) for pose in self.network.stages(image)]
        terms = {name: torch.stack([loss[name] for loss in losses]).mean() for name in losses[0]}
        total = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        logged = {f"train/{name}": term.detach() for name, term in terms.items()}
        self.log_dict(logged, batch_size=len(batch))
        self.log("train/loss", total.detach(), prog_bar=True, batch_size=len(batch))
        return total

    def losses(self, pose: HandPose, batch: HandBatch) -> dict[str, Tensor]:
        """The terms whose weight is not 0, unweighted, each a scalar.

        Raises:
            ValueError: a term needs a field that the network does not predict.
        """
        terms = TERMS | {"pose_25d": partial(_pose_25d, depth_weight=self.depth_weight)}
        return {name: terms[name](pose, batch) for name in self.weights}

    def validation_step(self, batch: HandBatch, batch_idx: int) -> None:
        """EPE with known root and scale (3D), PCK at 0.05 of the crop (2D)."""
        pose = self(batch.image.contiguous(memory_format=torch.channels_last))
        self.log_dict(self.validation(pose, batch), prog_bar=True, batch_size=len(batch))

    def configure_optimizers(self) -> Any:
        """AdamW with the schedule, stepped once an optimiser step."""
        steps = int(self.trainer.estimated_stepping_batches)
        return adam(self.parameters(), self.learning_rate, self.schedule, steps, self.weight_decay)


def _field(pose: HandPose, name: str) -> Tensor:
    value: Tensor | None = getattr(pose, name)
    if value is None:
        raise ValueError(
            f"a loss with a weight needs {name}, which the network does not predict: set that "
            "weight to 0 or choose another head"
        )
    return value


def _relative_3d(batch: HandBatch) -> tuple[Tensor, Tensor]:
    """(B, 21, 3) true pose relative to the root in reference lengths, and (B, 21) its validity."""
    valid = batch.joint_mask("joints_xyz")
    told = valid[:, [ROOT, *REFERENCE_BONE]].all(dim=1, keepdim=True)
    return relative(batch.joints_xyz), valid & told


def _cells(pose: HandPose, batch: HandBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Predicted maps, true joints in their cells, and the joints' validity."""
    maps = _field(pose, "heatmaps")
    target = pixels_to_cells(batch.joints_uv, batch.image.shape[-1] / maps.shape[-1])
    return maps, target, batch.joint_mask("joints_uv")


def _pose_25d(pose: HandPose, batch: HandBatch, depth_weight: float) -> Tensor:
    xyz, valid = _relative_3d(batch)
    return pose25d_loss(
        (_field(pose, "uv"), _field(pose, "d")),
        (batch.joints_uv, xyz[..., 2]),
        (batch.joint_mask("joints_uv"), valid),
        unit=batch.image.shape[-1],
        depth_weight=depth_weight,
    )


def _uv_squared(pose: HandPose, batch: HandBatch) -> Tensor:
    width = batch.image.shape[-1]
    target = batch.joints_uv / width
    return coordinate_loss(_field(pose, "uv") / width, target, batch.joint_mask("joints_uv"))


def _d_squared(pose: HandPose, batch: HandBatch) -> Tensor:
    xyz, valid = _relative_3d(batch)
    return coordinate_loss(_field(pose, "d")[..., None], xyz[..., 2:], valid)


def _xyz_squared(pose: HandPose, batch: HandBatch) -> Tensor:
    return coordinate_loss(_field(pose, "xyz"), *_relative_3d(batch))


def _mask(loss: Callable[..., Tensor]) -> Term:
    return lambda pose, batch: loss(_field(pose, "mask"), batch.mask, batch.valid["mask"])


def _presence(pose: HandPose, batch: HandBatch) -> Tensor:
    return presence_loss(_field(pose, "presence"), batch.presence, batch.valid["presence"])


def _side(pose: HandPose, batch: HandBatch) -> Tensor:
    shown = batch.valid["side"] & (batch.presence > 0) & batch.valid["presence"]
    return side_loss(_field(pose, "left"), batch.shown_left, shown)


TERMS: dict[str, Term] = {
    "uv_squared": _uv_squared,
    "d_squared": _d_squared,
    "xyz_squared": _xyz_squared,
    "heatmap": lambda pose, batch: heatmap_loss(*_cells(pose, batch)),
    "heatmap_cross_entropy": lambda pose, batch: heatmap_cross_entropy(*_cells(pose, batch)),
    "mask": _mask(mask_loss),
    "mask_cross_entropy": _mask(mask_cross_entropy),
    "presence": _presence,
    "side": _side,
    "model": lambda pose, batch: model_regulariser(_field(pose, "model")),
}
"""The terms of `LossWeights` that need nothing but a pose and its labels."""
