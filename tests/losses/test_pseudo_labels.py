"""Pseudo-labels: correction by a template, confidence and renewal against their equations."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from auxhand.geometry.camera import project
from auxhand.geometry.pose25d import lift_closed_form, lift_to_bones, to_25d
from auxhand.hand.anatomy import BONE_RANGES, bone_lengths, feasible
from auxhand.hand.registration import register
from auxhand.hand.skeleton import BONES
from auxhand.hand.surface import HandSurface
from auxhand.losses.consistency import pose_distance
from auxhand.losses.pseudo_labels import (
    averaged,
    confidence,
    corrected,
    pseudo_label_loss,
    rectified,
    renewed,
)

REST = HandSurface("right").rest_joints.double()
K = torch.tensor([[300.0, 0, 63.5], [0, 300, 63.5], [0, 0, 1]]).double()
UNIT = 2.0
MIDDLES = BONE_RANGES.double().mean(-1)
"""Lengths of bones in reference lengths, in the middle of what hands have."""


def hands(count, seed=0):
    """(count, 21, 3) hands before the camera, turned so that bone 9-10 shows."""
    turn = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)).double() * 0.3
    skew = torch.zeros(count, 3, 3).double()
    skew[:, 0, 1], skew[:, 0, 2], skew[:, 1, 2] = turn.unbind(1)
    return REST @ torch.linalg.matrix_exp(skew - skew.mT) + torch.tensor([0.0, 0.0, 0.5]).double()


def pose_of(xyz):
    pose = to_25d(project(K, xyz), xyz)
    return pose.uv, pose.d


def test_a_pose_of_the_template_stays():
    uv, d = pose_of(hands(6))
    found = corrected(uv, d, K, bone_lengths(REST))
    assert found.valid.all()
    torch.testing.assert_close(found.uv, uv, rtol=0, atol=1e-8)
    torch.testing.assert_close(found.d, d, rtol=0, atol=1e-8)


def test_a_corrected_pose_has_the_templates_proportions():
    uv, d = pose_of(hands(6))
    noise = torch.Generator().manual_seed(1)
    uv = uv + 2 * torch.randn(uv.shape, generator=noise).double()
    found = corrected(uv, d, K, bone_lengths(REST) * 7)  # its unit does not matter
    assert found.valid.all()
    lifted = lift_closed_form(found.uv, found.d, K)
    lengths = bone_lengths(REST) / bone_lengths(REST)[9]
    torch.testing.assert_close(bone_lengths(lifted.xyz), lengths.expand(6, -1))


def test_a_wrong_reference_bone_does_not_scale_the_hand():
    uv, d = pose_of(hands(6))
    short = uv.clone()
    short[:, 10] = (uv[:, 9] + uv[:, 10]) / 2  # half as long
    found = corrected(short, d, K, bone_lengths(REST))
    assert found.valid.all()
    others = [joint for joint in range(21) if joint not in (10, 11, 12)]
    size = (uv.amax(1) - uv.amin(1)).amax(-1)
    moved = (found.uv - uv)[:, others].norm(dim=-1).amax(-1)
    assert (moved < 0.02 * size).all()
    of_one = lift_closed_form(short, d, K)
    assert (
        bone_lengths(of_one.xyz)[:, 0] > 1.5 * bone_lengths(REST)[0] / bone_lengths(REST)[9]
    ).all()


def test_bones_within_the_tolerance_stay_and_others_move_to_its_edge():
    """A hand whose last bones of two fingers are too short, one by a tenth, one by a half; the
    other bones are left, but for the scale that all of them decide."""
    xyz = hands(6)
    lengths = bone_lengths(REST) / bone_lengths(REST)[9]
    for joint, parent, factor in ((8, 7, 0.9), (16, 15, 0.5)):
        xyz[:, joint] = xyz[:, parent] + factor * (xyz[:, joint] - xyz[:, parent])
    found = corrected(*pose_of(xyz), K, lengths, tolerance=0.2)
    bones = bone_lengths(lift_to_bones(found.uv, found.d, K, BONES, lengths).xyz) / lengths
    scale = bones[:, :1]  # a bone that was right
    expected = torch.ones(20).double()
    expected[BONES.index((7, 8))], expected[BONES.index((15, 16))] = 0.9, 0.8
    torch.testing.assert_close(bones / scale, expected.expand(6, -1), rtol=0, atol=0.01)


def test_where_the_hand_points_at_the_camera_nothing_is_corrected():
    uv, d = pose_of(hands(2))
    uv[0] = uv[0, 9]
    found = corrected(uv, d, K, bone_lengths(REST))
    assert found.valid.tolist() == [False, True]
    torch.testing.assert_close(found.uv[0], uv[0])
    torch.testing.assert_close(found.d[0], d[0])


def test_a_rectified_pose_is_feasible_and_a_feasible_one_stays():
    """One whose bones have the lengths that are taken to lift it."""
    uv, d = pose_of(register(hands(6), MIDDLES * 0.03))
    assert feasible(lift_closed_form(uv, d, K).xyz).all()
    found = rectified(uv, d, K)
    assert found.valid.all()
    torch.testing.assert_close(found.uv, uv, rtol=0, atol=1e-5)
    noisy = uv + 3 * torch.randn(uv.shape, generator=torch.Generator().manual_seed(2)).double()
    assert not feasible(lift_closed_form(noisy, d, K).xyz).all()
    found = rectified(noisy, d, K)
    assert found.valid.all()
    assert feasible(lift_closed_form(found.uv, found.d, K).xyz).all()


def test_half_precision_does_not_correct_what_is_right():
    uv, d = (value.float() for value in pose_of(register(hands(6), MIDDLES * 0.03)))
    with torch.autocast("cpu", torch.bfloat16):
        found = rectified(uv, d, K.float())
    torch.testing.assert_close(found.uv, uv, rtol=0, atol=1e-3)


def test_ranges_of_one_hand_make_its_lengths():
    uv, d = pose_of(hands(6))
    lengths = bone_lengths(REST) / bone_lengths(REST)[9]
    noisy = uv + torch.randn(uv.shape, generator=torch.Generator().manual_seed(2)).double()
    found = rectified(noisy, d, K, lengths[:, None].repeat(1, 2))
    lifted = lift_closed_form(found.uv, found.d, K)
    torch.testing.assert_close(bone_lengths(lifted.xyz), lengths.expand(6, -1))


def test_gradients_are_finite_where_nothing_is_corrected_too():
    uv, d = pose_of(hands(2))
    uv[0] = uv[0, 9].clone()
    inputs = uv.requires_grad_(), d.requires_grad_()
    found = corrected(*inputs, K, bone_lengths(REST))
    gradients = torch.autograd.grad(found.uv.sum() + found.d.sum(), inputs)
    assert all(g.isfinite().all() for g in gradients)


def test_gradients():
    uv, d = pose_of(hands(2))
    template = bone_lengths(REST) * 1.05

    def correction(uv, d):
        return corrected(uv, d, K, template)[:2]

    assert torch.autograd.gradcheck(correction, (uv.requires_grad_(), d.requires_grad_()))


def test_confidence_is_the_sum_of_eq_6_8():
    poses = [pose_of(hands(3, seed)) for seed in range(4)]
    found = confidence(*poses, unit=UNIT)
    expected = pose_distance(*poses[:2], UNIT) + pose_distance(*poses[2:], UNIT)
    torch.testing.assert_close(found, expected)


def test_a_stable_and_plausible_pose_is_trusted_and_a_shaken_one_is_not():
    pose = pose_of(hands(1))
    correction = corrected(*pose, K, bone_lengths(REST))[:2]
    assert confidence(pose, pose, pose, correction, UNIT).item() == pytest.approx(0, abs=1e-9)
    shaken = pose[0] + 3.0, pose[1]
    assert confidence(pose, shaken, pose, correction, UNIT).item() == pytest.approx(4.5)


def test_the_renewed_label_is_the_minimum_of_eq_6_7():
    prediction, correction = pose_of(hands(1)), pose_of(hands(1, seed=3))
    uv, d = renewed(prediction, correction)

    def cost(values):
        label = (
            torch.from_numpy(values[:42].reshape(1, 21, 2)),
            torch.from_numpy(values[42:].reshape(1, 21)),
        )
        return float(
            pose_distance(prediction, label, UNIT) + pose_distance(correction, label, UNIT)
        )

    start = np.concatenate([uv.numpy().ravel(), d.numpy().ravel()])
    best = minimize(cost, start + 0.01, method="L-BFGS-B", options={"maxfun": 100_000})
    assert cost(start) <= best.fun + 1e-9


def four_poses(seed=0):
    generator = torch.Generator().manual_seed(seed)
    uv = 10 + torch.randn(4, 3, 21, 2, generator=generator).double()
    d = 0.1 * torch.randn(4, 3, 21, generator=generator).double()
    return list(zip(uv, d, strict=True))


def test_the_mean_and_the_variance_of_four_poses_are_numpys():
    poses = four_poses()
    uv, d = (np.stack([pose[k].numpy() for pose in poses]) for k in range(2))
    found = averaged(poses, UNIT)
    np.testing.assert_allclose(found.uv.numpy(), uv.mean(0))
    np.testing.assert_allclose(found.d.numpy(), d.mean(0))
    expected = (uv / UNIT).var(0).sum(-1) + 50 * d.var(0)
    np.testing.assert_allclose(found.variance.numpy(), expected.mean(-1))


def test_poses_that_agree_have_no_variance():
    pose = four_poses()[0]
    found = averaged([pose] * 4, UNIT)
    torch.testing.assert_close(found.uv, pose[0])
    assert found.variance.max() < 1e-20


def test_the_variance_is_in_pixels_of_64_whatever_the_crops_size():
    poses = four_poses()
    twice = [(2 * uv, d) for uv, d in poses]
    torch.testing.assert_close(averaged(poses, 2.0).variance, averaged(twice, 4.0).variance)


def test_no_poses_make_no_label():
    with pytest.raises(ValueError, match="at least one pose"):
        averaged([], UNIT)


def test_labels_of_low_variance_are_kept():
    (strong, label, *_), variance = four_poses(1), torch.tensor([1.5, 1.51, 0.0]).double()
    expected = pose_distance(strong, label, UNIT)[[0, 2]].sum() / 3  # a mean over all three
    torch.testing.assert_close(pseudo_label_loss(strong, label, variance, UNIT), expected)
    assert pseudo_label_loss(strong, label, variance + 2, UNIT) == 0


def test_the_label_gets_no_gradient_and_a_dropped_sample_none_either():
    poses = [tuple(t.clone().requires_grad_() for t in pose) for pose in four_poses(2)[:2]]
    strong, label = poses
    variance = torch.tensor([0.1, 9.0, 0.1]).double()
    pseudo_label_loss(strong, label, variance, UNIT).backward()
    assert label[0].grad is None
    assert label[1].grad is None
    assert strong[0].grad[1].abs().max() == 0
    assert strong[0].grad[0].abs().min() > 0


def test_gradients_of_the_pseudo_label_loss():
    strong, label = four_poses(3)[:2]
    variance = torch.tensor([0.1, 9.0, 0.1]).double()

    def loss(uv, d):
        return pseudo_label_loss((uv, d), label, variance, UNIT)

    assert torch.autograd.gradcheck(loss, tuple(t.requires_grad_() for t in strong))
