"""Perturbations stay within their stated sizes, and are what the seed says."""

import math

import pytest
import torch

from auxhand.data.perturbation import Perturbation
from auxhand.geometry.similarity import move_uv

SIZE = 128


def draw(count=3000, seed=0, **options):
    return Perturbation(**options).draw(count, SIZE, torch.Generator().manual_seed(seed))


def test_each_kind_has_its_sizes_and_its_third():
    T = draw()
    angle = torch.atan2(T[:, 1, 0], T[:, 0, 0]).rad2deg()
    centre = torch.full((1, 2), (SIZE - 1) / 2)
    shift = move_uv(T, centre.expand(len(T), 1, 2))[:, 0] - centre
    quarter = angle.abs() > 45
    moved = shift.abs().amax(1) > 1e-3
    small = ~quarter & ~moved
    for kind in (quarter, moved, small):
        assert kind.float().mean().item() == pytest.approx(1 / 3, abs=0.03)
    assert set(angle[quarter].round().abs().tolist()) == {90.0, 180.0}
    assert 1.9 < angle[small].abs().max() <= 2.001
    reach = 5 * SIZE / 64  # pixels of 64
    assert 0.95 * reach < shift.abs().max() <= reach + 1e-3
    assert not (moved & (angle.abs() > 1e-3)).any()
    torch.testing.assert_close(torch.linalg.det(T), torch.ones(len(T)))


def test_a_quarter_turn_takes_corners_to_corners():
    T = draw()
    quarters = T[torch.atan2(T[:, 1, 0], T[:, 0, 0]).abs() > math.pi / 4]
    corner = torch.tensor([-0.5, -0.5]).expand(len(quarters), 1, 2)
    moved = move_uv(quarters, corner)
    assert ((moved + 0.5).round(decimals=2) % SIZE == 0).all()


def test_the_seed_decides_and_quarters_can_be_left_out():
    assert torch.equal(draw(9, seed=3), draw(9, seed=3))
    assert not torch.equal(draw(9, seed=3), draw(9, seed=4))
    T = draw(quarters=False)
    assert (T[:, 0, 0] > 0.99).all()


def test_shifts_and_turns_together():
    """Ch. 7.4.3: crops move by up to 8 of 256 pixels, and turn a little or by quarters."""
    T = draw(shift=2.0, together=True)
    angle = torch.atan2(T[:, 1, 0], T[:, 0, 0]).rad2deg()
    centre = torch.full((1, 2), (SIZE - 1) / 2)
    shift = move_uv(T, centre.expand(len(T), 1, 2))[:, 0] - centre
    reach = 8 * SIZE / 256
    assert 0.95 * reach < shift.abs().max() <= reach + 1e-3
    assert (shift.abs().amax(1) > 0).all()
    assert (angle.abs() > 45).float().mean().item() == pytest.approx(1 / 2, abs=0.03)
    assert 1.9 < angle[angle.abs() < 45].abs().max() <= 2.001
