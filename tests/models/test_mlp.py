"""Perceptrons that belong to no other network's tests."""

import torch

from auxhand.models.mlp import Projection


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
