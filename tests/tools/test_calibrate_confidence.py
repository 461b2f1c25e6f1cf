"""Calibration of joints' confidences, by a network that knows how sure it may be."""

import calibrate_confidence
import pytest
import torch

from auxhand.data.crops import CropRule
from auxhand.data.store import PreparedDataset
from auxhand.inference.bundle import Bundle
from auxhand.models.cpn import FeaturePyramid
from auxhand.models.heads import Latent25D, Peak25D
from auxhand.models.pose_net import PoseNet


def network(head):
    torch.manual_seed(0)
    return PoseNet(FeaturePyramid("test_resnet", width=8), head).eval()


def test_confidences_come_near_to_what_is_right(hand_dataset, monkeypatch):
    """Of an untrained network few joints are right, whatever it says; afterwards it says so."""
    dataset = PreparedDataset(hand_dataset)
    bundle = Bundle(network(Peak25D()), 64, CropRule("joints", 0.7, "plain"))
    bundle.network.heads[-1].calibrate(1.0, 3.0)
    before, after = calibrate_confidence.calibrate(bundle, dataset, 6)
    share = before.right.double().mean()
    assert 0 < share < 0.5
    assert before.confidence.mean() > 0.5
    assert abs(after.confidence.mean() - share) < 0.1
    assert torch.equal(before.right, after.right)


def test_other_heads_are_refused(hand_dataset):
    bundle = Bundle(network(Latent25D()), 64, CropRule("joints", 0.7, "plain"))
    with pytest.raises(ValueError, match="Peak25D alone"):
        calibrate_confidence.calibrate(bundle, PreparedDataset(hand_dataset), 2)
