import math
from itertools import pairwise

import pytest
import torch
from torch.autograd import gradcheck
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from auxhand.losses.elbo import annealed, elbo, kl_between, kl_to_prior


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
