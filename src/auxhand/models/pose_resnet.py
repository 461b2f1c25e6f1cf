"""PoseResNet: a backbone and three deconvolutions (Xiao et al. 2018; Ch. 2.2)."""

from __future__ import annotations

from torch import Tensor, nn

from auxhand.models.backbone import STRIDES, Backbone, Body, Features
from auxhand.models.spec import recorded


@recorded
class PoseResNet(Body):
    """Backbone to stride 32, then three times a 4x4 deconvolution of stride 2, without skips.

    Args:
        backbone: a timm network, a ResNet in the paper.
        width: channels of the deconvolutions.
        pretrained: see `auxhand.models.backbone.Backbone`.
    """

    stride = STRIDES[0]
    multiple = STRIDES[-1]
    stages = 1

    def __init__(
        self, backbone: str = "resnet18", width: int = 256, pretrained: bool | str = False
    ) -> None:
        super().__init__()
        self.backbone = Backbone(backbone, pretrained, strides=STRIDES[-1:])
        self.channels = width
        self.context_channels = self.backbone.channels[-1]
        self.deconvolutions = nn.Sequential(
            _deconvolution(self.context_channels, width),
            _deconvolution(width, width),
            _deconvolution(width, width),
        )

    def forward(self, image: Tensor) -> Features:
        """(B, 3, H, W) -> maps[0] (B, width, H/4, W/4), context (B, Cc, H/32, W/32)."""
        (context,) = self.backbone(image)
        return Features((self.deconvolutions(context),), context)


def _deconvolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, kernel_size=4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
