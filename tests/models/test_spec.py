import json

import pytest
import torch
from torch import nn

from auxhand.models.cpn import FeaturePyramid
from auxhand.models.heads import Coordinate, HandModel, Heatmap, Integral, Latent25D, Lifting
from auxhand.models.pose_net import PoseNet
from auxhand.models.spec import build, recorded, specification


def small(**arguments):
    return PoseNet(FeaturePyramid("test_resnet", width=8), Latent25D(root=0), **arguments)


def test_specification_names_classes_and_all_arguments():
    assert specification(small(mask=False)) == {
        "class": "auxhand.models.pose_net.PoseNet",
        "arguments": {
            "body": {
                "class": "auxhand.models.cpn.FeaturePyramid",
                "arguments": {"backbone": "test_resnet", "width": 8, "folded": False},
            },
            "head": {"class": "auxhand.models.heads.Latent25D", "arguments": {"root": 0}},
            "mask": False,
            "presence": True,
            "side": False,
        },
    }


def test_a_network_rebuilt_from_json_gives_the_same_outputs():
    network = small().eval()
    again = build(json.loads(json.dumps(specification(network)))).eval()
    again.load_state_dict(network.state_dict())
    image = torch.rand(2, 3, 64, 64)
    for (name, value), (other, same) in zip(
        network(image).items(), again(image).items(), strict=True
    ):
        assert name == other
        assert torch.equal(value, same)


@pytest.mark.parametrize("head", [Heatmap, Integral, Coordinate, Lifting, HandModel])
def test_every_head_is_built_again(head):
    described = specification(head())
    assert specification(build(described)) == described


@pytest.mark.parametrize(
    "name",
    [
        "torch.nn.Linear",
        "os.system",
        "auxhand.models.backbone.timm.create_model",
        "auxhand.models.cpn.Bottleneck",
        "auxhand.models.backbone.Backbone",
        "auxhand.models.spec.build",
        "auxhand.models.nothing.PoseNet",
        "auxhand.methods.supervised.Supervised",
        None,
    ],
)
def test_other_classes_are_refused(name):
    with pytest.raises(ValueError):
        build({"class": name, "arguments": {}})


@pytest.mark.parametrize("spec", [{}, None, {"class": "x"}, {"class": "x", "arguments": []}])
def test_what_is_no_specification_is_refused(spec):
    with pytest.raises(ValueError, match="not a network's specification"):
        build(spec)


def test_unknown_arguments_are_refused():
    spec = {"class": "auxhand.models.heads.Latent25D", "arguments": {"rot": 3}}
    with pytest.raises(ValueError, match="rot"):
        build(spec)


def test_pretrained_weights_are_not_part_of_a_specification(tmp_path):
    weights = tmp_path / "weights.pth"
    torch.save(FeaturePyramid("test_resnet").backbone.network.state_dict(), weights)
    body = FeaturePyramid("test_resnet", pretrained=str(weights))
    assert "pretrained" not in specification(body)["arguments"]


def test_unrecorded_modules_have_no_specification():
    with pytest.raises(ValueError, match="Linear"):
        specification(nn.Linear(1, 1))


def test_arguments_that_json_cannot_hold_are_refused():
    @recorded
    class Odd(nn.Module):
        def __init__(self, value: object) -> None:
            super().__init__()

    assert specification(Odd((1, {"a": None})))["arguments"] == {"value": [1, {"a": None}]}
    with pytest.raises(ValueError, match=r"Odd\(value=...\): set"):
        Odd({1})
