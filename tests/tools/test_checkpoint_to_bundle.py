"""A checkpoint's bundle has what the training's own has: weights, crops, images seen."""

import sys

import checkpoint_to_bundle
import pytest
import torch

from auxhand.cli.main import main
from auxhand.data.crops import CropRule
from auxhand.inference.bundle import load_bundle

RULE = "data.init_args.crop={by: mask, fraction: 0.6, view: plain}"


@pytest.fixture(scope="module")
def run(tmp_path_factory, training_yaml):
    """A training of two steps."""
    folder = tmp_path_factory.mktemp("training")
    config = folder / "tiny.yaml"
    config.write_text(training_yaml(folder / "run"))
    assert main(["train", str(config), "--set", "trainer.max_epochs=1", RULE]) == 0
    return folder / "run"


def test_weights_crop_rule_and_view_travel_together(run, tmp_path, monkeypatch):
    checkpoint = run / "checkpoints" / "last.ckpt"
    monkeypatch.setattr(sys, "argv", ["tool", str(checkpoint), "--out", str(tmp_path / "bundles")])
    checkpoint_to_bundle.main()
    made, shipped = load_bundle(tmp_path / "bundles" / "last"), load_bundle(run / "bundle")
    assert made.crop == shipped.crop == CropRule("mask", 0.6, "plain")
    assert (made.view, made.input_size) == ("plain", 32)
    saved = torch.load(checkpoint, weights_only=True)["state_dict"]
    network = made.network.state_dict()
    assert network.keys() == shipped.network.state_dict().keys()
    for name, value in network.items():
        assert torch.equal(value, shipped.network.state_dict()[name]), name
        assert any(torch.equal(value, other) for other in saved.values()), name
    assert made.metadata["images_seen"] == shipped.metadata["images_seen"] == 8
    assert made.metadata["checkpoint"] == str(checkpoint)


def test_a_damaged_checkpoint_gives_no_bundle(run, tmp_path):
    whole = (run / "checkpoints" / "last.ckpt").read_bytes()
    cut = run / "checkpoints" / "cut.ckpt"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut.ckpt is damaged.*last.ckpt"):
        checkpoint_to_bundle.bundle(cut, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
