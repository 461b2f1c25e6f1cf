"""Detail of the skin: where it lies, and that it is off unless asked for."""

from dataclasses import replace

import numpy as np

from auxhand.hand.skeleton import TIPS
from auxhand.synth.build import build_scene, skin_coordinates, skin_maps
from auxhand.synth.config import FactorConfig, SkinConfig
from auxhand.synth.coordinates import Coordinates
from auxhand.synth.distributions import hand_surface, sample_factors
from auxhand.synth.raster import render
from auxhand.synth.relief import Person, nail_distance, relief
from auxhand.synth.shading import vertex_normals

PIXEL = 0.0006


def at_vertices() -> Coordinates:
    return Coordinates(*np.ascontiguousarray(skin_coordinates().T))


def test_nails_lie_on_the_backs_of_the_tips() -> None:
    at, person = at_vertices(), Person.of(1)
    inside = nail_distance(at, person) < 0.9
    rest = skin_maps().rest.astype(np.float64)
    joints = hand_surface().rest_joints.double().numpy()
    normals = vertex_normals(rest, hand_surface().faces.numpy())
    away = np.linalg.norm(rest[:, None] - joints[list(TIPS)], axis=-1)
    for finger in range(5):
        mine = inside & (at.number == finger + 1)
        assert mine.sum() >= 5
        assert (away[mine].argmin(1) == finger).all()
        assert away[mine, finger].max() < 0.018
        if finger:  # the palm of the template faces -z
            assert normals[mine, 2].mean() > 0.5
    assert (at.palmar[inside] < 0.6).all()


def test_creases_are_palmar_and_darken() -> None:
    at, person = at_vertices(), Person.of(1)
    factor, height, roughness = relief(at, person, np.full(len(at.bone), PIXEL, np.float32))
    plain = (roughness == 0) & (at.finger > 0.9)
    at_joint = plain & (np.abs(at.bone - 2) < 0.06)
    between = plain & (np.abs(at.bone - 1.5) < 0.1)
    palm = at.palmar > 0.8
    assert factor[at_joint & palm].mean() < 0.95 * factor[between & palm].mean()
    assert height[at_joint & palm].mean() < height[between & palm].mean()


def test_nothing_on_cloth_and_persons_differ() -> None:
    at = at_vertices()
    pixel = np.full(len(at.bone), PIXEL, np.float32)
    cloth = at._replace(bare=np.zeros_like(at.bare))
    factor, height, roughness = relief(cloth, Person.of(1), pixel)
    assert (factor == 1).all()
    assert not height.any()
    assert not roughness.any()
    first, again, other = (relief(at, Person.of(seed), pixel)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 0.05


def test_detail_is_off_unless_asked_for() -> None:
    plain = sample_factors(FactorConfig(), 0, 3)
    assert plain.skin.detail == 0
    assert "detail" not in plain.to_dict()["skin"]
    assert build_scene(plain, 64)[0].detail is None
    wanted = sample_factors(FactorConfig(skin=SkinConfig(detail=(1.0, 1.0))), 0, 3)
    assert wanted == replace(plain, skin=replace(plain.skin, detail=1.0))
    assert type(plain).from_dict(wanted.to_dict()) == wanted


def test_detail_changes_colours_alone() -> None:
    factors = sample_factors(FactorConfig(skin=SkinConfig(detail=(1.0, 1.0))), 0, 3)
    scene, _ = build_scene(factors, 96)
    fine, again, plain = render(scene), render(scene), render(replace(scene, detail=None))
    assert np.array_equal(fine.rgba, again.rgba)
    assert np.array_equal(fine.depth, plain.depth)
    assert np.array_equal(fine.rgba[..., 3], plain.rgba[..., 3])
    differs = np.abs(fine.rgba[..., :3].astype(int) - plain.rgba[..., :3]).max(-1)
    assert (differs[fine.mask] > 4).mean() > 0.1
