"""The evidence lower bound and its parts, in nats (Ch. 3.1.1, 5.3)."""

from __future__ import annotations

import math

from torch import Tensor


def elbo(log_likelihood: Tensor, divergence: Tensor, beta: float) -> Tensor:
    """E_z log p(y | z) - beta D_KL(q || p(z)) (Eq. 3.4, 5.1), of one z for each sample.

    Args:
        log_likelihood: (...), up to a constant: less the reconstruction loss (Eq. 5.10).
        divergence: (...).
        beta: weight of the divergence (Higgins et al. 2017).
    """
    return log_likelihood - beta * divergence


def kl_to_prior(mu: Tensor, logvar: Tensor) -> Tensor:
    """D_KL(N(mu, exp(logvar)) || N(0, I)) of each dimension: (..., D) -> (..., D), to be summed
    over D."""
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar)


def kl_between(mu: Tensor, logvar: Tensor, other_mu: Tensor, other_logvar: Tensor) -> Tensor:
    """D_KL(N(mu, exp(logvar)) || N(other_mu, exp(other_logvar))) of each dimension: (..., D) ->
    (..., D), to be summed over D (last term of Eq. 5.3)."""
    apart = (mu - other_mu).square() * (-other_logvar).exp()
    wider = logvar - other_logvar
    return 0.5 * (apart + wider.exp() - 1 - wider)


def annealed(step: int, steps: int, start: float = 1e-5, end: float = 1e-3) -> float:
    """beta at optimiser step `step` of `steps`: from `start` to `end` (Ch. 5.5).

    By equal factors (a straight line over its logarithm), as two powers of ten suggest; how, and
    how long, the chapter leaves open.

    Raises:
        ValueError: a start or end that is not positive.
    """
    if not (start > 0 and end > 0):
        raise ValueError(f"beta must be positive to be annealed, got {start} to {end}")
    progress = min(step / max(steps, 1), 1.0)
    return start * math.exp(progress * math.log(end / start))
