"""Encoders of runs as weights that a backbone begins with."""

import sys

import encoder_weights
import pytest
import torch
from torch import nn

from auxhand.models.backbone import Backbone
from auxhand.training import LAST


class Two(nn.Module):
    """Two encoders, as a method's module holds them."""

    def __init__(self, *names):
        super().__init__()
        self.encoders = nn.ModuleDict(
            {name: nn.ModuleDict({"backbone": Backbone("test_resnet")}) for name in names}
        )


def test_a_runs_encoder_is_what_another_begins_with(monkeypatch, tmp_path, capsys):
    torch.manual_seed(0)
    module = Two("R")
    (tmp_path / LAST).parent.mkdir(parents=True)
    saved = {"state_dict": module.state_dict()}
    torch.save(saved, tmp_path / LAST)
    monkeypatch.setattr(encoder_weights, "read_checkpoint", torch.load)
    out = tmp_path / "encoder.safetensors"
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path), str(out)])
    encoder_weights.main()
    torch.manual_seed(1)
    begun = Backbone("test_resnet", pretrained=str(out)).eval()
    image = torch.rand(1, 3, 64, 64)
    for expected, found in zip(
        module.eval().encoders["R"]["backbone"](image), begun(image), strict=True
    ):
        torch.testing.assert_close(found, expected)
    assert "tensors" in capsys.readouterr().out


def test_which_of_several_encoders_must_be_told():
    state = Two("R", "D").state_dict()
    with pytest.raises(ValueError, match=r"there are: encoders.D., encoders.R.; name it with --of"):
        encoder_weights.encoder(state)
    one = encoder_weights.encoder(state, "encoders.D")
    inside = "encoders.D.backbone.network."
    assert one.keys() == {key[len(inside) :] for key in state if key.startswith(inside)}
    assert all(torch.equal(value, state[inside + key]) for key, value in one.items())
    with pytest.raises(ValueError, match="there are: none"):
        encoder_weights.encoder({})
