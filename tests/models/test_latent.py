"""The networks of Ch. 5.4.2 and the Gaussians between them."""

import json

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck
from torch.testing import assert_close

from auxhand.models.backbone import ImageFeatures
from auxhand.models.dcgan import DCGANDecoder
from auxhand.models.folding import FoldingDecoder
from auxhand.models.gaussian import Gaussian, GaussianEncoder, product
from auxhand.models.latent_pose import LatentPoseNet
from auxhand.models.mlp import PoseDecoder, PoseFeatures
from auxhand.models.residual_pel import ResidualPEL
from auxhand.models.spec import build, specification


def gaussians(count, seed=0, batch=3, latent=4):
    generator = torch.Generator().manual_seed(seed)
    return [
        Gaussian(
            *(torch.randn(batch, latent, generator=generator, dtype=torch.float64) for _ in "ab")
        )
        for _ in range(count)
    ]


def all_there(count, batch=3):
    return [torch.ones(batch, dtype=torch.bool)] * count


def test_the_product_of_experts_is_the_normalised_product_of_densities():
    """On a grid, without a formula: Eq. 5.5 with sigma^2 and not sigma."""
    experts = gaussians(3)
    joint = product(experts, all_there(3))
    z = np.linspace(-60, 60, 400_001)
    for i in range(3):
        for d in range(4):
            log_density = np.zeros_like(z)
            for mu, logvar in experts:
                variance = np.exp(logvar[i, d].item())
                log_density += -((z - mu[i, d].item()) ** 2) / (2 * variance)
            density = np.exp(log_density - log_density.max())
            density /= density.sum()
            mean = (z * density).sum()
            assert joint.mu[i, d].item() == pytest.approx(mean, abs=1e-5)
            variance = ((z - mean) ** 2 * density).sum()
            assert joint.logvar[i, d].exp().item() == pytest.approx(variance, rel=1e-5)


def test_two_equal_experts_are_twice_as_certain():
    (expert,) = gaussians(1)
    joint = product([expert, expert], all_there(2))
    assert_close(joint.mu, expert.mu.float())
    assert_close(joint.logvar, (expert.logvar - np.log(2)).float())


def test_an_absent_expert_changes_nothing_and_has_no_gradient():
    one, other = gaussians(2)
    for tensor in (*one, *other):
        tensor.requires_grad_()
    there = torch.tensor([True, True, False])
    joint = product([one, other], [there, torch.tensor([True, False, False])])
    assert_close(joint.mu[1], one.mu[1].float())
    assert_close(joint.logvar[1], one.logvar[1].float())
    assert_close(joint.mu[2], torch.zeros(4))  # the prior, where there is none at all
    assert_close(joint.logvar[2], torch.zeros(4))
    (joint.mu.sum() + joint.logvar.sum()).backward()
    for tensor in (*one, *other):
        assert tensor.grad.isfinite().all()
    assert not other.mu.grad[1:].any()
    assert not one.mu.grad[2].any()
    assert other.mu.grad[0].all()


def test_no_variance_makes_the_product_overflow():
    tiny = Gaussian(torch.full((1, 2), 3.0), torch.full((1, 2), -200.0))
    huge = Gaussian(torch.zeros(1, 2), torch.full((1, 2), 200.0))
    joint = product([tiny, huge], all_there(2, batch=1))
    assert_close(joint.mu, tiny.mu)
    assert_close(joint.logvar, tiny.logvar)


def test_the_product_stays_in_single_precision_under_autocast():
    experts = [Gaussian(*(t.float() for t in expert)) for expert in gaussians(2)]
    expected = product(experts, all_there(2))
    with torch.autocast("cpu", torch.bfloat16):
        found = product(experts, all_there(2))
    assert torch.equal(found.mu, expected.mu)
    assert found.logvar.dtype == torch.float32


def test_a_product_needs_a_flag_for_each_expert():
    with pytest.raises(ValueError, match="2 experts and 1 flags"):
        product(gaussians(2), all_there(1))
    with pytest.raises(ValueError, match="0 experts"):
        product([], [])


def test_samples_have_the_mean_and_variance_and_both_gradients():
    q = Gaussian(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, 1.5]]))
    many = Gaussian(*(t.expand(200_000, 2) for t in q))
    z = many.sample(torch.Generator().manual_seed(0))
    assert_close(z.mean(0), q.mu[0], atol=0.02, rtol=0)
    assert_close(z.var(0).log(), q.logvar[0], atol=0.02, rtol=0)
    again = many.sample(torch.Generator().manual_seed(0))
    assert torch.equal(z, again)
    (one,) = gaussians(1)
    one = Gaussian(*(t.requires_grad_() for t in one))
    assert gradcheck(
        lambda mu, logvar: Gaussian(mu, logvar).sample(torch.Generator().manual_seed(1)), tuple(one)
    )


def test_features_of_a_cloud_do_not_depend_on_the_order_of_its_points():
    torch.manual_seed(0)
    network = ResidualPEL((8, 16), 24)
    cloud = torch.randn(2, 50, 3)
    order = torch.randperm(50)
    for mode in (True, False):
        network.train(mode)
        features = network(cloud)
        assert features.shape == (2, network.features)
        assert_close(network(cloud[:, order]), features)
        if not mode:  # in training they share the statistics of a batch
            assert_close(network(cloud[:1]), features[:1])
    assert not torch.allclose(network(cloud + 0.1), features)
    assert network(torch.randn(2, 9, 3)).shape == (2, 24)  # any number of points
    with pytest.raises(ValueError, match="clouds must be"):
        network(cloud[0])


def test_a_sheet_is_folded_by_the_code_alone():
    torch.manual_seed(0)
    decoder = FoldingDecoder(latent=5, points=36, width=16)
    z = torch.randn(3, 5)
    clouds = decoder(z)
    assert clouds.shape == (3, 36, 3)
    assert_close(decoder(z[1:]), clouds[1:])
    assert not torch.allclose(clouds[0], clouds[1])
    # Neighbours on the sheet are nearer to each other than points at random.
    sheet = clouds[0].view(6, 6, 3)
    steps = (sheet[1:] - sheet[:-1]).norm(dim=-1).mean()
    assert steps < 0.6 * torch.cdist(clouds[0], clouds[0]).mean()
    for points in (35, 1):
        with pytest.raises(ValueError, match="square number"):
            FoldingDecoder(points=points)


@pytest.mark.parametrize(("size", "layers"), [(8, 2), (32, 4), (64, 5)])
def test_maps_double_from_four_cells(size, layers):
    decoder = DCGANDecoder(latent=5, channels=3, size=size, width=4)
    assert decoder(torch.randn(2, 5)).shape == (2, 3, size, size)
    convolutions = [m for m in decoder.modules() if isinstance(m, torch.nn.ConvTranspose2d)]
    assert len(convolutions) == layers
    assert convolutions[0].out_channels == 4 << (layers - 2)


@pytest.mark.parametrize("size", [4, 24, 33, 0])
def test_maps_of_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match="cells a side"):
        DCGANDecoder(size=size)


def test_poses_are_not_rounded_under_autocast():
    torch.manual_seed(0)
    decoder, features = PoseDecoder(6, 16), PoseFeatures(16)
    z, pose = torch.randn(2, 6), torch.randn(2, 21, 3)
    expected = decoder(z), features(pose)
    with torch.autocast("cpu", torch.bfloat16):
        found = decoder(z), features(pose)
    assert all(map(torch.equal, found, expected))
    assert expected[0].shape == (2, 21, 3)
    assert expected[1].shape == (2, features.features)
    hidden = [m for m in decoder.modules() if isinstance(m, torch.nn.Linear)]
    assert [m.out_features for m in hidden] == [16] * 4 + [63]  # Ch. 5.4.2


def test_features_of_images_of_any_number_of_channels():
    for channels in (1, 3):
        features = ImageFeatures("test_resnet", channels=channels)
        assert features(torch.rand(2, channels, 64, 64)).shape == (2, features.features)


def estimator(**decoders):
    torch.manual_seed(0)
    encoder = GaussianEncoder(ImageFeatures("test_resnet"), 6)
    return LatentPoseNet(encoder, PoseDecoder(6, 16), **decoders).eval()


def test_the_estimator_gives_what_its_decoders_know():
    image = torch.rand(2, 3, 64, 64)
    plain = estimator()(image)
    assert [name for name, _ in plain.items()] == ["xyz"]
    assert not plain.xyz[:, 9].any()
    network = estimator(heatmaps=DCGANDecoder(6, 21, 16, 4), cloud=FoldingDecoder(6, 16, 8))
    pose = network(image)
    assert pose.uv.shape == (2, 21, 2)
    assert pose.confidence.shape == (2, 21)
    assert pose.cloud.shape == (2, 16, 3)
    # uv is in pixels of the crop: the maximum of a map of 16 cells lies within 4 pixels' cells.
    flat = pose.heatmaps.flatten(-2).argmax(-1)
    centre = torch.stack([flat % 16, flat // 16], -1) * 4 + 1.5
    assert ((pose.uv - centre).abs() <= 2 + 1e-4).all()
    with pytest.raises(ValueError, match=r"\(B, 3, S, S\)"):
        network(image[..., :32])


def test_the_estimator_is_made_anew_from_its_specification():
    network = estimator(heatmaps=DCGANDecoder(6, 21, 16, 4), cloud=FoldingDecoder(6, 16, 8))
    twin = build(json.loads(json.dumps(specification(network)))).eval()
    twin.load_state_dict(network.state_dict())
    image = torch.rand(1, 3, 64, 64)
    assert_close(twin(image).xyz, network(image).xyz)
    assert_close(twin(image).cloud, network(image).cloud)
