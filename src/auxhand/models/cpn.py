"""Feature pyramids: the Cascaded Pyramid Network (Chen et al. 2018; Ch. 2.2) and a light one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import Bottleneck

from auxhand.models.backbone import STRIDES, Backbone, Body, Features, convolution
from auxhand.models.spec import recorded


def _upsample(map: Tensor, factor: int = 2) -> Tensor:
    return functional.interpolate(map, scale_factor=float(factor), mode="nearest")


@recorded
class FeaturePyramid(Body):
    """Backbone and a light top-down decoder to stride 4: the default body.

    CPN's GlobalNet without its predictions: from the deepest map upwards, the map is upsampled,
    the backbone's map of that size is added through a 1x1 convolution, and a 3x3 convolution
    merges the two.

    Args:
        backbone: a timm network.
        width: channels of the decoder.
        pretrained, folded: see `auxhand.models.backbone.Backbone`.
    """

    stride = STRIDES[0]
    multiple = STRIDES[-1]
    stages = 1

    def __init__(
        self,
        backbone: str = "regnetx_002",
        width: int = 64,
        pretrained: bool | str = False,
        folded: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = Backbone(backbone, pretrained, folded=folded)
        self.channels = width
        self.context_channels = self.backbone.channels[-1]
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in self.backbone.channels)
        self.top = nn.Sequential(convolution(width, width), convolution(width, width))
        self.merge = nn.ModuleList(convolution(width, width) for _ in STRIDES[:-1])

    def forward(self, image: Tensor) -> Features:
        """(B, 3, H, W) -> maps[0] (B, width, H/4, W/4), context (B, Cc, H/32, W/32)."""
        pyramid = self.backbone(image)
        lateral = [layer(map) for layer, map in zip(self.lateral, pyramid, strict=True)]
        map = self.top(lateral[-1])
        for merge, finer in zip(reversed(self.merge), reversed(lateral[:-1]), strict=True):
            map = merge(_upsample(map) + finer)
        return Features(maps=(map,), context=pyramid[-1])


@recorded
class CPN(Body):
    """Cascaded Pyramid Network: GlobalNet, then RefineNet (Chen et al. 2018; Ch. 2.2).

    GlobalNet is a feature pyramid; RefineNet passes each of its levels through bottleneck blocks
    (the deeper the level the more), brings all to stride 4, concatenates and fuses them. The two
    stages are GlobalNet's finest map and RefineNet's: the paper supervises GlobalNet at every
    level, all enlarged to the finest; here the finest alone is.

    Args:
        backbone: a timm network.
        width: channels of both networks, divisible by 4.
        pretrained: see `auxhand.models.backbone.Backbone`.
    """

    stride = STRIDES[0]
    multiple = STRIDES[-1]
    stages = 2

    def __init__(
        self, backbone: str = "resnet50", width: int = 256, pretrained: bool | str = False
    ) -> None:
        super().__init__()
        self.backbone = Backbone(backbone, pretrained)
        self.channels = width
        self.context_channels = self.backbone.channels[-1]
        levels = range(len(STRIDES))
        self.lateral = nn.ModuleList(convolution(c, width, 1) for c in self.backbone.channels)
        self.lower = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width))
            for _ in levels[1:]
        )
        self.refine = nn.ModuleList(
            nn.Sequential(*(_bottleneck(width, width) for _ in range(level))) for level in levels
        )
        self.fuse = _bottleneck(width * len(STRIDES), width)

    def forward(self, image: Tensor) -> Features:
        """(B, 3, H, W) -> two maps (B, width, H/4, W/4), context (B, Cc, H/32, W/32)."""
        pyramid = self.backbone(image)
        levels = [layer(map) for layer, map in zip(self.lateral, pyramid, strict=True)]
        for i in range(len(levels) - 1, 0, -1):
            levels[i - 1] = levels[i - 1] + self.lower[i - 1](_upsample(levels[i]))
        refined = [
            _upsample(blocks(map), 2**i)
            for i, (blocks, map) in enumerate(zip(self.refine, levels, strict=True))
        ]
        map = self.fuse(torch.cat(refined, dim=1))
        return Features(maps=(levels[0], map), context=pyramid[-1])


def _bottleneck(inputs: int, outputs: int) -> Bottleneck:
    """ResNet's bottleneck block, with a projection where the channels change."""
    project = None
    if inputs != outputs:
        project = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
    return Bottleneck(inputs, outputs // Bottleneck.expansion, downsample=project)
