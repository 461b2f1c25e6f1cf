"""The network of chapter 7: what its branches share, what they cost, where gradients go."""

import copy
import json

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from auxhand.models import dual_branch
from auxhand.models.attention import attention
from auxhand.models.dual_branch import DualBranch
from auxhand.models.heads import Latent25D
from auxhand.models.pose_net import PoseNet
from auxhand.models.pose_resnet import PoseResNet
from auxhand.models.spec import build, specification


def network(backbone="test_resnet", **arguments):
    torch.manual_seed(0)
    return DualBranch(backbone, width=8, **arguments)


def crops(count=2, size=64):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(count, 3, size, size, generator=generator)
    return image, torch.randn(count, size, size, generator=generator)


def flops(module, image):
    with FlopCounterMode(display=False) as counter:
        module(image)
    return counter.get_total_flops()


@pytest.mark.parametrize("size", [64, 96])
def test_three_branches_of_one_shape(size):
    image, depth = crops(size=size)
    for branch in network()(image, depth):
        assert branch.pose.uv.shape == (2, 21, 2)
        assert branch.pose.d.shape == (2, 21)
        assert branch.pose.mask.shape == (2, size // 4, size // 4)
        assert branch.pose.depth.shape == (2, size // 4, size // 4)
        assert branch.context.shape[-2:] == (size // 32, size // 32)


@pytest.mark.parametrize("backbone", ["test_resnet", "resnet18"])
def test_the_rgb_path_costs_what_a_plain_network_does(backbone):
    plain = PoseNet(PoseResNet(backbone, width=8), Latent25D(), presence=False)
    estimator = network(backbone).estimator()
    shapes = {name: p.shape for name, p in plain.named_parameters()}
    assert {name: p.shape for name, p in estimator.named_parameters()} == shapes
    image, _ = crops(1)
    assert flops(estimator.eval(), image) == flops(plain.eval(), image)
    assert specification(estimator) == specification(plain)


def test_the_estimator_is_the_rgb_branch_and_is_built_again():
    dual = network().eval()
    image, _ = crops()
    again = build(json.loads(json.dumps(specification(dual.estimator())))).eval()
    again.load_state_dict(dual.estimator().state_dict())
    seen = dual.see(image).pose
    for name, value in again(image).items():
        assert torch.equal(value, getattr(seen, name)), name


@pytest.mark.parametrize("backbone", ["test_resnet", "resnet18"])
def test_the_fusion_branch_shares_all_but_batch_norms_with_the_rgb_encoder(backbone):
    dual = network(backbone)
    rgb = dual.body.backbone.network
    shared = 0
    for (name, one), other in zip(rgb.named_modules(), dual.fusion_encoder.modules(), strict=True):
        for (field, parameter), same in zip(
            one.named_parameters(recurse=False), other.parameters(recurse=False), strict=True
        ):
            own = isinstance(one, nn.BatchNorm2d)
            assert (parameter is same) != own, f"{name}.{field}"
            shared += not own
    assert shared > 5
    statistics = {id(b) for b in rgb.buffers()}
    assert statistics.isdisjoint(id(b) for b in dual.fusion_encoder.buffers())
    encoders = {id(p) for p in (*rgb.parameters(), *dual.fusion_encoder.parameters())}
    assert encoders.isdisjoint(id(p) for p in dual.depth_encoder.parameters())


def test_the_decoder_is_one_but_for_the_statistics_of_its_batch_norms():
    dual = network()
    decoders = (dual.body.deconvolutions, dual.depth_decoder, dual.fusion_decoder)
    weights = [list(decoder.parameters()) for decoder in decoders]
    assert len(weights[0]) == 9
    for one, *others in zip(*weights, strict=True):
        assert all(one is other for other in others)
    statistics = [id(buffer) for decoder in decoders for buffer in decoder.buffers()]
    assert len(set(statistics)) == 3 * 9


def test_a_prediction_is_what_was_trained():
    """Once statistics have settled, the RGB branch says the same in evaluation as in training:
    those of the other branches are no part of them."""
    dual = network("resnet18").train()
    image, depth = crops(16)
    with torch.no_grad():
        for _ in range(60):
            trained = dual.see(image).pose
            dual.fuse(image, depth)
        said = dual.eval().see(image).pose
    # Batch norms divide by n - 1 in evaluation, by n in training: 1/64 of 16 maps of 2 x 2 cells.
    assert (said.uv - trained.uv).abs().max() < 0.5
    assert trained.uv.std(dim=0).max() > 0.5


def test_sharing_outlives_copies_casts_and_checkpoints(tmp_path):
    dual = network()
    torch.save(dual.state_dict(), tmp_path / "weights.pt")
    loaded = network()
    loaded.load_state_dict(torch.load(tmp_path / "weights.pt"))
    for other in (copy.deepcopy(dual), copy.deepcopy(dual).double(), loaded):
        rgb, fusion = other.body.backbone.network, other.fusion_encoder
        convolutions = [
            (a, b)
            for a, b in zip(rgb.modules(), fusion.modules(), strict=True)
            if isinstance(a, nn.Conv2d)
        ]
        assert convolutions
        assert all(a.weight is b.weight for a, b in convolutions)


def test_batch_norms_learn_from_their_own_branch():
    dual = network().train()
    image, depth = crops()
    buffers = {
        "rgb": dual.body.backbone.network,
        "fusion": dual.fusion_encoder,
        "depth": dual.depth_encoder,
        "rgb decoder": dual.body.deconvolutions,
        "fusion decoder": dual.fusion_decoder,
        "depth decoder": dual.depth_decoder,
    }
    before = {name: copy.deepcopy(module.state_dict()) for name, module in buffers.items()}

    def changed(name):
        now = buffers[name].state_dict()
        return any(not torch.equal(now[key], old) for key, old in before[name].items())

    dual.see(image)
    assert [name for name in buffers if changed(name)] == ["rgb", "rgb decoder"]
    before |= {name: copy.deepcopy(buffers[name].state_dict()) for name in ("rgb", "rgb decoder")}
    dual.fuse(image, depth)
    others = ["fusion", "depth", "fusion decoder", "depth decoder"]
    assert [name for name in buffers if changed(name)] == others


def test_attention_is_applied_at_five_places(monkeypatch):
    from auxhand.models import dual_branch

    seen = []

    def spy(rgb, depth, stop_gradient):
        assert rgb.shape == depth.shape
        seen.append(rgb.shape[-1])
        return rgb, depth

    monkeypatch.setattr(dual_branch, "attend", spy)
    network("resnet18").fuse(*crops())
    assert seen == [32, 16, 8, 4, 2]


@pytest.mark.parametrize("stop_gradient", [True, False])
def test_the_fusion_branch_trains_the_depth_encoder_only_without_the_stop(stop_gradient):
    dual = network()
    depth, fusion = dual.fuse(*crops(), stop_gradient)
    fusion.pose.uv.sum().backward(retain_graph=True)
    reached = [p.grad for p in dual.depth_encoder.parameters() if p.grad is not None]
    assert bool(reached) != stop_gradient
    convolutions = [m for m in dual.body.backbone.network.modules() if isinstance(m, nn.Conv2d)]
    assert all(m.weight.grad is not None for m in convolutions)
    depth.pose.uv.sum().backward()
    assert all(p.grad is not None for p in dual.depth_encoder.conv1.parameters())


def test_a_depth_of_the_output_s_size_can_be_fed_back():
    dual = network().eval()
    image, _ = crops()
    seen = dual.see(image).pose.depth
    _, fused = dual.fuse(image, seen)
    assert fused.pose.uv.isfinite().all()
    _, other = dual.fuse(image, torch.zeros_like(seen))
    assert not torch.equal(fused.pose.uv, other.pose.uv)


def test_half_precision_keeps_the_poses_in_single():
    with torch.autocast("cpu", torch.bfloat16):
        branches = network()(*crops())
    for branch in branches:
        assert branch.pose.uv.dtype == branch.pose.depth.dtype == torch.float32


def test_images_of_256_have_maps_of_64():
    """Ch. 7.4.2."""
    pose = network("resnet18").eval()(*crops(1, 256)).fusion.pose
    assert pose.mask.shape == pose.depth.shape == (1, 64, 64)
    assert pose.heatmaps.shape == (1, 21, 64, 64)


@pytest.mark.parametrize("call", ["see", "fuse"])
def test_sides_that_cannot_be_divided_are_refused(call):
    image, depth = crops(size=48)
    with pytest.raises(ValueError, match="image sides divisible by 32, not"):
        getattr(network(), call)(*((image,) if call == "see" else (image, depth)))


def test_networks_without_five_maps_are_refused():
    with pytest.raises(ValueError, match="take a ResNet"):
        network("convnext_atto")


def test_attention_is_where_the_fusion_branch_gets_it(monkeypatch):
    """The maps that are shown are those that `fuse` multiplies with."""
    dual = network("resnet18").eval()
    image, depth = crops()
    seen = []

    def attend(rgb, depth, stop_gradient=True):
        seen.append(attention(depth))
        return original(rgb, depth, stop_gradient)

    original = dual_branch.attend
    shown = dual.attentions(depth, (64, 64))
    monkeypatch.setattr(dual_branch, "attend", attend)
    dual.fuse(image, depth)
    assert [tuple(map.shape) for map in shown] == [(2, 1, s, s) for s in (32, 16, 8, 4, 2)]
    for map, used in zip(shown, seen, strict=True):
        torch.testing.assert_close(map, used)
        torch.testing.assert_close(map.mean(dim=(1, 2, 3)), torch.ones(2))
