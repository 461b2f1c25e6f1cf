"""Posteriors of the samples of a batch that have what it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from auxhand.models.gaussian import Gaussian
from auxhand.sample import Observation


class Posterior(NamedTuple):
    """q of B samples, and for which of them it is known, (B,) bool; N(0, I) for the others."""

    q: Gaussian
    valid: Tensor

    def detached(self) -> Posterior:
        """Without gradient."""
        return Posterior(Gaussian(self.q.mu.detach(), self.q.logvar.detach()), self.valid)


def encoded(encoder: Callable[[Tensor], Gaussian], seen: Observation, dimensions: int) -> Posterior:
    """q(z | seen) of (B, dimensions). Samples that lack the variable are not given to the encoder:
    zeros would count in its batch normalisation."""
    valid = seen.complete
    if valid.all():
        return Posterior(encoder(seen.value), valid)
    shape = len(valid), dimensions
    mu, logvar = seen.value.new_zeros(shape), seen.value.new_zeros(shape)
    if valid.any():
        place = valid.nonzero()[:, 0]
        q = encoder(seen.value[valid])
        mu, logvar = mu.index_copy(0, place, q.mu), logvar.index_copy(0, place, q.logvar)
    return Posterior(Gaussian(mu, logvar), valid)


def others(valid: Tensor, noise: torch.Generator) -> Tensor:
    """(B,) for each of the valid samples the number of another one of them, each once; a sample
    that is alone, and those that are not valid, have their own."""
    order = torch.arange(len(valid), device=valid.device)
    place = valid.nonzero()[:, 0]
    if len(place) > 1:
        turn = int(torch.randint(1, len(place), (), generator=noise, device=valid.device))
        order[place] = place.roll(turn)
    return order
