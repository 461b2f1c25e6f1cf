"""Latent Gaussians with diagonal covariance: encoders to them, samples, products (Ch. 5.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from auxhand.geometry.precision import full_precision
from auxhand.models.spec import recorded


class Gaussian(NamedTuple):
    """N(mu, diag(exp(logvar))), one for each of B samples: mu and logvar are (B, D)."""

    mu: Tensor
    logvar: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """(B, D) one z from each, differentiable in mu and logvar (reparameterised)."""
        noise = torch.randn(
            self.mu.shape, generator=generator, device=self.mu.device, dtype=self.mu.dtype
        )
        return self.mu + (0.5 * self.logvar).exp() * noise


def product(experts: Sequence[Gaussian], present: Sequence[Tensor]) -> Gaussian:
    """Product of Gaussian experts (GProd, Eq. 5.5), element by element.

    With T_i = 1 / sigma_i^2: mu = sum(mu_i T_i) / sum(T_i), and the variance is 1 / sum(T_i). The
    equation calls the latter sigma and writes T = 1 / Sigma; Sigma is a covariance there, and so is
    sigma a variance, or two equal experts would not be twice as certain. There is no expert for the
    prior, as in the equation; the text before it has p(z) as a further factor, which would count
    the prior once more than the posteriors, each pulled towards it, do already.

    An expert that is absent has precision 0: it changes nothing. In single precision throughout,
    as a softmax over -logvar, which no variance can make overflow.

    Args:
        experts: of the same shape (B, D).
        present: for each expert, (B,) bool.

    Returns:
        The joint posterior; N(0, I), the prior, where no expert is present.

    Raises:
        ValueError: no experts, or not as many flags.
    """
    if not experts or len(experts) != len(present):
        raise ValueError(
            f"a product needs experts, and a flag for each: {len(experts)} experts "
            f"and {len(present)} flags"
        )
    with torch.autocast(experts[0].mu.device.type, enabled=False):
        there = torch.stack(list(present))[..., None]
        known = there.any(dim=0)
        log_precision = torch.stack([-expert.logvar.float() for expert in experts])
        # Where there is none at all, a softmax over -inf would be NaN, and so would its gradient.
        log_precision = log_precision.masked_fill(known & ~there, -torch.inf)
        mu = torch.stack([expert.mu.float() for expert in experts])
        joint_mu = (log_precision.softmax(dim=0) * mu).sum(dim=0)
        joint_logvar = -log_precision.logsumexp(dim=0)
        return Gaussian(joint_mu.where(known, 0.0), joint_logvar.where(known, 0.0))


class Posterior(NamedTuple):
    """q(z | .) of B samples, and for which of them it is known, (B,) bool; N(0, I), the prior, for
    the others."""

    q: Gaussian
    valid: Tensor

    @classmethod
    def of(cls, q: Gaussian, valid: Tensor) -> Posterior:
        """From the Gaussians of the valid samples alone, as many as `valid` has."""
        if bool(valid.all()):
            return cls(q, valid)
        place = valid.nonzero()[:, 0]
        spread = (t.new_zeros(len(valid), t.shape[1]).index_copy(0, place, t) for t in q)
        return cls(Gaussian(*spread), valid)

    @classmethod
    def product(cls, experts: Sequence[Posterior]) -> Posterior:
        """GProd (see `product`) of the experts that each sample has."""
        valid = [expert.valid for expert in experts]
        return cls(product([expert.q for expert in experts], valid), torch.stack(valid).any(dim=0))

    def detached(self) -> Posterior:
        """Without gradient."""
        return Posterior(Gaussian(self.q.mu.detach(), self.q.logvar.detach()), self.valid)


@recorded
class GaussianEncoder(nn.Module):
    """Features, then two fully connected layers, to mean and log-variance (Ch. 5.4.2).

    Args:
        features: a network to features (B, F), with its F as attribute `features`.
        latent: D, dimensions of z.
    """

    def __init__(self, features: nn.Module, latent: int = 64) -> None:
        super().__init__()
        self.features = features
        self.heads = GaussianHeads(int(features.features), latent)  # type: ignore[arg-type]

    def forward(self, value: Tensor) -> Gaussian:
        """What `features` takes -> q(z | value)."""
        posterior: Gaussian = self.heads(self.features(value))
        return posterior


class GaussianHeads(nn.Module):
    """Two fully connected layers, (B, features) -> a `Gaussian` of (B, latent), in float32."""

    def __init__(self, features: int, latent: int) -> None:
        super().__init__()
        self.mu = nn.Linear(features, latent)
        self.logvar = nn.Linear(features, latent)

    @full_precision
    def forward(self, features: Tensor) -> Gaussian:
        return Gaussian(self.mu(features), self.logvar(features))
