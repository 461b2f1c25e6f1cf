"""The finder's calibration, on photos whose brightness says how likely a hand is in them."""

import calibrate_finder
import numpy as np
import pytest
import torch
from torch import nn

from auxhand.models.detections import STRIDE, DetectionMaps

SIDE = 64
BOX = (8.0, 8.0, 16.0, 16.0)
"""x, y, width, height of every hand; its centre lies in cell (1, 1)."""


class Photo:
    """A grey photo with or without a hand."""

    def __init__(self, value, hand):
        self.value = value
        self.boxes = np.array([[8, 8, 24, 24]] if hand else np.zeros((0, 4)), float)

    def read(self):
        return np.full((SIDE, SIDE, 3), self.value, np.uint8)


class Boaster(nn.Module):
    """Sees a hand of the right box everywhere, and is three times as sure as it should be."""

    def __init__(self):
        super().__init__()
        self.slope, self.intercept = 1.0, 0.0

    def forward(self, image):
        cells = SIDE // STRIDE
        presence = torch.full((len(image), cells, cells), -50.0)
        logit = 3 * (8 * image.mean((1, 2, 3)) - 4) + 1
        presence[:, 1, 1] = self.slope * logit + self.intercept
        boxes = torch.zeros(len(image), cells, cells, 4)
        boxes[:, 1, 1] = torch.tensor([8.0, 8.0, 24.0, 24.0])
        return DetectionMaps(presence, boxes, torch.zeros_like(presence))

    def calibrate(self, slope, intercept):
        self.slope, self.intercept = slope * self.slope, slope * self.intercept + intercept


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(0)
    values = rng.integers(20, 235, 600)
    hands = rng.random(600) < 1 / (1 + np.exp(-(8 * values / 255 - 4)))
    return calibrate_finder.WholePhotos(
        [Photo(*each) for each in zip(values, hands, strict=True)], SIDE
    )


def test_presences_become_probabilities(photos, tmp_path):
    network = Boaster()
    threshold, figures, found = calibrate_finder.calibrate(network, photos)
    assert network.slope == pytest.approx(1 / 3, rel=0.25)
    assert network.intercept == pytest.approx(-1 / 3, abs=0.25)
    assert figures["ece"] < 0.05 < figures["ece_before"]
    empty = found[1].highest
    assert (empty >= threshold).double().mean() == pytest.approx(figures["false"])
    assert figures["false"] == pytest.approx(0.02, abs=0.005)
    assert figures["missed"] == pytest.approx((found[1].hands < threshold).double().mean())
