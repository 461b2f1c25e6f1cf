from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auxhand.data import augment as augmenting
from auxhand.data.augment import Contents, generator
from auxhand.data.background import Backgrounds
from auxhand.data.cloud import surface
from auxhand.data.columns import decode_mask, encode_png
from auxhand.data.crops import CropRule
from auxhand.data.photometric import Photometric, cast_shadow, light_hand, occlude, take_picture
from auxhand.data.stored import Stored
from auxhand.data.strengths import EASY, HARD, Augmentation
from auxhand.geometry.camera import project
from auxhand.geometry.crop import uv_box
from auxhand.sample import HandSample

PLAIN = Backgrounds(distractor_share=0.0)
OFF = Photometric()
"""No change of light, no obstacles, no camera."""
BARE = replace(HARD, absent_share=0.0, misplaced_share=0.0, other_side_share=0.0, photometric=OFF)
"""Hard geometry alone."""


def augment(row, size, rng, strengths, backgrounds, where="", **contents):
    """`auxhand.data.augment.augment` of a row."""
    stored = Stored(row, where)
    return augmenting.augment(stored, size, rng, strengths, backgrounds, Contents(**contents))


@settings(max_examples=40, deadline=None)
@given(
    index=st.integers(0, 7),
    visit=st.integers(0, 10**6),
    difficulty=st.floats(0, 1),
    size=st.sampled_from([33, 64]),
)
def test_labels_stay_exact(hand_row, index, visit, difficulty, size):
    row = hand_row(index)
    strengths = replace(
        Augmentation.at(difficulty), absent_share=0.0, misplaced_share=0.2, other_side_share=0.0
    )
    sample = augment(row, size, generator(1, visit, index), strengths, PLAIN, depth=True)
    assert sample.image.shape == (3, size, size)
    assert sample.image.dtype == torch.float32
    assert 0 <= float(sample.image.min()) <= float(sample.image.max()) <= 1
    assert sample.mask.shape == (size, size)
    if sample.joints_uv is None:
        assert float(sample.presence) == 0
        assert sample.joints_xyz is None
        return
    uv = project(sample.K, sample.joints_xyz)
    torch.testing.assert_close(uv, sample.joints_uv, atol=1e-3, rtol=0)
    original = torch.tensor(row["joints_uv"], dtype=torch.float64).view(21, 2)
    torch.testing.assert_close(sample.crop.uv_to_original(sample.joints_uv), original)
    assert sample.crop.mirrored == (row["side"] == "left")
    assert sample.side == row["side"]
    assert sample.depth.shape == (size, size)


def test_a_dot_drawn_at_a_joint_is_found_there(hand_row):
    row = dict(hand_row(4))
    for joint in (0, 8, 16):
        u, v = np.reshape(row["joints_uv"], (21, 2))[joint]
        dot = np.zeros((128, 128, 4), np.uint8)
        dot[..., :3] = 255
        y, x = np.mgrid[:128, :128]
        dot[..., 3] = (255 * np.clip(5 - np.hypot(x - u, y - v), 0, 1)).astype(np.uint8)
        row["rgba"] = encode_png(dot)
        row["mask"] = encode_png((dot[..., 3] > 127) * np.uint8(255))
        for visit in range(12):
            sample = augment(row, 96, generator(0, visit, 4), BARE, PLAIN)
            if sample.joints_uv is None or not sample.joint_valid[joint]:
                continue
            at_y, at_x = np.nonzero(sample.mask.numpy())
            if not 4 < at_x.min() <= at_x.max() < 91 or not 4 < at_y.min() <= at_y.max() < 91:
                continue  # cut by the edge
            found = [at_x.mean(), at_y.mean()]
            np.testing.assert_allclose(found, sample.joints_uv[joint], atol=0.4)


def test_hand_comes_before_the_background_without_a_fringe(hand_row):
    """A grey hand whose transparent pixels are pure green: none of the green may show."""
    row = dict(hand_row(0))
    cut = np.zeros((128, 128, 4), np.uint8)
    cut[:] = (0, 255, 0, 0)
    cv2.circle(cut, (64, 64), 30, (128, 128, 128, 255), -1)
    row["rgba"], row["mask"] = encode_png(cut), None

    class White(Backgrounds):
        def sample(self, rng, size):
            return np.ones((*size, 3), np.float32)

    sample = augment(row, 48, generator(0, 0, 0), replace(BARE, upright_share=0.0), White())
    red, green, blue = sample.image
    assert float((green - red).abs().max()) < 0.02
    assert float((green - blue).abs().max()) < 0.02
    assert float(red.min()) == pytest.approx(128 / 255, abs=0.01)


def test_a_visit_is_a_function_of_seed_visit_and_index(hand_row):
    row, source = hand_row(1), Backgrounds()

    def picture(*key):
        return augment(row, 48, generator(*key), HARD, source).image

    assert torch.equal(picture(0, 1, 2), picture(0, 1, 2))
    others = [picture(1, 1, 2), picture(0, 2, 2), picture(0, 1, 3)]
    assert not any(torch.equal(picture(0, 1, 2), other) for other in others)


def test_presence_and_labels_go_together(hand_row):
    strengths = replace(
        HARD, absent_share=0.3, misplaced_share=0.3, other_side_share=0.0, photometric=OFF
    )
    kinds = {"hand": 0, "none": 0, "undecided": 0}
    for visit in range(150):
        sample = augment(hand_row(visit % 4), 32, generator(0, visit, 0), strengths, PLAIN)
        if sample.presence is None:
            kinds["undecided"] += 1
            assert sample.joints_uv is not None
        elif sample.presence == 1:
            kinds["hand"] += 1
            assert sample.joint_valid.sum() >= 16
        else:
            kinds["none"] += 1
            assert sample.joints_uv is None
            assert sample.joints_xyz is None
            assert sample.K is None
    assert 45 <= kinds["hand"] <= 80
    assert 55 <= kinds["none"] <= 95
    assert kinds["undecided"] <= 25


def test_a_hand_mirrored_the_wrong_way_is_no_hand(hand_row):
    for visit in range(8):
        right = augment(hand_row(visit), 64, generator(0, visit, 0), BARE, PLAIN)
        swapped = replace(BARE, other_side_share=1.0)
        wrong = augment(hand_row(visit), 64, generator(0, visit, 0), swapped, PLAIN)
        assert right.presence == 1
        assert wrong.presence == 0
        assert wrong.joints_uv is None
        assert wrong.mask.sum() > 100
        assert wrong.crop.mirrored != right.crop.mirrored


def test_a_network_that_says_sides_learns_them_from_hands_mirrored_the_wrong_way(hand_row):
    for visit in range(8):
        row = hand_row(visit)
        wrong, right = (
            augment(row, 64, generator(0, visit, 0), strengths, PLAIN, sides=True)
            for strengths in (replace(BARE, other_side_share=1.0), BARE)
        )
        assert wrong.presence == 1
        assert wrong.side == row["side"]
        assert HandSample.collate([wrong]).shown_left
        assert wrong.joints_uv is None
        assert not HandSample.collate([right]).shown_left
        assert right.joints_uv is not None


def test_difficulty_lies_between_easy_and_hard():
    assert Augmentation.at(0) == EASY
    assert Augmentation.at(1) == HARD
    middle = Augmentation.at(0.5)
    assert middle.rotation == pytest.approx((EASY.rotation + HARD.rotation) / 2)
    assert middle.photometric.blur == pytest.approx(
        (EASY.photometric.blur + HARD.photometric.blur) / 2
    )
    with pytest.raises(ValueError, match="difficulty"):
        Augmentation.at(2)


def test_easy_hands_are_upright_and_take_the_stated_share(hand_row):
    easy = replace(
        EASY, absent_share=0.0, misplaced_share=0.0, other_side_share=0.0, photometric=OFF
    )
    tilts, shares = [], []
    for visit in range(60):
        sample = augment(hand_row(visit % 8), 64, generator(0, visit, 0), easy, PLAIN)
        x, y = (sample.joints_uv[9] - sample.joints_uv[0]).tolist()
        tilts.append(np.degrees(np.arctan2(x, -y)))
        shares.append(float((sample.joints_uv.amax(0) - sample.joints_uv.amin(0)).max()) / 64)
    assert np.std(tilts) == pytest.approx(12, rel=0.35)
    assert 0.4 < min(shares) < max(shares) < 1.0


def test_real_rows_are_cropped_as_they_are(hand_row):
    row = hand_row(2, rgba=False)
    sample = augment(row, 64, generator(0, 3, 2), BARE, PLAIN)
    assert sample.mask.sum() > 50
    assert sample.joints_uv is not None
    bare = {"index": 0, "image": row["image"], "presence": 1.0}
    unlabelled = augment(bare, 64, generator(0, 3, 2), BARE, PLAIN)
    assert unlabelled.joints_uv is None
    assert float(unlabelled.presence) == 1
    assert unlabelled.mask is None


def test_what_is_not_asked_for_is_not_decoded(hand_row):
    stored = Stored(hand_row(3))
    augmenting.augment(stored, 48, generator(0, 0, 3), BARE, PLAIN, Contents())
    assert "depth" not in stored.__dict__
    augmenting.augment(stored, 48, generator(0, 0, 3), BARE, PLAIN, Contents(depth=True))
    assert "depth" in stored.__dict__


def test_bad_rows_are_named(hand_row):
    row = dict(hand_row(5), rgba=b"no picture")
    with pytest.raises(ValueError, match="somewhere, row 5, column 'rgba'"):
        augment(row, 32, generator(0, 0, 0), BARE, PLAIN, where="somewhere")
    row = dict(hand_row(5), rgba=None, image=None)
    row = row | {"mask": None, "depth": None, "joints_uv": None, "source": "here"}
    with pytest.raises(ValueError, match="here: neither joints nor an image"):
        augment(row, 32, generator(0, 0, 0), BARE, PLAIN)


def test_a_row_without_an_image_has_the_rest(hand_row):
    row = hand_row(3) | {"rgba": None, "image": None}
    for without in ({}, {"mask": None}):
        sample = augment(row | without, 48, generator(0, 1, 3), BARE, PLAIN, cloud_points=40)
        assert sample.image is None
        assert sample.joints_xyz is not None
        assert sample.cloud.shape == (40, 3)  # without a mask those near the joints
    alone = augment(row | {"mask": None, "depth": None}, 48, generator(0, 1, 3), BARE, PLAIN)
    assert alone.joints_xyz is not None  # a pose is enough


def test_a_weakly_labelled_row_gives_nothing_of_its_pose_away(hand_row):
    """Neither in what it holds nor in where its crop lies (Fig. 5.8)."""
    strengths = replace(BARE, rotation=20.0, upright_share=0.0, translation=0.05)
    moved = {"joints_uv": [7.0] * 42, "joints_xyz": [1.0] * 63, "joint_valid": [False] * 21}
    contents = Contents(depth=True, cloud_points=50, crop=CropRule("mask", 0.8))
    told = ("K", "side", "presence", "mask", "depth", "cloud")
    for visit in range(5):

        def picture(stored, visit=visit):
            return augmenting.augment(
                stored, 48, generator(0, visit, 3), strengths, PLAIN, contents
            )

        weak, other = (
            picture(Stored(row).telling(told)) for row in (hand_row(3), hand_row(3) | moved)
        )
        for name in ("joints_uv", "joints_xyz", "joint_valid", "joint_visible", "mano"):
            assert getattr(weak, name) is None
        for name in ("image", "mask", "depth", "cloud", "K"):
            assert torch.equal(getattr(weak, name), getattr(other, name))
        labelled = picture(Stored(hand_row(3)))
        assert torch.equal(labelled.cloud, weak.cloud)  # it is the same picture otherwise
        assert torch.equal(labelled.image, weak.image)
        assert labelled.joints_xyz is not None


def test_clouds_and_poses_turn_with_the_image(hand_row):
    """Points of the surface lie on the hand in the picture, whatever the viewpoint."""
    strengths = replace(BARE, any_rotation_share=1.0)
    for view in ("corrected", "labels", "plain"):
        for visit in range(4):
            sample = augment(
                hand_row(4),
                64,
                generator(0, visit, 4),
                strengths,
                PLAIN,
                cloud_points=200,
                crop=CropRule("mask", view=view),
            )
            torch.testing.assert_close(
                project(sample.K, sample.joints_xyz), sample.joints_uv, atol=1e-3, rtol=0
            )
            u, v = project(sample.K, sample.cloud).round().long().clamp(0, 63).T
            assert sample.mask[v, u].mean() > 0.85


def test_obstacles_hide_joints_and_mask(hand_row):
    strengths = replace(BARE, photometric=replace(OFF, occluder_share=1.0))
    hidden = 0
    for visit in range(20):
        key = generator(0, visit, 0), generator(0, visit, 0)
        clear = augment(hand_row(0), 64, key[0], BARE, PLAIN)
        covered = augment(hand_row(0), 64, key[1], strengths, PLAIN)
        if clear.joints_uv is None:
            continue
        torch.testing.assert_close(clear.joints_uv, covered.joints_uv)
        assert (covered.mask <= clear.mask).all()
        gone = clear.joint_visible & ~covered.joint_visible
        hidden += int(gone.sum())
    assert hidden > 5


def test_nothing_changes_with_all_strengths_at_zero():
    rng = np.random.default_rng(0)
    image = rng.random((20, 20, 3), np.float32)
    cut = rng.random((20, 20, 4), np.float32)
    np.testing.assert_allclose(take_picture(image, rng, OFF), image, atol=1e-5)
    np.testing.assert_allclose(light_hand(cut, rng, OFF), cut, atol=1e-6)
    assert cast_shadow(image, cut[..., 3], rng, OFF) is image
    before = image.copy()
    assert not occlude(image, rng, OFF).any()
    assert np.array_equal(image, before)


def test_light_on_a_hand_is_a_gain_that_changes_evenly():
    white = np.full((48, 80, 4), 255, np.uint8)
    white[..., 3] = 51
    dim = replace(OFF, hand_tint=0.1, gradient_share=1.0, gradient=0.4)
    dark = white // np.array([4, 4, 4, 1], np.uint8)
    for seed in range(5):
        lit = light_hand(dark, np.random.default_rng(seed), dim)
        np.testing.assert_allclose(lit[..., 3], 0.2, atol=1e-6)
        # As OpenCV enlarges the corners' gains, one for each channel.
        corners = lit[[0, 0, -1, -1], [0, -1, 0, -1], :3].reshape(2, 2, 3)
        expected = cv2.resize(corners, (80, 48), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(lit[..., :3], expected, atol=1e-5)
        assert np.ptp(corners[..., 0]) > 0.01
    bright = light_hand(white, np.random.default_rng(0), replace(OFF, hand_gain=3.0))
    assert bright.max() <= 1


def test_a_shadow_darkens_what_lies_behind_and_nothing_else():
    rng = np.random.default_rng(0)
    alpha = np.zeros((60, 60), np.float32)
    alpha[20:40, 20:40] = 1
    white = np.ones((60, 60, 3), np.float32)
    shaded = cast_shadow(white, alpha, rng, replace(OFF, shadow_share=1.0))
    assert shaded.max() <= 1
    assert 0.2 <= shaded[30, 30, 0] <= 0.8
    assert shaded[0, 0, 0] == 1


def test_a_thing_in_the_cut_out_is_no_hand(hand_row):
    row = dict(hand_row(0))
    mask = decode_mask(row["mask"])
    half = (mask > 0) & (np.arange(128) < np.median(np.nonzero(mask)[1]))
    row["mask"] = encode_png(half.astype(np.uint8) * 255)
    whole = augment(hand_row(0), 96, generator(0, 1, 0), BARE, PLAIN)
    part = augment(row, 96, generator(0, 1, 0), BARE, PLAIN)
    assert torch.equal(part.image, whole.image)
    assert 0.3 < float(part.mask.sum() / whole.mask.sum()) < 0.7
    assert (part.mask <= whole.mask).all()


def test_clouds_lie_on_the_hand_and_turn_with_the_crop(hand_row):
    row = hand_row(0, side="left")
    whole = surface(Stored(row))
    never = replace(EASY, absent_share=0.0, misplaced_share=0.0, other_side_share=0.0)
    first, second = (
        augment(row, 48, generator(0, visit), never, Backgrounds(), cloud_points=30)
        for visit in (1, 2)
    )
    assert first.cloud.shape == (30, 3)
    back = first.crop.xyz_to_original(first.cloud)
    assert torch.cdist(back, whole).amin(1).max() < 1e-7
    assert len(torch.unique(back, dim=0)) == 30
    chosen = {tuple(point.round(decimals=6).tolist()) for point in back}
    again = second.crop.xyz_to_original(second.cloud)
    assert len(chosen & {tuple(point.round(decimals=6).tolist()) for point in again}) < 30
    without = augment(row, 48, generator(0, 1), never, Backgrounds())
    assert without.cloud is None
    assert torch.equal(without.image, first.image)


def test_translation_is_uniform_and_as_large_as_stated(hand_row):
    row = hand_row(0, rgba=False)
    still = replace(
        EASY,
        **dict.fromkeys(("absent_share", "misplaced_share", "other_side_share", "shift"), 0.0),
        rotation=0.0,
        translation=0.1,
    )
    moved = []
    for visit in range(200):
        sample = augment(row, 50, generator(3, visit), still, Backgrounds())
        box = uv_box(sample.joints_uv)
        moved.append((box[:2] + box[2:] / 2 - 24.5) / 50)
    moved = torch.stack(moved)
    assert moved.abs().max() < 0.115  # view correction moves a box's middle a little
    np.testing.assert_allclose(moved.std(0), 0.1 / 3**0.5, rtol=0.15)


def test_a_share_of_the_crops_is_as_in_evaluation(hand_row):
    turned = replace(BARE, any_rotation_share=1.0, translation=0.05, still_share=0.4)
    row, rule = hand_row(0), CropRule("joints", 0.7, "plain")
    still = augment(row, 64, generator(0), Augmentation(), PLAIN, crop=rule).joints_uv
    found = [augment(row, 64, generator(i), turned, PLAIN, crop=rule) for i in range(200)]
    same = [torch.allclose(sample.joints_uv, still) for sample in found]
    assert sum(same) / len(same) == pytest.approx(0.4, abs=0.1)
