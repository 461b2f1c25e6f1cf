import sys
from dataclasses import replace

import numpy as np
import pytest
import trimesh

from auxhand.synth import pathtrace, raster
from auxhand.synth.build import build_scene
from auxhand.synth.config import FactorConfig
from auxhand.synth.distributions import sample_factors
from auxhand.synth.modalities import render_hand
from auxhand.synth.occluders import superellipsoid
from auxhand.synth.pathtrace import environment, subdivide
from auxhand.synth.scene import Light, Scene

SIZE = 40


@pytest.fixture(scope="module")
def scene():
    return build_scene(sample_factors(FactorConfig(fixed={"sleeve": None}), 4, 2), SIZE)[0]


def ball(direction, colour=(0.8, 0.8, 0.8)):
    """A grey ball half a metre away under one light."""
    mesh = superellipsoid((0.1, 0.1, 0.1), (1.0, 1.0))
    count = len(mesh.vertices)
    return Scene(
        vertices=(mesh.vertices + np.array([0, 0, 0.5])).astype(np.float32),
        faces=mesh.faces,
        rest=mesh.vertices.astype(np.float32),
        albedo=np.full((count, 3), 0.5, np.float32),
        bump=np.zeros(count, np.float32),
        roughness=np.full(count, 0.9, np.float32),
        K=np.array([[70.0, 0, (SIZE - 1) / 2], [0, 70.0, (SIZE - 1) / 2], [0, 0, 1]]),
        size=(SIZE, SIZE),
        lights=(Light(np.array(direction, np.float32), np.array(colour, np.float32)),),
        sky=np.zeros(3, np.float32),
        ground=np.zeros(3, np.float32),
    )


def test_labels_are_the_rasterisers_and_the_picture_fits_them(scene):
    traced, drawn = pathtrace.render(scene, samples=16), raster.render(scene)
    for name in ("depth", "mask", "face"):
        np.testing.assert_array_equal(getattr(traced, name), getattr(drawn, name))
    inside = traced.rgba[..., 3] > 127
    assert (inside != drawn.mask).mean() < 0.01
    whole = (traced.rgba[..., 3] == 255) & (drawn.rgba[..., 3] == 255)
    means = [picture.rgba[whole][:, :3].mean(0) for picture in (traced, drawn)]
    np.testing.assert_allclose(*means, rtol=0.15)
    assert np.abs(traced.rgba[whole].astype(int) - drawn.rgba[whole]).mean() > 3


@pytest.mark.parametrize(("size", "shift"), [((40, 40), (6, -4)), ((28, 40), (0, 0))])
def test_the_camera_may_look_past_the_middle(scene, size, shift):
    K = scene.K.copy()
    K[:2, 2] += shift
    off = replace(scene, K=K, size=size)
    inside = pathtrace.render(off, samples=16).rgba[..., 3] > 127
    # A shift of the whole hand by one pixel would make it 0.03 or more.
    assert (inside != raster.render(off).mask).mean() < 0.02


def test_the_same_seed_gives_the_same_bytes(scene):
    first = pathtrace.render(scene, samples=2).rgba
    np.testing.assert_array_equal(pathtrace.render(scene, samples=2).rgba, first)
    assert (pathtrace.render(scene, samples=2, seed=1).rgba != first).any()


def test_noise_is_another_in_every_picture():
    factors = sample_factors(FactorConfig(), 4, 2)
    other = replace(factors, sensor=replace(factors.sensor, seed=factors.sensor.seed + 1))
    pictures = [render_hand(f, SIZE, "pathtrace").rendering.rgba for f in (factors, factors, other)]
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert (pictures[0] != pictures[2]).any()


@pytest.mark.parametrize("direction", [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0)])
def test_light_comes_from_where_it_is(direction):
    rgba = pathtrace.render(ball(direction), samples=16).rgba.astype(float)
    value = rgba[..., :3].mean(-1) * (rgba[..., 3] == 255)
    at = np.stack(np.meshgrid(*[np.arange(SIZE) - (SIZE - 1) / 2] * 2), -1)
    middle = (value[..., None] * at).sum((0, 1)) / value.sum()
    assert middle @ direction[:2] > 3
    assert abs(middle @ np.array([direction[1], direction[0]])) < 0.5


def test_light_from_the_camera_shows_the_ball_and_from_behind_only_its_rim():
    front, behind = (
        pathtrace.render(ball((0, 0, z)), samples=16).rgba[SIZE // 2, SIZE // 2, 0] for z in (-1, 1)
    )
    # Albedo 0.5 under a light of 0.8: radiance 0.4, plus a little shine.
    assert front / 255 == pytest.approx(1.055 * 0.4 ** (1 / 2.4) - 0.055, abs=0.05)
    assert behind < 20


def test_the_environment_has_the_light_that_is_asked_for():
    height, width = environment(ball((0, 0, -1))).shape[:2]
    theta = (np.arange(height) + 0.5) / height * np.pi
    phi = (np.arange(width) + 0.5) / width * 2 * np.pi
    solid_angle = np.sin(theta)[:, None] * (np.pi / height) * (2 * np.pi / width)
    down = np.cos(theta)[:, None] * np.ones(width)
    toward = -np.cos(phi) * np.sin(theta)[:, None]

    def irradiance(scene, cosine):
        return (environment(scene)[..., 0] * np.clip(cosine, 0, None) * solid_angle).sum()

    assert irradiance(ball((0, 0, -1), (0.3,) * 3), -toward) == pytest.approx(0.3 * np.pi, rel=0.02)
    dark = replace(ball((0, 0, -1)), lights=())
    lit = replace(dark, sky=np.full(3, 0.9, np.float32), ground=np.full(3, 0.3, np.float32))
    # The integral of (1 + c) / 2 over a hemisphere, weighed by its cosine c, is 5 pi / 6.
    assert irradiance(lit, -down) == pytest.approx(np.pi * (0.3 + 5 / 6 * 0.6), rel=0.01)
    assert irradiance(lit, down) == pytest.approx(np.pi * (0.3 + 1 / 6 * 0.6), rel=0.01)


def test_subdividing_keeps_the_surface():
    mesh = superellipsoid((0.03, 0.02, 0.01), (1.0, 1.0))
    whole = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    finer = trimesh.Trimesh(*subdivide(mesh.vertices, mesh.faces), process=False)
    assert len(finer.faces) == 4 * len(whole.faces)
    assert finer.is_watertight
    assert finer.volume == pytest.approx(whole.volume)
    assert finer.area == pytest.approx(whole.area)


def test_mistakes(scene, monkeypatch):
    with pytest.raises(ValueError, match="at least 1"):
        pathtrace.render(scene, samples=0)
    with pytest.raises(ValueError, match="square pixels"):
        pathtrace.render(replace(scene, K=scene.K @ np.diag([1.0, 1.1, 1.0])))
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'auxhand\[pathtrace\]'"):
        pathtrace.render(scene)
