"""The estimator with an oracle: a network that reads from a crop's pixels where they come from.

The photo's red and green are its coordinates, its blue marks the hand; so the oracle can answer for
any crop, warped and mirrored as it may be, and what comes back must be what it had been told.
"""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from auxhand.data.crops import square_crop
from auxhand.geometry.camera import (
    intrinsics_from_focal,
    intrinsics_from_fov,
    project,
    rays,
    rotation_to_axis,
)
from auxhand.geometry.pose25d import reference_length
from auxhand.hand.anatomy import bone_lengths
from auxhand.hand.surface import HandSurface
from auxhand.inference import bundle as module
from auxhand.inference.bundle import Bundle
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.inference.finder import FoundHand
from auxhand.inference.looks import STAGES
from auxhand.inference.prediction import FLESH, prediction_from
from auxhand.models.cpn import FeaturePyramid
from auxhand.models.detector import HandDetector
from auxhand.models.heads import Integral, Latent25D
from auxhand.models.pose_net import PoseNet
from auxhand.sample import HandPose

WIDTH, HEIGHT, SIZE = 320, 240, 64
HAND = HandSurface("right")
HAND_SIZE = float(reference_length(HAND.rest_joints.double()))
K = intrinsics_from_focal(280.0, WIDTH, HEIGHT).double()


def hand(left=False, place=(-0.06, 0.05, 0.5), tilt=(0.3, -0.2, 1.0)):
    """(21, 3) joints of the mean hand, turned, in front of the camera."""
    centred = HAND.rest_joints.double() - HAND.rest_joints[9].double()
    if left:
        centred = centred * torch.tensor([-1.0, 1.0, 1.0])
    turn = rotation_to_axis(torch.tensor(tilt, dtype=torch.float64))
    return centred @ turn.T + torch.tensor(place, dtype=torch.float64)


def photo(uv):
    """A photo that holds its own coordinates, and the box of the hand in blue."""
    v, u = np.indices((HEIGHT, WIDTH))
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0], image[..., 1] = np.round(u * 0.75), v
    (left, top), (right, bottom) = uv.min(0).values.int(), uv.max(0).values.int()
    image[max(0, top) : bottom, max(0, left) : right, 2] = 255
    return image


def locate(source, u, v, target):
    """Where in a crop the photo's pixel `target` is: near (u, v), by a plane through colours."""
    reach = 3
    u, v = (min(max(x, reach), source.shape[-1] - 1 - reach) for x in (u, v))
    patch = source[:, v - reach : v + reach + 1, u - reach : u + reach + 1]
    step = torch.arange(-reach, reach + 1, dtype=patch.dtype)
    norm = step.square().sum() * len(step)
    slopes = [(patch * step).sum((1, 2)) / norm, (patch * step[:, None]).sum((1, 2)) / norm]
    jacobian = torch.stack(slopes, -1)
    if jacobian.det().abs() < 1e-3:  # beyond the photo, or another one
        return torch.tensor([u, v], dtype=patch.dtype)
    shift = torch.linalg.solve(jacobian, target - patch.mean((1, 2)))
    return torch.tensor([u, v]) + shift.clamp(-2 * reach, 2 * reach)


class Oracle(nn.Module):
    """Knows the joints of one photo; sees a hand where their box fills 0.35 to 1.15 of a crop."""

    def __init__(self, xyz, left=False, kind="2.5d", presence=True):
        super().__init__()
        self.xyz, self.left, self.kind, self.with_presence = xyz, left, kind, presence
        self.uv = project(K, xyz)

    def forward(self, image):
        looks = zip(*(self.look(crop) for crop in image.double() * 255), strict=True)
        names = ("uv", "d", "xyz", "confidence", "presence", "mask")
        fields = zip(names, looks, strict=True)
        return HandPose(**{name: torch.stack(v) for name, v in fields if v[0] is not None})

    def look(self, crop):
        source = torch.stack([crop[0] / 0.75, crop[1]])
        size = crop.shape[-1]
        distance = (source[:, None] - self.uv.T[..., None, None]).square().sum(0).flatten(1)
        nearest, cells = distance.min(1)
        uv = torch.stack([cells % size, cells // size], -1).double()
        inside = ((nearest < 9) & (uv > 0).all(-1) & (uv < size - 1).all(-1)).double().mean()
        share = (uv.amax(0) - uv.amin(0)).max() / size
        seen = bool((inside > 0.8) & (share > 0.35) & (share < 1.15))
        presence = 0.98 * seen + 0.01 * crop[2].mean() / 255
        if seen:
            found = [
                locate(source, *cell, target)
                for cell, target in zip(uv.int().tolist(), self.uv, strict=True)
            ]
            uv = torch.stack(found)
        mirrored = source[0, :, -1].mean() < source[0, :, 0].mean()
        # The crop's camera looks at its centre; the mirror changes no depth.
        middle = source[:, size // 2 - 1 : size // 2 + 1, size // 2 - 1 : size // 2 + 1]
        center = middle.mean((1, 2))
        turn = rotation_to_axis(rays(K, center[None])[0])
        local = (self.xyz - self.xyz[9]) @ turn.T / (self.xyz[10] - self.xyz[9]).norm()
        if mirrored:
            local = local * torch.tensor([-1.0, 1.0, 1.0])
        return (
            uv.float() if self.kind in ("2.5d", "2d", "3d") else None,
            local[:, 2].float() if self.kind == "2.5d" else None,
            local.float() if self.kind in ("3d", "3d only") else None,
            torch.full((21,), 0.9 if bool(mirrored) == self.left else 0.5)
            if self.kind != "3d only"
            else None,
            presence.float() if self.with_presence else None,
            (crop[2].unfold(0, 4, 4).unfold(1, 4, 4).mean((-2, -1)) / 255).float(),
        )


class Eyes:
    """A finder that sees the blue boxes of photos, each of them a hand."""

    def find(self, image, threshold=None, count=1):
        count, labels = cv2.connectedComponents((image[..., 2] > 127).astype(np.uint8))
        found = []
        for number in range(1, count):
            v, u = np.nonzero(labels == number)
            # the hand's outline: that of its joints and their flesh
            width, height = np.ptp(u) + 1, np.ptp(v) + 1
            m = FLESH * max(width, height)
            box = (u.min() - m, v.min() - m, width + 2 * m, height + 2 * m)
            found.append(FoundHand(box, 0.95 - 0.1 * len(found), 0.5))
        return [hand for hand in found if hand.presence >= (threshold or 0.5)]


def estimator(xyz, **options):
    return HandPoseEstimator(Bundle(Oracle(xyz, **options), SIZE), finder=Eyes())


def assert_is(prediction, xyz, pixels=1.0):
    """Joints within a pixel; 3D as good as pixels allow."""
    uv = project(K, xyz).numpy()
    np.testing.assert_allclose(prediction.joints_uv, uv, atol=pixels)
    relative = (xyz - xyz[9]).numpy()
    np.testing.assert_allclose(prediction.joints_relative, relative, atol=0.004)
    np.testing.assert_allclose(prediction.joints_xyz, xyz.numpy(), atol=0.015)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_joints_come_back(left, boxed, given):
    xyz = hand(left)
    uv = project(K, xyz)
    image = photo(uv)
    (x, y), (right, bottom) = uv.min(0).values.tolist(), uv.max(0).values.tolist()
    box = (x, y, right - x, bottom - y) if boxed else None
    side = "left" if left else "right"
    prediction = estimator(xyz, left=left).predict(image, box, side if given else "auto", K.numpy())
    assert prediction is not None
    assert prediction.side == side
    assert_is(prediction, xyz)
    projected = project(K, torch.as_tensor(prediction.joints_xyz)).numpy()
    np.testing.assert_allclose(projected, prediction.joints_uv, atol=1e-6)
    m = FLESH * max(right - x, bottom - y)
    expected = x - m, y - m, right - x + 2 * m, bottom - y + 2 * m
    np.testing.assert_allclose(prediction.box, expected, atol=2)
    if given:
        assert prediction.side_scores is None
    else:
        scores = prediction.side_scores
        assert max(scores, key=scores.get) == side
        assert set(scores) == {"left", "right"}


def test_hands_anywhere_are_found():
    for place, tilt in [
        ((0.12, -0.08, 0.6), (0, 0, 1)),
        ((-0.15, 0.05, 0.6), (1, 0, 1)),
        ((0.0, 0.0, 0.28), (0, 0.5, 1)),
        ((0.1, 0.06, 0.7), (0, -1, 1)),
    ]:
        xyz = hand(place=place, tilt=tilt)
        prediction = estimator(xyz).predict(photo(project(K, xyz)), K=K.numpy())
        assert prediction is not None
        assert prediction.presence > 0.9
        assert_is(prediction, xyz)


def test_no_hand():
    xyz = hand()
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assert estimator(xyz).predict(image) is None
    assert estimator(xyz).predict(image[:1, :1]) is None
    # A box is taken at its word.
    assert estimator(xyz).predict(image, box=(50, 50, 80, 80)).presence < 0.1


def test_threshold():
    xyz = hand()
    image = photo(project(K, xyz))
    assert estimator(xyz).predict(image, threshold=0.999) is None


def test_a_given_box_decides_on_the_crop():
    xyz = hand()
    uv = project(K, xyz)
    x, y = uv.min(0).values.tolist()
    extent = float((uv.max(0).values - uv.min(0).values).max())
    box = (x - 0.4 * extent, y - 0.2 * extent, 1.6 * extent, 1.6 * extent)
    prediction = estimator(xyz).predict(photo(uv), box, "right", K.numpy())
    assert_is(prediction, xyz)
    inside = prediction.crop.uv_to_crop(torch.as_tensor(prediction.joints_uv))
    share = float((inside.amax(0) - inside.amin(0)).max()) / SIZE
    # the box is 1.6 of the joints', where the hand's outline would be 1 + 2 FLESH
    assert share == pytest.approx(0.7 * (1 + 2 * FLESH) / 1.6, abs=0.01)


class TwoSided(Oracle):
    """An oracle that also says which hand a crop shows."""

    def forward(self, image):
        pose = super().forward(image)
        shows_right = pose.confidence[:, 0] > 0.7  # `Oracle` is surer of those
        return replace(pose, left=torch.where(shows_right, 0.1, 0.8))


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("side", ["auto", "left", "right"])
def test_a_network_that_tells_sides_decides_by_both_readings(left, side):
    """A side that is given says how the crop is read, whatever the network sees."""
    xyz = hand(left)
    uv = project(K, xyz)
    (x, y), (right, bottom) = uv.min(0).values.tolist(), uv.max(0).values.tolist()
    box = (x, y, right - x, bottom - y)
    net = HandPoseEstimator(Bundle(TwoSided(xyz, left), SIZE))
    prediction = net.predict(photo(uv), box, side, K.numpy())
    assert_is(prediction, xyz)
    assert prediction.crop.mirrored == (prediction.side == "left")
    if side == "auto":
        assert prediction.side == ("left" if left else "right")
        # of a left hand 0.8 as it is and 1 - 0.1 mirrored, of a right one 0.1 and 1 - 0.8; the
        # confidence is 0.9 of the reading that shows a right hand and 0.5 of the other
        right, wrong = 0.85**0.3 * 0.9**6, 0.15**0.3 * 0.5**6
        assert prediction.side_scores[prediction.side] == pytest.approx(
            right / (right + wrong), abs=0.02
        )
        assert sum(prediction.side_scores.values()) == pytest.approx(1)
    else:
        assert prediction.side == side
        assert prediction.side_scores is None


def test_what_is_clear_at_once_is_not_asked_again(monkeypatch):
    """First two looks; then one that agrees, or five as either side, or all where asked to."""
    xyz = hand(left=True)
    uv = project(K, xyz)
    (x, y), (right, bottom) = uv.min(0).values.tolist(), uv.max(0).values.tolist()
    net = HandPoseEstimator(Bundle(TwoSided(xyz, True), SIZE))
    assert net.tells_side
    looks, poses = [], net._poses
    monkeypatch.setattr(net, "_poses", lambda crops: looks.extend(crops) or poses(crops))
    never = tuple(stage._replace(clear=1.1) for stage in STAGES)
    for stages, thorough, count in (
        (STAGES, False, 2 + 1),
        (never, False, 2 + 10),
        (STAGES, True, 2 + 5),
    ):
        monkeypatch.setattr("auxhand.inference.estimator.STAGES", stages)
        net.thorough = thorough
        looks.clear()
        assert net.predict(photo(uv), (x, y, right - x, bottom - y), K=K.numpy()).side == "left"
        assert len(looks) == count


def test_who_follows_a_hand_is_told_what_one_reading_says_of_its_side():
    xyz = hand(left=True)
    uv = project(K, xyz)
    (x, y), (right, bottom) = uv.min(0).values.tolist(), uv.max(0).values.tolist()
    net = HandPoseEstimator(Bundle(TwoSided(xyz, True), SIZE))
    for side, left in (("left", 1 - 0.1), ("right", 0.8)):
        box = (x, y, right - x, bottom - y)
        seen = net.predict_many([photo(uv)], [box], [side], [K.numpy()], once=True)[0]
        assert_is(seen, xyz)
        assert seen.side == side
        assert seen.side_scores["left"] == pytest.approx(left)


class OneBadLook(Oracle):
    """An oracle whose n-th look is far off."""

    bad = 0

    def begin(self):
        self.angles = []

    def forward(self, image):
        pose = super().forward(image)
        way = (pose.uv[:, 9] - pose.uv[:, 0]).double()
        numbers = torch.arange(len(image)) + len(self.angles)
        self.angles += torch.rad2deg(torch.atan2(way[:, 0], -way[:, 1])).tolist()
        off = (numbers == self.bad).float()[:, None] * 9
        return replace(pose, uv=pose.uv + off[..., None], d=pose.d + off)


def asked_about_one_bad_look(left, bad, thorough):
    """The oracle after the hand was asked for, of a given side, and the answer."""
    xyz = hand(left)
    uv = project(K, xyz)
    (x, y), (right, bottom) = uv.min(0).values.tolist(), uv.max(0).values.tolist()
    oracle = OneBadLook(xyz, left)
    oracle.bad = bad
    oracle.begin()
    net = HandPoseEstimator(Bundle(oracle, SIZE))
    net.thorough = thorough
    assert not net.tells_side  # from now on the oracle counts looks at hands
    oracle.begin()
    side = "left" if left else "right"
    prediction = net.predict(photo(uv), (x, y, right - x, bottom - y), side, K.numpy())
    assert_is(prediction, xyz)
    return oracle, prediction


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("bad", [1, 2, 3])
def test_hands_are_looked_at_again_turned_upright_and_the_median_counts(left, bad):
    oracle, _ = asked_about_one_bad_look(left, bad, thorough=True)
    degrees = [-angle if left else angle for angle in oracle.angles[1:]]
    assert degrees == pytest.approx([0.0, 15.0, -15.0, -15.0, 15.0], abs=1)


@pytest.mark.parametrize(("bad", "count"), [(9, 2), (1, 6)])
def test_more_looks_are_taken_where_the_first_two_differ(bad, count):
    oracle, prediction = asked_about_one_bad_look(False, bad, thorough=False)
    assert len(oracle.angles) == count
    assert prediction.spread.shape == (21,)
    assert (prediction.spread.mean() < STAGES[1].agree) == (count == 2)


@pytest.mark.parametrize("left", [False, True])
def test_without_a_camera_crops_are_read_as_from_far_away(left):
    """A hand that a far camera sees: its shape is exact, however near the assumed camera is."""
    far = intrinsics_from_focal(28000.0, WIDTH, HEIGHT).double()
    xyz = hand(left, place=(-0.06, 0.05, 50.0))
    uv = project(far, xyz)
    crop = square_crop(far, uv.mean(0).tolist(), 200.0, SIZE, mirror=left)
    d = crop.xyz_to_crop(xyz - xyz[9])[:, 2] / HAND_SIZE
    proportions = bone_lengths(HAND.rest_joints.double()) / HAND_SIZE
    pose = HandPose(uv=crop.uv_to_crop(uv), d=d)
    assumed = intrinsics_from_fov(60.0, WIDTH, HEIGHT).double()
    side = "left" if left else "right"
    found = prediction_from(pose, crop, (WIDTH, HEIGHT), proportions, HAND_SIZE, 0.7, side, assumed)
    turn = rotation_to_axis(
        rays(assumed, crop.uv_to_original(torch.full((1, 2), 31.5).double()))[0]
    )
    relative = (xyz - xyz[9]) @ turn
    np.testing.assert_allclose(found.joints_relative, relative.numpy(), atol=2e-3)
    # placed where the assumed camera sees it, to within the perspective that is not in the pixels
    seen = project(assumed, torch.as_tensor(found.joints_xyz)).numpy()
    np.testing.assert_allclose(seen, found.joints_uv, atol=12)
    np.testing.assert_allclose(seen.mean(0), found.joints_uv.mean(0), atol=2)


def test_hand_size_scales_the_world():
    xyz = hand()
    net = estimator(xyz)
    image = photo(project(K, xyz))
    once = net.predict(image, K=K.numpy())
    twice = net.predict(image, K=K.numpy(), hand_size=2 * net.hand_size)
    np.testing.assert_allclose(twice.joints_xyz, 2 * once.joints_xyz, rtol=1e-3)
    assert once.hand_size == net.hand_size == pytest.approx(float((xyz[10] - xyz[9]).norm()))


def test_the_assumed_camera_is_stated():
    xyz = hand()
    prediction = estimator(xyz).predict(photo(project(K, xyz)))
    focal = WIDTH / 2 / np.tan(np.radians(30))
    middle = [(WIDTH - 1) / 2, (HEIGHT - 1) / 2]
    expected = [[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]]
    np.testing.assert_allclose(prediction.K, expected, rtol=1e-6)


def test_the_mask_returns_to_the_photo():
    xyz = hand()
    image = photo(project(K, xyz))
    prediction = estimator(xyz).predict(image, K=K.numpy())
    mask = prediction.photo_mask(WIDTH, HEIGHT) > 0.5
    truth = image[..., 2] > 127
    assert (mask & truth).sum() / (mask | truth).sum() > 0.9


def test_many_are_as_one_by_one():
    hands = [hand(), hand(place=(0.1, 0.0, 0.6))]
    net = estimator(hands[0])
    images = [photo(project(K, hands[0])), np.zeros((100, 90, 3), np.uint8)]
    images.append(images[0][:, ::-1].copy())
    together = net.predict_many(images, [None, None, (20, 20, 100, 100)])
    assert together[1] is None
    for i in (0, 2):
        alone = net.predict(images[i], (20, 20, 100, 100) if i else None)
        np.testing.assert_allclose(together[i].joints_uv, alone.joints_uv, atol=1e-3)


def test_all_hands_of_a_photo():
    """A second hand, seen by the finder alone: the photo is its first hand's."""
    xyz = hand()
    image = photo(project(K, xyz))
    image[10:40, 250:300, 2] = 255
    net = estimator(xyz)
    hands = net.predict_hands(image, K=K.numpy())
    assert [round(h.presence, 2) for h in hands] == [0.95, 0.85]
    by_name = sorted(hands, key=lambda h: np.abs(h.joints_uv - project(K, xyz).numpy()).max())
    assert_is(by_name[0], xyz)
    assert len(net.predict_hands(image, 1)) == 1
    assert len(net.predict_hands(image, threshold=0.9)) == 1
    assert net.predict_hands(np.zeros_like(image)) == []


def test_3d_models_are_placed_by_their_pixels():
    xyz = hand()
    prediction = estimator(xyz, kind="3d").predict(photo(project(K, xyz)), K=K.numpy())
    assert_is(prediction, xyz)


def test_2d_models_say_nothing_of_depth():
    xyz = hand()
    prediction = estimator(xyz, kind="2d").predict(photo(project(K, xyz)), K=K.numpy())
    assert prediction.joints_relative is None
    assert prediction.joints_xyz is None
    np.testing.assert_allclose(prediction.joints_uv, project(K, xyz), atol=1)


@pytest.mark.parametrize("left", [False, True])
def test_models_that_tell_no_sides_are_shown_the_hand_that_another_found(left):
    xyz = hand(left)
    image = photo(project(K, xyz))
    blind = Bundle(Oracle(xyz, left=left, kind="3d only", presence=False), SIZE)
    guide = estimator(xyz, left=left)
    prediction = HandPoseEstimator(blind, guide=guide).predict(image, K=K.numpy())
    assert prediction.side == ("left" if left else "right")
    # Its own 2D is the projection of its pose, where that fills the crop it was shown.
    np.testing.assert_allclose(prediction.joints_uv, project(K, xyz), atol=3)
    projected = project(K, torch.as_tensor(prediction.joints_xyz)).numpy()
    np.testing.assert_allclose(projected, prediction.joints_uv, atol=1e-3)
    assert prediction.presence > 0.9
    np.testing.assert_allclose(prediction.joints_relative, (xyz - xyz[9]).numpy(), atol=0.002)

    alone = HandPoseEstimator(blind)
    with pytest.raises(ValueError, match="cannot tell sides apart"):
        alone.predict(image)
    boxed = alone.predict(image, prediction.box, prediction.side, K.numpy())
    np.testing.assert_allclose(boxed.joints_relative, (xyz - xyz[9]).numpy(), atol=0.002)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"box": (0, 0, 0, 5)}, "box"),
        ({"box": (500, 0, 10, 5)}, "not in the photo of 320 x 240"),
        ({"box": (0, 0, float("nan"), 5)}, "box"),
        ({"side": "both"}, "auto, right, left"),
        ({"K": np.eye(2)}, r"\(3, 3\)"),
        ({"hand_size": 0.0}, "hand's size"),
    ],
)
def test_wrong_arguments(arguments, says):
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    with pytest.raises(ValueError, match=says):
        estimator(hand()).predict(image, **arguments)


@pytest.mark.parametrize(
    "image", [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3)), np.zeros((0, 5, 3), np.uint8)]
)
def test_wrong_images(image):
    with pytest.raises(ValueError, match="uint8"):
        estimator(hand()).predict(image)


def test_absent_device():
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(ValueError, match="CUDA"):
        HandPoseEstimator(Bundle(Oracle(hand()), SIZE), device="cuda")


def test_a_detector_is_no_estimator():
    with pytest.raises(ValueError, match="finds hands"):
        HandPoseEstimator(Bundle(HandDetector(), SIZE))


def test_absent_default_weights(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "files", lambda package: tmp_path)
    with pytest.raises(FileNotFoundError, match="--model"):
        HandPoseEstimator.load()


@pytest.mark.parametrize("head", [Latent25D, Integral])
def test_a_real_network_in_all_sizes(head):
    """Untrained, but through every step, deterministically."""
    torch.manual_seed(0)
    net = PoseNet(FeaturePyramid("test_resnet", 8), head())
    estimators = HandPoseEstimator(Bundle(net, 64))
    with pytest.raises(ValueError, match="no finder"):
        estimators.predict(np.zeros((60, 80, 3), np.uint8))
    rng = np.random.default_rng(0)
    for height, width in [(60, 80), (9, 300), (300, 9)]:
        image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        box = (0, 0, width, height)
        first, again = (estimators.predict(image, box) for _ in range(2))
        assert np.isfinite(first.joints_uv).all()
        np.testing.assert_array_equal(first.joints_uv, again.joints_uv)
        if first.joints_xyz is not None:
            assert (first.joints_xyz[:, 2] > 0).all()
