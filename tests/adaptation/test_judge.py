"""The rule in both directions, on stand-ins whose mistakes are known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from auxhand.adaptation.judge import CONSTANT, decide, measure, ratio, template_of
from auxhand.data.perturbation import Perturbation
from auxhand.data.store import PreparedDataset, shard_path, write_description, write_shard
from auxhand.geometry.camera import CROP_FOV, intrinsics_from_fov, project
from auxhand.hand.anatomy import bone_lengths
from auxhand.hand.skeleton import BONES, ROOT
from auxhand.sample import HandPose

SIZE, COUNT = 64, 40
STILL = Perturbation(shift=0.0, turn=0.0, quarters=False)


def hand_poses(seed=0):
    """uv, d of hands of one shape, seen from all sides by the crop's far camera."""
    from auxhand.hand.surface import HandSurface

    rest = HandSurface("right").rest_joints.double()
    rest = (rest - rest[ROOT]) / (rest[10] - rest[9]).norm()
    rng = np.random.default_rng(seed)
    K = intrinsics_from_fov(CROP_FOV, SIZE, SIZE).double()
    found = []
    while len(found) < COUNT:
        turn = torch.from_numpy(np.linalg.qr(rng.normal(size=(3, 3)))[0])
        xyz = rest @ turn.T + torch.tensor([0, 0, 40.0], dtype=torch.float64)
        bone = xyz[10] - xyz[9]
        if bone[:2].norm() > 0.6:
            found.append(xyz)
    xyz = torch.stack(found)
    return project(K, xyz).float(), (xyz[..., 2] - xyz[:, ROOT, None, 2]).float(), rest


class Named:
    """Answers by a picture's own number, which every perturbed picture still shows: true poses,
    scaled towards their mean, with an error that is another one at each look."""

    def __init__(self, error, scale=1.0):
        self.uv, self.d, _ = hand_poses()
        self.error, self.scale = error, scale
        self.rng = torch.Generator().manual_seed(1)

    def __call__(self, image):
        number = (image[:, 0].amax(dim=(-2, -1)) * 1000).round().long() - 1
        uv = self.uv.mean(0) + self.scale * (self.uv[number] - self.uv.mean(0))
        d = self.scale * self.d[number]
        uv = uv + self.error * torch.randn(uv.shape, generator=self.rng)
        d = d + self.error / 10 * torch.randn(d.shape, generator=self.rng)
        return HandPose(uv=uv, d=d - d[:, ROOT, None])


@pytest.fixture(scope="module")
def images():
    numbers = (torch.arange(COUNT) + 1) / 1000
    return numbers[:, None, None, None].expand(COUNT, 3, SIZE, SIZE).contiguous()


@pytest.fixture(scope="module")
def template():
    return bone_lengths(hand_poses()[2]).float()


def said(network, images, template):
    return measure(network, images, template, [], perturbation=STILL)


def test_the_truth_has_neither_residual_nor_inconsistency(images, template):
    truth = said(Named(0.0), images, template)
    assert truth.valid.float().mean() > 0.9
    assert truth.inconsistency.max() < 1e-3
    assert truth.residual[truth.valid].max() < 0.05
    assert truth.bone_variation < 0.02


def test_what_varies_of_bones_is_what_noise_makes_of_them(images, template):
    """Not the scale of the whole hand, which the reference bone's two ends would make vary: a bone
    of length L whose ends err by s in each direction varies by about sqrt(2) s / L."""
    s = 0.3
    found = said(Named(s), images, template)
    bones = template / template[BONES.index((9, 10))]
    pixel = 40 * 2 * math.tan(math.radians(CROP_FOV / 2)) / SIZE  # in reference lengths
    across = math.sqrt(2) * s * pixel / bones
    assert found.bone_variation == pytest.approx(float(across.mean()), rel=0.35)
    assert said(Named(2 * s), images, template).bone_variation > 1.5 * found.bone_variation


def test_a_pose_s_cost_is_both_terms_of_eq_6_8(images, template):
    truth, rough = (said(Named(error), images, template) for error in (0.0, 0.5))
    assert (truth.cost, truth.trusted) == (pytest.approx(0, abs=0.01), 1.0)
    stability = 2 * (2 * 0.5**2 + 50 * 0.05**2 * 2 * 20 / 21)
    assert rough.cost > stability
    assert rough.cost == pytest.approx(stability + float(rough.residual.square().median()), rel=0.2)


def test_the_template_is_the_median_of_labelled_hands(hand_dataset, hand_row, tmp_path):
    dataset = PreparedDataset(hand_dataset)
    lengths = []
    for sample in dataset:
        xyz = sample.joints_xyz.numpy()
        bones = [np.linalg.norm(xyz[child] - xyz[parent]) for parent, child in BONES]
        lengths.append(np.array(bones) / np.linalg.norm(xyz[10] - xyz[9]))
    found = template_of(dataset)
    np.testing.assert_allclose(found, torch.tensor(np.array(lengths)).median(0).values, rtol=1e-5)
    first = torch.tensor(np.array(lengths[:2])).median(0).values
    np.testing.assert_allclose(template_of(dataset, most=2), first, rtol=1e-5)
    write_shard(shard_path(tmp_path, 0), [hand_row(0) | {"joints_xyz": None}])
    write_description(tmp_path, 1)
    with pytest.raises(ValueError, match="no hand with joints in 3D"):
        template_of(PreparedDataset(tmp_path))


def test_inconsistency_is_the_distance_of_two_errors(images, template):
    """Two looks with independent errors s in u and v and s / 10 in d: the mean square of their
    difference is 2 (2 s^2 + 50 s^2 / 100), and 20 of 21 depths err, twice for the root's."""
    s = 0.3
    found = said(Named(s), images, template).inconsistency.square().mean()
    expected = 2 * (2 * s**2 + 50 * s**2 / 100 * 2 * 20 / 21)
    assert float(found) == pytest.approx(expected, rel=0.08)


def test_a_model_that_errs_less_is_better_and_the_other_way_round_it_is_not(images, template):
    rough, fine = (said(Named(error), images, template) for error in (1.0, 0.5))
    assert decide(rough, fine).better
    assert decide(rough, fine).score < 0.5
    assert not decide(fine, rough).better


def test_what_has_not_changed_is_not_better(images, template):
    same = said(Named(1.0), images, template)
    verdict = decide(same, same)
    assert not verdict.better
    assert verdict.score == pytest.approx(1.0)


@pytest.mark.parametrize(("residual", "better"), [(0.99, True), (1.01, False)])
def test_the_residual_must_fall_though_not_beyond_its_interval(images, template, residual, better):
    rough, fine = (said(Named(error), images, template) for error in (1.0, 0.5))
    noise = 1 + 0.3 * torch.randn(COUNT, generator=torch.Generator().manual_seed(2))
    after = rough.residual * noise
    after = after * residual * rough.residual[rough.valid].mean() / after[rough.valid].mean()
    verdict = decide(rough, replace(fine, residual=after, valid=rough.valid))
    assert verdict.better == better
    assert ratio(rough.residual[rough.valid], after[rough.valid])[1] > 1


def test_poses_that_shrink_together_are_refused_though_they_agree_with_themselves(images, template):
    rough = said(Named(1.0), images, template)
    shrunk = said(Named(0.1, scale=0.6), images, template)
    shrunk = replace(shrunk, residual=0.5 * rough.residual, valid=rough.valid)
    verdict = decide(rough, shrunk)
    assert not verdict.better
    assert any(reason.startswith("no: spread of poses") for reason in verdict.reasons)


def test_a_constant_predictor_is_refused(images, template):
    before, constant = (said(Named(0.02, scale), images, template) for scale in (0.0, 0.0))
    better = {"inconsistency": 0.1 * before.inconsistency, "residual": 0.1 * before.residual}
    verdict = decide(before, replace(constant, **better))
    assert constant.spread < CONSTANT
    assert not verdict.better
    assert "no: poses differ from each other" in verdict.reasons


def test_noise_without_hands_is_refused():
    """A network that answers noise with noise, and has learnt to answer it with nearly one pose."""
    rng = torch.Generator().manual_seed(0)
    noise = torch.rand(COUNT, 3, SIZE, SIZE, generator=rng)
    weights = torch.randn(3 * 64, 63, generator=rng)

    def network(scale):
        def answer(image):
            pooled = torch.nn.functional.adaptive_avg_pool2d(image, 8).flatten(1) - 0.5
            values = (pooled @ weights * scale).unflatten(1, (21, 3))
            d = values[..., 2]
            return HandPose(uv=31.5 + 20 * values[..., :2], d=d - d[:, ROOT, None])

        return answer

    template = torch.ones(20)
    before, after = (measure(network(s), noise, template, []) for s in (1.0, 0.2))
    assert after.inconsistency.mean() < 0.5 * before.inconsistency.mean()
    assert not decide(before, after).better


def test_forgotten_rendered_hands_are_refused(images, template):
    rough, fine = (said(Named(error), images, template) for error in (1.0, 0.5))
    rough, fine = replace(rough, known_error=2.0), replace(fine, known_error=2.3)
    assert decide(rough, fine).better
    assert not decide(rough, replace(fine, known_error=2.5)).better


def test_the_interval_is_that_of_the_mean():
    """Ratio of means of N normal values: its deviation is sigma sqrt(2 / N) for means of 1."""
    rng = torch.Generator().manual_seed(0)
    before, after = (1 + 0.1 * torch.randn(200, generator=rng) for _ in range(2))
    mean, most = ratio(before, after)
    assert mean == pytest.approx(float(after.mean() / before.mean()))
    assert most - mean == pytest.approx(1.96 * 0.1 * (2 / 200) ** 0.5, rel=0.2)
    assert ratio(torch.zeros(0), torch.zeros(0))[1] == float("inf")
