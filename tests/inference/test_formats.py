import json

import numpy as np
import pytest
import torch

from auxhand.geometry.camera import intrinsics_from_focal, project
from auxhand.geometry.crop import Crop
from auxhand.hand.anatomy import ARTICULATED, bone_lengths, rotations_from_angles
from auxhand.hand.skeleton import JOINT_NAMES, reorder
from auxhand.hand.surface import HandSurface
from auxhand.inference import formats
from auxhand.inference.prediction import Prediction

WIDTH, HEIGHT = 640, 480
K = intrinsics_from_focal(600.0, WIDTH, HEIGHT).double()
SIDES = ("right", "left")


def angles_of(seed=0):
    """(15, 3) radians of a hand that bends."""
    rng = np.random.default_rng(seed)
    flexion, abduction = rng.uniform(0.1, 1.0, 15), rng.uniform(-0.2, 0.2, 15)
    return torch.from_numpy(np.stack([flexion, abduction, np.zeros(15)], 1))


def joints_of(side, seed=0, depth=0.5):
    """(21, 3) joints of a hand that bends, turned at random, before the camera."""
    surface = HandSurface("right").double()
    rotations = rotations_from_angles(angles_of(seed), surface.rest_joints)
    xyz = surface.joints(rotations[None])[0].numpy()
    turn, _ = np.linalg.qr(np.random.default_rng(seed + 100).normal(size=(3, 3)))
    turn *= np.linalg.det(turn)
    mirror = np.diag([-1.0 if side == "left" else 1.0, 1.0, 1.0])
    return xyz @ turn.T @ mirror + [0.05, -0.03, depth]


def prediction(side, xyz=None, **changed):
    xyz = joints_of(side) if xyz is None else xyz
    fields = {
        "joints_uv": project(K, torch.from_numpy(xyz)).numpy(),
        "joints_relative": xyz - xyz[9],
        "joints_xyz": xyz,
        "confidence": np.linspace(0.2, 1.0, 21),
        "presence": 0.9,
        "side": side,
        "side_scores": {"right": 0.3, "left": 0.9},
        "mask": None,
        "box": (0.0, 0.0, 10.0, 10.0),
        "K": K.numpy(),
        "hand_size": 0.0448,
        "crop": Crop(torch.eye(3).double(), (HEIGHT, WIDTH), torch.eye(3).double()),
        "photo_size": (WIDTH, HEIGHT),
    }
    return Prediction(**{**fields, **changed})


@pytest.mark.parametrize("side", SIDES)
def test_mediapipe(side):
    hand = prediction(side)
    given = hand.to_mediapipe()
    # x and y are shares of the photo from its corner, which lies half a pixel before pixel 0.
    pixels = given.landmarks[:, :2] * [WIDTH, HEIGHT] - 0.5
    np.testing.assert_allclose(pixels, hand.joints_uv, atol=1e-9)
    np.testing.assert_allclose(given.world_landmarks.mean(0), 0, atol=1e-12)
    moved = given.world_landmarks - given.world_landmarks[0]
    np.testing.assert_allclose(moved, hand.joints_xyz - hand.joints_xyz[0], atol=1e-12)
    assert given.handedness == {"right": "Right", "left": "Left"}[side]
    assert given.score == pytest.approx({"right": 0.25, "left": 0.75}[side])
    assert prediction(side, side_scores=None).to_mediapipe().score == 1.0


def test_mediapipe_depth_has_the_scale_of_x():
    """From far away a landmark is the joint, scaled: x, y and z of the photo by one factor."""
    hand = prediction("right", joints_of("right", depth=300.0))
    landmarks = hand.to_mediapipe().landmarks * [WIDTH, HEIGHT, WIDTH]
    scaled = (hand.joints_xyz - hand.joints_xyz[0]) * 600.0 / hand.joints_xyz[0, 2]
    np.testing.assert_allclose(landmarks - landmarks[0], scaled, atol=2e-3)
    assert landmarks[0, 2] == 0
    nearest = hand.joints_xyz[:, 2].argmin()
    assert landmarks[:, 2].argmin() == nearest


def test_mano_order():
    hand = prediction("right")
    mano = hand.to_mano_order()
    np.testing.assert_array_equal(reorder(mano, "mano"), hand.joints_xyz)
    named = formats.to_mano_order(np.array(JOINT_NAMES)[:, None])[:, 0]
    assert named[[0, 1, 4, 7, 10, 13, 15]].tolist() == [
        *("wrist", "index_mcp", "middle_mcp", "pinky_mcp", "ring_mcp", "thumb_cmc", "thumb_ip"),
    ]
    assert named[16:].tolist() == [
        f"{finger}_tip" for finger in ("thumb", "index", "middle", "ring", "pinky")
    ]


@pytest.mark.parametrize("side", SIDES)
def test_openpose(side):
    hand = prediction(side)
    person = json.loads(json.dumps(hand.to_openpose()))
    other = {"right": "left", "left": "right"}[side]
    mine = np.array(person[f"hand_{side}_keypoints_2d"]).reshape(21, 3)
    np.testing.assert_allclose(reorder(mine[:, :2], "openpose"), hand.joints_uv)
    np.testing.assert_allclose(mine[:, 2], hand.confidence)
    assert person[f"hand_{other}_keypoints_2d"] == [0.0] * 63
    unsure = prediction(side, confidence=None).to_openpose()
    assert unsure[f"hand_{side}_keypoints_2d"][2::3] == [1.0] * 21


@pytest.mark.parametrize("side", SIDES)
def test_angles_are_those_that_were_put_in(side):
    given = prediction(side).angles()
    expected = np.degrees(angles_of().numpy())
    assert list(given) == [JOINT_NAMES[j] for j in ARTICULATED]
    np.testing.assert_allclose([a.flexion for a in given.values()], expected[:, 0], atol=1e-6)
    np.testing.assert_allclose([a.abduction for a in given.values()], expected[:, 1], atol=1e-6)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("side", SIDES)
def test_retargeting(side, seed):
    """It is a rigid motion, not a mirror, and three joints lie where the axes say: only one is."""
    xyz = joints_of(side, seed)
    joints = prediction(side, xyz).retargeting()
    names = list(JOINT_NAMES)
    index, middle = joints[names.index("index_mcp")], joints[names.index("middle_mcp")]
    np.testing.assert_allclose(joints[0], 0, atol=1e-12)
    np.testing.assert_allclose(middle[:2], 0, atol=1e-12)
    assert middle[2] == pytest.approx(np.linalg.norm(xyz[9] - xyz[0]))
    assert index[0] == pytest.approx(0, abs=1e-12)
    assert index[1] * {"right": 1, "left": -1}[side] > 0.01
    before, after = xyz - xyz[0], joints
    np.testing.assert_allclose(before @ before.T, after @ after.T, atol=1e-12)
    assert np.linalg.det(before[[4, 5, 17]]) == pytest.approx(np.linalg.det(after[[4, 5, 17]]))
    # Fingers that are bent point out of the palm.
    tips, knuckles = after[[8, 12, 16, 20], 0], after[[5, 9, 13, 17], 0]
    assert (tips - knuckles > 0.01).all()


@pytest.mark.parametrize("side", SIDES)
def test_the_hand_that_is_fitted_has_the_joints(side):
    hand = prediction(side)
    fitted = hand.to_hand()
    assert fitted.side == side
    np.testing.assert_allclose(fitted.joints().numpy(), hand.joints_xyz, atol=1e-4)
    vertices, _ = fitted.mesh()
    # Every joint is within the surface: flesh is near on all sides.
    distances = torch.cdist(fitted.joints(), vertices).amin(1)
    assert distances.max() < 0.02
    lengths = bone_lengths(torch.from_numpy(hand.joints_xyz))
    np.testing.assert_allclose(bone_lengths(fitted.joints()), lengths, atol=1e-4)


@pytest.mark.parametrize(
    "form", ["to_mediapipe", "to_mano_order", "angles", "retargeting", "to_hand"]
)
def test_a_model_of_2d_alone_has_no_3d_forms(form):
    flat = prediction("right", joints_relative=None, joints_xyz=None)
    with pytest.raises(ValueError, match="no such joints"):
        getattr(flat, form)()
    assert len(flat.to_openpose()["hand_right_keypoints_2d"]) == 63
