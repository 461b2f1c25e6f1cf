"""A stored row: columns decoded once, the hand without its arm, nothing that is not told."""

from unittest.mock import Mock

import numpy as np
import pytest
import torch

from auxhand.data import stored
from auxhand.data.columns import PARTS, make_row
from auxhand.data.stored import Stored


@pytest.fixture
def armed():
    """A row whose upper half is a palm and whose lower half is an arm."""
    parts = np.full((8, 8), PARTS.index("palm"), np.uint8)
    parts[4:] = PARTS.index("arm")
    depth = np.full((8, 8), 0.5, np.float32)
    return make_row(0, parts=parts, mask=np.ones((8, 8), bool), depth=depth)


def test_a_column_is_decoded_once(hand_row, monkeypatch):
    decoders = ("decode_image", "decode_depth", "decode_mask", "decode_labels")
    spies = {name: Mock(wraps=getattr(stored, name)) for name in decoders}
    for name, spy in spies.items():
        monkeypatch.setattr(stored, name, spy)
    row = Stored(hand_row())
    for _ in range(2):
        _ = row.sample, row.pixels, row.hand_depth, row.size, row.box, row.labels
    # The picture and the cut-out hand are both images.
    assert [spy.call_count for spy in spies.values()] == [2, 1, 1, 1]


def test_the_hand_is_without_its_arm(armed):
    row = Stored(armed)
    upper = np.arange(8)[:, None] < 4
    assert np.array_equal(row.hand > 0, np.broadcast_to(upper, (8, 8)))
    assert (row.hand_depth > 0).sum() == 32
    assert (row.depth > 0).sum() == 64
    assert row.sample.mask.sum() == 32
    assert row.box.tolist() == [-0.5, -0.5, 8.0, 4.0]


def test_without_parts_the_mask_says_where_the_hand_is(armed):
    row = Stored(armed | {"parts": None})
    assert row.hand.sum() == 64
    assert Stored(armed | {"parts": None, "mask": None}).hand_depth is None


def test_nothing_but_what_is_told_is_in_the_row(hand_row):
    whole = Stored(hand_row())
    told = whole.telling(["K"])
    assert {name for name, value in told.row.items() if value is not None} == {
        "index",
        "image",
        "source",
        "K",
    }
    assert torch.equal(told.box, whole.box)
    assert told.labels.joints_uv is None
    assert told.hand is None
