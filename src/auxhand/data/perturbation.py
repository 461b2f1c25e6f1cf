"""Perturbation, or weak augmentation: small moves of a crop's pixels and quarter turns (Ch. 6.3.4,
7.4.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from auxhand.geometry.similarity import similarity
from auxhand.losses.consistency import OUTPUT_CELLS


@dataclass(frozen=True)
class Perturbation:
    """How pixels are moved: "translations of [-5, 5] pixels or rotations of either [-2, 2] degrees
    or 90, 180 and 270" in chapter 6, where the three kinds are taken to be equally likely; in
    chapter 7 translation AND rotation, where the two kinds of rotation are.

    Attributes:
        shift: pixels each way at most, of a crop of 64.
        turn: degrees each way at most.
        quarters: whether quarter turns are among them.
        together: every crop is both shifted and turned.
    """

    shift: float = 5.0
    turn: float = 2.0
    quarters: bool = True
    together: bool = False

    def draw(self, count: int, size: int, generator: torch.Generator) -> Tensor:
        """(count, 3, 3) similarities T of the pixels of crops of `size` pixels, float32, CPU."""
        first, last = int(self.together), 3 if self.quarters else 2
        kind = torch.randint(first, last, (count,), generator=generator)
        shift = self.shift * (2 * torch.rand(count, 2, generator=generator) - 1)
        small = math.radians(self.turn) * (2 * torch.rand(count, generator=generator) - 1)
        quarter = math.pi / 2 * torch.randint(1, 4, (count,), generator=generator)
        angle = torch.where(kind == 1, small, torch.where(kind == 2, quarter, 0.0))
        if not self.together:
            shift = torch.where((kind == 0)[:, None], shift, 0.0)
        return similarity(size, angle, shift * size / OUTPUT_CELLS)
