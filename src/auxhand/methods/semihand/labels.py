"""Pseudo-labels of all unlabelled samples, kept by the sample's number (Algorithm 6.1)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from auxhand.hand.skeleton import NUM_JOINTS


class Labels(NamedTuple):
    """Pseudo-labels of B samples, in their plain crops of S pixels.

    Attributes:
        pose: p^, uv (B, 21, 2) pixels and d (B, 21) in reference lengths.
        correction: r = P(p^), likewise.
        cost: (B,) C(p^), Eq. 6.8; lower is better.
        valid: (B,) bool: it could be corrected.
    """

    pose: tuple[Tensor, Tensor]
    correction: tuple[Tensor, Tensor]
    cost: Tensor
    valid: Tensor

    def trusted(self, tau: float) -> Tensor:
        """(B,) bool: 1(C(p^) <= tau) of Eq. 6.6; what could not be corrected is not trusted."""
        return self.valid & (self.cost <= tau)


class PseudoLabels(nn.Module):
    """The pseudo-labels of N samples as buffers, which checkpoints hold.

    uv is kept in sides of the crop from its corner, so that crops may change their size.
    """

    uv: Tensor
    d: Tensor
    corrected_uv: Tensor
    corrected_d: Tensor
    cost: Tensor
    valid: Tensor

    def __init__(self, count: int = 0) -> None:
        super().__init__()
        self.resize(count)

    def resize(self, count: int) -> None:
        """Forget everything and make room for `count` samples; nothing is trusted yet."""
        device = self.cost.device if hasattr(self, "cost") else None
        for name, shape in (("uv", (NUM_JOINTS, 2)), ("d", (NUM_JOINTS,))):
            for kind in (name, f"corrected_{name}"):
                self.register_buffer(kind, torch.zeros(count, *shape, device=device))
        self.register_buffer("cost", torch.full((count,), torch.inf, device=device))
        self.register_buffer("valid", torch.zeros(count, dtype=torch.bool, device=device))

    def __len__(self) -> int:
        return len(self.cost)

    def read(self, index: Tensor, size: int) -> Labels:
        """The labels of samples (B,), in pixels of crops of `size`."""
        return Labels(
            (self.uv[index] * size - 0.5, self.d[index]),
            (self.corrected_uv[index] * size - 0.5, self.corrected_d[index]),
            self.cost[index],
            self.valid[index],
        )

    def write(self, index: Tensor, labels: Labels, size: int) -> None:
        """Replace the labels of samples (B,), which are in pixels of crops of `size`."""
        self.uv[index] = (labels.pose[0] + 0.5) / size
        self.d[index] = labels.pose[1]
        self.corrected_uv[index] = (labels.correction[0] + 0.5) / size
        self.corrected_d[index] = labels.correction[1]
        self.cost[index] = labels.cost
        self.valid[index] = labels.valid
