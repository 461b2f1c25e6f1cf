"""Codes of photos, and walks between them."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from auxhand.geometry.camera import intrinsics_from_fov
from auxhand.geometry.crop import view_crop
from auxhand.inference.bundle import Bundle
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.inference.latent import LatentSpace, walk
from auxhand.inference.prediction import prediction_from
from auxhand.models.backbone import ImageFeatures
from auxhand.models.folding import FoldingDecoder
from auxhand.models.gaussian import GaussianEncoder
from auxhand.models.latent_pose import LatentPoseNet
from auxhand.models.mlp import PoseDecoder
from auxhand.sample import HandPose

SIZE = 64


def space():
    torch.manual_seed(0)
    encoder = GaussianEncoder(ImageFeatures("test_resnet"), 5)
    cloud = FoldingDecoder(5, 16, 8)
    network = LatentPoseNet(encoder, PoseDecoder(5, 16), cloud=cloud, cloud_unit=0.1).eval()
    return LatentSpace(HandPoseEstimator(Bundle(network, SIZE)))


def test_a_walk_is_a_straight_line_with_both_ends():
    a, b = torch.zeros(4), torch.arange(4.0)
    line = walk(a, b, 5)
    assert_close(line, torch.outer(torch.linspace(0, 1, 5), b))
    with pytest.raises(ValueError, match="two ends"):
        walk(a, b, 1)


def test_a_photo_is_encoded_in_the_crop_of_its_hand(monkeypatch):
    latent = space()
    image = np.random.default_rng(0).integers(0, 255, (100, 140, 3), np.uint8)
    K = intrinsics_from_fov(60, 140, 100).double()
    crop = view_crop(K, [69.5, 49.5], SIZE, SIZE)
    found = prediction_from(
        HandPose(xyz=torch.randn(21, 3)),
        crop,
        (140, 100),
        torch.ones(20).double(),
        0.04,
        0.7,
        "right",
    )
    monkeypatch.setattr(latent.estimator, "predict", lambda image, side: found)
    z = latent.encode(image)
    # At the image's centre the crop is the middle of the photo, but for perspective's rounding.
    middle = torch.from_numpy(image[18:82, 38:102]).permute(2, 0, 1)[None].float() / 255
    assert_close(z, latent.network.encode(middle)[0], atol=2e-3, rtol=0)
    monkeypatch.setattr(latent.estimator, "predict", lambda image, side: None)
    assert latent.encode(image) is None


def test_clouds_are_in_metres():
    latent = space()
    z = latent.sample(3, seed=1)
    assert z.shape == (3, 5)
    hands = latent.decode(z)
    assert_close(hands.cloud, 0.1 * latent.network.cloud(z))
    assert_close(latent.network.decode(z, SIZE).cloud, hands.cloud)
    assert_close(hands.xyz, latent.network.decode(z, SIZE).xyz)
    assert torch.equal(z, latent.sample(3, seed=1))
