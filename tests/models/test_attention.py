"""The attention of chapter 7 against a loop of its equation, and its gradients."""

import numpy as np
import pytest
import torch

from auxhand.models.attention import attend, attention


def maps(seed=0, shape=(2, 3, 4, 5), positive=True):
    features = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()
    return features.relu() if positive else features


def loop(features):
    """Eq. 7.2, cell by cell, in numpy."""
    batch, _, h, w = features.shape
    weights = np.zeros((batch, 1, h, w))
    for b in range(batch):
        mean = sum(features[b, :, i, j] for i in range(h) for j in range(w)) / (h * w)
        for i in range(h):
            for j in range(w):
                weights[b, 0, i, j] = np.dot(mean, features[b, :, i, j])
        weights[b] = weights[b] / weights[b].sum() * (h * w)
    return weights


@pytest.mark.parametrize("positive", [True, False])
def test_equals_the_loop_of_eq_7_2(positive):
    features = maps(positive=positive)
    np.testing.assert_allclose(attention(features).numpy(), loop(features.numpy()), rtol=1e-12)


def test_weights_average_1_and_are_not_negative_after_a_relu():
    weights = attention(maps(1, (5, 8, 7, 7)))
    torch.testing.assert_close(weights.mean(dim=(1, 2, 3)), torch.ones(5).double())
    assert (weights >= 0).all()


def test_a_cell_that_alone_is_active_gets_all_the_weight():
    features = torch.zeros(1, 2, 3, 4)
    features[0, :, 1, 2] = torch.tensor([0.3, 2.0])
    expected = torch.zeros(1, 1, 3, 4)
    expected[0, 0, 1, 2] = 12
    torch.testing.assert_close(attention(features), expected)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e30])
def test_weights_do_not_depend_on_the_scale(scale):
    features = maps().float()
    torch.testing.assert_close(attention(features * scale), attention(features), rtol=1e-5, atol=0)


def test_a_map_of_zeros_gets_weights_of_1_and_finite_gradients():
    features = maps()
    features[1] = 0
    weights = attention(features.requires_grad_())
    assert torch.equal(weights[1], torch.ones_like(weights[1]))
    (gradient,) = torch.autograd.grad(weights.square().sum(), features)
    assert gradient.isfinite().all()
    assert torch.equal(gradient[1], torch.zeros_like(gradient[1]))


def test_one_sample_does_not_change_another():
    features = maps(2, (3, 4, 5, 5))
    torch.testing.assert_close(attention(features)[1:2], attention(features[1:2]))


def test_attention_is_exact_under_autocast():
    features = maps(3, (2, 64, 32, 32)).float()
    with torch.autocast("cpu", torch.bfloat16):
        fused, attended = attend(features.bfloat16(), features.bfloat16())
        weights = attention(features.bfloat16())
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights.mean(dim=(1, 2, 3)), torch.ones(2))
    assert fused.dtype == attended.dtype == torch.bfloat16


def test_both_maps_are_weighed_by_the_depths_attention():
    rgb, depth = maps(4), maps(5)
    fused, attended = attend(rgb, depth)
    weights = loop(depth.numpy())
    np.testing.assert_allclose(fused.numpy(), weights * rgb.numpy(), rtol=1e-12)
    np.testing.assert_allclose(attended.numpy(), weights * depth.numpy(), rtol=1e-12)


@pytest.mark.parametrize("stop_gradient", [True, False])
def test_the_fusion_reaches_the_depth_features_only_without_the_stop(stop_gradient):
    rgb, depth = maps(4).requires_grad_(), maps(5).requires_grad_()
    fused, attended = attend(rgb, depth, stop_gradient)
    to_rgb, to_depth = torch.autograd.grad(
        fused.square().sum(), (rgb, depth), allow_unused=True, retain_graph=True
    )
    assert to_rgb.abs().max() > 0
    assert (to_depth is None) == stop_gradient
    to_rgb, to_depth = torch.autograd.grad(attended.square().sum(), (rgb, depth), allow_unused=True)
    assert to_rgb is None
    assert to_depth.abs().max() > 0


def test_gradients():
    rgb, depth = maps(6).requires_grad_(), (maps(7) + 0.1).requires_grad_()
    # The scale is taken out without a gradient, which only scale invariance makes right.
    assert torch.autograd.gradcheck(attention, depth)
    assert torch.autograd.gradcheck(lambda *f: attend(*f, stop_gradient=False), (rgb, depth))
