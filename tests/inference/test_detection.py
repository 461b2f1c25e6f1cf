"""Windows, their choice, and when a crop has settled."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auxhand.inference.detection import (
    STEP,
    Square,
    best_squares,
    overlap,
    settled,
    square_around,
    windows,
)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5000))
def test_windows_cover_the_photo(width, height):
    found = windows(width, height)
    assert len(found) < 250
    for side in {w.side for w in found}:
        level = [w for w in found if w.side == side]
        for axis, extent in ((0, width), (1, height)):
            edges = sorted((w[axis] - side / 2, w[axis] + side / 2) for w in level)
            assert edges[0][0] <= -0.5 + 1e-6
            assert max(e[1] for e in edges) >= extent - 0.5 - 1e-6
            assert all(b[0] - a[0] <= STEP * side + 1e-6 for a, b in pairwise(edges))


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 0.75), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_any_hand_that_is_not_tiny_fits_a_window(size, across, down):
    """A hand's square of 0.3 to 1.2 photo heights is near some window in place and size."""
    width, height = 640, 480
    side = height * (0.35 + size)
    u = side / 2 + across * max(width - side, 0)
    v = side / 2 + down * max(height - side, 0)
    hand = Square(u, v, side)
    assert max(overlap(hand, w) for w in windows(width, height)) > 0.4


def test_overlap():
    assert overlap(Square(0, 0, 2), Square(0, 0, 2)) == 1
    assert overlap(Square(0, 0, 2), Square(1, 0, 2)) == pytest.approx(1 / 3)
    assert overlap(Square(0, 0, 2), Square(5, 0, 2)) == 0


def test_best_squares_are_apart():
    squares = [Square(0, 0, 10), Square(1, 1, 10), Square(30, 0, 10), Square(60, 0, 10)]
    assert best_squares(squares, [0.8, 0.9, 0.1, 0.5], 2) == [1, 3]
    assert best_squares(squares, [0.8, 0.9, 0.1, 0.5], 9) == [1, 3, 2]
    assert best_squares(squares, [0.5, 0.5, 0.5, 0.5], 1) == [0]
    assert best_squares([], [], 3) == []


def test_square_around_points():
    uv = np.array([[10.0, 20], [30, 24], [18, 50]])
    assert square_around(uv, 0.5) == Square(20, 35, 60)
    assert square_around(np.zeros((21, 2)), 0.5) == Square(0, 0, 2)


def test_settled():
    assert settled(Square(0, 0, 100), Square(3, -3, 103))
    assert not settled(Square(0, 0, 100), Square(5, 0, 100))
    assert not settled(Square(0, 0, 100), Square(0, 0, 110))
