import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from auxhand.data.augment import answerable, presence
from auxhand.data.columns import encode_depth, encode_jpeg
from auxhand.data.crops import (
    FRACTION,
    CropRule,
    crop_labels,
    evaluation_crop,
    place_crop,
    upright_angle,
)
from auxhand.data.stored import Stored
from auxhand.geometry.camera import project, unproject
from auxhand.geometry.crop import mirror_xyz, uv_box
from auxhand.geometry.warp import warp, warp_depth
from auxhand.sample import HandSample

PLAIN = CropRule(view="plain")


def stored(row):
    return Stored(row).sample


@settings(max_examples=25, deadline=None)
@given(
    index=st.integers(0, 5),
    angle=st.floats(-math.pi, math.pi),
    fraction=st.floats(0.3, 1.2),
    shift=st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3)),
    view=st.sampled_from(["corrected", "labels", "plain"]),
)
def test_crops_are_placed_as_asked_and_keep_the_invariant(
    hand_row, index, angle, fraction, shift, view
):
    sample = stored(hand_row(index))
    crop = place_crop(sample, 96, CropRule("joints", fraction, view), angle, shift)
    labels = crop_labels(sample, crop)
    back = project(labels.K, labels.joints_xyz)
    torch.testing.assert_close(back, labels.joints_uv, atol=1e-6, rtol=0)
    assert crop.mirrored == (sample.side == "left")
    if view != "corrected":  # a plain crop is an exact similarity
        box = uv_box(labels.joints_uv)
        assert float(box[2:].max()) == pytest.approx(fraction * 96, abs=1e-6)
        middle = (box[:2] + box[2:] / 2 - 47.5) / 96
        expected = [-shift[0] if crop.mirrored else shift[0], shift[1]]
        np.testing.assert_allclose(middle, expected, atol=1e-9)


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_upright_angle_turns_the_middle_finger_up(hand_row, index):
    sample = stored(hand_row(index))
    crop = place_crop(sample, 64, PLAIN, upright_angle(sample.joints_uv))
    uv = crop.uv_to_crop(sample.joints_uv)
    assert abs(float(uv[9, 0] - uv[0, 0])) < 1e-6
    assert uv[9, 1] < uv[0, 1]


def spread(center, share, size=100):
    """Joints on a circle: their box takes `share` of the crop."""
    t = torch.arange(21) * (2 * math.pi / 20)
    return torch.stack([t.cos(), t.sin()], -1) * share * size / 2 + torch.tensor(center)


@pytest.mark.parametrize(
    ("center", "share", "expected"),
    [
        ((49.5, 49.5), 0.7, 1.0),
        ((49.5, 49.5), 0.4, 1.0),
        ((49.5, 49.5), 0.3, None),  # between too small and large enough
        ((49.5, 49.5), 0.2, 0.0),
        ((49.5, 49.5), 1.3, 0.0),  # more than half of the circle is outside
        ((49.5, 49.5), 1.7, 0.0),
        ((90.0, 49.5), 0.4, None),  # most, but not nearly all joints inside
        ((103.0, 49.5), 0.7, 0.0),  # more than half outside
        ((200.0, 49.5), 0.7, 0.0),
    ],
)
def test_presence_says_what_a_crop_is_about(center, share, expected):
    assert presence(spread(center, share), 100) == expected


def test_joints_outside_are_invalid_in_training_alone(hand_row):
    sample = stored(hand_row(0))
    crop = place_crop(sample, 100, CropRule(fraction=0.6), 0.0, (0.45, 0.0))
    whole = crop_labels(sample, crop)
    assert whole.joint_valid.all()  # where nothing is to be learnt from them, they count
    labels = answerable(whole)
    uv = labels.joints_uv
    outside = (uv < -2.5) | (uv > 101.5)
    assert outside.any()
    assert torch.equal(labels.joint_valid, ~outside.any(-1))
    untrusted = torch.zeros(21, dtype=torch.bool)
    doubtful = HandSample(joints_uv=sample.joints_uv, joint_valid=untrusted)
    labels = answerable(crop_labels(doubtful, place_crop(sample, 100)))
    assert not labels.joint_valid.any()


@pytest.mark.parametrize("scale", [0.4, 1.0, 2.3])
def test_drawn_markers_follow(hand_row, scale):
    sample = stored(hand_row(2))
    y, x = np.mgrid[:128, :128]
    for joint in (0, 4, 12, 20):
        u, v = sample.joints_uv[joint].tolist()
        drawn = np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 2.0**2)).astype(np.float32)
        crop = place_crop(sample, round(64 * scale), angle=0.4)
        seen = warp(drawn, crop)
        weight = np.maximum(seen - 0.02, 0)
        at_y, at_x = np.mgrid[: seen.shape[0], : seen.shape[1]]
        found = [(weight * at_x).sum() / weight.sum(), (weight * at_y).sum() / weight.sum()]
        expected = crop.uv_to_crop(sample.joints_uv)[joint]
        np.testing.assert_allclose(found, expected, atol=0.15)


def test_shrinking_does_not_alias(hand_row):
    sample = stored(hand_row(0, size=256))
    y, x = np.mgrid[:256, :256]
    checks = ((x + y) % 2).astype(np.float32)
    crop = place_crop(sample, 40, replace(PLAIN, fraction=0.6), 0.2)
    corners = crop.uv_to_original(torch.tensor([[0.0, 0.0], [39.0, 39.0]], dtype=torch.float64))
    inside = warp(checks, crop)[10:30, 10:30]
    assert (corners[1] - corners[0]).norm() > 150
    assert np.abs(inside - 0.5).max() < 0.1


def test_depth_is_along_the_new_axis(hand_row):
    sample = stored(hand_row(2))
    flat = np.full((128, 128), 0.4, np.float32)  # a wall that faces the original camera
    crop = place_crop(sample, 48, CropRule(fraction=0.8), 0.7, (0.1, 0.0))
    z = torch.from_numpy(warp_depth(flat, crop)).double()
    v, u = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    uv = torch.stack([u, v], -1).reshape(-1, 2).double()
    xyz = crop.xyz_to_original(unproject(crop.K, uv, z.reshape(-1)))
    shown = z.reshape(-1) > 0
    assert shown.float().mean() > 0.8
    assert z[z > 0].std() > 1e-3  # no longer constant: the camera looks elsewhere
    torch.testing.assert_close(xyz[shown, 2], torch.full_like(xyz[shown, 2], 0.4))


def test_evaluation_crop_of_a_rendered_and_of_a_real_row(hand_row):
    for index, rgba in ((0, True), (1, False)):
        sample = stored(hand_row(index, rgba=rgba))
        crop = evaluation_crop(sample, 96)
        assert crop.image.shape == (3, 96, 96)
        assert crop.image.dtype == torch.float32
        assert float(crop.image.min()) >= 0
        assert float(crop.image.max()) <= 1
        assert set(crop.mask.unique().tolist()) == {0.0, 1.0}
        share = float(uv_box(crop.joints_uv)[2:].max()) / 96
        assert share == pytest.approx(FRACTION, rel=0.1)
        assert crop.joint_valid.all()
        torch.testing.assert_close(
            project(crop.K, crop.joints_xyz), crop.joints_uv, atol=1e-3, rtol=0
        )
        torch.testing.assert_close(crop.crop.uv_to_original(crop.joints_uv), sample.joints_uv)
        joints = crop.joints_uv.round().long()
        assert crop.mask[joints[:, 1], joints[:, 0]].mean() > 0.9
        assert (crop.depth > 0)[crop.mask > 0].float().mean() > 0.9
        again = evaluation_crop(sample, 96)
        assert torch.equal(again.image, crop.image)


def test_a_left_hand_is_the_mirrored_right_hand(hand_row):
    right = stored(hand_row(0, side="right"))
    (fx, skew, cx), (_, fy, cy), _ = right.K.tolist()
    left = HandSample(
        image=right.image.flip(-1),
        mask=right.mask.flip(-1),
        K=torch.tensor([[fx, -skew, 127 - cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]),
        side="left",
        joints_uv=torch.stack([127 - right.joints_uv[:, 0], right.joints_uv[:, 1]], dim=1),
        joints_xyz=mirror_xyz(right.joints_xyz),
    )
    a, b = evaluation_crop(right, 80), evaluation_crop(left, 80)
    for name in ("joints_uv", "joints_xyz", "K"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name))
    torch.testing.assert_close(a.image, b.image, atol=0.01, rtol=0)
    assert (a.mask - b.mask).abs().mean() < 1e-3
    assert (a.side, b.side) == ("right", "left")


@pytest.mark.parametrize("side", ["right", "left"])
def test_mano_turns_with_the_camera(side):
    rng = np.random.default_rng(4)
    K = torch.tensor([[150.0, 0, 60], [0, 150, 50], [0, 0, 1]], dtype=torch.float64)
    xyz = torch.from_numpy(rng.normal([0.1, 0.05, 0.5], 0.04, (21, 3)))
    angles = rng.normal(0, 0.7, (16, 3))
    mano = torch.from_numpy(np.concatenate([angles.ravel(), rng.normal(size=10)]))
    sample = HandSample(K=K, side=side, joints_xyz=xyz, joints_uv=project(K, xyz), mano=mano)
    crop = place_crop(sample, 64, angle=0.4)
    turned = crop_labels(sample, crop).mano
    assert crop.mirrored == (side == "left")
    torch.testing.assert_close(turned[48:], mano[48:])
    # A chain of two joints of a model, and its mirror image as the model of the other side.
    mirror = np.diag([-1.0, 1, 1]) if side == "left" else np.eye(3)
    offset, point = rng.normal(size=(2, 3))

    def posed(parameters, flip):
        whole, joint = (
            Rotation.from_rotvec(parameters[3 * i : 3 * i + 3]).as_matrix() for i in (0, 1)
        )
        return whole @ (flip @ offset + joint @ (flip @ point))

    before, after = posed(mano.numpy(), np.eye(3)), posed(turned.numpy(), mirror)
    np.testing.assert_allclose(after, crop.R.numpy() @ before, atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 0.6])
def test_crops_by_the_mask(angle):
    mask = torch.zeros(60, 80)
    mask[20:31, 30:51] = 1  # 21 x 11 pixels, their edges at 29.5, 50.5 and 19.5, 30.5
    mask[25, 52] = 1  # and one beside them
    far = HandSample(mask=mask, joints_uv=torch.full((21, 2), 5.0), side="right")
    crop = place_crop(far, 40, CropRule("mask", 0.8), angle)
    corners = torch.tensor(
        [[29.5, 19.5], [29.5, 30.5], [50.5, 19.5], [50.5, 30.5], [52.5, 24.5], [52.5, 25.5]],
        dtype=torch.float64,
    )
    box = uv_box(crop.uv_to_crop(corners))
    torch.testing.assert_close(box[:2] + box[2:] / 2, torch.full((2,), 19.5).double())
    assert float(box[2:].max()) == pytest.approx(0.8 * 40)
    empty = replace(far, mask=torch.zeros(60, 80))
    joints = place_crop(empty, 40, CropRule("mask", 0.8)).uv_to_crop(far.joints_uv)
    torch.testing.assert_close(joints, torch.full((21, 2), 19.5))


def test_without_joints_the_whole_image_is_the_crop(hand_row):
    row = {"index": 3, "image": encode_jpeg(np.full((50, 50, 3), 90, np.uint8))}
    crop = evaluation_crop(stored(row), 25).crop
    np.testing.assert_allclose(crop.A, [[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]], atol=1e-9)
    with pytest.raises(ValueError, match="no image to crop"):
        evaluation_crop(stored({"index": 3, "depth": encode_depth(np.ones((2, 2)))}), 25)
    with pytest.raises(ValueError, match="neither joints nor an image"):
        place_crop(HandSample(), 25)


@pytest.mark.parametrize("index", [2, 3])
def test_the_three_viewpoints(hand_row, index):
    """The dissertation's variant turns points as the correction does, and leaves the image alone;
    without correction they turn about the camera's axis alone."""
    sample = stored(hand_row(index))
    corrected, labels, plain = (
        place_crop(sample, 64, CropRule(view=view), 0.5, (0.1, 0.0))
        for view in ("corrected", "labels", "plain")
    )
    assert torch.equal(labels.A, plain.A)
    torch.testing.assert_close(labels.R, corrected.R)
    back = Rotation.from_matrix(plain.R.numpy() @ np.diag([-1 if plain.mirrored else 1, 1, 1]))
    np.testing.assert_allclose(back.as_rotvec(), [0, 0, -0.5 if plain.mirrored else 0.5], atol=1e-9)
    # What the camera looks at is the crop's centre only where it was turned there.
    middle = torch.tensor([[31.5, 31.5]], dtype=torch.float64)
    for crop, turned in ((corrected, True), (labels, True), (plain, False)):
        ray = unproject(crop.K, middle, torch.ones(1, dtype=torch.float64))[0]
        assert bool(ray[:2].norm() < 1e-9) == turned
