import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck
from torch.nn import functional

from auxhand.models.small_maps import FEW, DepthwiseConv2d, SmallMapConv2d, with_fast_gradients


def pair(channels: int, kernel: int, **settings) -> tuple[nn.Conv2d, DepthwiseConv2d]:
    """PyTorch's layer and ours with the same weights."""
    theirs = nn.Conv2d(channels, channels, kernel, groups=channels, **settings).double()
    ours = DepthwiseConv2d(channels, channels, kernel, groups=channels, **settings).double()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def calls_of(monkeypatch, module, name) -> list[torch.Size]:
    """Shapes of the first argument of each call of a function of PyTorch."""
    shapes: list[torch.Size] = []
    original = getattr(module, name)

    def counted(a, *others):
        shapes.append(a.shape)
        return original(a, *others)

    monkeypatch.setattr(module, name, counted)
    return shapes


def assert_same(theirs: nn.Conv2d, ours: nn.Conv2d, image: torch.Tensor) -> None:
    """Two layers of the same weights have the same values and gradients."""
    ours.load_state_dict(theirs.state_dict())
    results = []
    for layer in (theirs, ours):
        given_image = image.clone().requires_grad_()
        output = layer(given_image)
        output.square().sum().backward()
        results.append([output, given_image.grad, *(each.grad for each in layer.parameters())])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


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
    assert_same(theirs, ours, torch.randn(2, 3, height, width, dtype=torch.float64))


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(3, 6), st.integers(3, 6)),
    kernel=st.sampled_from([3, (1, 3), 2]),
    padding=st.sampled_from([0, 1, (0, 1)]),
    stride=st.sampled_from([1, 2, (2, 3)]),
    dilation=st.integers(1, 2),
    bias=st.booleans(),
)
def test_few_cells_are_the_convolutions(size, kernel, padding, stride, dilation, bias):
    layer = {"stride": stride, "padding": padding, "dilation": dilation, "bias": bias}
    theirs, ours = (cls(3, 5, kernel, **layer).double() for cls in (nn.Conv2d, SmallMapConv2d))
    image = torch.randn(2, 3, *size, dtype=torch.float64)
    try:
        theirs(image)
    except RuntimeError:  # a kernel larger than the padded map
        with pytest.raises(RuntimeError):
            ours(image)
        return
    assert_same(theirs, ours, image)


def test_gradients_are_those_of_differences():
    _, ours = pair(2, 3, padding=1)
    image = torch.randn(1, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(ours, (image,))


@pytest.mark.parametrize(("kernel", "largest"), [(3, 3), (5, 5)])
def test_only_small_maps_that_are_trained_become_matrices(monkeypatch, kernel, largest):
    calls = calls_of(monkeypatch, torch, "bmm")
    _, ours = pair(2, kernel, padding=kernel // 2)
    small = torch.rand(1, 2, largest, largest).double()
    large = torch.rand(1, 2, largest, largest + 1).double()
    ours(small)
    assert calls == [(2, 1, largest**2)]
    ours(large)
    with torch.no_grad():
        ours(small)
    ours.requires_grad_(False)(small)
    assert len(calls) == 1


def test_only_few_cells_that_are_trained_become_a_product(monkeypatch):
    calls = calls_of(monkeypatch, functional, "unfold")
    ours = SmallMapConv2d(2, 3, 3, stride=2, padding=1)
    small, large = torch.rand(1, 2, 4, 4), torch.rand(1, 2, 5, 4)
    assert ours(small).shape[-2] * ours(small).shape[-1] == FEW
    assert calls == [small.shape] * 2
    ours(large)
    with torch.no_grad():
        ours(small)
    ours.requires_grad_(False)(small)
    assert len(calls) == 2


def test_layers_are_replaced_by_their_kind_and_keep_their_weights():
    network = nn.Sequential(
        nn.Conv2d(4, 8, 3),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 8, 3, groups=4),
        nn.Conv2d(8, 16, 3, groups=8),
        nn.Conv2d(8, 8, 3, groups=8, padding=1, padding_mode="reflect"),
        nn.Conv2d(1, 1, 3),
        nn.Conv2d(1, 8, 1),
        nn.Conv2d(8, 8, 3, padding="same"),
    )
    before = {name: each.clone() for name, each in network.state_dict().items()}
    assert with_fast_gradients(network) is network
    kinds = [SmallMapConv2d, DepthwiseConv2d, *[nn.Conv2d] * 3, SmallMapConv2d, *[nn.Conv2d] * 2]
    assert [type(layer) for layer in network] == kinds
    for name, each in network.state_dict().items():
        assert torch.equal(each, before[name])
