import math

import numpy as np
import pytest

from auxhand.inference.smoothing import OneEuroFilter


def run(filter, points, times):
    return np.stack([filter(p, t) for p, t in zip(points, times, strict=True)])


def test_the_first_points_and_those_at_rest_are_kept():
    points = np.random.default_rng(0).normal(size=(21, 3))
    np.testing.assert_array_equal(
        run(OneEuroFilter(1.0, 0.5), [points] * 5, range(5)), [points] * 5
    )


def test_a_step_decays_as_a_first_order_low_pass():
    """With beta 0 each step leaves 1 - alpha of the way, alpha = 1 / (1 + 1 / (2 pi fc dt))."""
    cutoff, dt = 2.0, 1 / 30
    alpha = 1 / (1 + 1 / (2 * math.pi * cutoff * dt))
    smooth = run(OneEuroFilter(cutoff, 0.0), [[0.0]] + [[1.0]] * 10, dt * np.arange(11))
    np.testing.assert_allclose(1 - smooth[:, 0], (1 - alpha) ** np.arange(11), rtol=1e-12)


def paper(values, times, min_cutoff, beta):
    """Algorithm 1 of the paper, for one number."""

    def alpha(cutoff, rate):
        return 1 / (1 + rate / (2 * math.pi * cutoff))

    out, x, dx = [values[0]], values[0], 0.0
    for i in range(1, len(values)):
        rate = 1 / (times[i] - times[i - 1])
        slope = (values[i] - values[i - 1]) * rate
        a = alpha(1.0, rate)
        dx = a * slope + (1 - a) * dx
        a = alpha(min_cutoff + beta * abs(dx), rate)
        x = a * values[i] + (1 - a) * x
        out.append(x)
    return out


def test_one_number_at_uneven_times_is_filtered_as_in_the_paper():
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.uniform(0.01, 0.1, 50))
    values = np.sin(3 * times) + 0.05 * rng.normal(size=50)
    smooth = run(OneEuroFilter(1.5, 0.7), values[:, None], times)[:, 0]
    np.testing.assert_allclose(smooth, paper(values, times, 1.5, 0.7), rtol=1e-12)


def test_jitter_at_rest_shrinks_and_motion_does_not_lag_with_beta():
    rng = np.random.default_rng(2)
    times = np.arange(300) / 30
    still = 0.001 * rng.normal(size=(300, 21, 3))
    alpha = 2 * math.pi / 30 / (1 + 2 * math.pi / 30)
    smooth = run(OneEuroFilter(1.0, 0.0), still, times)[100:]
    # White noise through that low-pass has alpha / (2 - alpha) of its variance.
    assert smooth.var() / still.var() == pytest.approx(alpha / (2 - alpha), rel=0.15)
    moving = np.zeros((300, 21, 3))
    moving[..., 0] = 0.5 * times[:, None]
    lags = [
        np.abs(run(OneEuroFilter(1.0, beta), moving, times) - moving)[-1].max() / 0.5
        for beta in (0.0, 20.0)
    ]
    assert lags[0] == pytest.approx((1 - alpha) / alpha / 30, rel=1e-3)  # seconds behind
    assert lags[1] < lags[0] / 8


def test_what_turns_is_filtered_as_what_does_not():
    rng = np.random.default_rng(3)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    points, times = rng.normal(size=(20, 21, 3)), np.arange(20) / 30
    straight = run(OneEuroFilter(1.0, 0.3), points, times)
    np.testing.assert_allclose(
        run(OneEuroFilter(1.0, 0.3), points @ turn.T, times), straight @ turn.T, atol=1e-12
    )


def test_after_a_reset_it_begins_again():
    filter = OneEuroFilter(1.0, 0.0)
    run(filter, [[0.0], [1.0]], [0.0, 1.0])
    filter.reset()
    assert filter([5.0], 0.5) == [5.0]


def test_what_comes_back_is_the_callers():
    filter = OneEuroFilter(1.0, 0.0)
    filter([0.0], 0.0)[0] = 100.0
    assert filter([0.0], 1.0) == [0.0]


def test_mistakes_are_named():
    for cutoff, beta, says in ((0, 1, "min_cutoff"), (math.nan, 1, "min_cutoff"), (1, -1, "beta")):
        with pytest.raises(ValueError, match=says):
            OneEuroFilter(cutoff, beta)
    filter = OneEuroFilter(1.0, 0.0)
    filter([0.0, 0.0], 1.0)
    with pytest.raises(ValueError, match="time must go on"):
        filter([0.0, 0.0], 1.0)
    with pytest.raises(ValueError, match="points were"):
        filter([0.0], 2.0)
