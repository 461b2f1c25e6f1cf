import pytest
import torch
from torch.testing import assert_close

from auxhand.inference.synthesis import (
    factor_walk,
    pictures,
    recombined,
    sampled,
    specified,
    transfer,
)
from auxhand.models.backbone import ImageFeatures
from auxhand.models.dcgan import DCGANDecoder
from auxhand.models.disentangled import DisentangledNet
from auxhand.models.gaussian import GaussianEncoder
from auxhand.models.mlp import PoseDecoder, PoseFeatures


@pytest.fixture(scope="module")
def net():
    """Fig. 4.2b in small: content is what an image shows."""
    torch.manual_seed(0)
    return DisentangledNet(
        {"pose": 3, "content": 2},
        {"image": ["pose", "content"], "pose": ["pose"]},
        {
            "pose": GaussianEncoder(PoseFeatures(8, 2), 3),
            "content": GaussianEncoder(ImageFeatures("test_resnet"), 2),
        },
        {"image": GaussianEncoder(ImageFeatures("test_resnet"), 5)},
        {"image": DCGANDecoder(5, 3, 8, 4), "pose": PoseDecoder(3, 8, 2)},
    ).eval()


def codes(*shape):
    return torch.randn(*shape, 5, generator=torch.Generator().manual_seed(len(shape)))


def test_codes_are_the_means_of_what_is_asked_for(net):
    pose, image = torch.rand(2, 21, 3), torch.rand(2, 3, 64, 64)
    z = specified(net, {"content": image, "pose": pose})
    assert torch.equal(z[:, :3], net.specify("pose", pose).mu)
    assert torch.equal(z[:, 3:], net.specify("content", image).mu)
    assert not z.requires_grad
    assert torch.equal(specified(net, {"pose": pose})[:, 3:], torch.zeros(2, 2))
    with pytest.raises(ValueError, match="'light'; it encodes: pose, content"):
        specified(net, {"light": pose})


def test_a_walk_moves_one_factor_and_what_is_decoded_from_it(net):
    start, end = codes(2)
    z = factor_walk(net, start, end, "content", 5)
    assert_close(z[:, :3], start[:3].expand(5, 3))
    assert_close(z[:, 3:], torch.lerp(start[3:], end[3:], torch.linspace(0, 1, 5)[:, None]))
    poses = net.decode(z).xyz
    assert_close(poses, poses[:1].expand(5, 21, 3))  # content walks leave the pose
    moved = net.decode(factor_walk(net, start, end, "pose", 5)).xyz
    assert_close(moved[0], poses[0])
    assert (moved[-1] - moved[0]).abs().max() > 1e-3
    with pytest.raises(ValueError, match="no factor 'light'; its factors are pose, content"):
        factor_walk(net, start, end, "light", 5)
    with pytest.raises(ValueError, match="two ends"):
        factor_walk(net, start, end, "pose", 1)


def test_transfer_is_a_table_of_poses_and_contents(net):
    poses, contents = codes(4), codes(1, 3)[0]
    table = transfer(net, poses, contents)
    assert table.shape == (4, 3, 5)
    for i in range(4):
        for j in range(3):
            assert torch.equal(table[i, j], torch.cat([poses[i, :3], contents[j, 3:]]))
    assert torch.equal(transfer(net, poses, poses).diagonal().T, poses)
    each = recombined(net, {"pose": poses[0], "content": poses[1]}, poses[2])
    assert torch.equal(each, torch.cat([poses[0, :3], poses[1, 3:]]))


def test_pictures_keep_the_shape_of_a_table_and_its_range(net):
    table = 50 * codes(2, 3)
    images = pictures(net, table)
    assert images.shape == (2, 3, 3, 8, 8)
    assert images.min() == 0
    assert images.max() <= 1
    assert_close(images[1, 2], net.reconstruct("image", table[1, 2:3])[0].clamp(0, 1))
    with pytest.raises(ValueError, match="no content; it decodes: image, pose"):
        pictures(net, table, "content")


def test_samples_are_those_of_the_prior_and_of_their_seed(net):
    z = sampled(net, 4000, torch.Generator().manual_seed(3))
    assert torch.equal(z, sampled(net, 4000, torch.Generator().manual_seed(3)))
    assert_close(z.mean(0), torch.zeros(5), atol=0.06, rtol=0)
    assert_close(z.std(0), torch.ones(5), atol=0.05, rtol=0)
