"""The comparators of Table 7.1: their losses in numbers, and whom each of them teaches."""

import math

import pytest
import torch
from torch.testing import assert_close
from two_streams import SIZE, first_batch, streams

from auxhand.data.augment import Contents
from auxhand.data.crops import CropRule
from auxhand.geometry.crop import inverse
from auxhand.geometry.heatmap import argmax_subpixel, cells_to_pixels
from auxhand.geometry.similarity import move_maps, move_uv
from auxhand.geometry.warp import warp_image
from auxhand.methods.comparators import CCSSL, AnimalDA, RegDA
from auxhand.methods.comparators.adaptation import scaled_gradient
from auxhand.methods.comparators.animal_da import ramp_down, ramp_up
from auxhand.methods.comparators.regda import divergence, elsewhere, places
from auxhand.models.cpn import FeaturePyramid
from auxhand.models.heads import Latent25D
from auxhand.models.pose_net import PoseNet
from auxhand.models.pose_resnet import PoseResNet
from auxhand.monitor import noise


@pytest.fixture(scope="module")
def pair(hand_dataset):
    """(source, target) of one batch: four labelled samples, two unlabelled ones twice."""
    return first_batch(streams(hand_dataset))


def made(comparator, progress=0.5, **options):
    """A comparator in the middle of its training."""
    torch.manual_seed(0)
    network = PoseNet(PoseResNet("test_resnet", width=8), Latent25D(), presence=False)

    class Midway(comparator):
        global_step = 500

        @property
        def progress(self):
            return progress

    return Midway(network, **options).eval()


def l_by_hand(pose, label):
    """Eq. 6.2 in its own words, joint by joint, at 64 pixels."""
    return (pose[0] - label[0]).square().sum(-1) + 50 * (pose[1] - label[1]).square()


@torch.no_grad()
@pytest.mark.parametrize("comparator", [CCSSL, AnimalDA, RegDA])
def test_labelled_crops_teach_by_eq_6_3(pair, comparator):
    source, target = pair
    method = made(comparator)
    pose = method.network(source.image)
    xyz = source.joints_xyz
    d = (xyz[..., 2] - xyz[:, 9:10, 2]) / (xyz[:, 10] - xyz[:, 9]).norm(dim=-1)[:, None]
    joints = l_by_hand((pose.uv, pose.d), (source.joints_uv, d))
    mask = torch.nn.functional.avg_pool2d(source.mask[:, None], 4)[:, 0]
    expected = joints[source.joint_valid].mean() + 100 * (pose.mask - mask).abs().mean()
    assert_close(method.terms(source, target)["supervised"], expected, rtol=1e-4, atol=1e-4)


def test_crops_that_turn_the_camera_are_refused(hand_dataset):
    data = streams(hand_dataset, told=["K"])
    data.contents = Contents(crop=CropRule("mask", 0.8))
    source, target = first_batch(data)
    with pytest.raises(ValueError, match=r"crop\.view=plain"):
        made(CCSSL).training_step({"source": source, "target": target}, 0)


@pytest.mark.parametrize("comparator", [CCSSL, AnimalDA, RegDA])
def test_every_weight_that_learns_has_finite_gradients(pair, comparator):
    method = made(comparator)
    torch.stack(list(method.terms(*pair).values())).sum().backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


def ccssl(progress=0.5, **options):
    """In an epoch that begins in the middle of its training, with heatmaps that have peaks."""
    method = made(CCSSL, progress=progress, **options)
    method.network.heads[0].predict.weight.data[:21] *= 3e4  # fresh ones are flat
    method.on_train_epoch_start()
    return method


@torch.no_grad()
def test_cc_ssl_learns_from_the_surest_joints_of_consistent_labels(pair):
    source, target = pair
    method = ccssl(progress=0.25, views=1)
    label = method.checked(target.first.image)
    plain = method.network(target.first.image)
    peak = cells_to_pixels(argmax_subpixel(plain.heatmaps), SIZE / plain.heatmaps.shape[-1])
    assert_close(label.pose, (peak, plain.d), rtol=1e-3, atol=0.02)  # seen in one way alone
    assert_close(label.confidence, plain.heatmaps.flatten(2).amax(2), rtol=1e-3, atol=1e-5)
    kept = method.kept(label.confidence)
    assert kept.float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert label.confidence[kept].min() >= label.confidence[~kept].max()

    strong = method.network(target.second.image)
    carried = move_uv(target.transform.A.float(), label.pose[0]), label.pose[1]
    expected = 10 * l_by_hand((strong.uv, strong.d), carried)[kept].sum() / kept.numel()
    found = method.terms(source, target)["pseudo_labels"]
    assert_close(found, expected, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_cc_ssl_reads_the_mean_of_what_is_seen_in_several_ways(pair):
    _, target = pair
    image, method = target.first.image, ccssl(views=3)
    found = method.checked(image)
    rng, depths, maps = noise(0, method, "cpu"), [], []
    for number in range(3):
        T = method._transforms(2, SIZE, rng, first=number == 0)
        pose = method.network(warp_image(image, T, (SIZE, SIZE), padding="border"))
        depths.append(pose.d)
        back = inverse(T)
        for_each_joint = [move_maps(back, pose.heatmaps[:, j], SIZE)[0] for j in range(21)]
        maps.append(torch.stack(for_each_joint, dim=1))
    assert not torch.allclose(maps[0], maps[1], atol=0.1)
    mean = sum(maps) / 3
    peak = cells_to_pixels(argmax_subpixel(mean), SIZE / mean.shape[-1])
    assert_close(found.pose[0], peak, rtol=1e-3, atol=0.02)
    assert_close(found.pose[1], sum(depths) / 3, rtol=1e-4, atol=1e-4)
    assert_close(found.confidence, mean.amax((2, 3)), rtol=1e-3, atol=1e-6)


@torch.no_grad()
def test_cc_ssl_s_labels_are_renewed_when_an_epoch_begins(pair):
    image, method = pair[1].first.image, ccssl()
    before = method.checked(image)
    for parameter in method.network.heads.parameters():
        parameter.mul_(1.5)
    assert_close(method.checked(image), before, rtol=0, atol=0)
    method.on_train_epoch_start()
    assert not torch.allclose(method.checked(image).confidence, before.confidence, rtol=0.01)


@torch.no_grad()
def test_animal_da_leaves_joints_out_and_shifts_its_weights():
    losses = torch.arange(42.0).reshape(2, 21)
    assert made(AnimalDA, progress=2 / 80).mined(losses) == losses.mean()
    between = torch.cat([losses[0, :15], losses[1, :15]]).mean()  # 6 of 11 are left out
    assert made(AnimalDA, progress=6.6 / 80).mined(losses) == between
    least = (losses[0, :10].mean() + losses[1, :10].mean()) / 2
    assert made(AnimalDA, progress=1.0).mined(losses) == least
    assert (ramp_up(0.0), ramp_up(1.0)) == (math.exp(-5), 1.0)
    assert (ramp_down(0.0), ramp_down(1.0)) == (1.0, 0.0)


def test_animal_da_s_first_labels_and_teacher_begin_as_the_network_that_was_loaded():
    class Beginning(AnimalDA):
        global_step = 0

        def expect_source_and_target(self):
            pass

    torch.manual_seed(0)
    network = PoseNet(PoseResNet("test_resnet", width=8), Latent25D(), presence=False)
    method = Beginning(network)
    for parameter in network.parameters():  # as `start_from` does, after the module is made
        parameter.data.mul_(2)
    method.on_train_start()
    for copy in (method.first, method.teacher):
        assert_close(copy.state_dict(), network.state_dict())
    Beginning.global_step = 1  # a resumed run has them from its checkpoint
    for parameter in network.parameters():
        parameter.data.mul_(2)
    method.on_train_start()
    name = "heads.0.predict.weight"
    assert_close(2 * method.first.state_dict()[name], network.state_dict()[name])


def test_animal_da_s_first_labels_stay_and_its_teacher_follows(pair):
    source, target = pair
    method = made(AnimalDA, decay=0.75)
    with torch.no_grad():
        before = method.terms(source, target)["first_labels"]
        for parameter in method.network.parameters():
            parameter.mul_(1.5)
        old = method.teacher.state_dict()["heads.0.predict.weight"].clone()
        new = method.network.state_dict()["heads.0.predict.weight"]
        method.on_train_batch_end()
        found = method.teacher.state_dict()["heads.0.predict.weight"]
        assert_close(found, 0.75 * old + 0.25 * new)
        assert_close(method.first.state_dict()["heads.0.predict.weight"], old)
        assert not torch.allclose(method.terms(source, target)["first_labels"], before)


def test_animal_da_reverses_the_classifiers_gradient():
    method = made(AnimalDA, progress=0.5)
    widths = [classifier[2].in_features for classifier in method.classifiers]
    layers = [torch.randn(4, w, 3, 3, generator=torch.Generator().manual_seed(w)) for w in widths]
    layers = [layer.requires_grad_() for layer in layers]
    loss = method.domains(layers, 2)
    plain = [method.classifiers[i](layer).squeeze(1) for i, layer in enumerate(layers)]
    truth = torch.tensor([1.0, 1.0, 0.0, 0.0])
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    expected = torch.stack([entropy(logits, truth) for logits in plain]).mean()
    assert_close(loss, expected)
    reversed_, forwards = (torch.autograd.grad(value, layers[0])[0] for value in (loss, expected))
    assert_close(reversed_, -(2 / (1 + math.exp(-5)) - 1) * forwards)


def test_regda_s_terms_reach_the_parts_of_their_steps(pair):
    """The adversary alone is pushed away; the features alone are to bring it back."""
    method = made(RegDA)
    terms = method.terms(*pair)
    adversary = list(method.adversary.parameters())
    body = list(method.network.body.parameters())
    head = list(method.network.heads.parameters())

    def reached(term, parts):
        found = torch.autograd.grad(terms[term], parts, allow_unused=True, retain_graph=True)
        return any(g is not None and g.abs().max() > 0 for g in found)

    parts = (adversary, body, head)
    assert [reached("ground_false", part) for part in parts] == [True, False, False]
    assert [reached("ground_truth", part) for part in parts] == [False, True, False]
    assert [reached("source_disparity", part) for part in parts] == [True, True, False]


@torch.no_grad()
def test_cc_ssl_s_share_grows_by_2_percent_of_60_epochs_up_to_80():
    sure = torch.rand(40, 21, generator=torch.Generator().manual_seed(0))
    for progress, share in ((0.0, 0.2), (0.25, 0.5), (0.5, 0.8), (1.0, 0.8)):
        kept = ccssl(progress).kept(sure)
        assert kept.float().mean().item() == pytest.approx(share, abs=0.002)


def test_regda_s_strength_is_that_of_the_paper_s_steps():
    for step in (0, 1000, 5000, 35000):
        alpha = 2 * 0.1 / (1 + math.exp(-step / 1000)) - 0.1
        assert made(RegDA, progress=step / 35000).strength == pytest.approx(alpha)


def test_regda_s_places():
    uv = 63 * torch.rand(2, 21, 2, generator=torch.Generator().manual_seed(0))
    truth = places(uv, 64, 16)
    false = elsewhere(truth)
    for joint in (0, 20):
        others = truth[:, [j for j in range(21) if j != joint]].sum(1).clamp(max=1)
        assert_close(false[:, joint], others)
    probability = truth / truth.sum((2, 3), keepdim=True)
    assert divergence(truth, probability).abs() < 1e-3
    p = (false + 1e-7) / (false + 1e-7).sum((2, 3), keepdim=True)
    q = (truth + 0.01) / (truth + 0.01).sum((2, 3), keepdim=True)
    assert_close(divergence(false, q), (p * (p / q).log()).sum((2, 3)).mean())


def test_gradients_are_scaled():
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    y = scaled_gradient(x, -0.5)
    assert torch.equal(y, x)
    y.square().sum().backward()
    assert_close(x.grad, -0.5 * 2 * x.detach())


def test_animal_da_needs_a_pose_resnet():
    network = PoseNet(FeaturePyramid("test_resnet", width=8), Latent25D(), presence=False)
    with pytest.raises(ValueError, match="layers of a PoseResNet"):
        AnimalDA(network)
