"""Tracking with a stand-in estimator, which sees squares of joints where a script puts them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from auxhand.geometry.crop import Crop
from auxhand.inference.prediction import Prediction
from auxhand.inference.tracker import HandTracker

FRAME = np.zeros((480, 640, 3), np.uint8)
SHAPE = np.random.default_rng(0).uniform(-1, 1, (21, 3))


def hand(u, v, side="right", presence=0.9, scores=None, size=100.0):
    relative = (SHAPE - SHAPE[9]) * 0.05
    return Prediction(
        joints_uv=np.array([u, v]) + SHAPE[:, :2] * size / 2,
        joints_relative=relative,
        joints_xyz=relative + np.array([(u - 320) / 1000, (v - 240) / 1000, 0.5]),
        confidence=None,
        presence=presence,
        side=side,
        side_scores=scores or {side: 0.9, "left" if side == "right" else "right": 0.1},
        mask=None,
        box=(u - size / 2, v - size / 2, size, size),
        K=np.eye(3),
        hand_size=0.0448,
        crop=Crop(torch.eye(3).double(), (64, 64), torch.eye(3).double()),
        photo_size=(640, 480),
    )


class Scripted:
    """Shows the hands of each frame: to a search all of them, to a look the one in the box."""

    tells_side = True

    def __init__(self):
        self.shown, self.searches, self.sides = [], 0, []

    def predict_hands(self, image, count=None, K=None, hand_size=None, threshold=None, once=False):
        assert once, "the next frame is looked at anyway"
        assert count is not None, "for all hands the finder looks three times"
        self.searches += 1
        return [h for h in self.shown if h.presence >= 0.5][:count]

    def predict_many(
        self, images, boxes=None, sides=None, Ks=None, hand_size=None, threshold=None, once=False
    ):
        self.sides += sides
        assert Ks is None or len(Ks) == len(images)
        return [self.look(box) for box in boxes]

    def look(self, box):
        center = np.array(box[:2]) + np.array(box[2:]) / 2
        near = [h for h in self.shown if np.abs(h.joints_uv.mean(0) - center).max() < 60]
        return near[0] if near else hand(*center, presence=0.01)


def follow(frames, **options):
    """The tracker's answers to scripted frames at 30 a second, and the estimator."""
    estimator = Scripted()
    tracker = HandTracker(estimator, **{"min_cutoff": None, **options})
    answers = []
    for number, shown in enumerate(frames):
        estimator.shown = shown
        answers.append(tracker.follow(FRAME, number / 30))
    return answers, estimator


def test_one_search_is_enough_for_a_hand_that_moves():
    frames = [[hand(100 + 10 * i, 200)] for i in range(30)]
    answers, estimator = follow(frames)
    assert estimator.searches == 1
    for (shown,), (tracked,) in zip(frames, answers, strict=True):
        assert tracked.identity == 0
        np.testing.assert_array_equal(tracked.prediction.joints_uv, shown.joints_uv)


def test_two_hands_keep_their_identities_and_sides():
    frames = [[hand(100 + 5 * i, 200, "left"), hand(500 - 5 * i, 200)] for i in range(30)]
    answers, _ = follow(frames, hands=2)
    assert all([t.identity for t in tracked] == [0, 1] for tracked in answers)
    assert all([t.prediction.side for t in tracked] == ["left", "right"] for tracked in answers)


def test_a_second_hand_is_found_at_the_next_search():
    frames = [[hand(100, 200)]] * 5 + [[hand(100, 200), hand(400, 200)]] * 20
    answers, estimator = follow(frames, hands=2, search_every=10)
    counts = [len(tracked) for tracked in answers]
    assert counts == [1] * 10 + [2] * 15
    assert estimator.searches == 2


def test_a_lost_hand_is_searched_at_once_and_is_another_when_it_is_back():
    frames = [[hand(100, 200)]] * 3 + [[]] * 2 + [[hand(400, 200)]] * 9
    answers, estimator = follow(frames, search_every=4)
    identities = [[t.identity for t in tracked] for tracked in answers]
    # Lost and searched in frame 3, searched again four frames later.
    assert identities == [[0]] * 3 + [[]] * 4 + [[1]] * 7
    assert estimator.searches == 3


def test_a_hand_that_leaves_the_picture_is_not_looked_for_there():
    answers, estimator = follow([[hand(-40, 200)], [hand(-70, 200)], [], []])
    assert [len(tracked) for tracked in answers] == [1, 1, 0, 0]
    assert len(estimator.sides) == 1


def test_two_tracks_of_one_hand_become_one():
    frames = [[hand(100, 200), hand(180, 200)], [hand(140, 200)], [hand(140, 200)]]
    answers, _ = follow(frames, hands=2)
    assert [[t.identity for t in tracked] for tracked in answers] == [[0, 1], [0], [0]]


def test_a_side_that_is_mistaken_in_a_frame_stays():
    wrong = hand(100, 200, "left", scores={"left": 0.9, "right": 0.1})
    answers, _ = follow([[hand(100, 200)]] * 3 + [[wrong]] * 3 + [[hand(100, 200)]] * 2)
    assert {tracked[0].prediction.side for tracked in answers} == {"right"}
    answers, _ = follow([[hand(100, 200)]] + [[wrong]] * 20)
    assert answers[-1][0].prediction.side == "left"


def test_networks_that_see_right_hands_are_told_the_side(monkeypatch):
    monkeypatch.setattr(Scripted, "tells_side", False)
    _, estimator = follow([[hand(100, 200, "left")]] * 3, K=np.eye(3))
    assert estimator.sides == ["left", "left"]


def test_jitter_is_smoothed_in_pixels_and_in_space():
    rng = np.random.default_rng(1)
    frames = [[hand(320 + rng.normal(), 240 + rng.normal())] for _ in range(120)]
    answers, _ = follow(frames, min_cutoff=1.0, beta=0.0)
    given = np.stack([shown.joints_uv for (shown,) in frames])[30:]
    smooth = np.stack([tracked.prediction.joints_uv for (tracked,) in answers])[30:]
    assert smooth.std(0).mean() < 0.5 * given.std(0).mean()
    np.testing.assert_allclose(smooth.mean(0), given.mean(0), atol=0.5)
    for (tracked,) in answers:
        said = tracked.prediction
        # What is smoothed is still one hand: the same shape about its root.
        np.testing.assert_allclose(
            said.joints_xyz - said.joints_xyz[9], said.joints_relative, atol=1e-12
        )
    roots = np.stack([tracked.prediction.joints_xyz[9] for (tracked,) in answers])[30:]
    assert roots[:, 0].std() < 0.5 * 0.001


def test_models_of_2d_alone_are_smoothed_too():
    flat = [
        [replace(hand(320 + i % 2, 240), joints_relative=None, joints_xyz=None)] for i in range(60)
    ]
    answers, _ = follow(flat, min_cutoff=1.0)
    us = [tracked.prediction.joints_uv[9, 0] for (tracked,) in answers[30:]]
    assert np.ptp(us) < 0.5


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="must be positive"):
        HandTracker(Scripted(), hands=0)
    tracker = HandTracker(Scripted())
    tracker.estimator.shown = [hand(100, 200)]
    tracker.follow(FRAME, 1.0)
    with pytest.raises(ValueError, match="time must go on"):
        tracker.follow(FRAME, 1.0)
