"""Rooms: pictures of a seed, with people and furniture in them."""

import numpy as np

from auxhand.data.background import Backgrounds
from auxhand.data.rooms import draw_room


def test_a_room_is_a_function_of_its_seed() -> None:
    rooms = [draw_room(np.random.default_rng(seed), 48, 64) for seed in (3, 3, 4)]
    assert rooms[0].shape == (48, 64, 3)
    assert rooms[0].dtype == np.uint8
    assert np.array_equal(rooms[0], rooms[1])
    assert not np.array_equal(rooms[0], rooms[2])


def test_rooms_have_little_colour_and_no_flat_frames() -> None:
    rooms = np.stack([draw_room(np.random.default_rng(seed), 48, 48) for seed in range(60)])
    chroma = np.ptp(rooms.astype(int), axis=-1).mean((1, 2))
    assert np.median(chroma) < 45
    assert np.median(rooms.std((1, 2)).mean(-1)) > 12


def test_backgrounds_show_rooms_on_request_alone() -> None:
    rng = np.random.default_rng(5)
    rng.random()  # whether it is a room
    room = draw_room(rng, 32, 32).astype(np.float32) / np.float32(255)
    shown = Backgrounds(distractor_share=0, room_share=1)
    assert np.allclose(shown.sample(np.random.default_rng(5), 32), room, atol=1e-6)
    plain = [Backgrounds(distractor_share=0, **kw).sample(np.random.default_rng(5), 32)
             for kw in ({}, {"room_share": 0.0})]  # fmt: skip
    assert np.array_equal(*plain)
