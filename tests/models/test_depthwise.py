import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck

from auxhand.models.depthwise import DepthwiseConv2d, with_fast_gradients


def pair(channels: int, kernel: int, **settings) -> tuple[nn.Conv2d, DepthwiseConv2d]:
    """PyTorch's layer and ours with the same weights."""
    theirs = nn.Conv2d(channels, channels, kernel, groups=channels, **settings).double()
    ours = DepthwiseConv2d(channels, channels, kernel, groups=channels, **settings).double()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def bmm_calls(monkeypatch) -> list[torch.Size]:
    shapes: list[torch.Size] = []
    original = torch.bmm

    def counted(a, b):
        shapes.append(b.shape)
        return original(a, b)

    monkeypatch.setattr(torch, "bmm", counted)
    return shapes


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    kernel=st.sampled_from([3, 5]),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    bias=st.booleans(),
)
def test_values_and_gradients_are_the_convolutions(height, width, kernel, stride, dilation, bias):
    padding = dilation * (kernel // 2)
    theirs, ours = pair(3, kernel, stride=stride, padding=padding, dilation=dilation, bias=bias)
    image = torch.randn(2, 3, height, width, dtype=torch.float64)
    results = []
    for layer in (theirs, ours):
        given_image = image.clone().requires_grad_()
        output = layer(given_image)
        output.square().sum().backward()
        results.append([output, given_image.grad, *(each.grad for each in layer.parameters())])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_gradients_are_those_of_differences():
    _, ours = pair(2, 3, padding=1)
    image = torch.randn(1, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(ours, (image,))


@pytest.mark.parametrize(("kernel", "largest"), [(3, 3), (5, 5)])
def test_only_small_maps_that_are_trained_become_matrices(monkeypatch, kernel, largest):
    calls = bmm_calls(monkeypatch)
    _, ours = pair(2, kernel, padding=kernel // 2)
    small = torch.rand(1, 2, largest, largest).double()
    large = torch.rand(1, 2, largest, largest + 1).double()
    ours(small)
    assert calls == [(2, largest**2, largest**2)]
    ours(large)
    with torch.no_grad():
        ours(small)
    ours.requires_grad_(False)(small)
    assert len(calls) == 1


def test_depthwise_layers_alone_are_replaced_and_keep_their_weights():
    network = nn.Sequential(
        nn.Conv2d(4, 8, 3),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 8, 3, groups=4),
        nn.Conv2d(8, 16, 3, groups=8),
        nn.Conv2d(8, 8, 3, groups=8, padding=1, padding_mode="reflect"),
        nn.Conv2d(1, 1, 3),
    )
    before = {name: each.clone() for name, each in network.state_dict().items()}
    assert with_fast_gradients(network) is network
    assert [type(layer) is DepthwiseConv2d for layer in network] == [False, True] + [False] * 4
    for name, each in network.state_dict().items():
        assert torch.equal(each, before[name])
