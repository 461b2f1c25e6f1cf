"""Distances of clouds, against SciPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from torch.autograd import gradcheck

from auxhand.losses.assignment import assign
from auxhand.losses.cloud import chamfer, earth_movers


def clouds(n, m, seed=0, batch=3):
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(batch, points, 3, generator=generator, dtype=torch.float64) for points in (n, m)
    )


def test_chamfer_is_equation_5_7():
    a, b = clouds(20, 33)
    expected = [
        cKDTree(q).query(p)[0].mean() + cKDTree(p).query(q)[0].mean()
        for p, q in zip(a.numpy(), b.numpy(), strict=True)
    ]
    np.testing.assert_allclose(chamfer(a, b), expected)
    np.testing.assert_allclose(chamfer(b, a), expected)


def test_earth_movers_is_equation_5_8():
    a, b = clouds(40, 40)
    expected = [d[linear_sum_assignment(d)].mean() for d in map(cdist, a.numpy(), b.numpy())]
    np.testing.assert_allclose(earth_movers(a, b), expected, rtol=1e-6)
    shuffled = b[:, torch.randperm(40, generator=torch.Generator().manual_seed(1))]
    np.testing.assert_allclose(earth_movers(a, shuffled), earth_movers(a, b))
    np.testing.assert_allclose(earth_movers(shuffled, b), 0, atol=1e-12)


def test_a_shift_costs_its_length():
    a, _ = clouds(30, 30)
    moved = a + torch.tensor([3e-4, 4e-4, 0.0])  # nearer than any other point
    np.testing.assert_allclose(earth_movers(a, moved), 5e-4)
    np.testing.assert_allclose(chamfer(a, moved), 1e-3)


@pytest.mark.parametrize("loss", [chamfer, earth_movers])
def test_gradients(loss):
    a, b = clouds(8, 8, batch=2)
    assert gradcheck(loss, (a.requires_grad_(), b.requires_grad_()))


@pytest.mark.parametrize("loss", [chamfer, earth_movers])
def test_points_that_coincide_have_a_gradient(loss):
    a = clouds(8, 8)[0].requires_grad_()
    loss(a, a.detach().clone()).sum().backward()
    assert torch.equal(a.grad, torch.zeros_like(a))


@pytest.mark.parametrize("loss", [chamfer, earth_movers])
def test_half_precision_is_left_for_the_distances(loss):
    a, b = (c.float() for c in clouds(32, 32))
    expected = loss(a, b)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss(a, b), expected)


def test_a_cloud_that_is_not_finite_says_so_and_harms_no_other():
    a, b = clouds(16, 16)
    expected = earth_movers(a, b)
    a[1, 3, 0] = torch.nan
    found = earth_movers(a, b)
    assert found[1].isnan()
    assert torch.equal(found[[0, 2]], expected[[0, 2]])


def test_clouds_farther_apart_than_can_be_said_end_in_nan():
    a, b = (c.float() for c in clouds(16, 16))
    assert earth_movers(a, b + 1e25).isnan().all()


def test_shapes_are_checked():
    a, b = clouds(4, 5)
    with pytest.raises(ValueError, match="one shape"):
        earth_movers(a, b)
    with pytest.raises(ValueError, match="clouds must be"):
        chamfer(a, b[:2])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(0, 10**6), st.sampled_from(["any", "few values", "equal"]))
def test_assignments_are_the_best_there_are(n, seed, kind):
    rng = np.random.default_rng(seed)
    costs = rng.random((2, n, n)).astype(np.float32)
    if kind == "few values":
        costs = np.round(costs * 3)
    elif kind == "equal":
        costs[:] = 1
    for cost, match in zip(costs, assign(costs), strict=True):
        assert sorted(match) == list(range(n))
        rows, columns = linear_sum_assignment(cost)
        best = cost[rows, columns].sum(dtype=np.float64)
        assert cost[np.arange(n), match].sum(dtype=np.float64) == pytest.approx(best, rel=1e-5)


def test_threads_change_nothing():
    costs = np.random.default_rng(0).random((5, 20, 20), np.float32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = assign(costs)
        torch.set_num_threads(2)
        np.testing.assert_array_equal(assign(costs), alone)
    finally:
        torch.set_num_threads(before)
