"""Heads: from a body's features to a `HandPose`, one class per representation of Ch. 2.3.

A head is made with its own choices alone; `connect` adds the layers that depend on the body, which
`PoseNet` calls for a copy of the head per stage. `uv` is in pixels of the crop. Everything after
the body's maps runs in float32, also under autocast: soft-argmax in bfloat16 is off by pixels.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import torch
from torch import Tensor, nn

from auxhand.geometry.heatmap import (
    argmax_subpixel,
    cells_to_pixels,
    expected_value,
    soft_argmax,
)
from auxhand.hand.skeleton import NUM_JOINTS, ROOT
from auxhand.models.spec import recorded
from auxhand.sample import HandPose

CONFIDENCE_RADIUS = 2.5
"""Cells: see `confidence_of`."""


class Head(nn.Module):
    """From features to a pose; call `connect` before `forward`."""

    @abstractmethod
    def connect(self, channels: int, context_channels: int) -> Self:
        """Make the layers for maps of `channels` and a context of `context_channels`."""

    @abstractmethod
    def decode(self, map: Tensor, context: Tensor, image_size: tuple[int, int]) -> HandPose:
        """`forward` on float32 features, with autocast switched off."""

    def forward(self, map: Tensor, context: Tensor, image_size: tuple[int, int]) -> HandPose:
        """Features of B crops to their poses.

        Args:
            map: (B, C, h, w), a stage's map.
            context: (B, Cc, hc, wc), the body's deepest map.
            image_size: (H, W) of the crop.
        """
        with torch.autocast(map.device.type, enabled=False):
            return self.decode(map.float(), context.float(), image_size)


@recorded
class Latent25D(Head):
    """Latent 2.5D heatmaps (Iqbal et al. 2018; Ch. 3.1.1, Eq. 3.1): the default.

    Gives uv, d, heatmaps (the softmax of Eq. 3.1, which sums to one per joint) and confidence.
    The temperature beta is learnt, one per joint as in Iqbal et al., as exp(log_beta): it stays
    positive, and weight decay pulls it to 1.

    Args:
        root: joint that depths are relative to; d[root] is 0.
    """

    def __init__(self, root: int = ROOT) -> None:
        super().__init__()
        self.root = root
        self.log_beta = nn.Parameter(torch.zeros(NUM_JOINTS))

    def connect(self, channels: int, context_channels: int) -> Self:
        self.predict = nn.Conv2d(channels, 2 * NUM_JOINTS, 1)
        return self

    def decode(self, map: Tensor, context: Tensor, image_size: tuple[int, int]) -> HandPose:
        logits, depth = self.predict(map).chunk(2, dim=1)
        cells, probability = soft_argmax(logits, beta=self.log_beta.exp())
        d = expected_value(depth, probability)
        return HandPose(
            uv=cells_to_pixels(cells, _stride(map, image_size)),
            d=d - d[:, self.root, None],
            confidence=confidence_of(probability, cells),
            heatmaps=probability,
        )


@recorded
class Integral(Head):
    """Integral regression of uv (Sun et al. 2018; Eq. 2.3): softmax and expectation, 2D only.

    Gives uv, heatmaps (the softmax, which sums to one per joint) and confidence.
    """

    def connect(self, channels: int, context_channels: int) -> Self:
        self.predict = nn.Conv2d(channels, NUM_JOINTS, 1)
        return self

    def decode(self, map: Tensor, context: Tensor, image_size: tuple[int, int]) -> HandPose:
        cells, probability = soft_argmax(self.predict(map))
        return HandPose(
            uv=cells_to_pixels(cells, _stride(map, image_size)),
            confidence=confidence_of(probability, cells),
            heatmaps=probability,
        )


@recorded
class Heatmap(Head):
    """Plain heatmaps (Eq. 2.1), decoded by argmax with sub-pixel refinement, 2D only.

    Gives heatmaps (free values that the loss pulls to a Gaussian of peak 1), uv (without a
    gradient: train on the heatmaps) and confidence, the height of the peak in [0, 1].
    """

    def connect(self, channels: int, context_channels: int) -> Self:
        self.predict = nn.Conv2d(channels, NUM_JOINTS, 1)
        return self

    def decode(self, map: Tensor, context: Tensor, image_size: tuple[int, int]) -> HandPose:
        heatmaps = self.predict(map)
        found = heatmaps.detach()
        return HandPose(
            uv=cells_to_pixels(argmax_subpixel(found), _stride(map, image_size)),
            confidence=found.amax(dim=(-2, -1)).clamp(0.0, 1.0),
            heatmaps=heatmaps,
        )


def confidence_of(probability: Tensor, cells: Tensor) -> Tensor:
    """Share of a joint's probability within `CONFIDENCE_RADIUS` cells of its estimate.

    Near 1 for one sharp peak, near 0 where the expectation falls between peaks or the map is flat.
    A report, not a training signal: it has no gradient.

    Args:
        probability: (..., h, w), sums to one over the map.
        cells: (..., 2), the estimate in cells.

    Returns:
        (...) in [0, 1].
    """
    probability, cells = probability.detach(), cells.detach()
    height, width = probability.shape[-2:]
    u = torch.arange(width, device=cells.device, dtype=cells.dtype) - cells[..., 0, None]
    v = torch.arange(height, device=cells.device, dtype=cells.dtype) - cells[..., 1, None]
    near = u.square()[..., None, :] + v.square()[..., :, None] <= CONFIDENCE_RADIUS**2
    return (probability * near).sum(dim=(-2, -1)).clamp(max=1.0)


def _stride(map: Tensor, image_size: tuple[int, int]) -> float:
    """Image pixels per cell of `map`."""
    return image_size[1] / map.shape[-1]
