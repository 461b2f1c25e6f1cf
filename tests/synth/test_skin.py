"""Where the features of the skin are, and what paint makes of them."""

import json
from dataclasses import asdict, fields, replace

import numpy as np
import pytest

from auxhand.hand.skeleton import FINGERS
from auxhand.hand.surface import HandSurface
from auxhand.synth.skin import TONES_SRGB, Skin, SkinMaps, dress, paint

SURFACE = HandSurface("right")
MAPS = SkinMaps.of(SURFACE)
JOINTS = SURFACE.rest_joints.numpy()
WEIGHTS = SURFACE.weights.numpy()
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])

EVEN = Skin(palm=0, creases=0, knuckles=0, flush=0, veins=0, blotches=0)


def finger_of_vertex():
    """(V,) number of the finger that a vertex belongs to, -1 = none."""
    share = np.stack([WEIGHTS[:, chain[:3]].sum(1) for chain in FINGERS.values()], 1)
    return np.where(share.max(1) > 0.5, share.argmax(1), -1)


def near(position, radius):
    return np.linalg.norm(MAPS.rest - position, axis=1) < radius


def areas(selected):
    """Area of a vertex map in square metres: each vertex stands for a third of its faces."""
    faces = SURFACE.faces.numpy()
    a, b, c = (MAPS.rest[faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return float((area * selected[faces].mean(1)).sum())


def test_maps_are_shares_and_fit_the_mesh():
    for field in fields(MAPS):
        values = getattr(MAPS, field.name)
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        if field.name in ("rest", "forearm_distance"):
            continue
        assert values.shape == (len(MAPS.rest),)
        assert values.min() >= 0
        assert 0.5 < values.max() <= 1


def test_left_and_right_have_the_same_maps():
    left = SkinMaps.of(HandSurface("left"))
    for field in fields(MAPS):
        np.testing.assert_allclose(
            getattr(left, field.name), getattr(MAPS, field.name), atol=1e-6, err_msg=field.name
        )


def test_palm_faces_the_camera_and_the_back_does_not():
    centre = (JOINTS[0] + JOINTS[9]) / 2
    around = near(centre, 0.03)
    front, behind = MAPS.rest[:, 2] < centre[2] - 0.008, MAPS.rest[:, 2] > centre[2] + 0.006
    assert MAPS.palmar[around & front].min() > 0.9
    assert MAPS.palmar[around & behind].max() < 0.1


def test_every_finger_has_one_nail_of_human_size_on_the_back_of_its_end():
    finger = finger_of_vertex()
    for number, chain in enumerate(FINGERS.values()):
        nail = MAPS.nail * (finger == number)
        assert (nail > 0.5).sum() >= 6
        assert 40e-6 < areas(nail) < 220e-6
        assert MAPS.palmar[nail > 0.5].max() < 0.5
        bone = JOINTS[chain[3]] - JOINTS[chain[2]]
        along = (MAPS.rest[nail > 0.5] - JOINTS[chain[2]]) @ bone / (bone @ bone)
        assert along.min() > 0.3
    assert MAPS.nail[finger < 0].max() == 0


def test_creases_lie_under_the_joints_and_knuckles_above():
    finger = finger_of_vertex()
    for number, chain in enumerate(FINGERS.values()):
        for joint in chain[1:3]:
            here = near(JOINTS[joint], 0.015) & (finger == number)
            assert MAPS.crease[here & (MAPS.palmar > 0.8)].max() > 0.6
            assert MAPS.crease[here & (MAPS.palmar < 0.1)].max() < 0.35
            assert MAPS.knuckle[here & (MAPS.palmar < 0.1)].max() > 0.6
            assert MAPS.knuckle[here & (MAPS.palmar > 0.9)].max() < 0.2


def test_forearm_distance_is_measured_from_the_wrist():
    assert MAPS.forearm_distance[near(JOINTS[9], 0.03)].max() < 0
    assert MAPS.forearm_distance.max() == pytest.approx(0.2, abs=0.03)
    assert np.abs(MAPS.forearm_distance[near(JOINTS[0], 0.02)]).max() < 0.02


def test_tones_go_from_pale_to_dark_and_never_back():
    assert (np.diff(TONES_SRGB, axis=0) < 0).all()
    brightness = [
        (paint(MAPS, replace(EVEN, tone=tone)).albedo @ LUMINANCE).mean()
        for tone in np.linspace(0, 1, 21)
    ]
    assert (np.diff(brightness) < 0).all()
    assert brightness[0] / brightness[-1] > 10


def test_even_skin_is_even():
    albedo = paint(MAPS, EVEN).albedo[(MAPS.palmar == 0) & (MAPS.nail + MAPS.nail_fold < 1e-3)]
    assert np.ptp(albedo, axis=0).max() < 1e-3
    tone = np.array(TONES_SRGB) / 255
    fourth = replace(EVEN, tone=3 / (len(TONES_SRGB) - 1))
    expected = ((tone[3] + 0.055) / 1.055) ** 2.4
    back = MAPS.palmar + MAPS.nail + MAPS.nail_fold < 1e-3
    np.testing.assert_allclose(paint(MAPS, fourth).albedo[back].mean(0), expected, rtol=1e-3)


def test_palms_of_dark_hands_are_lighter():
    albedo = paint(MAPS, replace(EVEN, tone=0.9, palm=1.0)).albedo @ LUMINANCE
    hand = MAPS.forearm_distance < -0.02
    palm, back = hand & (MAPS.palmar > 0.95), hand & (MAPS.palmar < 0.05) & (MAPS.nail < 0.01)
    assert albedo[palm].mean() > 2 * albedo[back].mean()


@pytest.mark.parametrize(
    ("strength", "where"),
    [("creases", "crease"), ("knuckles", "knuckle"), ("veins", "vein"), ("flush", "pad")],
)
def test_each_strength_colours_its_map_and_nothing_else(strength, where):
    plain, strong = paint(MAPS, EVEN).albedo, paint(MAPS, replace(EVEN, **{strength: 1})).albedo
    change = np.abs(strong - plain).max(1)
    place = getattr(MAPS, where)
    assert change[(place > 0.8) & (MAPS.nail < 0.1)].min() > 0.01
    assert change[place < 1e-4].max() < 1e-4


def test_polish_covers_the_nails():
    painted = paint(MAPS, replace(EVEN, polish=(0.7, 0.02, 0.05)))
    full = MAPS.nail == 1
    np.testing.assert_allclose(painted.albedo[full], [[0.7, 0.02, 0.05]] * full.sum(), atol=1e-6)
    assert painted.roughness[full].max() < painted.roughness[MAPS.nail == 0].min()
    assert painted.bump[full].max() == 0
    untouched = MAPS.nail == 0
    np.testing.assert_array_equal(painted.albedo[untouched], paint(MAPS, EVEN).albedo[untouched])


def test_cloth_covers_the_forearm():
    skin = paint(MAPS, EVEN)
    covered = MAPS.forearm_distance > 0.05
    dressed = dress(skin, covered, (0.1, 0.2, 0.6))
    np.testing.assert_allclose(
        dressed.albedo[covered], [[0.1, 0.2, 0.6]] * covered.sum(), atol=1e-6
    )
    for before, after in zip(skin, dressed, strict=True):
        np.testing.assert_array_equal(before[~covered], after[~covered])


def test_skins_are_numbers_that_can_be_written_down_and_drawn_again():
    skins = [Skin.sample(np.random.default_rng([3, i])) for i in range(60)]
    assert skins == [Skin.sample(np.random.default_rng([3, i])) for i in range(60)]
    again = [Skin(**json.loads(json.dumps(asdict(skin)))) for skin in skins]
    assert any(skin.polish for skin in skins)
    tones = [skin.tone for skin in skins]
    assert min(tones) < 0.1 < 0.9 < max(tones)
    for skin, copy in zip(skins[:10], again, strict=False):
        first, second = paint(MAPS, skin), paint(MAPS, copy)
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == np.float32
        assert 0 < first.albedo.min() <= first.albedo.max() < 1
    dark = Skin.sample(np.random.default_rng(0), tone=(0.9, 1.0))
    assert dark.tone >= 0.9


def test_patterns_differ():
    one, two = (
        paint(MAPS, replace(EVEN, blotches=1.0, pattern=pattern)).albedo for pattern in (1, 2)
    )
    assert np.abs(one - two).mean() > 0.005
    np.testing.assert_allclose(one.mean(0), two.mean(0), rtol=0.1)
