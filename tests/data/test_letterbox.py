import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from auxhand.data.letterbox import GREY, letterbox


def test_photo_lies_in_the_middle_and_grey_fills_the_rest():
    photo = np.full((20, 40, 3), 200, np.uint8)
    square, place = letterbox(photo, 80)
    assert place == (2.0, 0, 20)
    assert (square[20:60] == 200).all()
    assert (square[:20] == GREY).all()
    assert (square[60:] == GREY).all()


def test_a_margin_is_a_share_of_the_longer_side():
    square, place = letterbox(np.full((20, 40, 3), 200, np.uint8), 80, margin=0.5)
    assert place == (1.0, 20, 30)
    assert (square[30:50, 20:60] == 200).all()
    assert (square == 200).all(-1).sum() == 20 * 40


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 400),
    st.integers(1, 400),
    st.integers(16, 256),
    st.sampled_from([0.0, 0.25, 0.5]),
    st.integers(0, 99),
)
def test_boxes_come_back(height, width, size, margin, seed):
    _, place = letterbox(np.zeros((height, width, 3), np.uint8), size, margin)
    boxes = np.random.default_rng(seed).uniform(-10, 400, (5, 4))
    np.testing.assert_allclose(place.to_photo(place.to_square(boxes)), boxes, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 400), st.integers(8, 400), st.integers(64, 256))
def test_whole_photo_fills_its_part_of_the_square(height, width, size):
    """To within the half pixel by which the shorter side is rounded."""
    square, place = letterbox(np.full((height, width, 3), 255, np.uint8), size)
    rows, columns = (np.flatnonzero((square[..., 0] == 255).any(axis)) for axis in (1, 0))
    edges = [columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5]
    whole = place.to_square(np.array([-0.5, -0.5, width - 0.5, height - 0.5]))
    np.testing.assert_allclose(whole, edges, atol=0.5 + 1e-9)


def test_a_mark_is_found_where_its_coordinates_say():
    photo = np.zeros((300, 200, 3), np.uint8)
    photo[90:110, 140:160] = 255  # about (149.5, 99.5)
    square, place = letterbox(photo, 150)
    rows, columns = np.nonzero(square[..., 0] > 200)
    inside = columns > place.left
    found = np.array([columns[inside].mean(), rows[inside].mean()])
    expected = place.to_square(np.array([149.5, 99.5, 149.5, 99.5]))[:2]
    np.testing.assert_allclose(found, expected, atol=0.1)
