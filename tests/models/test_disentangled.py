import json

import pytest
import torch
from torch.testing import assert_close

from auxhand.models.backbone import ImageFeatures
from auxhand.models.dcgan import DCGANDecoder
from auxhand.models.disentangled import DisentangledNet
from auxhand.models.gaussian import GaussianEncoder
from auxhand.models.mlp import PoseDecoder, PoseFeatures
from auxhand.models.spec import build, specification
from auxhand.models.viewpoint import ViewpointDecoder, ViewpointFeatures

FACTORS = {"canonical": 3, "viewpoint": 2}


def network() -> DisentangledNet:
    """Fig. 4.2c in small."""
    torch.manual_seed(0)
    return DisentangledNet(
        FACTORS,
        {"pose": list(FACTORS), "canonical": ["canonical"], "viewpoint": ["viewpoint"]},
        {
            "canonical": GaussianEncoder(PoseFeatures(8, 2), 3),
            "viewpoint": GaussianEncoder(ViewpointFeatures(8, 2), 2),
        },
        {"image": GaussianEncoder(ImageFeatures("test_resnet"), 5)},
        {
            "pose": PoseDecoder(5, 8, 2),
            "canonical": PoseDecoder(3, 8, 2),
            "viewpoint": ViewpointDecoder(2, 8, 2),
        },
    ).eval()


def test_viewpoints_are_rotations_whatever_z_is():
    torch.manual_seed(0)
    R = ViewpointDecoder(4, 16, 2)(5 * torch.randn(64, 4))
    assert_close(R @ R.mT, torch.eye(3).expand(64, 3, 3), atol=1e-5, rtol=0)
    assert_close(torch.linalg.det(R), torch.ones(64))
    assert R.std(dim=0).min() > 0.01  # and not all the same


def test_six_layers_of_512_for_poses_and_viewpoints():
    def sizes(net):
        return [tuple(p.shape) for name, p in net.named_parameters() if name.endswith("weight")]

    hidden = [(512, 512)] * 5
    assert sizes(PoseFeatures(512, 6)) == [(512, 63), *hidden]
    assert sizes(PoseDecoder(32, 512, 6)) == [(512, 32), *hidden, (63, 512)]
    assert sizes(ViewpointFeatures()) == [(512, 9), *hidden]
    assert sizes(ViewpointDecoder()) == [(512, 32), *hidden, (6, 512)]
    assert len(sizes(PoseFeatures())) == 4  # Ch. 5


def test_a_variable_depends_on_the_factors_it_is_decoded_from_and_no_others():
    net = network()
    z = torch.randn(4, 5)
    moved = z.clone()
    moved[:, 3:] += 1  # the viewpoint
    assert torch.equal(net.reconstruct("canonical", z), net.reconstruct("canonical", moved))
    assert not torch.equal(net.reconstruct("viewpoint", z), net.reconstruct("viewpoint", moved))
    assert not torch.equal(net.reconstruct("pose", z), net.reconstruct("pose", moved))
    parts = net.split(z)
    assert {name: part.shape[1] for name, part in parts.items()} == FACTORS
    assert torch.equal(net.join(parts), z)
    assert torch.equal(net.join({"viewpoint": parts["viewpoint"]})[:, :3], torch.zeros(4, 3))
    with pytest.raises(ValueError, match="factors"):
        net.join({"light": z})


def test_the_rgb_path_is_what_a_bundle_holds():
    whole = network()
    lean = whole.reduced([], ["image"], ["pose", "canonical", "viewpoint"])
    image = torch.rand(2, 3, 64, 64)
    pose = lean(image)
    assert pose.xyz.shape == pose.canonical.shape == (2, 21, 3)
    assert_close(pose.xyz[:, 9], torch.zeros(2, 3))
    assert_close(pose.canonical[:, 9], torch.zeros(2, 3))
    assert [name for name, _ in pose.items()] == ["xyz", "canonical", "viewpoint"]
    text = json.dumps(specification(lean))
    again = build(json.loads(text)).eval()
    again.load_state_dict(lean.state_dict())
    for (name, value), (_, expected) in zip(again(image).items(), pose.items(), strict=True):
        assert torch.equal(value, expected), name
    assert_close(whole(image).xyz, pose.xyz)


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(ValueError, match="no factor 'light'"):
        DisentangledNet(FACTORS, {"pose": ["light"]}, {}, {}, {})
    with pytest.raises(ValueError, match="'image' is decoded from"):
        DisentangledNet(FACTORS, {}, {}, {}, {"image": DCGANDecoder(5, 3, 8, 4)})
    with pytest.raises(ValueError, match="embedding stage"):
        network().reduced([], [], ["pose"])(torch.rand(1, 3, 64, 64))
    with pytest.raises(ValueError, match="images must be"):
        network()(torch.rand(1, 3, 64, 32))
