from dataclasses import replace

import numpy as np
import pytest

from auxhand.data.background import srgb_to_linear
from auxhand.synth.factors import SensorFactors
from auxhand.synth.sensor import photograph

PERFECT = SensorFactors(0.0, 0.0, (1.0, 1.0), 0.0, 0.0, None, 0)
GREY = np.full((64, 64, 3), 0.4, np.float32)


def picture(seed: int = 0, size: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).random((size, size, 3)).astype(np.float32)


def test_a_perfect_camera_changes_nothing():
    np.testing.assert_allclose(photograph(picture(), PERFECT), picture(), atol=2e-4)


def test_exposure_and_balance_scale_linear_light():
    taken = photograph(GREY, replace(PERFECT, exposure=1.0, balance=(1.2, 0.7)))
    light = srgb_to_linear(GREY[0, 0])
    np.testing.assert_allclose(srgb_to_linear(taken[0, 0]), 2 * light * [1.2, 1, 0.7], atol=1e-4)
    assert photograph(GREY, replace(PERFECT, exposure=9.0)).max() == 1


def test_noise_has_the_variance_that_is_stated_and_follows_its_seed():
    noisy = replace(PERFECT, read=0.02, shot=0.03, seed=5)
    taken = photograph(np.full((200, 200, 3), 0.4, np.float32), noisy)
    assert taken.var() == pytest.approx(0.02**2 + 0.03**2 * 0.4, rel=0.03)
    assert taken.mean() == pytest.approx(0.4, abs=1e-3)
    np.testing.assert_array_equal(photograph(GREY, noisy), photograph(GREY, noisy))
    assert (photograph(GREY, noisy) != photograph(GREY, replace(noisy, seed=6))).any()


@pytest.mark.parametrize("size", [64, 128])
def test_blur_is_measured_in_the_picture(size):
    point = np.zeros((size, size, 3), np.float32)
    point[size // 2, size // 2] = 1
    spread = photograph(point, replace(PERFECT, blur=2.0))[..., 1].astype(float)
    at = np.arange(size) - size // 2
    deviation = np.sqrt((spread.sum(0) * at**2).sum() / spread.sum())
    assert deviation == pytest.approx(2.0 * size / 128, rel=0.06)


def test_jpeg_costs_more_at_lower_quality():
    sharp = np.kron(picture(size=16), np.ones((8, 8, 1), np.float32))
    errors = [
        np.abs(photograph(sharp, replace(PERFECT, quality=q)) - sharp).mean() for q in (20, 60, 95)
    ]
    assert errors[0] > errors[1] > errors[2] > 0
