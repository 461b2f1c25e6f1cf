"""The evidence lower bound and its parts, in nats (Ch. 3.1.1, 4.3, 5.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from auxhand.geometry.precision import full_precision


def elbo(log_likelihood: Tensor, divergence: Tensor, beta: float) -> Tensor:
    """E_z log p(y | z) - beta D_KL(q || p(z)) (Eq. 3.4, 5.1), of one z for each sample.

    Args:
        log_likelihood: (...), up to a constant: less the reconstruction loss (Eq. 5.10).
        divergence: (...).
        beta: weight of the divergence (Higgins et al. 2017).
    """
    return log_likelihood - beta * divergence


def weighted_elbo(
    log_likelihoods: Mapping[str, Tensor],
    weights: Mapping[str, float],
    divergence: Tensor,
    beta: float,
) -> Tensor:
    """sum_v lambda_v E_z log p(v | z) - beta D_KL(q || p(z)), of one z for each sample.

    Eq. 4.1, 4.2, 4.4, 4.6 and 4.8 are this function of different posteriors: those of the factors
    (4.2), of factors and an unlabelled rest (4.6), of x (4.1, 4.4) or of a further modality (4.8).
    A variable that is not known has no term, so that weak labels (Ch. 4.3.3) are those terms that
    are left.

    Args:
        log_likelihoods: of each variable v that is decoded, (...), up to a constant.
        weights: lambda of each of them.
        divergence: (...), of those dimensions of z that the variables are decoded from.
        beta: weight of the divergence.

    Raises:
        KeyError: a variable without a weight.
    """
    terms = [weights[name] * value for name, value in log_likelihoods.items()]
    return elbo(torch.stack(terms).sum(dim=0), divergence, beta) if terms else -beta * divergence


def log_gaussian(
    decoded: Tensor, target: Tensor, valid: Tensor | None = None, unit: float = 1.0
) -> Tensor:
    """log N(target; decoded, unit^2 / 2) up to a constant: less the sum of squares in units.

    The chapters name no variance: with this one a weight lambda is that of a sum of squares.

    Args:
        decoded, target: (B, ...).
        valid: (B, J) bool, rows of (B, J, D) values that are in the sum; None: all.
        unit: what counts as 1.

    Returns:
        (B,).
    """
    difference = (decoded - target) / unit
    if valid is not None:
        difference = torch.where(valid[..., None], difference, 0.0)
    return -difference.square().flatten(1).sum(dim=1)


@full_precision
def kl_to_prior(mu: Tensor, logvar: Tensor) -> Tensor:
    """D_KL(N(mu, exp(logvar)) || N(0, I)) of each dimension: (..., D) -> (..., D), to be summed
    over D."""
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar)


@full_precision
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
