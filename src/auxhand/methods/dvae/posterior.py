"""Posteriors of the samples of a batch that have what it takes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from auxhand.models.gaussian import Gaussian, Posterior
from auxhand.sample import Observation


def encoded(encoder: Callable[[Tensor], Gaussian], seen: Observation, dimensions: int) -> Posterior:
    """q(z | seen) of (B, dimensions). Samples that lack the variable are not given to the encoder:
    zeros would count in its batch normalisation."""
    valid = seen.complete
    if valid.all():
        return Posterior(encoder(seen.value), valid)
    if valid.any():
        return Posterior.of(encoder(seen.value[valid]), valid)
    prior = seen.value.new_zeros(len(valid), dimensions)
    return Posterior(Gaussian(prior, prior), valid)


def others(valid: Tensor, noise: torch.Generator) -> Tensor:
    """(B,) for each of the valid samples the number of another one of them, each once; a sample
    that is alone, and those that are not valid, have their own."""
    order = torch.arange(len(valid), device=valid.device)
    place = valid.nonzero()[:, 0]
    if len(place) > 1:
        turn = int(torch.randint(1, len(place), (), generator=noise, device=valid.device))
        order[place] = place.roll(turn)
    return order
