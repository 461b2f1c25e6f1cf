"""RegDA: regressive domain adaptation for keypoints (Jiang et al., CVPR 2021).

A second, adversarial head sees the same features. On the target it is pushed to where the joint is
NOT, the places of the other joints ("ground false"), and the features are changed so that it finds
the joint all the same ("ground truth"): features on which no head can be far off.

Left out or changed: the three steps of the paper, with an optimiser each, are one: each term
reaches the parts that its step would change, and those alone. Labelled crops teach the main head by
Eq. 6.3 instead of heatmaps by their divergence; the latent heatmaps of the head are what is
compared, and a joint is where their expectation is, not their maximum. The main head is that of all
methods here, one layer; the adversarial one has the paper's two. Adam instead of SGD with a rate
for each part.
"""

from __future__ import annotations

import math
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.func import functional_call

from auxhand.geometry.heatmap import gaussian_heatmap, pixels_to_cells
from auxhand.losses.consistency import OUTPUT_CELLS
from auxhand.losses.supervision import LossWeights
from auxhand.methods.comparators.adaptation import WEIGHTS, Adaptation, scaled_gradient
from auxhand.models.pose_net import PoseNet
from auxhand.optim import Schedule
from auxhand.sample import HandBatch, HandPose, Views

SIGMA = 2.0
"""Of the Gaussians that disparities are measured with, in cells of a map of 64."""

EPSILON = 1e-7

SETTLING = 1 / 35
"""Share of the training in which about half of the adversary's strength is reached: 1,000 of the
paper's 35,000 steps."""


class RegDA(Adaptation):
    """See the module.

    Args:
        network: with a head of latent heatmaps. The adversarial head ends with one of the same
            kind, and has weights of its own.
        weights, learning_rate, schedule, seed: of `Adaptation`.
        margin: weight of the disparity on labelled crops.
        trade_off: weight of all disparities.
    """

    def __init__(
        self,
        network: PoseNet,
        weights: LossWeights = WEIGHTS,
        margin: float = 4.0,
        trade_off: float = 1.0,
        learning_rate: float = 1e-4,
        schedule: Schedule | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(network, weights, learning_rate, schedule, seed)
        self.margin = margin
        self.trade_off = trade_off
        self.adversary = Adversary(network)

    @property
    def strength(self) -> float:
        """Of the adversary's gradients at the features: from 0 towards 0.1, slowly."""
        return 0.1 * (2 / (1 + math.exp(-self.progress / SETTLING)) - 1)

    def terms(self, source: HandBatch, target: Views) -> dict[str, Tensor]:
        """The losses of labelled crops, and the disparities between the heads."""
        image, count = torch.cat([source.image, target.second.image]), len(source)
        features = self.network.features(image)
        pose = self.network.decode(features, image)
        assert pose.uv is not None
        map = scaled_gradient(features.maps[-1], self.strength)
        truth = places(pose.uv.detach(), image.shape[-1], map.shape[-1])
        mine, theirs = slice(count), slice(count, None)

        def said(map: Tensor, weights: dict[str, Tensor]) -> Tensor:
            size = image.shape[-2:]
            answer: HandPose = functional_call(
                self.adversary, weights, (map, features.context, size)
            )
            assert answer.heatmaps is not None
            return answer.heatmaps

        learning: dict[str, Tensor] = dict(self.adversary.named_parameters())
        fixed = {name: weight.detach() for name, weight in learning.items()}
        alike = divergence(truth[mine], said(map[mine], learning))
        fooled = divergence(elsewhere(truth[theirs]), said(map[theirs].detach(), learning))
        found = divergence(truth[theirs], said(map[theirs], fixed))
        return {
            "supervised": self.supervised(pose, source),
            "source_disparity": self.margin * self.trade_off * alike,
            "ground_false": self.trade_off * fooled,
            "ground_truth": self.trade_off * found,
        }


class Adversary(nn.Module):
    """A second head: a layer of its own on the map, and the network's kind of head.

    Args:
        network: whose last head it is beside.
    """

    def __init__(self, network: PoseNet) -> None:
        super().__init__()
        channels = network.body.channels
        self.layer = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        self.head = deepcopy(network.heads[-1])

    def forward(self, map: Tensor, context: Tensor, image_size: tuple[int, int]) -> HandPose:
        """As `Head`'s."""
        pose: HandPose = self.head(self.layer(map), context, image_size)
        return pose


def places(uv: Tensor, size: int, cells: int) -> Tensor:
    """(B, 21, h, h) Gaussians of peak 1 at joints (B, 21, 2) in pixels of crops of `size`."""
    sigma = SIGMA * cells / OUTPUT_CELLS
    return gaussian_heatmap(pixels_to_cells(uv, size / cells), (cells, cells), sigma)


def elsewhere(truth: Tensor) -> Tensor:
    """For each joint the places of all others, at most 1 (ground false)."""
    return (truth.sum(dim=1, keepdim=True) - truth).clamp(max=1.0)


def divergence(target: Tensor, heatmaps: Tensor) -> Tensor:
    """KL divergence of probabilities from maps (B, J, h, w), which are made to sum to one, in nats,
    mean over joints."""
    target = (target + EPSILON).flatten(2)
    target = target / target.sum(dim=-1, keepdim=True)
    log_probability = heatmaps.flatten(2).clamp_min(torch.finfo(heatmaps.dtype).tiny).log()
    return (target * (target.log() - log_probability)).sum(dim=-1).mean()
