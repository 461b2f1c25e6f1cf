import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auxhand.detection_metrics import match, missed_share, threshold_at

SQUARE = torch.tensor([0.0, 0.0, 10.0, 10.0])


def moved(*offsets):
    return torch.stack([SQUARE + torch.tensor([x, 0.0, x, 0.0]) for x in offsets])


def test_the_most_certain_detection_takes_the_hand():
    matches = match(moved(1, 0, 40), moved(0, 100))
    assert matches.hand.tolist() == [0, -1]
    assert matches.detected.tolist() == [True, False, False]


def test_each_hand_has_its_own_detection():
    matches = match(moved(1, 1), moved(0, 2))
    assert sorted(matches.hand.tolist()) == [0, 1]


def test_overlap_decides():
    third = moved(5)  # half a width away: intersection over union 1/3
    assert match(third, moved(0)).hand.tolist() == [-1]
    assert match(third, moved(0), overlap=0.33).hand.tolist() == [0]


def test_nothing_is_found_in_nothing():
    none = torch.zeros(0, 4)
    assert match(none, moved(0)).hand.tolist() == [-1]
    assert match(moved(0), none).detected.tolist() == [False]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0, 1))
def test_threshold_lets_no_more_photos_through_than_allowed(values, share):
    highest = torch.tensor(values, dtype=torch.float64)
    threshold = threshold_at(highest, share)
    assert (highest > threshold).double().mean() <= share + 1e-9
    if threshold > 0:  # and a lower one would
        lower = math.nextafter(threshold, 0.0)
        assert (highest > lower).double().mean() > share - 1e-9


def test_threshold_and_missed_share_in_numbers():
    highest = torch.tensor([0.1, 0.9, 0.3, 0.2])
    assert threshold_at(highest, 0.25) == pytest.approx(0.3)
    assert threshold_at(highest, 0.0) == pytest.approx(0.9)
    assert threshold_at(highest, 1.0) == 0
    assert missed_share(torch.tensor([0.95, 0.3, 0.0, 0.31]), 0.3) == 0.5
    with pytest.raises(ValueError, match="0 photos"):
        threshold_at(torch.zeros(0), 0.02)
