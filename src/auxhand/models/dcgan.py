"""DCGAN's generator as decoder of maps and images (Radford et al. 2016)."""

from __future__ import annotations

from torch import Tensor, nn

from auxhand.models.spec import recorded

_FIRST = 4  # cells of the first map, as in the paper


@recorded
class DCGANDecoder(nn.Module):
    """z (B, D) to maps (B, C, S, S): transposed convolutions that double the side from 4 to S.

    The channels halve as the side doubles; batch normalisation and ReLU between the layers, nothing
    after the last one, whose values are free (Eq. 5.6 compares them with heatmaps as they are).

    Args:
        latent: D.
        channels: C.
        size: S, 4 times a power of two, at least 8.
        width: channels of the last hidden map (64 in the paper, whose S is 64).

    Raises:
        ValueError: no such S.
    """

    def __init__(
        self, latent: int = 64, channels: int = 21, size: int = 64, width: int = 64
    ) -> None:
        super().__init__()
        doublings = (size // _FIRST).bit_length() - 1
        if doublings < 1 or size != _FIRST << doublings:
            raise ValueError(f"maps have 8, 16, 32, 64, ... cells a side, not {size}")
        inputs = width << (doublings - 1)
        layers: list[nn.Module] = [
            nn.Unflatten(1, (latent, 1, 1)),
            nn.ConvTranspose2d(latent, inputs, _FIRST, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU(inplace=True),
        ]
        for _ in range(doublings - 1):
            layers += [
                nn.ConvTranspose2d(inputs, inputs // 2, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(inputs // 2),
                nn.ReLU(inplace=True),
            ]
            inputs //= 2
        layers.append(nn.ConvTranspose2d(inputs, channels, 4, stride=2, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """(B, D) -> (B, C, S, S)."""
        maps: Tensor = self.layers(z).float()
        return maps
