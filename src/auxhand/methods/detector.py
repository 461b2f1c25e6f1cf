"""Training of the hand detector: presence of centres, boxes, and sides where they are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn

from auxhand.data.augment import Contents
from auxhand.data.scenes import SceneBatch
from auxhand.detection_metrics import match, missed_share, threshold_at
from auxhand.losses.detection import box_loss, cell_targets, centre_focal_loss, side_map_loss
from auxhand.models.detections import STRIDE, DetectionMaps, decode
from auxhand.models.detector import HandDetector
from auxhand.optim import Schedule, adam

FALSE_SHARE = 0.02
"""Share of photos without hands in which something may be found, in validation."""

LEAST = 0.01
"""Presence of detections in validation at least."""


@dataclass(frozen=True)
class DetectionWeights:
    """Weights of the terms.

    Attributes:
        presence: `centre_focal_loss`.
        box: `box_loss`.
        side: `side_map_loss`; a third of it is too little for the side to be learnt.
    """

    presence: float = 1.0
    box: float = 1.0
    side: float = 1.0


class Detector(LightningModule):
    """Trains a `HandDetector` on scenes (`data.scenes`).

    The backbone's first stages keep their weights: they were made with more pictures than there are
    here.

    Args:
        network: the network.
        weights: of the loss terms.
        learning_rate: base rate of AdamW for what is new.
        body_rate: factor of the rate for the backbone.
        frozen_stages: stages of the backbone that are not trained, the stem before them included;
            0 = all is trained.
        weight_decay: of AdamW.
        schedule: factors of the rate over the run.
    """

    needs = Contents()

    def __init__(
        self,
        network: HandDetector,
        weights: DetectionWeights | None = None,
        learning_rate: float = 2e-3,
        body_rate: float = 0.3,
        frozen_stages: int = 2,
        weight_decay: float = 0.02,
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.weights = weights or DetectionWeights()
        self.learning_rate = learning_rate
        self.body_rate = body_rate
        self.weight_decay = weight_decay
        self.schedule = schedule or Schedule()
        for part in _first(network.backbone.network, frozen_stages):
            part.requires_grad_(False)
        self._photos: list[_Found] = []
        self._scenes: list[_Found] = []

    def forward(self, image: Tensor) -> DetectionMaps:
        """(B, 3, S, S) RGB in [0, 1] -> what the cells say."""
        maps: DetectionMaps = self.network(image.contiguous(memory_format=torch.channels_last))
        return maps

    def estimator(self) -> HandDetector:
        """The network, as a bundle holds it."""
        return self.network

    def training_step(self, batch: SceneBatch, batch_idx: int) -> Tensor:
        """The weighted sum of the terms."""
        terms = self.losses(self(batch.image), batch)
        total = (
            self.weights.presence * terms["presence"]
            + self.weights.box * terms["box"]
            + self.weights.side * terms["side"]
        )
        logged = {f"train/{name}": term.detach() for name, term in terms.items()}
        self.log_dict(logged, batch_size=len(batch.image))
        self.log("train/loss", total.detach(), prog_bar=True, batch_size=len(batch.image))
        return total

    def losses(self, maps: DetectionMaps, batch: SceneBatch) -> dict[str, Tensor]:
        """The terms "presence", "box" and "side", unweighted, each a scalar."""
        height, width = maps.presence.shape[-2:]
        targets = cell_targets(batch.boxes, batch.valid, (height, width), STRIDE)
        return {
            "presence": centre_focal_loss(maps.presence, targets.presence),
            "box": box_loss(maps.boxes, batch.boxes, targets.shares),
            "side": side_map_loss(maps.side, batch.right, batch.right_known, targets.shares),
        }

    def validation_step(self, batch: SceneBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Collect what is found; the first loader's are photos, the second's rendered scenes."""
        kept = self._photos if dataloader_idx == 0 else self._scenes
        for i, found in enumerate(decode(self(batch.image), LEAST)):
            valid = batch.valid[i].cpu()
            place = match(found.boxes.cpu(), batch.boxes[i].cpu()[valid]).hand
            presence, side = (torch.cat([x.cpu(), x.new_zeros(1).cpu()])[place] for x in found[1:])
            known = batch.right_known[i].cpu()[valid] & (place >= 0)
            right = batch.right[i].cpu()[valid]
            highest = float(found.presence.max()) if len(found.presence) else 0.0
            correct = ((side > 0.5) == (right > 0.5))[known]
            kept.append(_Found(highest, presence, correct))

    def on_validation_epoch_end(self) -> None:
        """Hands missed at 2% of photos without hands with a false one; side where one was found."""
        empty = torch.tensor([f.highest for f in self._photos if not len(f.presence)])
        metrics = {}
        if len(empty):
            threshold = threshold_at(empty, FALSE_SHARE)
            metrics["val/threshold"] = threshold
            for name, found in (("missed", self._photos), ("missed_rendered", self._scenes)):
                presence = [f.presence for f in found]
                if any(map(len, presence)):
                    metrics[f"val/{name}"] = missed_share(torch.cat(presence), threshold)
        sides = [f.correct for f in self._scenes]
        if any(map(len, sides)):
            metrics["val/side"] = float(torch.cat(sides).double().mean())
        self.log_dict(metrics, prog_bar=True)
        self._photos.clear()
        self._scenes.clear()

    def configure_optimizers(self) -> Any:
        """AdamW with the schedule, stepped once an optimiser step."""
        body = [p for p in self.network.backbone.parameters() if p.requires_grad]
        inside = {id(p) for p in self.network.backbone.parameters()}
        groups = [
            {"params": [p for p in self.network.parameters() if id(p) not in inside]},
            {"params": body, "lr": self.body_rate * self.learning_rate},
        ]
        steps = int(self.trainer.estimated_stepping_batches)
        return adam(groups, self.learning_rate, self.schedule, steps, self.weight_decay)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Found:
    """What validation keeps of a picture.

    Attributes:
        highest: presence of the most certain detection, 0 without one.
        presence: (M,) of the detections matched to the picture's hands, 0 where none is.
        correct: of the found hands whose side is known, whether it is right.
    """

    highest: float
    presence: Tensor
    correct: Tensor


def _first(network: nn.Module, stages: int) -> list[nn.Module]:
    """Stem and first stages of one of timm's EfficientNets."""
    if not stages:
        return []
    blocks: nn.Sequential = network.blocks  # type: ignore[assignment]
    stem: list[nn.Module] = [network.conv_stem, network.bn1]  # type: ignore[list-item]
    return [*stem, *blocks[:stages]]
