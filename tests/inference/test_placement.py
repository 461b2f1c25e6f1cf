"""Depth from bone lengths, translation from pixels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auxhand.data.crops import evaluation_crop
from auxhand.geometry.camera import intrinsics_from_fov, project, rotation_to_axis
from auxhand.geometry.crop import uv_box, view_crop
from auxhand.geometry.pose25d import lift, lift_closed_form, to_25d
from auxhand.hand.anatomy import bone_lengths
from auxhand.hand.surface import HandSurface
from auxhand.inference.placement import fill_crop, root_depth, translation, with_pixels
from auxhand.sample import HandPose, HandSample

REST = HandSurface("right").rest_joints.double()
K = intrinsics_from_fov(60, 640, 480).double()


def hand(seed, distance=0.6, size=1.0):
    """The hand at rest, anyhow turned, somewhere in view."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(3, generator=generator, dtype=torch.float64)
    place = torch.rand(3, generator=generator, dtype=torch.float64) * 0.2 - 0.1
    place[2] = distance
    centred = (REST - REST[9]) * size
    return centred @ rotation_to_axis(direction).T + place


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.3, 3.0), st.floats(0.7, 1.3))
def test_exact_poses_come_back(seed, distance, size):
    xyz = hand(seed, distance, size)
    uv, d, scale, root_z = to_25d(project(K, xyz), xyz)
    z = root_depth(uv, d, K, bone_lengths(REST) * size, scale)
    torch.testing.assert_close(z, root_z, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(lift(uv, d, K, z, scale), xyz, rtol=1e-3, atol=1e-4)


def test_a_batch_is_its_members():
    xyz = torch.stack([hand(seed) for seed in range(4)])
    uv, d, scale, root_z = to_25d(project(K, xyz), xyz)
    z = root_depth(uv, d, K.expand(4, 3, 3), bone_lengths(REST), scale)
    assert z.shape == (4,)
    torch.testing.assert_close(z, root_z, rtol=1e-4, atol=0)


def test_steadier_than_one_bone():
    """With a pixel of noise the median error is far below that of the closed form."""
    xyz = torch.stack([hand(seed) for seed in range(200)])
    uv, d, scale, root_z = to_25d(project(K, xyz), xyz)
    generator = torch.Generator().manual_seed(0)
    noisy = uv + torch.randn(uv.shape, generator=generator, dtype=uv.dtype)
    d = d + 0.1 * torch.randn(d.shape, generator=generator, dtype=d.dtype)
    ours = (root_depth(noisy, d, K, bone_lengths(REST), scale) - root_z).abs() / root_z
    closed = lift_closed_form(noisy, d, K, length=scale)
    theirs = (closed.root_z - root_z).abs() / root_z
    assert ours.median() < 0.5 * theirs[closed.valid].median()
    assert ours.quantile(0.95) < 0.15


def test_one_wrong_finger_is_outvoted():
    xyz = torch.stack([hand(seed) for seed in range(50)])
    uv, d, scale, root_z = to_25d(project(K, xyz), xyz)
    uv[:, 5:9] = uv[:, 9:10]
    z = root_depth(uv, d, K, bone_lengths(REST), scale)
    assert ((z - root_z).abs() / root_z).quantile(0.9) < 0.02


def test_degenerate_poses_stay_finite_and_in_front():
    uv = torch.full((21, 2), 100.0)
    d = torch.linspace(-5, 5, 21)
    z = root_depth(uv, d, K.float(), bone_lengths(REST).float(), 0.05)
    assert torch.isfinite(z)
    assert (z + 0.05 * d > 0).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.3, 2.0))
def test_translation(seed, distance):
    xyz = hand(seed, distance)
    t = translation(project(K, xyz), xyz - xyz[9], K)
    torch.testing.assert_close(t, xyz[9], rtol=1e-6, atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.25, 2.0), st.floats(0.5, 0.9))
def test_a_pose_without_pixels_fills_its_crop(seed, distance, fraction):
    """As it does in the view-corrected crop about the box of its joints."""
    xyz = hand(seed, distance)
    uv = project(K, xyz)
    box = uv_box(uv)
    crop = view_crop(K, (box[:2] + box[2:] / 2), float(box[2:].max()) / fraction, 96)
    relative = crop.xyz_to_crop(xyz - xyz[9])
    t = fill_crop(relative, crop.K, 96, fraction)
    found = uv_box(project(crop.K, relative + t))
    torch.testing.assert_close(found[:2] + found[2:] / 2, torch.tensor([47.5, 47.5]).double())
    assert float(found[2:].max()) == pytest.approx(96 * fraction, rel=1e-6)
    torch.testing.assert_close(t, crop.xyz_to_crop(xyz[9]), rtol=0.1, atol=0.02)


def test_the_box_may_be_that_of_some_joints():
    xyz = torch.stack([hand(0), hand(1)])
    joints = torch.zeros(2, 21, dtype=torch.bool)
    joints[0, [4, 8, 12, 16, 20]] = True  # the other has none: all count
    t = fill_crop(xyz - xyz[:, 9:10], K.expand(2, 3, 3), 480, 0.4, joints)
    uv = project(K, xyz - xyz[:, 9:10] + t[:, None])
    for box in (uv_box(uv[0, joints[0]]), uv_box(uv[1])):
        middle = torch.tensor([239.5, 239.5]).double()
        torch.testing.assert_close(box[:2] + box[2:] / 2, middle, rtol=1e-6, atol=1e-4)
        assert float(box[2:].max()) == pytest.approx(0.4 * 480, rel=1e-6)


def test_a_batch_of_poses_gets_pixels():
    """Each crop's camera projects its pose, a crop without one in parallel; own pixels stay."""
    samples, poses = [], []
    for seed in range(3):
        xyz = hand(seed)
        sample = HandSample(
            image=torch.zeros(3, 480, 640),
            K=K.float() if seed else None,
            joints_uv=project(K, xyz).float(),
            joints_xyz=xyz.float(),
        )
        samples.append(evaluation_crop(sample, 64))
        poses.append(samples[-1].crop.xyz_to_crop((xyz - xyz[9]).float()) / 0.1)
    batch = HandSample.collate(samples)
    xyz = torch.stack(poses)
    pose = with_pixels(HandPose(xyz=xyz), batch, 0.7)
    for i in (1, 2):
        t = fill_crop(xyz[i], batch.K[i], 64, 0.7)
        torch.testing.assert_close(pose.uv[i], project(batch.K[i], xyz[i] + t), atol=1e-2, rtol=0)
    flat = xyz[0, :, :2]
    box = uv_box(flat)
    flat = (flat - box[:2] - box[2:] / 2) / box[2:].max() * 0.7 * 64 + 31.5
    torch.testing.assert_close(pose.uv[0], flat, atol=0.1, rtol=0)
    own = HandPose(xyz=xyz, uv=torch.zeros(3, 21, 2))
    assert with_pixels(own, batch, 0.7) is own
    assert with_pixels(HandPose(), batch, 0.7).uv is None
