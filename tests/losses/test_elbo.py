import math
from itertools import pairwise

import pytest
import torch
from torch.autograd import gradcheck
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from auxhand.losses.elbo import (
    annealed,
    elbo,
    kl_between,
    kl_to_prior,
    log_gaussian,
    weighted_elbo,
)


def gaussian(seed):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(4, 6, generator=generator, dtype=torch.float64) for _ in range(2))


def normal(mu, logvar):
    return Normal(mu, (0.5 * logvar).exp())


def test_divergences_are_those_of_torch_distributions():
    one, other = gaussian(0), gaussian(1)
    prior = Normal(torch.zeros(()).double(), torch.ones(()).double())
    assert_close(kl_to_prior(*one), kl_divergence(normal(*one), prior))
    assert_close(kl_between(*one, *other), kl_divergence(normal(*one), normal(*other)))
    zeros = torch.zeros(4, 6, dtype=torch.float64)
    assert_close(kl_between(*one, zeros, zeros), kl_to_prior(*one))
    assert torch.equal(kl_between(*one, *one), zeros)


def test_divergences_are_exact_for_half_precision_too():
    """exp(logvar) - 1 - logvar of eight bits would be a divergence of 0, or below it."""
    mu, logvar = (0.05 * each.bfloat16() for each in gaussian(0))
    zeros = torch.zeros_like(mu)
    with torch.autocast("cpu", torch.bfloat16):
        found = kl_to_prior(mu, logvar), kl_between(mu, logvar, zeros, zeros)
    for each in found:
        assert_close(each, kl_to_prior(mu.double(), logvar.double()).float(), rtol=1e-3, atol=1e-7)
    assert min(found[0].min(), found[1].min()) >= 0


def test_divergences_have_their_gradients():
    one, other = gaussian(0), gaussian(1)
    for tensor in (*one, *other):
        tensor.requires_grad_()
    assert gradcheck(kl_to_prior, one)
    assert gradcheck(kl_between, (*one, *other))


def test_elbo_is_equation_5_1():
    likelihood, divergence = torch.tensor([-2.0, -3.0]), torch.tensor([10.0, 20.0])
    assert_close(elbo(likelihood, divergence, 0.1), torch.tensor([-3.0, -5.0]))


def test_beta_rises_by_equal_factors():
    values = [annealed(step, 100) for step in range(101)]
    assert values[0] == pytest.approx(1e-5)
    assert values[50] == pytest.approx(1e-4)
    assert values[100] == pytest.approx(1e-3)
    assert annealed(300, 100) == pytest.approx(1e-3)
    factors = [b / a for a, b in pairwise(values)]
    assert factors == pytest.approx([math.exp(math.log(100) / 100)] * 100)
    assert annealed(7, 0, 0.5, 0.5) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="positive"):
        annealed(0, 10, 0.0, 1e-3)


# A model that can be integrated: z = [z1, z2], y1 and y2 of one of them each, x of both; every
# likelihood a Gaussian of variance 1/2, as `log_gaussian` has it.
Z = torch.linspace(-9, 9, 901, dtype=torch.float64)
GRID = torch.stack(torch.meshgrid(Z, Z, indexing="ij"), dim=-1).flatten(0, 1)
CELL = (Z[1] - Z[0]) ** 2
OBSERVED = {"x": 0.7, "y1": -0.4, "y2": 1.1}
NORMALISER = -0.5 * math.log(math.pi)


def decoded(name, z):
    return {"x": 0.8 * z[:, 0] - 0.5 * z[:, 1], "y1": 1.3 * z[:, 0], "y2": z[:, 1] - 0.2}[name]


def log_likelihood(name, z):
    return log_gaussian(decoded(name, z)[:, None], torch.full_like(z[:, :1], OBSERVED[name]))


def log_density(z, mu, logvar):
    return normal(mu, logvar).log_prob(z).sum(dim=1)


def log_joint(z, names):
    prior = log_density(z, torch.zeros(2).double(), torch.zeros(2).double())
    return prior + sum(log_likelihood(name, z) + NORMALISER for name in names)


MU = torch.tensor([0.2, 0.6], dtype=torch.float64)
LOGVAR = torch.tensor([-1.0, -0.3], dtype=torch.float64)


def test_the_disentangling_elbo_misses_the_evidence_by_the_divergence_of_equation_4_3():
    """Eq. 4.2 and 4.3 on a grid: log p(x, y1, y2) = ELBO + D_KL(q || p(z | x, y1, y2))."""
    names = ("x", "y1", "y2")
    evidence = (log_joint(GRID, names).exp().sum() * CELL).log()
    q = log_density(GRID, MU, LOGVAR).exp() * CELL
    expected = {name: (q * log_likelihood(name, GRID)).sum() + NORMALISER for name in names}
    bound = weighted_elbo(expected, dict.fromkeys(names, 1.0), kl_to_prior(MU, LOGVAR).sum(), 1.0)
    log_posterior = log_joint(GRID, names) - evidence
    apart = (q * (log_density(GRID, MU, LOGVAR) - log_posterior)).sum()
    assert apart > 0.1
    assert_close(evidence - bound, apart, rtol=0, atol=1e-9)


def test_the_elbo_of_a_weak_label_is_tight_at_its_own_posterior():
    """log p(y2) alone: with q(z2 | y2) exact, and the divergence of z2 alone, nothing is missed."""
    evidence = (log_joint(GRID, ["y2"]).exp().sum() * CELL).log()
    logvar = torch.tensor([0.0, math.log(1 / 3)], dtype=torch.float64)  # 1 / (1 + 2)
    mu = torch.tensor([0.0, 2 * (OBSERVED["y2"] + 0.2) / 3], dtype=torch.float64)
    q = log_density(GRID, mu, logvar).exp() * CELL
    expected = {"y2": (q * log_likelihood("y2", GRID)).sum() + NORMALISER}
    bound = weighted_elbo(expected, {"y2": 1.0}, kl_to_prior(mu, logvar)[1], 1.0)
    assert_close(bound, evidence, rtol=0, atol=1e-9)


def test_weights_of_the_elbo():
    likelihoods = {"x": torch.tensor([-2.0, -4.0]), "y1": torch.tensor([-10.0, 0.0])}
    weights = {"x": 1.0, "y1": 0.01, "y2": 0.01}
    divergence = torch.tensor([3.0, 5.0])
    assert_close(weighted_elbo(likelihoods, weights, divergence, 0.1), torch.tensor([-2.4, -4.5]))
    assert_close(weighted_elbo({}, weights, divergence, 0.1), torch.tensor([-0.3, -0.5]))
    with pytest.raises(KeyError):
        weighted_elbo({"x": divergence}, {}, divergence, 0.1)


def test_log_gaussian_is_that_of_torch_distributions_up_to_a_constant():
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 4, 5, 3, generator=generator, dtype=torch.float64)
    exact = Normal(one, 0.3 / math.sqrt(2)).log_prob(other).sum((1, 2))
    constant = -15 * math.log(0.3 * math.sqrt(math.pi))
    assert_close(log_gaussian(one, other, unit=0.3), exact - constant)
    valid = torch.zeros(4, 5, dtype=torch.bool)
    valid[:, 2] = True
    other[:, 3] = torch.nan
    assert_close(log_gaussian(one, other, valid), -(one - other)[:, 2].square().sum(1))
    assert gradcheck(lambda a: log_gaussian(a, torch.zeros_like(a), unit=2.0), one.requires_grad_())
