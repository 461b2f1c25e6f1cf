"""Clips of a hand in motion, and what tracks of it are measured by."""

import sys
from functools import partial

import numpy as np
import pytest
import torch
from motion import FPS, HEIGHT, SETTLE, WIDTH, acceleration, clip, lag, mediapipe_tracks
from scripts import call, load, rows

from auxhand.geometry.crop import Crop
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.inference.prediction import Prediction
from auxhand.inference.smoothing import OneEuroFilter
from auxhand.inference.tracker import HandTracker


def wave(count=90, late=0.0):
    """(T, 21, 2) joints that go to and fro, `late` seconds behind."""
    times = np.arange(count) / FPS - late
    joint = np.arange(21)
    return np.stack(
        [
            300 + 40 * np.sin(3 * times[:, None] + 0.2 * joint),
            200 + 20 * np.cos(5 * times[:, None]) + joint,
        ],
        -1,
    )


@pytest.mark.parametrize("milliseconds", [0, 20, 50, 110])
def test_lag_is_found(milliseconds):
    assert lag(wave(late=milliseconds / 1000), wave()) == pytest.approx(milliseconds, abs=4)
    # A constant error and frames without a hand are no lag.
    uv = wave(late=milliseconds / 1000) + np.array([3, -8])
    uv[40:44] = np.nan
    assert lag(uv, wave()) == pytest.approx(milliseconds, abs=4)


def test_acceleration_is_that_of_a_parabola():
    numbers = np.arange(40.0)[:, None, None]
    uv = 0.5 * numbers**2 * np.ones((1, 21, 2)) * [3.0, 4.0] + 7 * numbers
    assert acceleration(uv) == pytest.approx(5.0)
    uv[:SETTLE] = 1e6 * np.random.default_rng(0).normal(size=(SETTLE, 21, 2))
    uv[30] = np.nan
    assert acceleration(uv) == pytest.approx(5.0)


def test_a_filter_costs_the_lag_that_is_measured():
    """A first-order low-pass of f Hz is 1 / (2 pi f) behind what moves slowly."""
    smooth = OneEuroFilter(1.5, 0.0)
    slow = np.linspace(0, 1, 200)[:, None, None] * np.ones((1, 21, 2)) * 300
    slow += 40 * np.sin(np.arange(200) / 40)[:, None, None]
    uv = np.stack([smooth(points, number / FPS) for number, points in enumerate(slow)])
    assert lag(uv, slow) == pytest.approx(1000 / (2 * np.pi * 1.5), abs=15)


@pytest.fixture(scope="module")
def clips():
    return {moving: clip(4, moving) for moving in (False, True)}


def test_clips_have_their_joints(clips):
    for moving, (pictures, uv) in clips.items():
        assert (pictures.shape, pictures.dtype) == ((4, HEIGHT, WIDTH, 3), np.uint8)
        assert (uv.min(0) > 0).all()
        assert (uv.max((0, 1)) < [WIDTH, HEIGHT]).all()
        assert np.ptp(uv, axis=0).max() > 2 if moving else np.ptp(uv, axis=0).max() < 1e-6
        # New noise, and nothing else, makes a still frame differ from the next one.
        apart = np.abs(pictures[1].astype(int) - pictures[0])
        assert apart.any()
        assert moving or apart.mean() < 6


class Told:
    """An estimator that is told the tracks (T, 21, 2), by whether the hand moves; `frames` says
    which of them is asked for."""

    tells_side = True

    def __init__(self, still, moving):
        self.tracks = still, moving

    def predict(self, image):
        number, moving, _ = image[0, 0]
        return hand_at(self.tracks[moving][number])

    def predict_hands(self, image, count=None, K=None, hand_size=None, once=False):
        return [self.predict(image)]

    def predict_many(self, images, boxes, sides, Ks=None, hand_size=None, once=False):
        return [self.predict(image) for image in images]


def frames(moving):
    """Sixty, each with its number and whether the hand moves in its first pixel."""
    pictures = np.zeros((60, HEIGHT, WIDTH, 3), np.uint8)
    pictures[:, 0, 0, 0], pictures[:, 0, 0, 1] = np.arange(60), moving
    return pictures


def hand_at(uv):
    low = uv.min(0)
    return Prediction(
        joints_uv=uv,
        joints_relative=None,
        joints_xyz=None,
        confidence=None,
        presence=0.9,
        side="right",
        side_scores={"right": 1.0, "left": 0.0},
        mask=None,
        box=(*low, *(uv.max(0) - low)),
        K=np.eye(3),
        hand_size=0.0448,
        crop=Crop(torch.eye(3).double(), (64, 64), torch.eye(3).double()),
        photo_size=(WIDTH, HEIGHT),
    )


def test_jitter_of_known_tracks(monkeypatch, tmp_path):
    jitter = load("accuracy/jitter.py")
    noise = np.random.default_rng(0).normal(size=(60, 21, 2))
    still = np.full((60, 21, 2), 200.0) + 5 * np.arange(21)[:, None]
    truth = {False: still, True: wave(60)}
    monkeypatch.setattr(jitter, "clip", lambda count, moving, seed: (frames(moving), truth[moving]))
    told = Told(truth[False] + noise, truth[True] + noise)
    monkeypatch.setattr(HandPoseEstimator, "load", lambda model: told)
    out = tmp_path / "jitter.json"
    call(monkeypatch, jitter, "--out", out)
    said = {
        name: {key: value for key, (value,) in row["metrics"].items()}
        for name, row in rows(out).items()
    }
    clips_and_filters = {f"{c}, {f}" for c in ("still", "moving") for f in ("filter", "no filter")}
    assert set(said) == clips_and_filters
    raw = acceleration(noise)
    assert said["still, no filter"]["acceleration"] == pytest.approx(raw)
    assert said["still, filter"]["acceleration"] < 0.4 * raw
    assert said["moving, no filter"]["lag_ms"] == pytest.approx(0, abs=5)
    assert said["moving, filter"]["lag_ms"] > 0
    assert said["still, filter"]["frames_with_hand"] == 1.0


def test_a_hand_that_is_never_found_has_no_jitter():
    jitter = load("accuracy/jitter.py")
    with pytest.raises(ValueError, match="hardly ever found"):
        jitter.figures(np.full((60, 21, 2), np.nan), wave(60), moving=False)


STAND_IN = """
from types import SimpleNamespace

ROW = SimpleNamespace(landmark=[SimpleNamespace(x=j / 40, y=0.5) for j in range(21)])


def process(frame):
    return SimpleNamespace(multi_hand_landmarks=[ROW] if frame.any() else None)


def made(static_image_mode, max_num_hands):
    return SimpleNamespace(process=process)


solutions = SimpleNamespace(hands=SimpleNamespace(Hands=made))
"""


@pytest.fixture
def other_python(tmp_path):
    """An interpreter that has a stand-in for mediapipe."""
    (tmp_path / "mediapipe.py").write_text(STAND_IN)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


def test_mediapipe_runs_in_an_interpreter_of_its_own(other_python):
    pictures = np.ones((3, 48, 64, 3), np.uint8)
    pictures[1] = 0
    uv, seconds = mediapipe_tracks(other_python, pictures, static=True)
    assert np.isnan(uv[1]).all()
    np.testing.assert_allclose(uv[0, :, 0], np.arange(21) / 40 * 64 - 0.5)
    np.testing.assert_allclose(uv[2, :, 1], 0.5 * 48 - 0.5)
    assert seconds.shape == (3,)
    assert (seconds > 0).all()


def test_speed_of_known_seconds(monkeypatch, tmp_path):
    speed = load("speed/inference.py")
    monkeypatch.setattr(speed, "clip", lambda count, moving: (frames(moving), wave(60)))
    monkeypatch.setattr(HandPoseEstimator, "load", lambda model: None)
    first = SETTLE * [9.0]  # not counted

    def ours(see, pictures):
        kind = getattr(see, "__name__", "first_frame")
        return np.array(first + 45 * [{"follow": 0.01, "first_frame": 0.02}.get(kind, 0.03)]), 45

    def theirs(python, pictures, static):
        return np.full((60, 21, 2), 1.0), np.array(first + 45 * [0.06 if static else 0.005])

    monkeypatch.setattr(speed, "auxhand_seconds", ours)
    monkeypatch.setattr(speed, "mediapipe_tracks", theirs)
    out = tmp_path / "speed.json"
    call(monkeypatch, speed, "--mediapipe", "python", "--out", out)
    said = {name: row["metrics"] for name, row in rows(out).items()}
    assert said["inference, 640 x 480"] == {
        "tracking_fps": [pytest.approx(100)],
        "search_ms": [pytest.approx(20)],
        "photo_ms": [pytest.approx(30)],
        "frames_with_hand": [0.75],
    }
    ratio = said["inference, 640 x 480, of MediaPipe"]
    assert ratio["tracking_time"] == [pytest.approx(2)]
    assert ratio["search_time"] == [pytest.approx(1 / 3)]
    assert ratio["photo_time"] == [pytest.approx(0.5)]


def test_frames_with_a_hand_are_counted():
    speed, told = load("speed/inference.py"), Told(wave(60), wave(60))
    for see in (HandTracker(told).follow, partial(speed.first_frame, told)):
        seconds, seen = speed.auxhand_seconds(see, frames(True))
        assert (len(seconds), seen) == (60, 60)
