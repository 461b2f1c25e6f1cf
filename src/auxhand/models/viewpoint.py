"""Networks from and to viewpoints, the rotation matrices of Ch. 4.3.3."""

from __future__ import annotations

from torch import Tensor, nn

from auxhand.geometry.precision import full_precision
from auxhand.imports import roma
from auxhand.models.mlp import mlp
from auxhand.models.spec import recorded


@recorded
class ViewpointFeatures(nn.Module):
    """A rotation matrix (B, 3, 3) to features (B, width): fully connected layers, in float32.

    Args:
        width: units of each.
        layers: how many.

    Attributes:
        features: the width.
    """

    def __init__(self, width: int = 512, layers: int = 6) -> None:
        super().__init__()
        self.features = width
        self.layers = nn.Sequential(nn.Flatten(), mlp(9, *[width] * layers, deep=True), nn.ReLU())

    @full_precision
    def forward(self, R: Tensor) -> Tensor:
        features: Tensor = self.layers(R)
        return features


@recorded
class ViewpointDecoder(nn.Module):
    """z (B, D) to a rotation matrix (B, 3, 3): fully connected layers of `width` hidden units, and
    a linear one to two vectors that Gram and Schmidt make a rotation of (Zhou et al. 2019). In
    float32.

    Args:
        latent: D.
        width: hidden units.
        layers: of them.
    """

    def __init__(self, latent: int = 32, width: int = 512, layers: int = 6) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            mlp(latent, *[width] * layers, 6, deep=True), nn.Unflatten(1, (3, 2))
        )

    @full_precision
    def forward(self, z: Tensor) -> Tensor:
        R: Tensor = roma.special_gramschmidt(self.layers(z))
        return R
