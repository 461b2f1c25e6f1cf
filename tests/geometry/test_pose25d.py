import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auxhand.geometry import pose25d
from auxhand.geometry.camera import project
from auxhand.geometry.crop import view_crop
from auxhand.geometry.pose25d import (
    lift,
    lift_closed_form,
    lift_to_bones,
    reference_length,
    relative,
    to_25d,
)
from auxhand.hand import skeleton
from auxhand.hand.anatomy import bone_lengths

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**31)
bones = st.sampled_from([(9, 10), (0, 9), (5, 6), (17, 0)])
K = torch.tensor([[520.0, 2.0, 310.0], [0.0, 480.0, 255.0], [0.0, 0.0, 1.0]], dtype=torch.float64)


def hands(seed: int, *shape: int) -> torch.Tensor:
    """Random joints, about the size of a hand, 0.4 to 0.8 m away, somewhere in the image."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(*shape, 21, 3, generator=generator, dtype=torch.float64).clamp(-2, 2)
    low, high = torch.tensor([[-0.2, -0.15, 0.4], [0.2, 0.15, 0.8]], dtype=torch.float64)
    centre = low + (high - low) * torch.rand(*shape, 1, 3, generator=generator).double()
    return centre + 0.04 * noise


def test_defaults_are_the_skeletons():
    assert pose25d.ROOT == skeleton.ROOT
    assert pose25d.REFERENCE_BONE == skeleton.REFERENCE_BONE


@given(seeds, st.sampled_from([0, 9, 12]), bones)
@few
def test_25d_by_its_definition(seed, root, bone):
    xyz = hands(seed, 3)
    uv = project(K, xyz)
    pose = to_25d(uv, xyz, root, bone)
    length = (xyz[:, bone[0]] - xyz[:, bone[1]]).norm(dim=-1)
    torch.testing.assert_close(pose.scale, length)
    torch.testing.assert_close(pose.d, (xyz[..., 2] - xyz[:, root, None, 2]) / length[:, None])
    assert pose.uv is uv
    assert torch.equal(pose.root_z, xyz[:, root, 2])
    expected = (xyz - xyz[:, root, None]) / length[:, None, None]
    torch.testing.assert_close(relative(xyz, root, bone), expected)
    assert torch.equal(reference_length(xyz, bone), pose.scale)


@given(seeds, st.sampled_from([0, 9, 12]), bones)
@few
def test_lifting_undoes_it(seed, root, bone):
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        xyz, camera = hands(seed, 3).to(dtype), K.to(dtype)
        uv, d, scale, root_z = to_25d(project(camera, xyz), xyz, root, bone)
        back = lift(uv, d, camera, root_z, scale)
        assert (back - xyz).abs().max() < tolerance * xyz.abs().max()


@given(seeds, st.floats(-math.pi, math.pi), st.booleans())
@few
def test_lifting_in_a_turned_crop_returns_to_the_original_camera(seed, angle, mirror):
    xyz = hands(seed)
    crop = view_crop(K, (200.0, 300.0), 220.0, 128, angle, mirror)
    seen = crop.xyz_to_crop(xyz)
    uv, d, scale, root_z = to_25d(crop.uv_to_crop(project(K, xyz)), seen)
    back = crop.xyz_to_original(lift(uv, d, crop.K, root_z, scale))
    assert (back - xyz).abs().max() < 1e-9


@given(seeds, bones)
@few
def test_closed_form_finds_depth_from_the_bone(seed, bone):
    xyz = hands(seed, 8)
    uv, d, scale, root_z = to_25d(project(K, xyz), xyz, bone=bone)
    lifted = lift_closed_form(uv, d, K, bone, length=scale)
    good = lifted.valid
    torch.testing.assert_close(lifted.xyz[good], xyz[good], rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(lifted.root_z[good], root_z[good], rtol=1e-6, atol=1e-8)
    # What is not valid hardly shows the bone, or fits two hands in front of the camera.
    for i in range(8):
        n, m = (xyz[i, j] / xyz[i, j, 2] for j in bone)
        sine = float((n - m).norm() * root_z[i] / scale[i])
        offset = d[i, bone[0]] * n - d[i, bone[1]] * m
        terms = ((n - m).square().sum(), 2 * ((n - m) * offset).sum(), offset.square().sum() - 1)
        solutions = np.roots([float(t) for t in terms])
        behind = float((-d[i]).max())
        assert bool(good[i]) == (sine >= 0.2 and (solutions > max(behind, 0)).sum() == 1)
    unit = lift_closed_form(uv, d, K, bone)
    torch.testing.assert_close(unit.xyz[good] * scale[good, None, None], xyz[good])
    assert torch.equal(unit.valid, good)


def flat_hand(first: tuple[float, float, float], second: tuple[float, float, float]):
    xyz = torch.tensor([0.02, 0.01, 0.5], dtype=torch.float64).repeat(21, 1)
    xyz[9], xyz[10] = torch.tensor(first), torch.tensor(second)
    return xyz


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((0.0, 0.0, 0.5), (0.0, 0.0, 0.47)),  # at the camera, on the axis
        ((0.1, 0.1, 0.5), (0.094, 0.094, 0.47)),  # at the camera, off the axis
        ((0.0, 0.0, 0.5), (0.003, 0.0, 0.47)),  # almost
    ],
)
def test_closed_form_says_when_the_bone_points_at_the_camera(first, second):
    xyz = flat_hand(first, second).requires_grad_()
    uv, d, _, _ = to_25d(project(K, xyz), xyz)
    lifted = lift_closed_form(uv, d, K)
    assert not lifted.valid
    assert torch.isfinite(lifted.xyz).all()
    lifted.xyz.sum().backward()
    assert torch.isfinite(xyz.grad).all()


def test_closed_form_says_when_there_is_no_solution_or_no_hand():
    xyz = hands(0)
    uv, d, _, _ = to_25d(project(K, xyz), xyz)
    d[10] = d[9] + 1.5  # deeper than the bone is long: the discriminant is negative
    camera = K.clone().requires_grad_()
    lifted = lift_closed_form(uv, d.requires_grad_(), camera)
    assert not lifted.valid
    lifted.xyz.sum().backward()
    for tensor in (lifted.xyz, d.grad, camera.grad):
        assert torch.isfinite(tensor).all()
    absent = lift_closed_form(torch.zeros(2, 21, 2), torch.zeros(2, 21), torch.zeros(2, 3, 3))
    assert not absent.valid.any()
    assert torch.isfinite(absent.xyz).all()


def test_closed_form_refuses_joints_behind_the_camera():
    xyz = hands(1)
    uv, d, _, _ = to_25d(project(K, xyz), xyz)
    assert lift_closed_form(uv, d, K).valid
    d[20] = -1000.0
    assert not lift_closed_form(uv, d, K).valid


@given(seeds)
@few
def test_lifting_to_all_bones_is_exact_on_exact_poses(seed):
    xyz = hands(seed, 8)
    uv, d, scale, root_z = to_25d(project(K, xyz), xyz)
    lengths = bone_lengths(xyz) / scale[:, None]
    lifted = lift_to_bones(uv, d, K, skeleton.BONES, lengths)
    good = lifted.valid
    assert good.float().mean() > 0.5
    torch.testing.assert_close(lifted.xyz[good] * scale[good, None, None], xyz[good])
    torch.testing.assert_close(lifted.root_z[good] * scale[good], root_z[good])


@given(seeds)
@few
def test_lifting_to_all_bones_makes_their_squares_right(seed):
    xyz = hands(seed, 8)
    uv, d, scale, _ = to_25d(project(K, xyz), xyz)
    generator = torch.Generator().manual_seed(seed)
    uv = uv + 3 * torch.randn(uv.shape, generator=generator, dtype=uv.dtype)
    lengths = 1.1 * bone_lengths(xyz) / scale[:, None]
    lifted = lift_to_bones(uv, d, K, skeleton.BONES, lengths)
    good = lifted.valid
    found = bone_lengths(lifted.xyz).square().sum(-1)
    torch.testing.assert_close(found[good], lengths.square().sum(-1)[good])


def test_one_bone_of_several_is_the_closed_form():
    xyz = hands(3, 8)
    uv, d, _, _ = to_25d(project(K, xyz), xyz)
    several = lift_to_bones(uv, d, K, ((9, 10),), torch.ones(1, dtype=torch.float64))
    for one, other in zip(lift_closed_form(uv, d, K), several, strict=True):
        assert torch.equal(one, other)


def test_lifting_to_bones_needs_a_length_each():
    uv, d = torch.zeros(21, 2), torch.zeros(21)
    with pytest.raises(ValueError, match="2 bones have as many lengths"):
        lift_to_bones(uv, d, torch.eye(3), ((9, 10), (0, 9)), torch.ones(3))


def test_absent_poses_are_zeros():
    xyz = torch.zeros(2, 21, 3, requires_grad=True)
    pose = to_25d(torch.zeros(2, 21, 2), xyz)
    assert not pose.d.any()
    relative(xyz).sum().backward()
    assert torch.isfinite(xyz.grad).all()


def test_gradients():
    xyz = hands(5, 2)
    uv, d, scale, root_z = (t.requires_grad_() for t in to_25d(project(K, xyz), xyz))
    camera = K.clone().requires_grad_()
    assert lift_closed_form(uv, d, camera).valid.all()
    assert torch.autograd.gradcheck(lift, (uv, d, camera, root_z, scale), fast_mode=True)
    assert torch.autograd.gradcheck(
        lambda *x: lift_closed_form(*x)[:2], (uv, d, camera), fast_mode=True
    )
    lengths = bone_lengths(xyz.detach()) / scale.detach()[:, None]
    assert torch.autograd.gradcheck(
        lambda uv, d, K, lengths: lift_to_bones(uv, d, K, skeleton.BONES, lengths)[:2],
        (uv, d, camera, lengths.requires_grad_()),
        fast_mode=True,
    )
    assert torch.autograd.gradcheck(relative, (xyz.requires_grad_(),), fast_mode=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: to_25d(torch.zeros(20, 2), torch.zeros(21, 3)), "uv must have shape"),
        (lambda: relative(torch.zeros(21, 2)), "xyz must have shape"),
        (
            lambda: lift_closed_form(torch.zeros(21, 2), torch.zeros(20), torch.eye(3)),
            "d must have shape",
        ),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
