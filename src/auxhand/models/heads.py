"""Heads: from a body's features to a `HandPose`, one class per representation of Ch. 2.3.

A head is made with its own choices alone; `connect` adds the layers that depend on the body, which
`PoseNet` calls for a copy of the head per stage. `uv` is in pixels of the crop. Everything after
the body's maps runs in float32, also under autocast: soft-argmax in bfloat16 is off by pixels.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from auxhand.geometry.canonical import rotate
from auxhand.geometry.heatmap import (
    argmax_subpixel,
    cells_to_pixels,
    expected_value,
    near_peak,
    soft_argmax,
)
from auxhand.geometry.pose25d import relative
from auxhand.hand.anatomy import rotations_from_angles
from auxhand.hand.parameters import HandParameters
from auxhand.hand.skeleton import NUM_JOINTS, ROOT
from auxhand.hand.surface import HandSurface
from auxhand.imports import roma
from auxhand.models.calibrated import calibrated, recalibrate, uncalibrated
from auxhand.models.mlp import mlp
from auxhand.models.spec import recorded
from auxhand.sample import HandPose

CONFIDENCE_RADIUS = 2.5
"""Cells: see `confidence_of`."""

LEAST = 1e-4
"""Confidences keep that distance from 0 and 1 where their logits are calibrated."""

_HIDDEN = 512  # units of the perceptrons' hidden layers, as in Zimmermann & Brox
_LIFTER_SIZE = (32, 32)  # cells of the heatmaps that are lifted, as there


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
class Peak25D(Head):
    """Latent 2.5D heatmaps that are read near their peak, and depths from the context.

    Trained as `Latent25D` in uv (first line of Eq. 3.1). In use uv is the expectation near the
    heatmap's maximum: where the network wavers between two places, a joint is put in one of them
    and not half-way. d is the sum of what a perceptron says of the whole hand, from the pooled
    context, and of latent depth maps at the joints, which begin with 0. Gives uv, d, heatmaps and
    confidence, which `calibrate` makes a probability. For the shipped model; no chapter's.

    Args:
        radius: cells about the maximum that are read, see `geometry.heatmap.near_peak`.
        root: joint that depths are relative to; d[root] is 0.
    """

    def __init__(self, radius: float = 2.0, root: int = ROOT) -> None:
        super().__init__()
        self.radius = radius
        self.root = root
        self.log_beta = nn.Parameter(torch.zeros(NUM_JOINTS))
        self.calibration: Tensor
        self.register_buffer("calibration", uncalibrated())

    def connect(self, channels: int, context_channels: int) -> Self:
        self.predict = nn.Conv2d(channels, NUM_JOINTS, 1)
        self.depth = mlp(context_channels, _HIDDEN // 2, NUM_JOINTS)
        self.depth_maps = nn.Conv2d(channels, NUM_JOINTS, 1)
        for parameter in self.depth_maps.parameters():
            nn.init.zeros_(parameter)
        return self

    def decode(self, map: Tensor, context: Tensor, image_size: tuple[int, int]) -> HandPose:
        cells, probability = soft_argmax(self.predict(map), beta=self.log_beta.exp())
        if not self.training:
            cells = near_peak(probability, self.radius)
        d = self.depth(_pooled(context)) + expected_value(self.depth_maps(map), probability)
        near = confidence_of(probability, cells).clamp(LEAST, 1 - LEAST)
        return HandPose(
            uv=cells_to_pixels(cells, _stride(map, image_size)),
            d=d - d[:, self.root, None],
            confidence=calibrated(near.logit(), self.calibration).sigmoid(),
            heatmaps=probability,
        )

    def calibrate(self, slope: float, intercept: float) -> None:
        """Let confidences be sigmoid(slope * logit + intercept) of the logits given until now."""
        recalibrate(self.calibration, slope, intercept)


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


@recorded
class Coordinate(Head):
    """Direct regression of u, v, d by a perceptron on the pooled context (Eq. 2.2).

    Gives uv and d.

    Args:
        root: joint that depths are relative to; d[root] is 0.
    """

    def __init__(self, root: int = ROOT) -> None:
        super().__init__()
        self.root = root

    def connect(self, channels: int, context_channels: int) -> Self:
        self.regress = mlp(context_channels, _HIDDEN, NUM_JOINTS * 3)
        return self

    def decode(self, map: Tensor, context: Tensor, image_size: tuple[int, int]) -> HandPose:
        values = self.regress(_pooled(context)).unflatten(1, (NUM_JOINTS, 3))
        d = values[..., 2]
        return HandPose(
            uv=_from_fractions(values[..., :2], image_size), d=d - d[:, self.root, None]
        )


@recorded
class Lifting(Head):
    """Heatmaps, lifted to 3D by a network (Zimmermann & Brox 2017; Ch. 2.3.1).

    Gives uv, confidence and heatmaps as `Heatmap` does, canonical, viewpoint and xyz: two networks
    see the heatmaps alone; one regresses the canonical pose, the other the viewpoint R (a rotation
    vector), and 3DPose = R CPose (Ch. 4.3.3). Each has the six convolutions and two hidden layers
    of the paper's PosePrior, without its input of the hand's side (networks see right hands).

    Args:
        root: joint that positions are relative to; xyz[root] is 0.
        detached: losses of the 3D pose train these two networks alone, as in the paper, which
            trains them apart from the one that sees the image.
    """

    def __init__(self, root: int = ROOT, detached: bool = False) -> None:
        super().__init__()
        self.root = root
        self.detached = detached
        self.canonical = _lifter(NUM_JOINTS * 3)
        self.viewpoint = _lifter(3)
        self.detect = Heatmap()

    def connect(self, channels: int, context_channels: int) -> Self:
        self.detect.connect(channels, context_channels)
        return self

    def decode(self, map: Tensor, context: Tensor, image_size: tuple[int, int]) -> HandPose:
        pose = self.detect.decode(map, context, image_size)
        assert pose.heatmaps is not None  # `Heatmap` always gives them
        seen = pose.heatmaps.detach() if self.detached else pose.heatmaps
        heatmaps = functional.interpolate(seen, _LIFTER_SIZE, mode="bilinear")
        canonical = self.canonical(heatmaps).unflatten(1, (NUM_JOINTS, 3))
        canonical = canonical - canonical[:, self.root, None]
        R = roma.rotvec_to_rotmat(self.viewpoint(heatmaps))
        return replace(pose, xyz=rotate(R, canonical), canonical=canonical, viewpoint=R)


def _lifter(outputs: int) -> nn.Sequential:
    """(B, 21, 32, 32) heatmaps -> (B, outputs): PosePrior of Zimmermann & Brox."""
    layers: list[nn.Module] = []
    inputs = NUM_JOINTS
    for width in (32, 64, 128):
        layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True)]
        layers += [nn.Conv2d(width, width, 3, stride=2, padding=1), nn.ReLU(inplace=True)]
        inputs = width
    cells = _LIFTER_SIZE[0] * _LIFTER_SIZE[1] // 8**2
    return nn.Sequential(*layers, nn.Flatten(), mlp(inputs * cells, _HIDDEN, _HIDDEN, outputs))


@recorded
class HandModel(Head):
    """Regression of a skinned hand's parameters h from the pooled context (Eq. 2.4).

    J = Pi(M(De(h))): M is the joints of `HandSurface`, Pi a weak-perspective camera. Gives uv, xyz
    and model (h; see `auxhand.hand.parameters`).

    Args:
        root: joint that positions are relative to; xyz[root] is 0.
    """

    def __init__(self, root: int = ROOT) -> None:
        super().__init__()
        self.root = root
        with torch.device("cpu"):  # where it reads from a file; a network may be made on none
            self.surface = HandSurface()

    def connect(self, channels: int, context_channels: int) -> Self:
        size = HandParameters.count(len(self.surface.shape_joints))
        self.regress = mlp(context_channels, _HIDDEN, size)
        return self

    def decode(self, map: Tensor, context: Tensor, image_size: tuple[int, int]) -> HandPose:
        model = self.regress(_pooled(context))
        hand = HandParameters.of(model)
        rest_joints = self.surface.rest(hand.shape)[1]
        local = rotations_from_angles(hand.angles, rest_joints)
        rotations = torch.cat([hand.rotation[:, None], local[:, 1:]], dim=1)
        joints = self.surface(rotations, hand.shape)[1]
        placed = joints[..., :2] - joints[:, self.root, None, :2]
        fractions = hand.scale[:, None, None] * placed + hand.translation[:, None]
        return HandPose(
            uv=_from_fractions(fractions, image_size),
            xyz=relative(joints, self.root),
            model=model,
        )


def confidence_of(probability: Tensor, cells: Tensor) -> Tensor:
    """Share of a joint's probability within `CONFIDENCE_RADIUS` cells of its estimate.

    Near 1 for one sharp peak, near 0 where the expectation falls between peaks or the map is flat.
    Cells on the rim count in part, so that the value does not jump. A report, not a training
    signal: it has no gradient.

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
    distance = (u.square()[..., None, :] + v.square()[..., :, None]).sqrt()
    near = (CONFIDENCE_RADIUS + 0.5 - distance).clamp(0.0, 1.0)
    return (probability * near).sum(dim=(-2, -1)).clamp(max=1.0)


def _stride(map: Tensor, image_size: tuple[int, int]) -> float:
    """Image pixels per cell of `map`."""
    return image_size[1] / map.shape[-1]


def _pooled(context: Tensor) -> Tensor:
    """(B, Cc, hc, wc) -> (B, Cc), the mean over the crop."""
    return context.mean(dim=(-2, -1))


def _from_fractions(uv: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Coordinates in image sides, 0 at the image's centre, to pixels."""
    height, width = image_size
    return (uv + 0.5) * uv.new_tensor([width, height]) - 0.5
