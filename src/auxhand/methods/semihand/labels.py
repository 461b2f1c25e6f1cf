"""Pseudo-labels of all unlabelled samples, kept by the sample's number (Algorithm 6.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

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


class PseudoLabels:
    """The pseudo-labels of N samples, in main memory.

    They are no buffers of a module: how many there are is known only when training begins, and an
    average of weights must not average them. uv is kept in sides of the crop from its corner, so
    that crops may change their size.
    """

    def __init__(self, count: int = 0) -> None:
        self.uv = torch.zeros(count, NUM_JOINTS, 2)
        self.d = torch.zeros(count, NUM_JOINTS)
        self.corrected_uv, self.corrected_d = self.uv.clone(), self.d.clone()
        self.cost = torch.full((count,), torch.inf)
        self.valid = torch.zeros(count, dtype=torch.bool)

    def __len__(self) -> int:
        return len(self.cost)

    def read(self, index: Tensor, size: int) -> Labels:
        """The labels of samples (B,), in pixels of crops of `size`, on the device of `index`."""
        at, device = index.cpu(), index.device
        return Labels(
            ((self.uv[at] * size - 0.5).to(device), self.d[at].to(device)),
            ((self.corrected_uv[at] * size - 0.5).to(device), self.corrected_d[at].to(device)),
            self.cost[at].to(device),
            self.valid[at].to(device),
        )

    def write(self, index: Tensor, labels: Labels, size: int) -> None:
        """Replace the labels of samples (B,), which are in pixels of crops of `size`."""
        self.uv[index] = (labels.pose[0] + 0.5) / size
        self.d[index] = labels.pose[1]
        self.corrected_uv[index] = (labels.correction[0] + 0.5) / size
        self.corrected_d[index] = labels.correction[1]
        self.cost[index] = labels.cost
        self.valid[index] = labels.valid

    def state_dict(self) -> dict[str, Tensor]:
        """All of them, for a checkpoint."""
        return dict(vars(self))

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replace all of them by those of a checkpoint."""
        vars(self).update(state)
