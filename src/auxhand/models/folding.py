"""FoldingNet's decoder: a latent code folds a sheet into a surface (Yang et al. 2018)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from auxhand.models.mlp import mlp
from auxhand.models.spec import recorded


class Fold(nn.Module):
    """A perceptron of three layers on each point (B, N, inputs) with a code (B, D): (B, N, 3).

    The first layer is the sum of one of the point and one of the code, which is the same as one of
    both together and computes the latter's part once for all points.
    """

    def __init__(self, inputs: int, latent: int, width: int) -> None:
        super().__init__()
        self.point = nn.Linear(inputs, width, bias=False)
        self.code = nn.Linear(latent, width)
        self.rest = mlp(width, width, 3)

    def forward(self, points: Tensor, z: Tensor) -> Tensor:
        first = self.point(points) + self.code(z)[:, None]
        folded: Tensor = self.rest(first.relu_())
        return folded


@recorded
class FoldingDecoder(nn.Module):
    """z (B, D) to a cloud (B, N, 3), the image of a square grid after two foldings.

    A folding is a perceptron of three layers, applied to each point with z: the first takes points
    of the grid on [-1, 1]^2 to 3D, the second takes these to where they belong. Points that are
    neighbours on the grid stay so, which is why reconstructed surfaces are smooth (Ch. 5.5.2).

    Args:
        latent: D.
        points: N, a square number.
        width: hidden units of the perceptrons (512 in the paper).

    Raises:
        ValueError: N is not a square number.
    """

    grid: Tensor

    def __init__(self, latent: int = 64, points: int = 256, width: int = 512) -> None:
        super().__init__()
        side = math.isqrt(points)
        if side * side != points or points < 4:
            raise ValueError(f"a square sheet has a square number of points, not {points}")
        ticks = torch.linspace(-1, 1, side)
        self.register_buffer("grid", torch.cartesian_prod(ticks, ticks), persistent=False)
        self.folds = nn.ModuleList(Fold(inputs, latent, width) for inputs in (2, 3))

    def forward(self, z: Tensor) -> Tensor:
        """(B, D) -> (B, N, 3)."""
        # Not `len(z)`, which an exported graph would keep as a number.
        points = self.grid.expand(z.shape[0], -1, -1).to(z)
        for fold in self.folds:
            points = fold(points, z)
        return points.float()
