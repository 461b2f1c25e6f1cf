import time

import huggingface_hub
import pytest
import timm
import torch

from auxhand.models import backbone
from auxhand.models.backbone import Backbone


def test_maps_have_the_strides_asked_for():
    network = Backbone("test_resnet", strides=(4, 32))
    maps = network(torch.rand(2, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [
        (2, network.channels[0], 16, 24),
        (2, network.channels[1], 2, 3),
    ]


def test_unknown_name_is_answered_with_close_ones():
    with pytest.raises(ValueError, match="resnet18"):
        Backbone("resnet81")


def test_a_network_without_these_strides_is_refused():
    with pytest.raises(ValueError, match=r"strides \[16, 16, 16\]"):
        Backbone("vit_tiny_patch16_224")


def test_weights_from_a_file(tmp_path):
    source = Backbone("test_resnet")
    torch.save(source.network.state_dict(), tmp_path / "weights.pth")
    loaded = Backbone("test_resnet", pretrained=str(tmp_path / "weights.pth"))
    for (name, value), same in zip(
        source.network.state_dict().items(), loaded.network.state_dict().values(), strict=True
    ):
        assert torch.equal(value, same), name


def test_layers_that_make_no_feature_maps_are_left_out_in_silence(tmp_path, caplog):
    """As in the shipped model's recipe: a file of the whole network, whose head is not used."""
    whole = timm.create_model("tf_efficientnet_lite0").state_dict()
    torch.save(whole, tmp_path / "weights.pth")
    network = Backbone("tf_efficientnet_lite0", str(tmp_path / "weights.pth")).network
    assert {"bn2.weight", "conv_head.weight"} <= whole.keys() - network.state_dict().keys()
    for name, value in network.state_dict().items():
        assert torch.equal(value, whole[name]), name
    assert not caplog.records


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("layer1.0.conv1.weight"), "lacks layer1_0_conv1_weight"),
        (lambda state: state.update({"layer9.bias": torch.zeros(1)}), "has also layer9_bias"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, change, message):
    state = Backbone("test_resnet").network.state_dict()
    change(state)
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=f"does not hold weights of 'test_resnet': it {message}"):
        Backbone("test_resnet", pretrained=str(tmp_path / "weights.pth"))


def test_images_are_normalised_as_the_weights_want_it():
    image = torch.rand(2, 3, 64, 64)
    network = Backbone("tf_efficientnet_lite0").eval()
    torch.testing.assert_close(network.normalise(image), 2 * image - 1)
    maps = network.network(2 * image - 1)
    torch.testing.assert_close(network(image)[0], maps[1])
    assert isinstance(Backbone("test_resnet", channels=1).normalise, torch.nn.Identity)


def test_a_missing_file_of_weights_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="test_resnet"):
        Backbone("test_resnet", pretrained=str(tmp_path / "none.pth"))


def test_a_file_that_holds_something_else_is_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not weights")
    with pytest.raises(ValueError, match=r"notes\.txt"):
        Backbone("test_resnet", pretrained=str(path))


def test_no_network_is_said_at_once(monkeypatch, tmp_path):
    class Unreachable:
        def head(self, *_, **__):
            raise ConnectionError("Name or service not known")

    monkeypatch.setattr(backbone, "get_session", Unreachable)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(time, "sleep", None)  # as the hub does between its retries
    offline = huggingface_hub.constants.HF_HUB_OFFLINE
    with pytest.raises(OSError, match=r"no network.*set pretrained to false"):
        Backbone("resnet10t", pretrained=True)
    assert huggingface_hub.constants.HF_HUB_OFFLINE is offline


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18"])
def test_folded_batch_normalisations_change_nothing(name, tmp_path):
    """Two networks of the same weights and statistics, one folded."""
    torch.manual_seed(0)
    source = timm.create_model(name)
    for module in source.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for value in (module.weight, module.bias, module.running_mean):
                torch.nn.init.normal_(value, 0.5, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    plain, folded = (
        Backbone(name, str(tmp_path / "weights.pth"), folded=folded).eval()
        for folded in (False, True)
    )
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    image = torch.rand(2, 3, 64, 96)
    for one, other in zip(plain(image), folded(image), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4 * one.abs().max().item())
    assert all(parameter.requires_grad for parameter in folded.parameters())
    # What says so alone has the same tensors.
    assert Backbone(name, folded=True).state_dict().keys() == folded.state_dict().keys()
