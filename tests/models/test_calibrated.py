import torch

from auxhand.models.calibrated import calibrated, recalibrate, uncalibrated


def test_calibrations_follow_one_another():
    logits = torch.linspace(-4, 4, 9)
    calibration = uncalibrated()
    assert torch.equal(calibrated(logits, calibration), logits)
    recalibrate(calibration, 2.0, -1.0)
    recalibrate(calibration, 0.5, 3.0)
    expected = 0.5 * (2 * logits - 1) + 3
    torch.testing.assert_close(calibrated(logits, calibration), expected)
