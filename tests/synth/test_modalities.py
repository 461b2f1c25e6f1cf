import json

import numpy as np
import pytest
import torch

from auxhand.data.background import Backgrounds
from auxhand.data.columns import PARTS, decode_image
from auxhand.geometry.camera import project
from auxhand.geometry.canonical import rotate
from auxhand.geometry.heatmap import argmax_subpixel, cells_to_pixels
from auxhand.geometry.pose25d import relative
from auxhand.hand.skeleton import FINGERS, ROOT, TIPS
from auxhand.synth.config import FactorConfig
from auxhand.synth.distributions import sample_factors
from auxhand.synth.factors import Factors
from auxhand.synth.factory import render_factors
from auxhand.synth.modalities import VOXEL_SIDE, render_hand

SIZE = 96


def factors(**fixed):
    pose = {"angles": [0.0] * 45}
    view = {"roll": 0.0, "pitch": 0.0, "yaw": 0.0}
    return sample_factors(FactorConfig(fixed={"pose": pose, "view": view, **fixed}), 0, 0)


@pytest.fixture(scope="module")
def hand():
    """The flat palm of a raised right hand, which hides nothing of itself."""
    return render_hand(factors(side="right"), SIZE)


def test_parts_cover_the_mask_and_lie_where_the_joints_are(hand):
    np.testing.assert_array_equal(hand.parts > 0, hand.rendering.mask)
    assert set(np.unique(hand.parts)) == set(range(len(PARTS)))
    for name, chain in FINGERS.items():
        for joint in chain[1:]:
            u, v = hand.labels.joints_uv[joint].round().astype(int)
            assert PARTS[hand.parts[v, u]] == name
    u, v = hand.labels.joints_uv[ROOT] * 0.6 + hand.labels.joints_uv[0] * 0.4
    assert PARTS[hand.parts[round(v), round(u)]] == "palm"
    below = hand.parts[int(hand.labels.joints_uv[0, 1]) + 8 :]
    assert set(np.unique(below)) <= {0, PARTS.index("arm")}


def test_the_mesh_projects_into_the_mask(hand):
    uv = project(torch.from_numpy(hand.labels.K), torch.from_numpy(hand.scene.vertices).double())
    u, v = uv.round().long().T.numpy()
    inside = (u >= 1) & (u < SIZE - 1) & (v >= 1) & (v < SIZE - 1)
    near = hand.rendering.mask | np.roll(hand.rendering.mask, 1, 0)
    for shift, axis in ((-1, 0), (1, 1), (-1, 1)):
        near |= np.roll(hand.rendering.mask, shift, axis)
    assert near[v[inside], u[inside]].mean() > 0.995


def test_clouds_are_points_of_the_visible_hand(hand):
    surface = hand.surface()
    assert len(surface) == ((hand.parts > 0) & (hand.parts != PARTS.index("arm"))).sum()
    assert len(hand.surface(arm=True)) == hand.rendering.mask.sum()
    spread, drawn = hand.cloud(), hand.cloud(spread=False)
    for cloud in (spread, drawn):
        assert cloud.shape == (256, 3)
        # A product of matrices would round distances to 1e-8.
        exact = "donot_use_mm_for_euclid_dist"
        assert torch.cdist(cloud, surface, compute_mode=exact).amin(1).max() < 1e-9

    def gaps(cloud):
        return torch.cdist(surface, cloud).amin(1).max()

    assert gaps(spread) < 0.8 * gaps(drawn)
    assert torch.equal(hand.cloud(seed=3), hand.cloud(seed=3))
    assert not torch.equal(drawn, hand.cloud(spread=False, seed=1))


def test_heatmaps_peak_at_the_joints(hand):
    maps = hand.heatmaps(size=32, sigma=1.5)
    found = cells_to_pixels(argmax_subpixel(maps), SIZE / 32)
    torch.testing.assert_close(found, torch.from_numpy(hand.labels.joints_uv), atol=1e-6, rtol=0)


def test_voxels_hold_the_visible_fingertips(hand):
    grid = hand.voxels(32)
    offset = hand.labels.joints_xyz[list(TIPS)] - hand.labels.joints_xyz[ROOT]
    for x, y, z in np.floor(offset / VOXEL_SIDE * 32 + 16).astype(int):
        assert grid[x - 1 : x + 2, y - 1 : y + 2, z - 1 : z + 2].any()
    assert 0 < grid.sum() <= len(hand.surface())


def test_canonical_pose_is_the_same_for_every_view_and_both_sides(hand):
    pose, viewpoint = hand.canonical()
    xyz = torch.from_numpy(hand.labels.joints_xyz)
    torch.testing.assert_close(rotate(viewpoint, pose), relative(xyz))
    other = {"roll": 1.0, "pitch": -0.4, "yaw": 2.0}
    turned = render_hand(factors(side="right", view=other), 32)
    mirrored = render_hand(factors(side="left", view=other), 32)
    torch.testing.assert_close(turned.canonical()[0], pose)
    torch.testing.assert_close(mirrored.canonical()[0], pose)
    torch.testing.assert_close(mirrored.canonical()[1], turned.canonical()[1])


def test_a_row_gives_back_the_hand_that_it_was_made_from():
    made = sample_factors(FactorConfig(), 5, 1)
    row = render_factors(made, 48, Backgrounds())
    again = render_hand(Factors.from_dict(json.loads(row["factors"])), 48)
    np.testing.assert_array_equal(decode_image(row["rgba"], channels=4), again.rendering.rgba)
    np.testing.assert_array_equal(decode_image(row["parts"])[..., 0], again.parts)
