"""CC-SSL: consistency-constrained semi-supervised learning (Mu et al., Learning from Synthetic
Animals, CVPR 2020).

Pseudo-labels are the mean of what the network says of an image seen in several ways, so that they
are consistent under geometric transforms; how sure they are is told by the peak of the mean
heatmap, and the surest share of joints, which grows, teaches strongly augmented images.

Left out or changed: temporal consistency (optical flow between frames), since streams have no
order; labels are made batch by batch, by the network as it was when the epoch began, instead of for
all images at once, so that the share is of a batch; an epoch here stands for ten of the paper's 60.
Poses are compared by l of Eq. 6.2 instead of heatmaps by their squared differences, and a label's
depth is the mean of what the views say. Invariance to how an image looks comes, as in the authors'
code, from the strong augmentation of the image that learns.
"""

from __future__ import annotations

import math
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor

from auxhand.geometry.crop import inverse
from auxhand.geometry.heatmap import argmax_subpixel, cells_to_pixels
from auxhand.geometry.similarity import move_maps, move_uv, similarity
from auxhand.geometry.warp import warp_image
from auxhand.losses.consistency import UVD
from auxhand.losses.supervision import LossWeights
from auxhand.methods.comparators.adaptation import (
    WEIGHTS,
    Adaptation,
    distances,
    pose_of,
)
from auxhand.models.pose_net import PoseNet
from auxhand.monitor import noise
from auxhand.optim import Schedule
from auxhand.sample import HandBatch, Views

SCALE, TURN = 0.25, 30.0
"""Deviations of scale and of rotation in degrees, clipped at once and twice that."""

FIRST_SHARE, GROWTH, LAST_SHARE = 0.2, 1.2, 0.8
"""Of the joints that teach: in the first epoch, what would be added over a training (2% in each of
the paper's 60 epochs), and the most."""


class Checked(NamedTuple):
    """A pseudo-label: its pose in the plain crop, and (B, 21) how sure its joints are."""

    pose: UVD
    confidence: Tensor


class CCSSL(Adaptation):
    """See the module.

    Args:
        network, weights, learning_rate, schedule, seed: of `Adaptation`.
        target: gamma, weight of the pseudo-labels.
        views: in how many ways an image is seen, its own included.
    """

    def __init__(
        self,
        network: PoseNet,
        weights: LossWeights = WEIGHTS,
        target: float = 10.0,
        views: int = 5,
        learning_rate: float = 1e-4,
        schedule: Schedule | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(network, weights, learning_rate, schedule, seed)
        self.target = target
        self.views = views
        self.labeller = deepcopy(network).requires_grad_(False)
        self.share = FIRST_SHARE

    def on_train_epoch_start(self) -> None:
        """Labels are from now on those of the network of now, and more of them teach."""
        self.labeller.load_state_dict(self.network.state_dict())
        self.share = min(FIRST_SHARE + GROWTH * self.progress, LAST_SHARE)

    def terms(self, source: HandBatch, target: Views) -> dict[str, Tensor]:
        """L = l(f(x_s), y_s) + gamma l(f(x_t), y^), in which joints that are not sure enough count
        as 0: the fewer teach, the less they weigh."""
        label = self.checked(target.first.image)
        size, count = source.image.shape[-1], len(source)
        pose = self(torch.cat([source.image, target.second.image]))
        uv, d = pose_of(pose)
        A = target.transform.A.to(uv)
        carried = move_uv(A, label.pose[0]), label.pose[1]
        kept = self.kept(label.confidence)
        taught = (distances((uv[count:], d[count:]), carried, size) * kept).mean()
        return {
            "supervised": self.supervised(pose, source),
            "pseudo_labels": self.target * taught,
        }

    def kept(self, confidence: Tensor) -> Tensor:
        """(B, 21) bool: the surest share of all joints of the batch."""
        return confidence >= confidence.flatten().quantile(1 - self.share)

    @torch.no_grad()
    def checked(self, image: Tensor) -> Checked:
        """What the network of the epoch's beginning says of images (B, 3, S, S) in several ways,
        carried back: the maximum of the mean heatmap, and how high it is."""
        size = image.shape[-1]
        self.labeller.eval()
        rng, depths, maps = noise(self.seed, self, "cpu"), [], []
        for number in range(self.views):
            T = self._transforms(len(image), size, rng, first=number == 0).to(image)
            back = inverse(T)
            pose = self.labeller(warp_image(image, T, (size, size), padding="border"))
            depths.append(pose_of(pose)[1])
            assert pose.heatmaps is not None
            joints = pose.heatmaps.shape[1]
            moved, _ = move_maps(
                back.repeat_interleave(joints, 0), pose.heatmaps.flatten(0, 1).float(), size
            )
            maps.append(moved)
        d, mean = torch.stack(depths).mean(dim=0), torch.stack(maps).mean(dim=0)
        uv = cells_to_pixels(argmax_subpixel(mean), size / mean.shape[-1]).view(*d.shape, 2)
        return Checked((uv, d), mean.flatten(1).amax(dim=1).view(d.shape))

    def _transforms(self, count: int, size: int, rng: torch.Generator, first: bool) -> Tensor:
        """(count, 3, 3) random turns and scales; the first of an image is the identity."""
        turn, scale = torch.randn(2, count, generator=rng)
        angle = (math.radians(TURN) * turn).clamp(-2 * math.radians(TURN), 2 * math.radians(TURN))
        scale = (1 + SCALE * scale).clamp(1 - SCALE, 1 + SCALE)
        if first:
            angle, scale = torch.zeros_like(angle), torch.ones_like(scale)
        return similarity(size, angle, torch.zeros(count, 2), scale)
