import math

import pytest
import torch

from auxhand.calibration import expected_calibration_error, platt, plot_reliability, reliability


def test_reliability_in_numbers():
    probability = torch.tensor([0.05, 0.15, 0.17, 0.95, 1.0])
    true = torch.tensor([False, True, False, True, True])
    confidence, share, count = reliability(probability, true, 10)
    assert count.tolist() == [1, 2, 0, 0, 0, 0, 0, 0, 0, 2]
    assert confidence[1].item() == pytest.approx(0.16)
    assert share[[0, 1, 9]].tolist() == [0, 0.5, 1]
    assert share[5].isnan()
    expected = (1 * 0.05 + 2 * abs(0.5 - 0.16) + 2 * (1 - 0.975)) / 5
    assert expected_calibration_error(probability, true) == pytest.approx(expected, abs=1e-6)


def test_true_probabilities_have_no_error():
    generator = torch.Generator().manual_seed(0)
    probability = torch.rand(200_000, generator=generator)
    true = torch.rand(200_000, generator=generator) < probability
    assert expected_calibration_error(probability, true) < 0.005
    assert expected_calibration_error(probability.sqrt(), true) > 0.1


def test_platt_finds_the_correction_that_was_undone():
    generator = torch.Generator().manual_seed(1)
    logits = 2 * torch.randn(100_000, generator=generator)
    true = torch.rand(100_000, generator=generator) < (0.5 * logits - 1).sigmoid()
    slope, intercept = platt(logits, true)
    assert slope == pytest.approx(0.5, abs=0.02)
    assert intercept == pytest.approx(-1, abs=0.03)


def test_platt_has_no_gradient_left():
    logits = torch.tensor([-3.0, -1.0, 0.5, 0.2, 2.0, 8.0], dtype=torch.float64)
    true = torch.tensor([False, False, True, False, True, True])
    slope, intercept = platt(logits, true)
    target = torch.where(true, 4 / 5, 1 / 5).double()
    left = (slope * logits + intercept).sigmoid() - target
    assert left.sum().item() == pytest.approx(0, abs=1e-8)
    assert (left * logits).sum().item() == pytest.approx(0, abs=1e-8)


def test_platt_of_data_without_error_is_finite():
    slope, intercept = platt(torch.tensor([-5.0, -4.0, 4.0, 6.0]), torch.tensor([0, 0, 1, 1]) > 0)
    assert 0 < slope < 10
    assert math.isfinite(intercept)


def test_says_what_is_missing():
    with pytest.raises(ValueError, match="no probabilities"):
        expected_calibration_error(torch.zeros(0), torch.zeros(0) > 0)
    with pytest.raises(ValueError, match="3 true, 0 false"):
        platt(torch.zeros(3), torch.ones(3) > 0)


def test_the_diagram_shows_both(tmp_path):
    probability = torch.linspace(0, 1, 50)
    bins = reliability(probability, probability > 0.5)
    plot_reliability(tmp_path / "plot.png", [bins, bins], "presence", "share")
    assert (tmp_path / "plot.png").stat().st_size > 5000
