"""Texture augmentation of depth maps, T_DM: random erasure, salt and pepper noise (Ch. 7.4.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DepthTexture:
    """How much of a depth map is erased and spoilt; the chapter names the kinds alone.

    Attributes:
        erase_share: probability of a rectangle without depth.
        smallest, largest: sides of it, as shares of the map's.
        noise: share of the pixels that are salt or pepper, at most: uniform from 0.
    """

    erase_share: float = 0.5
    smallest: float = 0.1
    largest: float = 0.5
    noise: float = 0.05

    def __call__(self, depth: Tensor, generator: torch.Generator) -> Tensor:
        """Other textures of depth maps (B, h, w), which have 0 outside the hand.

        What is erased is 0. Salt and pepper are the map's own greatest and least value, so that
        they mean the same in any unit; a map of zeros stays one. Not in place.
        """
        count, height, width = depth.shape

        def uniform(*shape: int) -> Tensor:
            drawn = torch.rand(shape, generator=generator, device=generator.device)
            return drawn.to(depth.device)

        sides = self.smallest + (self.largest - self.smallest) * uniform(count, 2)
        corner = uniform(count, 2) * (1 - sides)
        row = (torch.arange(height, device=depth.device) + 0.5) / height
        column = (torch.arange(width, device=depth.device) + 0.5) / width
        rows = _between(row, corner[:, 0], sides[:, 0])
        columns = _between(column, corner[:, 1], sides[:, 1])
        erased = (uniform(count) < self.erase_share)[:, None, None]
        erased = erased & rows[:, :, None] & columns[:, None, :]
        share = (self.noise / 2 * uniform(count))[:, None, None]
        speck = uniform(count, height, width)
        least, most = (v[:, None, None] for v in depth.flatten(1).aminmax(dim=1))
        noisy = torch.where(speck < share, least, torch.where(speck > 1 - share, most, depth))
        return torch.where(erased, 0.0, noisy)


def _between(at: Tensor, low: Tensor, side: Tensor) -> Tensor:
    """(B, N) bool: places (N,) that lie within `side` (B,) of `low` (B,)."""
    return (at >= low[:, None]) & (at < (low + side)[:, None])
