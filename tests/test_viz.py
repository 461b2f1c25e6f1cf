"""Pictures: where things are drawn, and what the functions refuse."""

import numpy as np
import pytest

from auxhand import viz
from auxhand.hand.skeleton import FINGERS


def spread_hand(height, width):
    """Joints on a grid, apart from one another."""
    u, v = np.meshgrid(np.linspace(0.15, 0.85, 5) * width, np.linspace(0.15, 0.85, 5) * height)
    return np.stack([u, v], -1).reshape(-1, 2)[:21]


def test_colours_follow_the_fingers():
    assert viz.JOINT_COLOURS[0] == viz.WRIST_COLOUR
    for finger, chain in FINGERS.items():
        assert {viz.JOINT_COLOURS[j] for j in chain} == {viz.FINGER_COLOURS[finger]}


def test_joints_are_drawn_at_sub_pixel_positions():
    """The centroid of a lone joint's colour is where the joint is."""
    for place in [(40.0, 30.0), (40.5, 30.25), (41.3, 29.8)]:
        uv = np.full((21, 2), np.nan)
        uv[:2] = place  # the wrist, and a bone of no length to it
        image = viz.draw_skeleton(np.full((64, 80, 3), 128, np.uint8), uv, width=4)
        weight = np.abs(image.astype(float) - 128).sum(-1)
        v, u = np.indices(weight.shape)
        centroid = (weight * u).sum() / weight.sum(), (weight * v).sum() / weight.sum()
        np.testing.assert_allclose(centroid, place, atol=0.15)


def test_skeleton_leaves_its_argument_and_marks_every_bone():
    image = np.zeros((120, 160, 3), np.uint8)
    uv = spread_hand(120, 160)
    drawn = viz.draw_skeleton(image, uv, np.arange(21.0))
    assert not image.any()
    for colour in viz.FINGER_COLOURS.values():
        assert (drawn == colour).all(-1).any()


def test_near_bones_cover_far_ones():
    uv = np.full((21, 2), np.nan)
    uv[[1, 2]] = [(10, 30), (70, 30)]
    uv[[5, 6]] = [(40, 5), (40, 55)]
    for near, depths in (("thumb", (0.0, 1.0)), ("index", (1.0, 0.0))):
        z = np.zeros(21)
        z[[1, 2]], z[[5, 6]] = depths
        image = viz.draw_skeleton(np.zeros((60, 80, 3), np.uint8), uv, z, width=3)
        assert tuple(image[30, 40]) == viz.FINGER_COLOURS[near]


@pytest.mark.parametrize("far", [1e9, -1e9, np.inf, np.nan])
def test_joints_outside_or_unknown_do_no_harm(far):
    uv = spread_hand(50, 50)
    uv[3] = far
    image = viz.draw_skeleton(np.zeros((50, 50, 3), np.uint8), uv)
    assert image.any()


def test_nothing_known_draws_nothing():
    image = np.zeros((10, 12, 3), np.uint8)
    assert not viz.draw_skeleton(image, np.full((21, 2), np.nan)).any()
    assert viz.draw_skeleton(np.zeros((1, 1, 3), np.uint8), np.zeros((21, 2))).shape == (1, 1, 3)


def test_wrong_shapes():
    image = np.zeros((10, 12, 3), np.uint8)
    with pytest.raises(ValueError, match=r"\(20, 2\)"):
        viz.draw_skeleton(image, np.zeros((20, 2)))
    with pytest.raises(ValueError, match="one size"):
        viz.draw_mask(image, np.zeros((12, 10)))
    with pytest.raises(ValueError, match="finite"):
        viz.draw_pose_3d(np.full((21, 3), np.nan))
    with pytest.raises(ValueError, match="0 images"):
        viz.grid([])
    with pytest.raises(ValueError, match="2 labels"):
        viz.grid([image], labels=["a", "b"])


@pytest.mark.parametrize(
    ("least", "most", "scale", "size"),
    [(100, 200, 4, (80, 120)), (1, 10, 1 / 3, (6, 10)), (20, 30, 1, (20, 30))],
)
def test_scaling_for_viewing_follows_the_pixel_convention(least, most, scale, size):
    image = np.zeros((20, 30, 3), np.uint8)
    image[6:9, 12:15] = 200
    shown, s = viz.for_viewing(image, least, most)
    assert s == scale
    assert shown.shape[:2] == size
    weight = shown[..., 0].astype(float)
    v, u = np.indices(weight.shape)
    centroid = np.array([(weight * u).sum(), (weight * v).sum()]) / weight.sum()
    np.testing.assert_allclose(centroid, (np.array([13, 7]) + 0.5) * s - 0.5, atol=0.05)


def test_mask_tints_inside_only():
    image = np.full((40, 60, 3), 100, np.uint8)
    mask = np.zeros((40, 60), np.float32)
    mask[10:30, 20:50] = 1
    drawn = viz.draw_mask(image, mask, opacity=0.5)
    expected = (100 + np.array(viz.MASK_COLOUR)) / 2
    np.testing.assert_allclose(drawn[20, 35], expected, atol=1)
    assert (drawn[:8] == 100).all()
    np.testing.assert_allclose(drawn[10, 35], viz.MASK_COLOUR, atol=15)
    assert (image == 100).all()


def test_pose_3d():
    rng = np.random.default_rng(0)
    image = viz.draw_pose_3d(rng.normal(0, 0.05, (21, 3)), "a title", height=200)
    assert image.shape == (200, 500, 3)
    assert image.dtype == np.uint8
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 50
    assert viz.draw_pose_3d(np.zeros((21, 3)), height=100).shape == (100, 250, 3)


def test_the_oblique_view_keeps_upright_what_is_upright():
    """Its axes are a rotation, and the upward one has no part across the picture."""
    axes = viz._PANELS[2].axes
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)
    across, up, away = axes
    assert across[1] == 0
    assert up[1] > 0.8
    # From the right, above and before the hand.
    assert away[0] < 0
    assert away[1] < 0
    assert away[2] > 0


def test_captions_are_cut_where_they_do_not_fit():
    size, width = 13, 100
    assert viz._fitting("3 fist", size, width) == "3 fist"
    short = viz._fitting("3 a long name of a pose, left", size, width)
    assert short.startswith("3 a long")
    assert short.endswith("…")
    assert viz._font(size).getlength(short) <= width
    sheet = viz.grid([np.zeros((40, 40, 3), np.uint8)], cell=40, labels=["a b"])
    assert sheet[:44].max() <= 32
    assert sheet[44:].max() > 150


def test_grid():
    images = [np.full((10 * (i + 1), 20, 3), 40 * i + 60, np.uint8) for i in range(4)]
    sheet = viz.grid(images, columns=3, cell=30)
    assert sheet.shape == (2 * 34 + 4, 3 * 34 + 4, 3)
    for i in range(4):
        row, column = divmod(i, 3)
        assert sheet[4 + 34 * row + 15, 4 + 34 * column + 15, 0] == 40 * i + 60
    assert viz.grid(images, labels=list("abcd"), cell=30).shape == (2 * 52 + 4, 2 * 34 + 4, 3)


def test_hands_and_clouds_are_seen_from_the_camera_about_their_middle():
    points = np.array([[-0.05, 0.0, 0.5], [0.05, 0.0, 0.3], [0.0, 0.02, 0.4]])
    picture = viz.draw_cloud(points + np.array([3.0, -2.0, 0.0]), reach=0.1, size=200)
    assert picture.shape == (200, 200, 3)
    # x to the right and y down, 1000 pixels a metre, about the middle of their box.
    far, near = picture[90, 49].astype(int), picture[90, 149].astype(int)
    assert far[2] > far[0]  # blue
    assert near[0] > near[2]  # red
    assert (picture[[10, 190]] == viz.GROUND).all()
    hand = np.zeros((21, 3))
    hand[:, 1] = np.linspace(0.05, -0.05, 21)
    drawn = viz.draw_hand(hand, reach=0.1, size=200)
    rows = np.flatnonzero((drawn != viz.GROUND).any((1, 2)))
    assert abs(rows.min() - 49.5) < 8
    assert abs(rows.max() - 149.5) < 8
    assert abs(np.flatnonzero((drawn != viz.GROUND).any((0, 2))).mean() - 99.5) < 1


def test_hands_of_any_length_have_bones_of_one_width():
    hand = np.zeros((21, 3))
    hand[:, 1] = np.linspace(0.09, -0.09, 21)
    widths = [
        np.flatnonzero((viz.draw_hand(hand * scale, 0.1, 200) != viz.GROUND).any((0, 2))).size
        for scale in (0.3, 0.6, 1.0)
    ]
    assert len(set(widths)) == 1


@pytest.mark.parametrize("at", [(150.0, 100.0), (0.0, 0.0), (299.0, 199.0), (-50.0, 400.0)])
def test_a_label_lies_below_its_point_and_in_the_image(at):
    image = np.full((200, 300, 3), 100, np.uint8)
    drawn = viz.draw_label(image, "left", at)
    assert (image == 100).all()
    rows, columns = np.nonzero((drawn != image).any(-1))
    # A light plate with dark letters on it, whole wherever the point is.
    assert np.ptp(rows) + 1 == pytest.approx(0.7 * 2 * 11, abs=2)
    assert np.ptp(columns) > np.ptp(rows)
    assert (drawn[rows, columns] > 200).any()
    assert (drawn[rows, columns] < 90).any()
    if at == (150.0, 100.0):
        assert columns.mean() == pytest.approx(150, abs=2)
        assert rows.min() > 100
