"""AnimalDA: unsupervised domain adaptation for animal pose (Li and Lee, From Synthetic to Real,
CVPR 2021).

Features of several layers are to look alike in both domains, by classifiers whose gradient is
reversed (Ganin and Lempitsky 2015). The first pseudo-labels, of the pre-trained network, weigh less
and less, and of each image the joints of the greatest loss, more and more of them, are left out;
the predictions of a mean teacher weigh more and more.

Left out or changed: the refinement block with its two heads, and so the inner loop in which its
output teaches the coarse one; mixing of images of both domains; the first labels' consistency
check (as in `cc_ssl`). The paper's one convolutional classifier sees the refinement block's maps
of several scales side by side; here each of the encoder's last four maps has a classifier of its
own, two layers on its average, and their losses are averaged. Poses are compared by l of Eq. 6.2
instead of heatmaps by their squared differences, beside which the classifiers' published weight of
0.0005 would be nothing.
"""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from auxhand.geometry.similarity import move_uv
from auxhand.losses.consistency import UVD
from auxhand.losses.supervision import LossWeights
from auxhand.methods.comparators.adaptation import (
    WEIGHTS,
    Adaptation,
    distances,
    pose_of,
    scaled_gradient,
)
from auxhand.models.backbone import Features
from auxhand.models.pose_net import PoseNet
from auxhand.models.pose_resnet import PoseResNet
from auxhand.optim import Schedule
from auxhand.sample import HandBatch, Views

LEAST_JOINTS = 10
"""Half of them: the paper keeps 9 of 18."""

ALL_TEACH, MINED, RAMP_DOWN, RAMP_UP = 2 / 80, 11 / 80, 15 / 80, 10 / 80
"""Shares of the training's 80 epochs: until a joint is left out, until as many as ever are, until
the first labels weigh least, until the teacher weighs most."""


class AnimalDA(Adaptation):
    """See the module.

    Args:
        network: a PoseResNet's; its weights when training starts make the first labels.
        weights, learning_rate, schedule, seed: of `Adaptation`.
        target: most and least weight of the first labels.
        consistency: most weight of the teacher.
        adversarial: weight of the domains' classifiers.
        decay: of the teacher's average.

    Raises:
        ValueError: another body.
    """

    def __init__(
        self,
        network: PoseNet,
        weights: LossWeights = WEIGHTS,
        target: tuple[float, float] = (15.0, 8.0),
        consistency: float = 90.0,
        adversarial: float = 0.5,
        decay: float = 0.999,
        learning_rate: float = 1e-4,
        schedule: Schedule | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(network, weights, learning_rate, schedule, seed)
        if not isinstance(network.body, PoseResNet):
            raise ValueError("AnimalDA looks at the layers of a PoseResNet")
        self.target, self.consistency = target, consistency
        self.adversarial, self.decay = adversarial, decay
        self.first = deepcopy(network).requires_grad_(False)
        self.teacher = deepcopy(network).requires_grad_(False)
        widths = network.body.backbone.network.feature_info.channels()  # type: ignore[union-attr, operator]
        self.classifiers = nn.ModuleList(_classifier(width) for width in widths[1:])

    def on_train_start(self) -> None:
        """The first labels and the teacher begin as the network that training starts from."""
        super().on_train_start()
        if self.global_step == 0:
            self.first.load_state_dict(self.network.state_dict())
            self.teacher.load_state_dict(self.network.state_dict())

    def terms(self, source: HandBatch, target: Views) -> dict[str, Tensor]:
        """The losses of labelled crops, first labels, teacher, and the domains' classifiers."""
        image, count = torch.cat([source.image, target.second.image]), len(source)
        self.network.expect(image)
        size = image.shape[-1]
        body = self.network.body
        assert isinstance(body, PoseResNet)
        layers = body.backbone.network(body.backbone.normalise(image))
        map = body.deconvolutions(layers[-1])
        pose = self.network.decode(Features((map,), layers[-1]), image)
        uv, d = (value[count:] for value in pose_of(pose))
        first, teacher = (
            distances((uv, d), self._label(network, target), size)
            for network in (self.first, self.teacher)
        )
        lower, upper = self.target[1], self.target[0]
        return {
            "supervised": self.supervised(pose, source),
            "first_labels": max(lower, upper * ramp_down(self.progress)) * self.mined(first),
            "teacher": self.consistency * ramp_up(self.progress) * teacher.mean(),
            "domains": self.adversarial * self.domains(layers[1:], count),
        }

    def mined(self, losses: Tensor) -> Tensor:
        """Mean of each image's joints (B, 21) of the least losses."""
        joints = losses.shape[1]
        mining = (self.progress - ALL_TEACH) / (MINED - ALL_TEACH)
        gone = round((joints - LEAST_JOINTS) * min(max(mining, 0.0), 1.0))
        return losses.topk(joints - gone, dim=1, largest=False).values.mean()

    def domains(self, layers: list[Tensor], count: int) -> Tensor:
        """Cross-entropy of telling the first `count` samples from the others, a mean over layers
        and samples of both, whose gradient the network gets reversed."""
        strength = 2 / (1 + math.exp(-10 * self.progress)) - 1
        entropies = []
        for classify, layer in zip(self.classifiers, layers, strict=True):
            logits = classify(scaled_gradient(layer, -strength)).float().squeeze(1)
            ours = torch.arange(len(logits), device=logits.device) < count
            entropies.append(binary_cross_entropy_with_logits(logits, ours.to(logits)))
        return torch.stack(entropies).mean()

    @torch.no_grad()
    def _label(self, network: PoseNet, target: Views) -> UVD:
        """What another network says of the plain crop, carried into the strong one."""
        network.eval()
        uv, d = pose_of(network(target.first.image))
        return move_uv(target.transform.A.to(uv), uv), d

    def on_train_batch_end(self, *_: Any) -> None:
        """The teacher follows; at first as the mean of all networks so far."""
        decay = min(1 - 1 / (self.global_step + 1), self.decay)
        with torch.no_grad():
            for mean, now in zip(
                self.teacher.state_dict().values(), self.network.state_dict().values(), strict=True
            ):
                if mean.is_floating_point():
                    mean.lerp_(now, 1 - decay)
                else:
                    mean.copy_(now)


def ramp_up(progress: float) -> float:
    """Sigmoid-shaped from exp(-5) to 1 (Laine and Aila 2017)."""
    return math.exp(-5 * (1 - min(progress / RAMP_UP, 1.0)) ** 2)


def ramp_down(progress: float) -> float:
    """Half a cosine from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * min(progress / RAMP_DOWN, 1.0)))


def _classifier(channels: int) -> nn.Sequential:
    """(B, C, h, w) to a logit (B, 1) of the source domain."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, 128),
        nn.ReLU(),
        nn.Linear(128, 1),
    )
