"""Similarities of a crop's pixels: right angles against `rot90`, maps against their coordinates."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform

from auxhand.geometry.similarity import compose, for_cells, move_maps, move_uv, similarity
from auxhand.geometry.warp import warp_image


def shifts(*rows):
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [8, 9])
def test_right_angles_permute_pixels(quarters, size):
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    A = similarity(size, torch.tensor([quarters * math.pi / 2]), shifts([0, 0]).float())
    turned = warp_image(image, A, (size, size))
    torch.testing.assert_close(turned, torch.rot90(image, -quarters, (2, 3)), rtol=0, atol=1e-5)


def test_turns_clockwise_about_the_centre_then_shifts():
    A = similarity(101, torch.tensor(math.pi / 2).double(), shifts([3, -2])[0], 0.5)
    right = torch.tensor([[70.0, 50.0]], dtype=torch.float64)  # 20 to the right of the centre
    torch.testing.assert_close(move_uv(A, right), torch.tensor([[53.0, 58.0]]).double())


def test_cells_follow_pixels():
    """A joint's cell moves as its pixel does, whatever the size of the map."""
    A = similarity(128, torch.tensor([0.3, -1.0]).double(), shifts([4, 9], [-7, 1]), 0.8)
    uv = torch.rand(2, 5, 2, generator=torch.Generator().manual_seed(1)).double() * 128
    for cells in (32, 64):
        r = cells / 128
        moved = move_uv(for_cells(A, 128, cells), (uv + 0.5) * r - 0.5)
        torch.testing.assert_close(moved, (move_uv(A, uv) + 0.5) * r - 0.5)


def test_maps_equal_scipys_and_are_known_inside_alone():
    cells = 24
    maps = torch.rand(1, cells, cells, generator=torch.Generator().manual_seed(2)).double()
    A = similarity(cells, torch.tensor([0.2]).double(), shifts([1.5, -0.75]))
    moved, inside = move_maps(A, maps, cells)
    back = np.linalg.inv(A[0].numpy())[[1, 0, 2]][:, [1, 0, 2]]  # rows first, as scipy counts
    expected = affine_transform(
        maps[0].numpy(), back[:2, :2], back[:2, 2], order=1, mode="constant", cval=np.nan
    )
    known = ~np.isnan(expected)
    assert (inside[0].numpy() == known).mean() > 0.98  # they differ in rounding at the very edge
    both = known & inside[0].numpy()
    np.testing.assert_allclose(moved[0].numpy()[both], expected[both], atol=1e-6)
    assert moved[~inside].abs().max() == 0


def test_maps_are_differentiable():
    maps = torch.rand(2, 6, 6, generator=torch.Generator().manual_seed(3)).double()
    A = similarity(6, torch.tensor([0.1, math.pi]).double(), shifts([1, 0], [0, 0.5]))
    assert torch.autograd.gradcheck(lambda m: move_maps(A, m, 6)[0], maps.requires_grad_())


def test_half_precision_does_not_move_joints():
    A = similarity(64, torch.tensor([0.3]), torch.zeros(1, 2))
    uv = 64 * torch.rand(1, 21, 2)
    with torch.autocast("cpu", torch.bfloat16):
        moved, twice = move_uv(A, uv), compose(A, A)
    assert torch.equal(moved, move_uv(A, uv))
    torch.testing.assert_close(move_uv(twice, uv), move_uv(A, moved), rtol=0, atol=1e-4)
