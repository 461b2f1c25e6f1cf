"""The bundle in an adaptation's folder."""

import pytest
import torch

from auxhand.adaptation.kept import ADAPTED, adapted_epochs, ship
from auxhand.inference.bundle import load_bundle, save_bundle
from auxhand.models.cpn import FeaturePyramid
from auxhand.models.heads import Latent25D
from auxhand.models.pose_net import PoseNet


@pytest.fixture
def bundle(tmp_path):
    network = PoseNet(FeaturePyramid("test_resnet", width=8), Latent25D(), presence=False)
    save_bundle(tmp_path / "original", network, 32, {"images_seen": 5})
    return load_bundle(tmp_path / "original")


def test_it_tells_after_how_many_epochs(bundle, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    assert adapted_epochs(out) == -1
    ship(bundle, bundle.network, out, {})
    assert adapted_epochs(out) is None
    for parameter in bundle.network.parameters():
        torch.nn.init.ones_(parameter)
    ship(bundle, bundle.network, out, {ADAPTED: 3})
    assert adapted_epochs(out) == 3
    assert load_bundle(out).metadata["images_seen"] == 5
    assert all(bool((p == 1).all()) for p in load_bundle(out).network.parameters())
    assert {path.name for path in out.rglob("*")} == {"bundle.json", "model.safetensors", "work"}
    weights = out / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    assert adapted_epochs(out) == -1
