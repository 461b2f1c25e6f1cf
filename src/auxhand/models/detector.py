"""Where the hands of a picture are: one look at the whole picture, no anchors.

Every cell of a map says whether a hand's centre lies in it, where that hand's box is and which side
the hand is of. Centres as peaks are CenterNet's (Zhou et al. 2019, "Objects as Points"), boxes as
distances to four edges FCOS's (Tian et al. 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from auxhand.models.backbone import Backbone, convolution
from auxhand.models.calibrated import calibrated, recalibrate, uncalibrated
from auxhand.models.detections import STRIDE, DetectionMaps
from auxhand.models.spec import recorded

DEEPEST = 16
"""Pixels per cell of the deepest map of the backbone that is looked at."""

RARE = 0.01
"""Presence that a cell begins with: nearly all cells are no hand's centre (Lin et al. 2017)."""

TYPICAL = 32.0
"""Pixels from a hand's centre to its box's edges that a cell begins with."""


@recorded
class HandDetector(nn.Module):
    """All hands of an RGB picture, in one pass.

    The backbone ends with its deepest map that is looked at (efficientnet-lite0 without its stages
    at stride 32 costs half); its two maps are added up at the finer one's size. Its batch
    normalisations are folded: their statistics were made with more pictures than there are here.

    Args:
        backbone: a timm network of the EfficientNet family.
        pretrained: see `Backbone`.
        width: channels of the maps that the head reads.
    """

    calibration: Tensor

    def __init__(
        self,
        backbone: str = "tf_efficientnet_lite0",
        pretrained: bool | str = False,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.backbone = Backbone(backbone, pretrained, (STRIDE, DEEPEST), folded=True)
        _shorten(self.backbone.network)
        fine, deep = self.backbone.channels
        self.fine = nn.Conv2d(fine, width, 1)
        self.deep = nn.Sequential(
            convolution(deep, width, 1),
            nn.Conv2d(width, width, 5, padding=2, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.Conv2d(width, width, 1),
        )
        self.tower = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
            convolution(width, width, 1),
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
            convolution(width, width, 1),
        )
        self.out = nn.Conv2d(width, 6, 1)
        nn.init.normal_(self.out.weight, std=0.01)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)
        with torch.no_grad():
            self.out.bias[0] = torch.tensor(RARE).logit()
        self.register_buffer("calibration", uncalibrated())

    def forward(self, image: Tensor) -> DetectionMaps:
        """(B, 3, H, W) RGB in [0, 1], H and W divisible by `DEEPEST` -> what the cells say.

        The presence is calibrated: slope times the network's logit plus intercept, which are the
        buffer `calibration`, 1 and 0 until `calibrate` sets them.
        """
        fine, deep = self.backbone(image)
        # Twice the size exactly: the coarser cells lie on two by two of the finer ones.
        context = functional.interpolate(self.deep(deep), scale_factor=2.0, mode="nearest")
        cells = self.out(self.tower(self.fine(fine) + context))
        distances = TYPICAL * cells[:, 1:5].clamp(-4.0, 2.5).exp()
        boxes = _corners(distances.permute(0, 2, 3, 1))
        return DetectionMaps(calibrated(cells[:, 0], self.calibration), boxes, cells[:, 5])

    def calibrate(self, slope: float, intercept: float) -> None:
        """Let presences be sigmoid(slope * logit + intercept) of the logits given until now."""
        recalibrate(self.calibration, slope, intercept)


def _shorten(network: nn.Module) -> None:
    """Take away the stages behind the deepest map wanted; features of timm's EfficientNets."""
    stages: nn.Sequential = network.blocks  # type: ignore[assignment]
    reductions = [info["reduction"] for info in network.feature_info.info]  # type: ignore[union-attr]
    names = [info["module"] for info in network.feature_info.info]  # type: ignore[union-attr]
    last = names[max(i for i, r in enumerate(reductions) if r <= DEEPEST)]
    del stages[int(last.split(".")[1]) + 1 :]


def cell_centres(height: int, width: int, like: Tensor) -> Tensor:
    """(h, w, 2) the cells' centres in pixels of the picture, an integer being a pixel's centre."""
    x = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) * STRIDE - 0.5
    y = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) * STRIDE - 0.5
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def _corners(distances: Tensor) -> Tensor:
    """(B, h, w, 4) left, top, right, bottom from distances of each cell's centre to them."""
    centres = cell_centres(distances.shape[1], distances.shape[2], distances)
    return torch.cat([centres - distances[..., :2], centres + distances[..., 2:]], dim=-1)
