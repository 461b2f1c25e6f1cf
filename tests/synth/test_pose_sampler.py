"""Poses: kinematics against the surface, limits, collisions, contacts, purity."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auxhand.hand.anatomy import feasible, is_feasible, rotations_from_angles
from auxhand.hand.skeleton import FINGERS
from auxhand.hand.surface import HandSurface
from auxhand.synth import collision, touch
from auxhand.synth.config import FactorConfig
from auxhand.synth.distributions import draw_shape, kinematics_of
from auxhand.synth.gestures import FAMILIES, FINGER_STATES, GESTURES, THUMBS
from auxhand.synth.kinematics import Kinematics
from auxhand.synth.pose_sampler import INNER_LIMITS, KINDS, PoseConfig, crossing, sample_pose

SURFACE = HandSurface().double()
REST = SURFACE.rest_joints.numpy()
WIDTH = np.ones(5)
RADII = collision.radii(REST, WIDTH)
KINEMATICS = Kinematics(REST)


@pytest.fixture(scope="module")
def poses():
    """150 poses of the default mixture."""
    return [
        sample_pose(PoseConfig(), np.random.default_rng([5, i]), KINEMATICS, WIDTH)
        for i in range(150)
    ]


def test_kinematics_equal_the_surface():
    angles = np.random.default_rng(0).uniform(-1, 1.5, (6, 15, 3))
    rotations = rotations_from_angles(torch.from_numpy(angles), torch.from_numpy(REST))
    _, joints = SURFACE(rotations)
    np.testing.assert_allclose(KINEMATICS(angles).xyz, joints.numpy(), atol=1e-12)
    ours = np.stack([KINEMATICS.rotations(a) for a in angles])
    np.testing.assert_allclose(ours, rotations.numpy(), atol=1e-12)


def test_frames_point_along_the_bones():
    angles = np.random.default_rng(1).uniform(0, 1, (3, 15, 3))
    posed = KINEMATICS(angles)
    for finger, chain in enumerate(FINGERS.values()):
        for bone in range(3):
            along = posed.xyz[:, chain[bone + 1]] - posed.xyz[:, chain[bone]]
            along /= np.linalg.norm(along, axis=-1, keepdims=True)
            np.testing.assert_allclose(posed.frames[:, finger, bone, :, 2], along, atol=1e-12)
    identity = posed.frames.swapaxes(-1, -2) @ posed.frames
    np.testing.assert_allclose(identity, np.broadcast_to(np.eye(3), identity.shape), atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_segment_distance_is_the_smallest(seed):
    p0, p1, q0, q1 = np.random.default_rng(seed).normal(size=(4, 3))
    s = np.linspace(0, 1, 400)[:, None, None]
    t = np.linspace(0, 1, 400)[None, :, None]
    between = (p0 + s * (p1 - p0)) - (q0 + t * (q1 - q0))
    brute = np.linalg.norm(between, axis=-1).min()
    distance = collision.segment_distance(p0, p1, q0, q1)
    assert distance <= brute + 1e-12
    assert distance >= brute - 0.02


def test_segment_distance_of_parallels():
    ends = np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [1, 2, 0], [3, 0, 0], [4, 0, 0]])
    assert collision.segment_distance(*ends[:4]) == pytest.approx(2)
    assert collision.segment_distance(ends[0], ends[1], ends[4], ends[5]) == pytest.approx(2)


def test_penetration_knows_good_from_bad():
    flat = np.zeros((1, 15, 3))
    through_the_palm = flat.copy()
    through_the_palm[0, 3:, 0] = np.deg2rad(100)
    crossed = flat.copy()
    crossed[0, 3, 1], crossed[0, 6, 1] = np.deg2rad([-40, 40])
    depths = [
        collision.penetration(KINEMATICS(a).xyz, REST, RADII)[0]
        for a in (flat, through_the_palm, crossed)
    ]
    assert depths[0] < 0.002
    assert depths[1] > PoseConfig().penetration
    assert depths[2] > PoseConfig().penetration
    assert collision.penetration(REST[None], REST, RADII)[0] <= 0


def test_radii_follow_size_and_width():
    width = np.array([1, 1.2, 1, 1, 1])
    np.testing.assert_allclose(collision.radii(2 * REST, WIDTH), 2 * RADII)
    changed = collision.radii(REST, width) / np.maximum(RADII, 1e-9)
    np.testing.assert_allclose(changed[5:9], 1.2)
    np.testing.assert_allclose(changed[9:], 1.0)


def test_poses_are_inside_the_limits(poses):
    angles = torch.tensor(np.stack([pose.angles for pose in poses]))
    assert is_feasible(angles).all()
    joints = torch.from_numpy(KINEMATICS(angles.numpy()).xyz)
    assert feasible(joints).all()


def test_poses_do_not_pass_through_themselves(poses):
    allowed = PoseConfig().penetration
    depth = np.array(
        [collision.penetration(KINEMATICS(p.angles[None]).xyz, REST, RADII)[0] for p in poses]
    )
    np.testing.assert_allclose(depth, [pose.penetration for pose in poses], atol=1e-12)
    assert (depth <= allowed).mean() >= 0.97
    assert depth.max() < 2 * allowed


def test_mixture_has_its_shares(poses):
    shares = PoseConfig().shares
    counts = {kind: sum(pose.kind == kind for pose in poses) for kind in shares}
    for kind, share in shares.items():
        assert abs(counts[kind] / len(poses) - share) < 0.12, kind
    assert sum(shares.values()) == pytest.approx(1)
    # Difficult kinds together are the larger part of it.
    assert shares["touch"] + shares["fist"] + shares["grasp"] > 0.4


def test_a_pose_is_a_function_of_its_generator():
    for seed in range(4):
        a, b = (
            sample_pose(PoseConfig(), np.random.default_rng(seed), KINEMATICS, WIDTH)
            for _ in range(2)
        )
        assert (a.kind, a.name, a.penetration) == (b.kind, b.name, b.penetration)
        np.testing.assert_array_equal(a.angles, b.angles)


@pytest.mark.parametrize("name", ["OK", "six", "O", "fist", "key pinch"])
def test_touches_touch(name):
    family = next(f for f, gestures in FAMILIES.items() if name in gestures)
    only = {n: float(n == name) for n in FAMILIES[family]}
    config = PoseConfig(shares={family: 1}, gestures=only)
    for seed in range(3):
        pose = sample_pose(config, np.random.default_rng(seed), KINEMATICS, WIDTH)
        assert pose.name == name
        overlap = collision.overlap(KINEMATICS(pose.angles[None]).xyz, RADII)[0]
        pairs = collision.PAIRS.tolist()
        for contact in GESTURES[name].touches:
            bone = FINGERS[contact.finger][("proximal", "middle", "distal").index(contact.bone) + 1]
            gap = -overlap[pairs.index([FINGERS["thumb"][3], bone])]
            assert -0.005 < gap < 2 * contact.tolerance


def test_solver_stays_inside_the_limits_and_near_the_start():
    start = np.zeros((3, 15, 3))
    start[:, 3:, 0] = 0.7
    start[:, 0, 1] = 0.4
    angles, misses = touch.solve(KINEMATICS, start, GESTURES["OK"].touches, RADII, INNER_LIMITS)
    assert (angles >= INNER_LIMITS[..., 0]).all()
    assert (angles <= INNER_LIMITS[..., 1]).all()
    assert (misses < 1).all()
    np.testing.assert_array_equal(angles[:, 6:], start[:, 6:])  # middle to pinky do not move


def test_vocabulary_is_consistent():
    assert len(GESTURES) == sum(map(len, FAMILIES.values())) >= 70
    for name, gesture in GESTURES.items():
        assert len(gesture.fingers) == 4, name
        assert set(gesture.fingers) <= set(FINGER_STATES), name
        assert gesture.thumb in THUMBS, name
        assert {t.finger for t in gesture.touches} <= set(FINGERS) - {"thumb"}


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_can_be_asked_for(kind):
    pose = sample_pose(PoseConfig(shares={kind: 1}), np.random.default_rng(2), KINEMATICS, WIDTH)
    assert pose.kind == kind


def test_without_variation_a_gesture_is_one_pose():
    only = {n: float(n == "open") for n in FAMILIES["open"]}
    config = PoseConfig(shares={"open": 1}, gestures=only, variation=0)
    a, b = (sample_pose(config, np.random.default_rng(s), KINEMATICS, WIDTH) for s in (1, 2))
    np.testing.assert_allclose(a.angles, b.angles, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"shares": {"fists": 1.0}}, "no kind of pose 'fists'"),
        ({"gestures": {"waving": 1.0}}, "no gesture 'waving'"),
        ({"shares": {"fist": -1.0}}, "0 or more, got -1"),
        ({"shares": {"fist": float("nan")}}, "'fist' must be a number"),
        (
            {"shares": {"crossed": 1}, "gestures": dict.fromkeys(FAMILIES["crossed"], 0)},
            "'crossed'",
        ),
        ({"shares": {"between": 1}, "gestures": dict.fromkeys(GESTURES, 0)}, "'between'"),
        ({"attempts": 0}, "attempts must be in 1"),
        ({"variation": -1.0}, "variation"),
        ({"penetration": 0.0}, "penetration"),
        ({"shares": {"fist": 0.0}}, "sum to zero"),
    ],
)
def test_wrong_configurations_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        PoseConfig(**arguments)


def test_crossed_fingers_cross_on_hands_of_all_shapes():
    demands = []
    for i in range(40):
        shape = draw_shape(FactorConfig(), 1, i)
        kinematics, width = kinematics_of(shape), np.array(shape.finger_width)
        pose = sample_pose(
            PoseConfig(shares={"crossed": 1}), np.random.default_rng([1, i]), kinematics, width
        )
        across, apart = crossing(kinematics(pose.angles[None]).xyz)
        thickness = collision.radii(kinematics.rest, width)[[7, 11]].sum()
        demands.append([across[0] >= 0.004, apart[0] <= thickness + 0.009])
        assert pose.penetration < 2 * PoseConfig().penetration
    assert np.mean(demands) >= 0.95
    straight, _ = crossing(KINEMATICS(np.zeros((1, 15, 3))).xyz)
    assert straight < -0.015


def test_crossing_is_measured_across_the_palm():
    xyz = np.zeros((1, 21, 3))
    xyz[0, 5], xyz[0, 9] = [0.02, 0.08, 0], [0, 0.09, 0]  # index and middle MCP, thumb at +x
    xyz[0, 8], xyz[0, 12] = [-0.003, 0.17, 0.01], [0.002, 0.18, 0]
    across, apart = crossing(xyz)
    np.testing.assert_allclose(across, [0.005])
    np.testing.assert_allclose(apart, [np.linalg.norm([0.005, 0.01, 0.01])])


def test_the_order_of_the_shares_does_not_matter():
    shares = {"fist": 0.5, "open": 0.5}
    backwards = dict(reversed(shares.items()))
    for seed in range(8):
        one, other = (
            sample_pose(PoseConfig(shares=s), np.random.default_rng(seed), KINEMATICS, WIDTH)
            for s in (shares, backwards)
        )
        np.testing.assert_array_equal(one.angles, other.angles)
