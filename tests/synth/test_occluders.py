from dataclasses import replace

import numpy as np
import pytest
import trimesh

from auxhand.data.columns import PARTS
from auxhand.hand.skeleton import TIPS
from auxhand.synth.build import build_scene
from auxhand.synth.config import FactorConfig, OccluderConfig, PoseConfig
from auxhand.synth.distributions import hand_surface, sample_factors
from auxhand.synth.factors import Factors, OccluderFactors
from auxhand.synth.modalities import render_hand
from auxhand.synth.occluders import held, hollow, in_front, superellipsoid

FRONT = OccluderFactors(
    "front", (0.02, 0.02, 0.02), (1.0, 1.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.3), (0.2, 0.5, 0.1), 0.5
)
HELD = replace(FRONT, kind="held", radii=(1.0, 1.0, 1.0), place=(0.0, 0.0, 0.0))


def hand(**fixed):
    return sample_factors(FactorConfig(fixed={"occluders": [], **fixed}), 1, 0)


@pytest.mark.parametrize("roundness", [(1.0, 1.0), (0.15, 1.0), (0.15, 0.15), (0.4, 0.4)])
def test_superellipsoids_are_closed_and_lie_on_their_surface(roundness):
    radii = np.array([0.03, 0.02, 0.01])
    mesh = superellipsoid(tuple(radii), roundness)
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert solid.is_watertight
    assert solid.volume > 0  # faces are counter-clockwise from outside
    e, f = roundness
    x, y, z = np.abs(mesh.vertices / radii).T
    np.testing.assert_allclose(
        (y ** (2 / f) + z ** (2 / f)) ** (f / e) + x ** (2 / e), 1, atol=1e-9
    )
    np.testing.assert_allclose(np.abs(mesh.vertices).max(0), radii, rtol=0.02)


def test_ball_and_box_have_their_volumes():
    def volume(roundness):
        mesh = superellipsoid((0.03, 0.02, 0.01), roundness)
        return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).volume

    assert volume((1.0, 1.0)) == pytest.approx(4 / 3 * np.pi * 6e-6, rel=0.05)
    assert volume((0.05, 0.05)) == pytest.approx(8 * 6e-6, rel=0.1)


def test_a_thing_in_front_is_where_its_place_says():
    joints = np.random.default_rng(0).normal(size=(21, 3)) * 0.05 + [0.02, 0.03, 0.5]
    rays = joints[:, :2] / joints[:, 2:]
    low, high = rays.min(0), rays.max(0)
    mesh = in_front(replace(FRONT, place=(0.5, -1.0, 0.25)), joints)
    center = (mesh.vertices.max(0) + mesh.vertices.min(0)) / 2
    assert center[2] == pytest.approx(0.75 * joints[:, 2].mean())
    half = (high - low).max() / 2
    np.testing.assert_allclose(
        center[:2] / center[2], (low + high) / 2 + np.array([0.5, -1.0]) * half
    )


def test_what_is_held_fits_between_the_bones():
    config = FactorConfig(pose=PoseConfig(shares={"grasp": 1}), fixed={"occluders": []})
    radii = np.full(21, 0.008)
    found = 0
    for index in range(20):
        factors = sample_factors(config, 0, index)
        joints = build_scene(factors, 32)[1].joints_xyz
        center, room = hollow(joints, radii)
        mesh = held(HELD, joints, radii)
        assert (mesh is None) == (room < 0.004)
        if mesh is None:
            continue
        found += 1
        away = np.linalg.norm(mesh.vertices - center, axis=1)
        np.testing.assert_allclose(away, room, rtol=1e-9)
        assert np.linalg.norm(joints - center, axis=1).min() > room
        assert (np.linalg.norm(joints[list(TIPS)] - center, axis=1) > room + 0.004).all()
    assert found >= 15


def test_a_thing_hides_the_hand_and_its_joints():
    view = {"roll": 0.0, "pitch": 0.0, "yaw": 0.0}
    open_hand = hand(view=view, pose={"angles": [0.0] * 45}, side="left")
    wide = replace(FRONT, radii=(0.03, 0.03, 0.03), place=(0.0, 0.0, 0.4))
    free = render_hand(open_hand, 96)
    hidden = render_hand(replace(open_hand, occluders=(wide,)), 96)
    ball = hidden.rendering.mask & (hidden.parts == 0)
    assert ball.sum() > 300
    assert (hidden.mask <= free.mask).all()
    assert (hidden.rendering.depth[ball] < free.rendering.depth[free.parts > 0].min()).all()
    np.testing.assert_array_equal(hidden.labels.joints_uv, free.labels.joints_uv)
    u, v = hidden.labels.joints_uv.round().astype(int).T
    assert free.joint_visible.sum() == 21
    assert not hidden.joint_visible[ball[v, u]].any()
    assert 3 < ball[v, u].sum() < 18
    assert not hidden.mask[hidden.parts == PARTS.index("arm")].any()
    assert len(hidden.surface()) == hidden.mask.sum()
    count = len(hand_surface().faces)
    assert len(hidden.scene.faces) > len(free.scene.faces) == count


def test_factors_with_things_survive_json_and_come_in_the_shares_asked_for():
    config = FactorConfig(occluders=OccluderConfig(held=0.5, front=0.25))
    drawn = [sample_factors(config, 2, i) for i in range(300)]
    assert all(Factors.from_dict(f.to_dict()) == f for f in drawn[:20])
    for kind, share in (("held", 0.5), ("front", 0.25)):
        have = np.mean([any(o.kind == kind for o in f.occluders) for f in drawn])
        assert have == pytest.approx(share, abs=0.08)


@pytest.mark.parametrize("value", [[{"kind": "held"}], 3, [5]])
def test_things_that_are_none_are_refused(value):
    with pytest.raises(ValueError, match="occluders"):
        FactorConfig(fixed={"occluders": value})
