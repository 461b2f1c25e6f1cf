"""Residual permutation-equivariant layers: an encoder of unordered points (Li & Lee 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from auxhand.models.spec import recorded

_LAYERS_PER_BLOCK = 3


class PermutationEquivariant(nn.Module):
    """(B, N, inputs) -> (B, N, outputs): what each point is, and what the cloud is.

    x W + b - max(x) G, the maximum over the N points (Zaheer et al. 2017), then batch
    normalisation and, unless it ends a residual block, ReLU. Points in another order give the same
    in that order.
    """

    def __init__(self, inputs: int, outputs: int, activate: bool = True) -> None:
        super().__init__()
        self.point = nn.Linear(inputs, outputs, bias=False)
        self.cloud = nn.Linear(inputs, outputs, bias=False)
        self.norm = nn.BatchNorm1d(outputs)  # whose bias is b
        self.activate = nn.ReLU(inplace=True) if activate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.point(x) - self.cloud(x.max(dim=1, keepdim=True).values)
        activated: Tensor = self.activate(self.norm(y.flatten(0, 1)).view_as(y))
        return activated


class ResidualBlock(nn.Module):
    """Three such layers beside a shortcut, which is linear where the width changes."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        widths = [inputs] + [outputs] * _LAYERS_PER_BLOCK
        self.layers = nn.Sequential(
            *(
                PermutationEquivariant(i, o, activate=number < _LAYERS_PER_BLOCK)
                for number, (i, o) in enumerate(pairwise(widths), 1)
            )
        )
        self.shortcut = nn.Identity() if inputs == outputs else nn.Linear(inputs, outputs)
        self.activate = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activate(self.layers(x) + self.shortcut(x))
        return y


@recorded
class ResidualPEL(nn.Module):
    """A cloud (B, N, 3) to features (B, F) that do not depend on the order of its points.

    One layer, residual blocks of three, one layer, and the maximum over the points. Ch. 5.4.2 has
    "the same number of layers as [69], hidden units reduced by half" without naming either; the
    default widths are ours.

    Args:
        widths: hidden units of each block.
        features: F.
    """

    def __init__(self, widths: Sequence[int] = (32, 64, 128), features: int = 256) -> None:
        super().__init__()
        self.features = features
        self.layers = nn.Sequential(
            PermutationEquivariant(3, widths[0]),
            *(ResidualBlock(i, o) for i, o in pairwise([widths[0], *widths])),
            PermutationEquivariant(widths[-1], features),
        )

    def forward(self, cloud: Tensor) -> Tensor:
        """(B, N, 3) -> (B, F).

        Raises:
            ValueError: another shape.
        """
        if cloud.ndim != 3 or cloud.shape[-1] != 3:
            raise ValueError(f"clouds must be (B, N, 3), not {tuple(cloud.shape)}")
        features: Tensor = self.layers(cloud).max(dim=1).values
        return features
