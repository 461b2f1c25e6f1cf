"""Multilayer perceptrons, and the two that take and give poses."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import normalize

from auxhand.geometry.precision import full_precision
from auxhand.hand.skeleton import NUM_JOINTS
from auxhand.models.spec import recorded

_POSE_LAYERS = 4


def mlp(*sizes: int, deep: bool = False) -> nn.Sequential:
    """Linear layers between `sizes`, (..., sizes[0]) -> (..., sizes[-1]), with ReLU between them.

    Args:
        sizes: of the input, of each layer's output.
        deep: begin as He et al. (2015) have it, which keeps the scale of what goes through. With
            PyTorch's default each layer takes it down to four tenths, which is well for a few of
            them, whose outputs then begin near 0, but lets six learn far slower.

    Raises:
        ValueError: fewer than two sizes.
    """
    if len(sizes) < 2:
        raise ValueError(f"a perceptron needs the sizes of its input and output, not {sizes}")
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layer = nn.Linear(inputs, outputs)
        if deep:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


@recorded
class PoseFeatures(nn.Module):
    """A pose (B, 21, 3) to features (B, width): fully connected layers, in float32.

    Args:
        width: units of each.
        layers: four of 128 in Ch. 5.4.2, six of 512 in Ch. 4.4.1.

    Attributes:
        features: the width.
    """

    def __init__(self, width: int = 128, layers: int = _POSE_LAYERS) -> None:
        super().__init__()
        self.features = width
        perceptron = mlp(NUM_JOINTS * 3, *[width] * layers, deep=True)
        self.layers = nn.Sequential(nn.Flatten(), perceptron, nn.ReLU())

    @full_precision
    def forward(self, pose: Tensor) -> Tensor:
        features: Tensor = self.layers(pose)
        return features


@recorded
class PoseDecoder(nn.Module):
    """z (B, D) to a pose (B, 21, 3): fully connected layers of `width` hidden units, and the
    linear one that gives the coordinates (Ch. 4.4.1, 5.4.2). In float32: in bfloat16 a pose would
    be rounded to millimetres.

    Args:
        latent: D.
        width: hidden units.
        layers: of them, see `PoseFeatures`.
    """

    def __init__(self, latent: int = 64, width: int = 128, layers: int = _POSE_LAYERS) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            mlp(latent, *[width] * layers, NUM_JOINTS * 3, deep=True),
            nn.Unflatten(1, (NUM_JOINTS, 3)),
        )

    @full_precision
    def forward(self, z: Tensor) -> Tensor:
        pose: Tensor = self.layers(z)
        return pose


class Projection(nn.Module):
    """Feature maps (B, channels, h, w) to unit vectors (B, size): their mean over the cells through
    two fully connected layers, in float32 (Ch. 7.3.4.1; Chen et al. 2020).

    Args:
        channels: of the maps, and hidden units.
        size: of the projection.
    """

    def __init__(self, channels: int, size: int = 128) -> None:
        super().__init__()
        self.layers = mlp(channels, channels, size)

    @full_precision
    def forward(self, features: Tensor) -> Tensor:
        return normalize(self.layers(features.mean(dim=(-2, -1))), dim=-1)
