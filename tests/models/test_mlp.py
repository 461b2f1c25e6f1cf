"""Perceptrons that belong to no other network's tests."""

import torch

from auxhand.models.mlp import Projection, mlp


def test_projections_are_unit_vectors_of_the_pooled_features():
    torch.manual_seed(0)
    head = Projection(16)
    features = torch.randn(3, 16, 4, 5)
    z = head(features)
    assert z.shape == (3, 128)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(3))
    first, second = (layer for layer in head.layers if isinstance(layer, torch.nn.Linear))
    hidden = (features.mean((2, 3)) @ first.weight.T + first.bias).clamp(min=0)
    expected = hidden @ second.weight.T + second.bias
    torch.testing.assert_close(z, expected / expected.norm(dim=1, keepdim=True))


def test_projections_are_exact_under_autocast():
    head = Projection(16, 8)
    features = torch.randn(3, 16, 4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        z = head(features)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z, head(features))


def test_deep_layers_keep_the_scale_of_what_goes_through():
    """He et al. (2015): the mean square after a ReLU is half of that before, and a layer doubles
    it. PyTorch's own initialisation would leave (1 / 6)^6 of it after six layers."""
    torch.manual_seed(0)
    layers = mlp(512, *[512] * 6, deep=True)
    x = torch.randn(64, 512)
    assert 0.5 < layers(x).square().mean() / (2 * x.square().mean()) < 2
    assert mlp(512, *[512] * 6)(x).square().mean() < 1e-2
    assert not any(layer.bias.any() for layer in layers if isinstance(layer, torch.nn.Linear))
