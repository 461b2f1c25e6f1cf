"""Pose registration against a loop of Fig. 6.4, and its properties."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auxhand.hand.anatomy import bone_lengths
from auxhand.hand.registration import CHAIN, register
from auxhand.hand.skeleton import BONES, ROOT
from auxhand.hand.surface import HandSurface

REST = HandSurface("right").rest_joints.double()


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


def test_fifty_thousand_poses_a_second():
    """In processor time, so that other work on the machine does not count."""
    xyz, lengths = hands(6, 50_000)
    xyz, lengths = xyz.float(), lengths.float()
    register(xyz, lengths)
    begun = time.process_time()
    register(xyz, lengths)
    assert time.process_time() - begun < 2.0  # two cores give two such seconds in one


def test_refuses_other_shapes():
    xyz, lengths = hands(7, 1)
    with pytest.raises(ValueError, match=r"joints must be \(\.\.\., 21, 3\)"):
        register(xyz[..., :2], lengths)
    with pytest.raises(ValueError, match=r"lengths \(\.\.\., 20\)"):
        register(xyz, lengths[:-1])
