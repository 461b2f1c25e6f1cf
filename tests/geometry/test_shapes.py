import pytest
import torch

from auxhand.geometry.shapes import expect


@pytest.mark.parametrize(
    ("shape", "tail"), [((3, 3), (3, 3)), ((5, 2, 21, 3), (None, 3)), ((4, 2, 7), (None, None))]
)
def test_expected_shapes_pass(shape, tail):
    expect("x", torch.zeros(shape), *tail)


@pytest.mark.parametrize(
    ("shape", "tail"), [((3,), (None, 3)), ((), (3,)), ((21, 2), (21, 3)), ((3, 4), (3, 3))]
)
def test_unexpected_shapes_are_named(shape, tail):
    with pytest.raises(ValueError, match=r"^xyz must have shape \(\.\.\., .*got \("):
        expect("xyz", torch.zeros(shape), *tail)
