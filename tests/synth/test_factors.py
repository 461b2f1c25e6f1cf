"""Factors, what they are drawn from, and the scenes they make."""

import json
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from auxhand.geometry.camera import project
from auxhand.hand.anatomy import is_feasible
from auxhand.synth.build import build_scene, shape_tensors
from auxhand.synth.config import (
    BackgroundConfig,
    CameraConfig,
    FactorConfig,
    LightConfig,
    OccluderConfig,
    SensorConfig,
    ShapeConfig,
    ViewConfig,
)
from auxhand.synth.distributions import (
    draw_group,
    draw_shape,
    hand_surface,
    kinematics_of,
    sample_factors,
)
from auxhand.synth.factors import CameraFactors, Factors, ViewFactors
from auxhand.synth.pose_sampler import PoseConfig
from auxhand.synth.raster import render
from auxhand.synth.vary import vary

SIZE = 96


@pytest.fixture(scope="module")
def many():
    """60 samples of the default configuration."""
    return [sample_factors(FactorConfig(), 3, i) for i in range(60)]


def test_factors_are_a_function_of_seed_and_index():
    assert sample_factors(FactorConfig(), 1, 7) == sample_factors(FactorConfig(), 1, 7)
    assert sample_factors(FactorConfig(), 1, 7) != sample_factors(FactorConfig(), 1, 8)
    assert sample_factors(FactorConfig(), 1, 7) != sample_factors(FactorConfig(), 2, 7)


def test_factors_survive_json(many):
    for factors in many:
        assert Factors.from_dict(json.loads(json.dumps(factors.to_dict()))) == factors


def test_rest_joints_equal_the_surface(many):
    for factors in many[:5]:
        _, joints = hand_surface().rest(*shape_tensors(factors.shape))
        np.testing.assert_allclose(kinematics_of(factors.shape).rest, joints[0].numpy(), atol=1e-6)


def test_groups_are_drawn_as_in_the_whole(many):
    for index, factors in enumerate(many[:5]):
        shape = draw_shape(FactorConfig(), 3, index)
        for field in fields(Factors):
            drawn = draw_group(field.name, FactorConfig(), 3, index, shape)
            assert drawn == getattr(factors, field.name)


def test_groups_have_streams_of_their_own():
    base = sample_factors(FactorConfig(), 0, 5)
    other = sample_factors(FactorConfig(view=ViewConfig(upright=0.0, roll=(5, 6))), 0, 5)
    assert other.view != base.view
    assert replace(other, view=base.view) == base


def test_angles_are_inside_the_limits(many):
    angles = torch.tensor([f.pose.angles for f in many]).view(-1, 15, 3)
    assert is_feasible(angles).all()


def test_mixtures(many):
    assert {f.side for f in many} == {"left", "right"}
    assert {f.view.kind for f in many} == {"upright", "any"}
    assert any(f.sleeve is None for f in many)
    assert any(f.sleeve is not None for f in many)
    assert len({f.pose.name for f in many}) > 30
    assert len({f.background for f in many}) == len(many)


def test_fixed_factors_stay():
    config = FactorConfig(
        fixed={"side": "left", "camera": {"distance": 0.5}, "sleeve": None, "background": 4}
    )
    for index in range(5):
        factors = sample_factors(config, 0, index)
        drawn = sample_factors(FactorConfig(), 0, index)
        assert (factors.side, factors.camera.distance) == ("left", 0.5)
        assert factors.sleeve is None
        assert factors.background == 4
        assert factors.camera.fill == drawn.camera.fill
        assert factors.pose == drawn.pose


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (lambda: FactorConfig(fixed={"camra": {}}), "no factor 'camra'"),
        (lambda: FactorConfig(fixed={"camera": {"zoom": 1}}), "camera takes some of"),
        (lambda: FactorConfig(fixed={"camera": 3}), "camera takes some of"),
        (lambda: FactorConfig(fixed={"sleeve": {"start": 0.1}}), "sleeve takes all of"),
        (lambda: FactorConfig(view=ViewConfig(roll=(10, -10))), "view.roll"),
        (lambda: FactorConfig(camera=CameraConfig(near=(0.01, 0.5))), "camera.near"),
        (lambda: FactorConfig(left=1.5), "left must be in 0 to 1, got 1.5"),
        (lambda: FactorConfig(left=float("nan")), "left must be a number"),
        (lambda: FactorConfig(view=ViewConfig(pitch=(-90, 91))), "view.pitch must be in -90 to 90"),
        (lambda: FactorConfig(view=ViewConfig(sides=(0, 0, 0))), "view.sides are weights"),
        (lambda: FactorConfig(light=LightConfig(count=(1, -1, 0, 0))), "light.count must be 0 or"),
        (lambda: FactorConfig(background=BackgroundConfig(kinds=(0, 0, 0, 0))), "background.kinds"),
        (lambda: FactorConfig(sensor=SensorConfig(quality=(0, 50))), "sensor.quality .* 1 to 100"),
        (lambda: FactorConfig(sensor=SensorConfig(blur_share=-0.1)), "sensor.blur_share"),
        (lambda: FactorConfig(shape=ShapeConfig(finger_length=0.5)), "shape.finger_length"),
        (lambda: FactorConfig(occluders=OccluderConfig(radii=(0, 0.1))), "occluders.radii"),
    ],
)
def test_wrong_configurations_are_named(config, words):
    with pytest.raises(ValueError, match=words):
        config()


def test_every_number_of_the_configuration_has_limits():
    """A number that no limit holds for would be a KeyError, as would a limit for no entry."""
    for group in fields(FactorConfig):
        if group.name in ("pose", "fixed"):
            continue
        value = getattr(FactorConfig(), group.name)
        for entry in fields(value) if is_dataclass(value) else ():
            worst = replace(value, **{entry.name: _like(getattr(value, entry.name), np.nan)})
            with pytest.raises(ValueError, match=f"{group.name}.{entry.name} must be a"):
                FactorConfig(**{group.name: worst})


def _like(value, number):
    return (number,) * len(value) if isinstance(value, tuple) else number


def test_the_most_extreme_shapes_have_bones():
    config = FactorConfig(
        shape=ShapeConfig(3.0, 0.1, 0.1, 0.1, finger_width=0.14, length=0.5, width=0.5)
    )
    for index in range(300):
        shape = draw_shape(config, 0, index)
        assert min(*shape.bone_scale, *shape.finger_width) > 0


@pytest.mark.parametrize(
    ("fixed", "words"),
    [
        ({"side": "up"}, "side must be right or left, got 'up'"),
        ({"background": 1.5}, "background must be a whole number"),
        ({"camera": {"distance": "far"}}, "camera.distance must be a number, got 'far'"),
        ({"camera": {"distance": 0.0}}, "camera.distance must be in 0.2 to 6"),
        ({"camera": {"distance": True}}, "camera.distance must be a number"),
        ({"shape": {"bone_scale": [1.0] * 19}}, "bone_scale must be 20 numbers, got 19"),
        ({"pose": {"angles": [None] * 45}}, r"angles\[0\] must be a number"),
        ({"pose": {"kind": 3}}, "pose.kind must be a str"),
        ({"light": {"sky": [1, 1]}}, "light.sky must be 3 numbers, got 2"),
        ({"light": {"directions": [[0, 0, -1]]}}, "as many directions, colours, shadows"),
        (
            {"light": {"directions": [[0, 0, -2]], "colours": [[1, 1, 1]], "shadows": [True]}},
            "directions must be of length 1",
        ),
        ({"light": {"shadows": ["no"]}}, r"shadows\[0\] must be a bool"),
        ({"skin": {"tone": 2}}, "skin.tone must be in 0 to 1"),
        ({"skin": {"polish": [0, 2, 0]}}, r"skin.polish\[1\] must be in 0 to 1"),
        ({"skin": None}, "skin takes some of"),
        ({"sleeve": {}}, "sleeve takes all of .*got nothing"),
        ({"sensor": {"quality": 101}}, "sensor.quality must be in 1 to 100"),
    ],
)
def test_fixed_factors_are_checked_before_anything_is_drawn(fixed, words):
    with pytest.raises(ValueError, match=words):
        FactorConfig(fixed=fixed)


def test_factors_that_were_drawn_can_be_fixed(many):
    for index, factors in enumerate(many):
        config = FactorConfig(fixed=factors.to_dict())
        assert sample_factors(config, 99, index) == factors


def test_an_empty_group_fixes_nothing():
    config = FactorConfig(fixed={"shape": {}, "camera": {}})
    assert sample_factors(config, 0, 3) == sample_factors(FactorConfig(), 0, 3)


def test_missing_factors_are_named(many):
    values = many[0].to_dict()
    del values["camera"]["fill"]
    with pytest.raises(ValueError, match=r"factors\.camera must have"):
        Factors.from_dict(values)


def test_view_is_roll_pitch_yaw():
    view = ViewFactors("any", 0.3, -0.5, 2.0)
    ours = Rotation.from_euler("ZXY", [0.3, -0.5, 2.0]).as_matrix()
    np.testing.assert_allclose(view.rotation(), ours, atol=1e-12)


def test_view_ranges_hold():
    config = FactorConfig(
        view=ViewConfig(upright=0, roll=(-30, 30), pitch=(-10, 20), yaw=(90, 180))
    )
    views = [draw_group("view", config, 0, i) for i in range(40)]
    degrees = np.rad2deg([[v.roll, v.pitch, v.yaw] for v in views])
    assert (degrees.min(0) >= [-30, -10, 90]).all()
    assert (degrees.max(0) <= [30, 20, 180]).all()
    assert (np.ptp(degrees, axis=0) > [40, 20, 60]).all()


def test_full_ranges_are_uniform_rotations():
    config = replace(FactorConfig(), view=ViewConfig(upright=0))
    from auxhand.synth.distributions import _view

    directions = np.stack(
        [
            _view(config.view, np.random.default_rng([9, i])).rotation()[2] for i in range(1500)
        ]  # where the camera's axis lies in the hand frame
    )
    assert np.abs(directions.mean(0)).max() < 0.05
    np.testing.assert_allclose(directions.T @ directions / 1500, np.eye(3) / 3, atol=0.03)


def test_labels_agree_with_the_camera(many):
    for factors in many[:20]:
        _, labels = build_scene(factors, SIZE)
        uv = project(torch.from_numpy(labels.K), torch.from_numpy(labels.joints_xyz))
        np.testing.assert_allclose(uv.numpy(), labels.joints_uv, atol=1e-9)
        assert labels.side == factors.side


def test_hands_fill_the_frame(many):
    for factors in many:
        _, labels = build_scene(factors, SIZE)
        low, high = labels.joints_uv.min(0), labels.joints_uv.max(0)
        np.testing.assert_allclose((low + high) / 2, (SIZE - 1) / 2, atol=0.05)
        assert labels.K[0, 2] == labels.K[1, 2] == (SIZE - 1) / 2
        box = (high - low).max() / SIZE
        assert 0.2 < box < factors.camera.fill < 0.65
        depth = labels.joints_xyz[:, 2]
        assert (depth.min() + depth.max()) / 2 == pytest.approx(factors.camera.distance)


def test_hands_lie_where_they_are_placed():
    camera = CameraConfig(near=(0.28, 0.6), far_share=0, fill=(0.3, 0.32), place=0.34)
    places = []
    for index in range(30):
        factors = sample_factors(FactorConfig(camera=camera), 5, index)
        _, labels = build_scene(factors, SIZE)
        low, high = labels.joints_uv.min(0), labels.joints_uv.max(0)
        centre = (SIZE - 1) / 2 + SIZE * np.array(factors.camera.place)
        np.testing.assert_allclose((low + high) / 2, centre, atol=0.01 * SIZE)
        assert labels.K[0, 2] == labels.K[1, 2] == (SIZE - 1) / 2
        assert 0.1 < (high - low).max() / SIZE < factors.camera.fill
        places.append(factors.camera.place)
    assert (np.abs(places) <= 0.34).all()
    assert (np.ptp(places, axis=0) > 0.5).all()


def test_factors_of_an_earlier_version_lie_in_the_middle(many):
    values = many[0].to_dict()
    del values["camera"]["place"]
    assert Factors.from_dict(values) == many[0]


def test_the_camera_stays_outside_the_arm():
    factors = sample_factors(FactorConfig(), 0, 2)
    toward_the_camera = replace(
        factors,
        occluders=(),
        view=ViewFactors("any", 0.0, np.deg2rad(-85.0), 0.0),
        camera=CameraFactors(0.2, 0.6),
    )
    scene, labels = build_scene(toward_the_camera, SIZE)
    assert scene.vertices[:, 2].min() == pytest.approx(0.05, abs=1e-6)
    uv = project(torch.from_numpy(labels.K), torch.from_numpy(labels.joints_xyz))
    np.testing.assert_allclose(uv.numpy(), labels.joints_uv, atol=1e-9)


def test_a_pose_is_for_the_shape_that_is_fixed():
    wide = {"finger_width": [1.3] * 5}
    touching = PoseConfig(shares={"touch": 1.0})
    given = FactorConfig(pose=touching, fixed={"shape": wide})
    for index in range(3):
        factors = sample_factors(given, 0, index)
        assert factors.shape == draw_shape(given, 0, index)
        assert factors.shape.finger_width == (1.3,) * 5
        assert factors.pose == draw_group("pose", given, 0, index, factors.shape)
        assert vary(factors, "pose", given, 0, index) == factors
    assert factors.pose != sample_factors(FactorConfig(pose=touching), 0, index).pose


def test_left_hands_mirror_right_ones():
    right = sample_factors(FactorConfig(left=0), 0, 2)
    scene, labels = build_scene(right, SIZE)
    mirrored, mirror = build_scene(replace(right, side="left"), SIZE)
    np.testing.assert_allclose(mirror.joints_xyz, labels.joints_xyz * [-1, 1, 1])
    np.testing.assert_allclose(mirror.joints_uv[:, 0], SIZE - 1 - labels.joints_uv[:, 0])
    np.testing.assert_array_equal(render(mirrored).mask, render(scene).mask[:, ::-1])


def test_joints_lie_inside_the_drawn_hand(many):
    inside = []
    for factors in many[:12]:
        scene, labels = build_scene(factors, SIZE)
        mask = render(scene).mask
        u, v = np.rint(labels.joints_uv).astype(int).T
        inside.append(mask[v, u])
    assert np.mean(inside) > 0.93  # fingertips lie on the silhouette


def test_sleeve_covers_and_thickens_the_arm():
    base = sample_factors(FactorConfig(fixed={"sleeve": None}), 0, 0)
    sleeve = {"start": 0.05, "thickness": 0.01, "colour": [0.1, 0.5, 0.9]}
    bare, _ = build_scene(base, SIZE)
    dressed, _ = build_scene(base.fixed({"sleeve": sleeve}), SIZE)
    moved = np.linalg.norm(dressed.vertices - bare.vertices, axis=1)
    behind = bare.rest[:, 1]
    assert moved[behind < 0.05].max() < 1e-6
    side = (behind > 0.07) & (behind < 0.15)
    np.testing.assert_allclose(moved[side], 0.01, atol=1e-5)
    np.testing.assert_allclose(dressed.albedo[side], np.tile([0.1, 0.5, 0.9], (side.sum(), 1)))


def test_wrist_bends_the_forearm_only():
    base = sample_factors(FactorConfig(fixed={"sleeve": None}), 0, 0)
    straight = base.fixed({"wrist": {"flexion": 0.0, "deviation": 0.0}})
    flexed = base.fixed({"wrist": {"flexion": 0.6, "deviation": 0.0}})
    (a, labels_a), (b, labels_b) = build_scene(straight, SIZE), build_scene(flexed, SIZE)
    np.testing.assert_allclose(labels_a.joints_xyz, labels_b.joints_xyz)
    hand, arm = a.rest[:, 1] < -0.06, a.rest[:, 1] > 0.1
    np.testing.assert_allclose(a.vertices[hand], b.vertices[hand], atol=1e-6)
    # A flexed hand turns its palm to the forearm: seen from the hand, the arm moves to the palm.
    palm = base.view.rotation() @ [0, 0, -1]
    palm *= [-1, 1, 1] if base.side == "left" else [1, 1, 1]
    assert ((b.vertices[arm] - a.vertices[arm]) @ palm).min() > 0.01


def test_every_group_is_described():
    for field in fields(Factors):
        assert field.name in Factors.__doc__ or field.type.endswith("Factors")


def test_people_keep_their_shape_and_skin_and_sets_share_none():
    first, second = FactorConfig(people=(0, 3)), FactorConfig(people=(3, 6))
    one = [sample_factors(first, 1, i) for i in range(40)]
    again = [sample_factors(first, 2, i) for i in range(40)]
    other = [sample_factors(second, 1, i) for i in range(40)]
    who = {(f.shape, f.skin) for f in one}
    assert len(who) == 3
    assert {(f.shape, f.skin) for f in again} == who
    assert not who & {(f.shape, f.skin) for f in other}
    assert len({f.pose for f in one}) > 30
    assert [f.view for f in one] == [f.view for f in other]


def test_ranges_of_backgrounds_are_kept():
    config = FactorConfig(background=BackgroundConfig(seeds=(50, 53)))
    assert {draw_group("background", config, 0, i) for i in range(60)} == {50, 51, 52}


def test_fingers_get_the_mean_length_and_width_asked_for():
    config = FactorConfig(shape=ShapeConfig(length=0.9, width=1.2))
    shapes = [draw_shape(config, 0, i) for i in range(200)]
    length, width = (
        np.array([getattr(s, n) for s in shapes]) for n in ("bone_scale", "finger_width")
    )
    assert length.reshape(-1, 5, 4)[..., 1:].mean() == pytest.approx(0.9, abs=0.01)
    assert length.reshape(-1, 5, 4)[..., 0].mean() == pytest.approx(1, abs=0.01)
    assert width.mean() == pytest.approx(1.2, abs=0.02)


def test_lights_come_in_the_numbers_asked_for():
    config = FactorConfig(light=LightConfig(count=(0, 1, 0, 1), back=0))
    lights = [draw_group("light", config, 0, i) for i in range(200)]
    assert {len(light.directions) for light in lights} == {2, 4}
    for light in lights:
        strength = np.array(light.colours)[:, 1]
        assert strength[0] > 0.54 * strength.sum()  # the key light
        np.testing.assert_allclose(np.linalg.norm(light.directions, axis=1), 1, atol=1e-4)


@pytest.mark.parametrize(
    "change", [{"people": (3, 3)}, {"background": BackgroundConfig(seeds=(-1, 4))}]
)
def test_empty_ranges_are_refused(change):
    with pytest.raises(ValueError, match="must be"):
        FactorConfig(**change)
