"""Pose registration against a loop of Fig. 6.4, pose correction against the limits, and both's
properties."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from auxhand.hand.anatomy import (
    ANGLE_LIMITS,
    bone_lengths,
    feasible,
    joint_angles,
    rotations_from_angles,
)
from auxhand.hand.registration import CHAIN, correct, register
from auxhand.hand.skeleton import BONES, ROOT
from auxhand.hand.surface import HandSurface

JOINTS3D = Path(__file__).parents[2] / "../shared/realdata/joints3d/joints"
SURFACE = HandSurface("right").double()
SURFACE.template, SURFACE.weights = SURFACE.template[:1], SURFACE.weights[:1]  # joints only
SURFACE.shape_vertices = SURFACE.shape_vertices[:, :1]
REST = SURFACE.rest_joints


def hands(seed, count):
    """(count, 21, 3) noisy hands and the (20,) lengths of the one they were made from."""
    noise = torch.randn(count, 21, 3, generator=torch.Generator().manual_seed(seed)).double()
    return REST + 0.01 * noise, bone_lengths(REST)


def loop(xyz, lengths):
    """Fig. 6.4 of one hand, bone by bone, in numpy."""
    length = {frozenset(bone): value for bone, value in zip(BONES, lengths, strict=True)}
    out = {9: xyz[9]}
    order = [(9, 0), (0, 1), (0, 5), (0, 13), (0, 17), (9, 10), (10, 11), (11, 12)]
    order += [(j, j + 1) for first in (1, 5, 13, 17) for j in range(first, first + 3)]
    for parent, child in order:
        way = xyz[child] - out[parent]
        out[child] = out[parent] + length[frozenset((parent, child))] * way / np.linalg.norm(way)
    return np.stack([out[joint] for joint in range(21)])


def test_equals_the_loop_of_the_figure():
    xyz, lengths = hands(0, 5)
    expected = np.stack([loop(hand, lengths.tolist()) for hand in xyz.numpy()])
    np.testing.assert_allclose(register(xyz, lengths).numpy(), expected, atol=1e-14)


def test_the_tree_reaches_every_joint_once_by_a_bone():
    children = [child for level in CHAIN for _, child in level]
    assert sorted([ROOT, *children]) == list(range(21))
    assert {frozenset(bone) for level in CHAIN for bone in level} == {frozenset(b) for b in BONES}


@settings(deadline=None)
@given(st.integers(0, 2**31), st.floats(0.2, 5.0))
def test_bone_lengths_are_exactly_the_templates(seed, scale):
    xyz, lengths = hands(seed, 3)
    registered = register(xyz, scale * lengths)
    torch.testing.assert_close(
        bone_lengths(registered), (scale * lengths).expand(3, -1), rtol=1e-12, atol=0
    )
    assert torch.equal(registered[:, ROOT], xyz[:, ROOT])


def test_a_pose_of_the_template_stays():
    xyz, _ = hands(1, 4)
    torch.testing.assert_close(register(xyz, bone_lengths(xyz)), xyz, rtol=0, atol=1e-14)


def test_moves_and_turns_with_the_pose():
    xyz, lengths = hands(2, 1)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).double())
    moved = xyz @ turn.Q.mT + 0.3
    expected = register(xyz, lengths) @ turn.Q.mT + 0.3
    torch.testing.assert_close(register(moved, lengths), expected, rtol=0, atol=1e-13)


def test_errors_do_not_add_up_along_a_finger():
    """A knuckle that is 2 cm off does not take the fingertip with it."""
    xyz, _ = hands(3, 1)
    lengths = bone_lengths(xyz)
    wrong = xyz.clone()
    wrong[:, 5] += torch.tensor([0.02, 0.0, 0.0])
    off = (register(wrong, lengths) - xyz).norm(dim=-1)[0]
    assert off[5] > 0.01
    assert off[8] < 0.3 * off[5]


def test_joints_in_one_place_become_a_finite_hand():
    _, lengths = hands(4, 1)
    xyz = torch.zeros(2, 21, 3, dtype=torch.float64, requires_grad=True)
    registered = register(xyz, lengths)
    torch.testing.assert_close(bone_lengths(registered), lengths.expand(2, -1))
    (gradient,) = torch.autograd.grad(registered.square().sum(), xyz)
    assert gradient.isfinite().all()


def test_gradients():
    xyz, lengths = hands(5, 2)
    assert torch.autograd.gradcheck(register, (xyz.requires_grad_(), lengths.requires_grad_()))


class Operations(TorchDispatchMode):
    """Counts what PyTorch is asked to compute."""

    count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.count += 1
        return operation(*args, **(kwargs or {}))


def operations(compute, *values):
    with Operations() as counted:
        compute(*values)
    return counted.count


def test_many_poses_are_registered_as_one_is():
    """By the same operations: there is no loop over hands."""
    (one, lengths), (many, _) = hands(6, 1), hands(6, 500)
    assert operations(register, many, lengths) == operations(register, one, lengths) > 20


def test_refuses_other_shapes():
    xyz, lengths = hands(7, 1)
    with pytest.raises(ValueError, match=r"joints must be \(\.\.\., 21, 3\)"):
        register(xyz[..., :2], lengths)
    with pytest.raises(ValueError, match=r"lengths \(\.\.\., 20\)"):
        register(xyz, lengths[:-1])


def posed(angles):
    """Joints (B, 21, 3) of the mean hand with angles (B, 15, 3) in radians."""
    return SURFACE(rotations_from_angles(angles, REST))[1]


def feasible_hands(seed, count):
    """(count, 21, 3) hands of all angles within the limits."""
    share = torch.rand(count, 15, 3, generator=torch.Generator().manual_seed(seed)).double()
    least, most = ANGLE_LIMITS.double().unbind(-1)
    return posed(least + (most - least) * share)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.001, 0.05))
def test_every_corrected_pose_is_feasible(seed, noise):
    step = torch.randn(50, 21, 3, generator=torch.Generator().manual_seed(seed)).double()
    xyz = feasible_hands(seed, 50) + noise * step
    assert feasible(correct(xyz)).all()


def test_every_corrected_pose_is_feasible_in_single_precision_before_a_camera():
    step = torch.randn(5000, 21, 3, generator=torch.Generator().manual_seed(0))
    xyz = feasible_hands(0, 5000).float() + 0.015 * step + torch.tensor([0.1, -0.05, 0.5])
    assert not feasible(xyz).any()
    corrected = correct(xyz)
    assert feasible(corrected).all()
    assert torch.equal(corrected[:, ROOT], xyz[:, ROOT])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([torch.float32, torch.float64]))
def test_a_feasible_pose_stays(seed, precision):
    xyz = (feasible_hands(seed, 20) + torch.tensor([0.1, -0.05, 0.5]).double()).to(precision)
    assert (correct(xyz) - xyz).norm(dim=-1).max() < 1e-6


def test_a_corrected_pose_stays():
    step = torch.randn(200, 21, 3, generator=torch.Generator().manual_seed(1)).double()
    corrected = correct(feasible_hands(1, 200) + 0.02 * step)
    assert (correct(corrected) - corrected).norm(dim=-1).max() < 1e-6


@pytest.mark.parametrize("joint", range(15))
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("side", [0, 1])
def test_an_angle_outside_its_interval_moves_to_its_edge(joint, axis, side):
    middle = ANGLE_LIMITS.double().mean(-1)
    angles = middle.clone()
    edge = ANGLE_LIMITS[joint, axis, side].double()
    angles[joint, axis] = edge + (0.2 if side else -0.2)
    found = joint_angles(correct(posed(angles[None])))[0]
    torch.testing.assert_close(found[joint, axis], edge, atol=1e-9, rtol=0)
    # Neither the joints before it nor the other fingers take part.
    others = [k for k in range(15) if k < joint or k // 3 != joint // 3]
    torch.testing.assert_close(found[others], middle[others], atol=1e-9, rtol=0)


def test_a_flexion_past_half_a_turn_moves_to_the_edge_it_came_over():
    angles = ANGLE_LIMITS.double().mean(-1)
    angles[4, 0] = 1.1 * torch.pi  # an index finger's PIP, bent through itself
    found = joint_angles(correct(posed(angles[None])))[0, 4, 0]
    torch.testing.assert_close(found, ANGLE_LIMITS[4, 0, 1].double(), atol=1e-9, rtol=0)


def test_lengths_become_the_nearest_in_their_range():
    xyz = REST.clone()
    xyz[20] = xyz[19] + 10 * (xyz[20] - xyz[19])
    xyz[4] = xyz[3] + 0.1 * (xyz[4] - xyz[3])
    lengths = bone_lengths(correct(xyz)) / (REST[10] - REST[9]).norm()
    expected = bone_lengths(REST) / (REST[10] - REST[9]).norm()
    expected[19], expected[3] = 0.85, 0.35
    torch.testing.assert_close(lengths, expected, atol=1e-7, rtol=0)


def test_a_template_for_ranges_gives_its_lengths():
    xyz, lengths = hands(8, 5)
    template = lengths / lengths[9]
    corrected = bone_lengths(correct(xyz, torch.stack([template, template], dim=-1)))
    ratios = corrected / corrected[:, 9, None]
    torch.testing.assert_close(ratios, template.expand(5, -1), atol=2e-5, rtol=0)


def test_a_unit_that_is_given_takes_the_place_of_the_reference_bone():
    """A hand whose reference bone alone is too long keeps its other bones."""
    unit = float((REST[10] - REST[9]).norm())
    assert torch.equal(correct(REST, unit=unit), correct(REST))
    xyz = REST.clone()
    xyz[10:13] += 0.3 * (REST[10] - REST[9])
    found, expected = bone_lengths(correct(xyz, unit=unit)), bone_lengths(REST)
    torch.testing.assert_close(found[:10], expected[:10])  # and from there to where joint 11 was
    torch.testing.assert_close(found[11:], expected[11:])
    assert bone_lengths(correct(xyz))[0] == pytest.approx(float(bone_lengths(REST)[0]), abs=0.03)


def test_correction_moves_turns_and_grows_with_the_pose():
    xyz, _ = hands(2, 4)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).double()).Q
    turn = turn * torch.linalg.det(turn)
    torch.testing.assert_close(
        correct(3 * xyz @ turn.mT + 0.3), 3 * correct(xyz) @ turn.mT + 0.3, rtol=0, atol=1e-11
    )


def test_batches_of_any_shape():
    xyz, _ = hands(3, 6)
    corrected = correct(xyz)
    torch.testing.assert_close(correct(xyz.view(2, 3, 21, 3)), corrected.view(2, 3, 21, 3))
    torch.testing.assert_close(correct(xyz[0]), corrected[0])


def test_joints_in_one_place_are_drawn_apart():
    xyz = REST.clone()
    xyz[6:9] = xyz[5]
    xyz.requires_grad_()
    corrected = correct(xyz)
    assert feasible(corrected)
    (gradient,) = torch.autograd.grad(corrected.square().sum(), xyz)
    assert gradient.isfinite().all()


def test_gradients_of_the_correction():
    xyz, _ = hands(5, 2)
    assert torch.autograd.gradcheck(correct, xyz.requires_grad_(), fast_mode=True)
    assert not feasible(xyz).any()


@pytest.mark.parametrize("split", ["stb_train", "stb_test"])
def test_real_poses_hardly_move(split):
    file = JOINTS3D / f"{split}.npy"
    if not file.exists():
        pytest.skip(f"{file} is not here: real poses of STB")
    xyz = torch.from_numpy(np.load(file))
    corrected = correct(xyz)
    assert feasible(corrected).all()
    assert (corrected - xyz).norm(dim=-1).mean() < 0.001


def test_many_poses_are_corrected_as_one_is():
    counts = [operations(correct, hands(6, count)[0]) for count in (1, 500)]
    assert counts[0] == counts[1] > 20


def test_the_correction_refuses_other_shapes():
    xyz, lengths = hands(7, 1)
    with pytest.raises(ValueError, match=r"joints must be \(\.\.\., 21, 3\)"):
        correct(xyz[..., :2])
    with pytest.raises(ValueError, match=r"ranges \(\.\.\., 20, 2\)"):
        correct(xyz, lengths)
