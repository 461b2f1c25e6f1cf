import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auxhand.geometry.heatmap import (
    argmax_subpixel,
    cells_to_pixels,
    expected_value,
    gaussian_heatmap,
    near_peak,
    pixels_to_cells,
    soft_argmax,
)

few = settings(max_examples=25, deadline=None)
H, W = 20, 24
inside = st.tuples(st.floats(1, W - 2), st.floats(1, H - 2))


def logits(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@given(st.tuples(st.floats(-5, 30), st.floats(-5, 30)), st.floats(0.5, 4))
@few
def test_gaussian_is_equation_2_1(uv, sigma):
    v, u = np.mgrid[:H, :W]
    expected = np.exp(-((u - uv[0]) ** 2 + (v - uv[1]) ** 2) / (2 * sigma**2))
    drawn = gaussian_heatmap(torch.tensor([[uv, uv]], dtype=torch.float64), (H, W), sigma)
    assert drawn.shape == (1, 2, H, W)
    np.testing.assert_allclose(drawn[0, 1].numpy(), expected, rtol=1e-9, atol=1e-300)


def test_gaussian_peaks_at_one_on_a_cell():
    drawn = gaussian_heatmap(torch.tensor([3.0, 5.0]), (H, W), 2.0)
    assert drawn.max() == drawn[5, 3] == 1.0


def test_soft_argmax_is_equation_2_3():
    values, beta = logits(2, 3, H, W), 1.7
    e = np.exp(beta * values.numpy())
    probability = e / e.sum((-2, -1), keepdims=True)
    v, u = np.mgrid[:H, :W]
    expected = np.stack([(probability * u).sum((-2, -1)), (probability * v).sum((-2, -1))], -1)
    uv, p = soft_argmax(values, beta)
    np.testing.assert_allclose(p.numpy(), probability, rtol=1e-10)
    np.testing.assert_allclose(uv.numpy(), expected, rtol=1e-10)
    maps = logits(2, 3, H, W) + 2
    np.testing.assert_allclose(
        expected_value(maps, p).numpy(), (maps.numpy() * probability).sum((-2, -1)), rtol=1e-10
    )


@given(st.tuples(st.floats(7, 16), st.floats(7, 12)), st.floats(0.8, 1.3))
@few
def test_soft_argmax_of_a_gaussian_is_its_centre(uv, sigma):
    """The expectation of a Gaussian sampled on the grid, far from the border, is its centre."""
    centre = torch.tensor(uv, dtype=torch.float64)
    energy = gaussian_heatmap(centre, (H, W), sigma).log().clamp_min(-700)
    found, _ = soft_argmax(energy)
    torch.testing.assert_close(found, centre, atol=1e-4, rtol=0)


def test_soft_argmax_limits():
    values = logits(4, H, W)
    flat, _ = soft_argmax(values, 0.0)
    middle = torch.tensor([(W - 1) / 2, (H - 1) / 2], dtype=torch.float64)
    torch.testing.assert_close(flat, middle.expand(4, 2))
    sharp, _ = soft_argmax(values, 1e6)
    index = values.flatten(-2).argmax(-1)
    torch.testing.assert_close(sharp, torch.stack([index % W, index // W], -1).double())
    huge, _ = soft_argmax(1e30 * values.float())
    assert torch.isfinite(huge).all()


def test_near_peak_is_the_expectation_within_its_window():
    probability = logits(4, H, W).flatten(-2).softmax(-1).view(4, H, W)
    everything = near_peak(probability, radius=max(H, W))
    torch.testing.assert_close(everything, soft_argmax(probability.log())[0])
    found = near_peak(probability, radius=1)
    for p, uv in zip(probability.numpy(), found.numpy(), strict=True):
        row, column = np.unravel_index(p.argmax(), p.shape)
        v, u = np.indices(p.shape)
        near = p * (abs(v - row) <= 1) * (abs(u - column) <= 1)
        np.testing.assert_allclose(uv, [(near * u).sum(), (near * v).sum()] / near.sum())


def test_near_peak_chooses_where_the_expectation_falls_between():
    places = torch.tensor([[3.0, 3.0], [W - 4.0, H - 4.0]], dtype=torch.float64)
    one, other = gaussian_heatmap(places, (H, W), 0.7)
    both = 0.6 * one + 0.4 * other
    torch.testing.assert_close(near_peak(both, 2), places[0], atol=1e-2, rtol=0)


def test_a_temperature_per_joint():
    values, beta = logits(2, 3, H, W), torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64)
    uv, _ = soft_argmax(values, beta)
    for j in range(3):
        torch.testing.assert_close(uv[:, j], soft_argmax(values[:, j], float(beta[j]))[0])
    torch.testing.assert_close(soft_argmax(values, beta[1])[0], soft_argmax(values)[0])


@given(inside, st.floats(0.7, 3))
@few
def test_subpixel_argmax_is_exact_for_a_gaussian(uv, sigma):
    centre = torch.tensor([uv, uv[::-1]], dtype=torch.float64).clamp(1, H - 2)
    found = argmax_subpixel(gaussian_heatmap(centre, (H, W), sigma))
    torch.testing.assert_close(found, centre, atol=1e-6, rtol=0)


def test_subpixel_argmax_of_anything_stays_within_half_a_cell():
    values = logits(50, H, W)
    index = values.flatten(-2).argmax(-1)
    coarse = torch.stack([index % W, index // W], -1)
    assert (argmax_subpixel(values) - coarse).abs().max() <= 0.5
    constant = argmax_subpixel(torch.zeros(H, W))
    assert constant.tolist() == [0.0, 0.0]
    corner = gaussian_heatmap(torch.tensor([-0.4, H - 0.6]), (H, W), 1.0)
    assert argmax_subpixel(corner).tolist() == [0.0, H - 1.0]


def test_cells_and_pixels():
    uv = torch.tensor([[-0.5, -0.5], [1.5, 5.5], [255.5, 0.0]])
    cell = pixels_to_cells(uv, 4)
    assert cell[:2].tolist() == [[-0.5, -0.5], [0.0, 1.0]]
    torch.testing.assert_close(cells_to_pixels(cell, 4), uv)


def test_gradients():
    values, beta = logits(2, 5, 4).requires_grad_(), torch.tensor(1.3, dtype=torch.float64)
    beta.requires_grad_()
    assert torch.autograd.gradcheck(soft_argmax, (values, beta))
    maps, probability = logits(2, 5, 4).requires_grad_(), logits(2, 5, 4).requires_grad_()
    assert torch.autograd.gradcheck(expected_value, (maps, probability))
    uv = torch.tensor([[2.2, 1.7]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: gaussian_heatmap(x, (4, 5), 1.1), (uv,))
    smooth = gaussian_heatmap(uv.detach(), (4, 5), 1.1).requires_grad_()
    assert torch.autograd.gradcheck(argmax_subpixel, (smooth,))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gaussian_heatmap(torch.zeros(21, 3), (8, 8), 1.0), "uv must have shape"),
        (lambda: gaussian_heatmap(torch.zeros(21, 2), (8, 8), 0.0), "sigma"),
        (lambda: near_peak(torch.zeros(8), 1), "probability must have shape"),
        (lambda: soft_argmax(torch.zeros(8)), "logits must have shape"),
        (lambda: expected_value(torch.zeros(8, 4), torch.zeros(8, 8)), "maps must have shape"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
