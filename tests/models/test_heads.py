import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auxhand.geometry.heatmap import gaussian_heatmap
from auxhand.hand.surface import HandSurface
from auxhand.models.heads import (
    CONFIDENCE_RADIUS,
    Coordinate,
    HandModel,
    Heatmap,
    Integral,
    Latent25D,
    Lifting,
    confidence_of,
)

HEADS = {
    Latent25D: {"uv", "d", "confidence", "heatmaps"},
    Integral: {"uv", "confidence", "heatmaps"},
    Heatmap: {"uv", "confidence", "heatmaps"},
    Coordinate: {"uv", "d"},
    Lifting: {"uv", "xyz", "confidence", "heatmaps", "canonical", "viewpoint"},
    HandModel: {"uv", "xyz", "model"},
}
SHAPES = {
    "uv": (21, 2),
    "d": (21,),
    "xyz": (21, 3),
    "confidence": (21,),
    "heatmaps": (21, 16, 24),
    "canonical": (21, 3),
    "viewpoint": (3, 3),
}


@pytest.mark.parametrize("cls", HEADS)
def test_fields_shapes_and_gradients(cls):
    head = cls().connect(8, 12)
    map = torch.rand(3, 8, 16, 24, requires_grad=True)
    context = torch.rand(3, 12, 2, 3, requires_grad=True)
    pose = head(map, context, (64, 96))
    fields = dict(pose.items())
    assert set(fields) == HEADS[cls]
    for name, value in fields.items():
        assert value.isfinite().all()
        if name in SHAPES:
            assert value.shape == (3, *SHAPES[name])
    sum(v.square().sum() for v in fields.values() if v.requires_grad).backward()
    assert [n for n, p in head.named_parameters() if p.grad is None] == []
    used = context if cls in (Coordinate, HandModel) else map
    assert used.grad is not None
    assert used.grad.abs().max() > 0


@pytest.mark.parametrize("cls", HEADS)
def test_decoding_is_float32_under_autocast(cls):
    head = cls().connect(8, 12).eval()
    map, context = torch.rand(2, 8, 16, 16), torch.rand(2, 12, 2, 2)
    plain = head(map, context, (64, 64))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = head(map, context, (64, 64))
    for (name, value), (_, same) in zip(plain.items(), mixed.items(), strict=True):
        assert same.dtype == torch.float32, name
        assert torch.equal(value, same), name


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), root=st.integers(0, 20), beta=st.floats(0.2, 5.0))
def test_latent_25d_is_equation_3_1(seed, root, beta):
    generator = torch.Generator().manual_seed(seed)
    head = Latent25D(root=root).connect(4, 4)
    torch.nn.init.constant_(head.log_beta, float(np.log(beta)))
    map = torch.randn(1, 4, 6, 8, generator=generator)
    pose = head(map, torch.zeros(1, 4, 1, 1), (24, 32))

    out = head.predict(map)[0].detach().double().numpy()
    latent, depth = out[:21], out[21:]
    weight = np.exp(beta * latent)
    weight /= weight.sum(axis=(1, 2), keepdims=True)
    v, u = np.mgrid[:6, :8]
    cells = np.stack([(weight * u).sum((1, 2)), (weight * v).sum((1, 2))], -1)
    d = (weight * depth).sum((1, 2))
    np.testing.assert_allclose(pose.heatmaps[0].detach(), weight, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(pose.uv[0].detach(), 4 * (cells + 0.5) - 0.5, atol=1e-3)
    np.testing.assert_allclose(pose.d[0].detach(), d - d[root], atol=1e-5)
    assert pose.d[0, root] == 0


@pytest.mark.parametrize("cls", [Latent25D, Integral, Heatmap])
def test_pixel_heads_find_the_peak_of_their_map(cls):
    """A map that is a Gaussian at known pixels, sent through unchanged, is decoded to them."""
    pixels = 12 + 40 * torch.rand(1, 21, 2, generator=torch.Generator().manual_seed(0))
    gaussian = gaussian_heatmap((pixels + 0.5) / 4 - 0.5, (16, 16), sigma=1.0)
    head = cls().connect(21, 1)
    torch.nn.init.zeros_(head.predict.weight)
    torch.nn.init.zeros_(head.predict.bias)
    head.predict.weight.data[:21, :, 0, 0] = torch.eye(21)
    map = gaussian if cls is Heatmap else gaussian.clamp_min(1e-12).log()
    pose = head(map, torch.zeros(1, 1, 1, 1), (64, 64))
    torch.testing.assert_close(pose.uv, pixels, atol=0.02, rtol=0)
    assert pose.confidence.min() > 0.8


def test_confidence_is_the_probability_near_the_estimate():
    flat = torch.full((1, 20, 20), 1 / 400)
    area = np.pi * CONFIDENCE_RADIUS**2 / 400
    centre = torch.tensor([[9.5, 9.5]])
    np.testing.assert_allclose(confidence_of(flat, centre), [area], rtol=0.05)

    peaks = torch.zeros(1, 20, 20)
    peaks[0, 5, 2], peaks[0, 5, 16] = 0.75, 0.25
    assert confidence_of(peaks, torch.tensor([[2.0, 5.0]])).item() == 0.75
    assert confidence_of(peaks, torch.tensor([[5.5, 5.0]])).item() == 0
    assert not confidence_of(peaks.requires_grad_(), centre).requires_grad


def test_coordinate_is_the_image_centre_at_zero():
    head = Coordinate().connect(1, 4)
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    pose = head(torch.zeros(1, 1, 8, 8), torch.rand(1, 4, 2, 2), (64, 96))
    assert pose.uv[0].unique(dim=0).tolist() == [[47.5, 31.5]]


@pytest.mark.parametrize("cls", [Lifting, HandModel])
def test_3d_poses_are_relative_to_the_root(cls):
    pose = cls(root=0).connect(4, 4)(torch.rand(2, 4, 16, 16), torch.rand(2, 4, 2, 2), (64, 64))
    assert pose.xyz[:, 0].abs().max() == 0


@pytest.mark.parametrize("detached", [False, True])
def test_lifting_trains_the_body_unless_it_is_detached(detached):
    torch.manual_seed(0)
    map = torch.rand(2, 4, 16, 16, requires_grad=True)
    head = Lifting(detached=detached).connect(4, 4)
    pose = head(map, torch.rand(2, 4, 2, 2), (64, 64))
    pose.xyz.square().sum().backward()
    assert (map.grad is None) == detached
    assert all(p.grad is not None for p in head.canonical.parameters())
    head(map, torch.rand(2, 4, 2, 2), (64, 64)).heatmaps.square().sum().backward()
    assert map.grad.any()


def test_what_is_lifted_is_the_canonical_pose_turned():
    pose = Lifting().connect(4, 4)(torch.rand(2, 4, 16, 16), torch.rand(2, 4, 2, 2), (64, 64))
    R = pose.viewpoint.double()
    torch.testing.assert_close(R @ R.mT, torch.eye(3).double().expand(2, 3, 3), atol=1e-5, rtol=0)
    turned = torch.einsum("bij,bkj->bki", pose.viewpoint, pose.canonical)
    torch.testing.assert_close(pose.xyz, turned, atol=1e-6, rtol=1e-5)


def test_hand_model_at_zero_is_the_open_mean_hand():
    head = HandModel().connect(1, 4)
    for parameter in head.regress.parameters():
        torch.nn.init.zeros_(parameter)
    pose = head(torch.zeros(1, 1, 8, 8), torch.rand(1, 4, 2, 2), (64, 64))
    assert pose.uv[0, 9].tolist() == [31.5, 31.5]
    length = (pose.xyz[0, 10] - pose.xyz[0, 9]).norm()
    np.testing.assert_allclose(length.item(), 1, rtol=1e-5)
    # Weak perspective: 64 pixels times 4 image widths a metre, for every joint.
    rest = HandSurface().rest_joints
    metres = pose.xyz[0] * (rest[10] - rest[9]).norm()
    torch.testing.assert_close(pose.uv[0] - 31.5, 256 * metres[:, :2])
    # Upright and palm first: the wrist below the fingertips, the thumb to the right.
    assert pose.uv[0, 0, 1] > pose.uv[0, 12, 1]
    assert pose.uv[0, 4, 0] > pose.uv[0, 20, 0]
