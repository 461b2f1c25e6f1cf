from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auxhand.hand.anatomy import (
    ANGLE_LIMITS,
    ARTICULATED,
    BONE_RANGES,
    THUMB_BASE,
    bone_lengths,
    feasible,
    has_feasible_lengths,
    is_feasible,
    joint_angles,
    rotations_from_angles,
)
from auxhand.hand.skeleton import BONES, TIPS
from auxhand.hand.surface import HandSurface

JOINTS3D = Path(__file__).parents[2] / "../shared/realdata/joints3d/joints"
SURFACE = HandSurface().double()
SURFACE.template, SURFACE.weights = SURFACE.template[:1], SURFACE.weights[:1]  # joints only
SURFACE.shape_vertices = SURFACE.shape_vertices[:, :1]


def pose(angles: torch.Tensor) -> torch.Tensor:
    """Joints (B,21,3) of the mean hand with angles (B,15,3) in radians."""
    return SURFACE(rotations_from_angles(angles, SURFACE.rest_joints))[1]


def random_angles(seed: int, count: int, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(count, 15, 3, generator=generator, dtype=torch.float64)
    return low + (high - low) * share


def test_articulated_joints_are_all_but_wrist_and_tips():
    assert set(ARTICULATED) == set(range(1, 21)) - set(TIPS)


def test_bone_lengths():
    xyz = torch.randn(3, 21, 3)
    expected = [np.linalg.norm(xyz[:, c] - xyz[:, p], axis=1) for p, c in BONES]
    np.testing.assert_allclose(bone_lengths(xyz), np.stack(expected, 1), rtol=1e-5)


def straight_hand() -> torch.Tensor:
    """A flat right hand in the hand frame, fingers fanned, each in line with its metacarpal."""
    xyz = torch.zeros(21, 3, dtype=torch.float64)
    for first, degrees in ((5, 15.0), (9, 0.0), (13, -15.0), (17, -30.0)):
        angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
        away = torch.stack([angle.sin(), -angle.cos(), torch.zeros_like(angle)])
        for step in range(4):
            xyz[first + step] = (0.09 + 0.03 * step) * away
    # x, y, z of the palm's frame are the hand's x, z and -y
    z = THUMB_BASE[:, 2]
    along = torch.stack([z[0], -z[2], z[1]])
    for step in range(4):
        xyz[1 + step] = torch.tensor([0.03, -0.03, 0.0]) + 0.03 * step * along
    return xyz


def test_angles_of_a_straight_hand_are_zero():
    assert joint_angles(straight_hand()).abs().max() < 1e-9


@pytest.mark.parametrize("first", [5, 9, 13, 17])
def test_flexion_bends_to_the_palm(first):
    xyz = straight_hand()
    axis = xyz[first + 1] - xyz[first]
    axis = axis / axis.norm()
    bend = torch.deg2rad(torch.tensor(30.0, dtype=torch.float64))
    palm = torch.tensor([0.0, 0, -1], dtype=torch.float64)
    direction = bend.cos() * axis + bend.sin() * palm
    for step in range(1, 4):
        xyz[first + step] = xyz[first] + 0.03 * step * direction
    angles = torch.rad2deg(joint_angles(xyz))
    expected = torch.zeros(15, 3, dtype=torch.float64)
    expected[ARTICULATED.index(first), 0] = 30
    torch.testing.assert_close(angles, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("first", "sign"), [(5, 1), (9, 1), (13, -1), (17, -1)])
def test_abduction_leads_away_from_the_middle_finger(first, sign):
    xyz = straight_hand()
    turn = roma.rotvec_to_rotmat(torch.tensor([0.0, 0, sign * 0.2], dtype=torch.float64))
    xyz[first + 1 : first + 4] = (xyz[first + 1 : first + 4] - xyz[first]) @ turn.T + xyz[first]
    assert sign * (xyz - straight_hand())[first + 3, 0] > 0  # to the thumb's side or away from it
    angle = joint_angles(xyz)[ARTICULATED.index(first)]
    torch.testing.assert_close(angle[1], torch.tensor(0.2, dtype=torch.float64))


def test_thumb_moves_as_its_names_say():
    def tip(flexion: float, abduction: float) -> torch.Tensor:
        angles = torch.zeros(1, 15, 3, dtype=torch.float64)
        angles[0, 0, 0], angles[0, 0, 1] = flexion, abduction
        return pose(angles)[0, 4]

    assert (tip(0.4, 0) - tip(-0.4, 0))[0] < -0.04  # flexion: across the palm, away from +x
    assert (tip(0, 0.4) - tip(0, -0.4))[2] < -0.04  # abduction: out of the palm, toward -z


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_angles_return_exactly_without_twist(seed):
    """Flexion and abduction of all joints come back exactly: the frames are carried by them."""
    limit = torch.deg2rad(torch.tensor([120.0, 60, 0], dtype=torch.float64))
    angles = random_angles(seed, 4, -limit, limit)
    torch.testing.assert_close(joint_angles(pose(angles)), angles, atol=1e-7, rtol=0)


def test_twist_appears_at_the_joints_after_it():
    """A twist does not move its own bone; the bend of the next one turns about it, exactly."""
    angles = torch.zeros(1, 15, 3, dtype=torch.float64)
    angles[0, 3, 2], angles[0, 4, 0] = 0.3, 1.0  # index MCP twisted, PIP bent
    read = joint_angles(pose(angles))[0]
    assert read[3].abs().max() < 1e-9
    bent = roma.rotvec_to_rotmat(torch.tensor([0, 0, 0.3], dtype=torch.float64))
    bone = bent @ torch.tensor([0, -np.sin(1.0), np.cos(1.0)], dtype=torch.float64)
    torch.testing.assert_close(read[4, 0], torch.atan2(-bone[1], bone[2]))
    torch.testing.assert_close(read[4, 1], torch.asin(bone[0]))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_angles_ignore_position_size_and_view(seed):
    generator = torch.Generator().manual_seed(seed)
    low, high = ANGLE_LIMITS[..., 0].double(), ANGLE_LIMITS[..., 1].double()
    xyz = pose(random_angles(seed, 2, low, high))
    turn = roma.random_rotmat(dtype=torch.float64, generator=generator)
    moved = 3 * xyz @ turn.T + torch.randn(3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(joint_angles(moved), joint_angles(xyz), atol=1e-7, rtol=0)


def test_rotations_at_rest_are_identities():
    rest = SURFACE.rest_joints
    rotations = rotations_from_angles(joint_angles(rest), rest)
    assert rotations.shape == (21, 3, 3)
    torch.testing.assert_close(
        rotations, torch.eye(3, dtype=torch.float64).expand(21, 3, 3), atol=1e-9, rtol=0
    )
    random = rotations_from_angles(torch.randn(5, 15, 3, dtype=torch.float64), rest)
    assert roma.is_rotation_matrix(random, epsilon=1e-9)


def test_other_shapes_take_the_same_angles():
    shape = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    _, rest = SURFACE.rest(shape)
    angles = random_angles(0, 3, torch.tensor(-0.8), torch.tensor(0.8))
    angles[..., 2] = 0
    _, joints = SURFACE(rotations_from_angles(angles, rest), shape)
    torch.testing.assert_close(joint_angles(joints), angles, atol=1e-7, rtol=0)


def test_gradients():
    rest = SURFACE.rest_joints
    angles = random_angles(1, 1, torch.tensor(-1.0), torch.tensor(1.0)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a: rotations_from_angles(a, rest), angles, fast_mode=True
    )
    xyz = pose(angles.detach()).requires_grad_()
    assert torch.autograd.gradcheck(joint_angles, xyz, fast_mode=True)


def test_limits():
    assert ANGLE_LIMITS.shape == (15, 3, 2)
    assert (ANGLE_LIMITS[..., 0] <= ANGLE_LIMITS[..., 1]).all()
    assert feasible(SURFACE.rest_joints)
    middle = ANGLE_LIMITS.mean(-1)
    assert is_feasible(middle)
    for joint in range(15):
        for axis in range(2):
            for side, step in ((0, -0.01), (1, 0.01)):
                angles = middle.clone()
                angles[joint, axis] = ANGLE_LIMITS[joint, axis, side] + step
                assert not is_feasible(angles)
                angles[joint, axis] -= 2 * step
                assert is_feasible(angles)


def test_ranges_of_bone_lengths():
    assert BONE_RANGES.shape == (20, 2)
    assert BONE_RANGES[9].tolist() == [1, 1]  # the unit
    middle = BONE_RANGES.mean(-1)
    assert has_feasible_lengths(0.03 * middle)
    for bone in set(range(20)) - {9}:
        for side, step in ((0, -0.01), (1, 0.01)):
            lengths = middle.clone()
            lengths[bone] = BONE_RANGES[bone, side] + step
            assert not has_feasible_lengths(7 * lengths)
            lengths[bone] -= 2 * step
            assert has_feasible_lengths(7 * lengths)


def test_a_hand_with_a_finger_of_twice_its_length_is_not_feasible():
    xyz = SURFACE.rest_joints.clone()
    assert feasible(xyz)
    xyz[18:21] = xyz[17] + 2 * (xyz[18:21] - xyz[17])  # no angle changes
    assert is_feasible(joint_angles(xyz))
    assert not feasible(xyz)


def test_shapes_of_the_surface_are_hands():
    shapes = torch.randn(1000, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert has_feasible_lengths(bone_lengths(SURFACE.rest(shapes)[1])).all()


@pytest.mark.parametrize("split", ["stb_train", "stb_test", "rhd_test"])
def test_bones_of_datasets_are_feasible(split):
    file = JOINTS3D / f"{split}.npy"
    if not file.exists():
        pytest.skip(f"{file} is not here: joints of STB and RHD")
    assert has_feasible_lengths(bone_lengths(torch.from_numpy(np.load(file)))).all()


def test_random_angles_are_not_hands():
    quarter = torch.deg2rad(torch.tensor(90.0, dtype=torch.float64))
    angles = random_angles(0, 20000, -quarter, quarter)
    assert feasible(pose(angles[:2000])).double().mean() <= 0.1
    angles[..., 1:] = 0  # even flexions alone, without abduction and twist
    assert is_feasible(angles).double().mean() <= 0.1


@pytest.mark.parametrize("split", ["stb_train", "stb_test"])
def test_real_poses_are_feasible(split):
    file = JOINTS3D / f"{split}.npy"
    if not file.exists():
        pytest.skip(f"{file} is not here: real poses of STB")
    assert feasible(torch.from_numpy(np.load(file))).double().mean() >= 0.99
