"""What measures and fits the hand model, on hands whose answer is known."""

import json
import sys

import angle_statistics
import bone_ratios
import fit_circles
import fit_labels
import numpy as np
import pose_coverage
import pytest
import torch
from PIL import Image

from auxhand.hand import anatomy, primitives
from auxhand.hand.skeleton import ORDERS
from auxhand.hand.surface import HandSurface

REST = HandSurface().rest_joints.double()


def bent(*flexions):
    """(N, 21, 3) hands whose joints are at rest but for these flexions {articulated joint: rad}."""
    angles = anatomy.joint_angles(REST).repeat(len(flexions), 1, 1)
    for row, each in zip(angles, flexions, strict=True):
        for joint, flexion in each.items():
            row[joint, 0] = flexion
    surface = HandSurface()
    rotations = anatomy.rotations_from_angles(angles.float(), surface.rest_joints)
    return surface(rotations)[1].double()


def write_interhand(root, hand):
    """Two samples of one capture, a right and a left hand, in the dataset's order and mm."""
    world = np.zeros((42, 3))
    world[list(ORDERS["interhand"])] = 1000 * hand
    world[21 + np.array(ORDERS["interhand"])] = 1000 * hand * [-1, 1, 1]
    valid = np.ones((42, 1))
    valid[21] = 0  # of the second sample the left hand is not whole
    rows = {
        "0": {"world_coord": world.tolist(), "joint_valid": np.ones((42, 1)).tolist()},
        "1": {"world_coord": world.tolist(), "joint_valid": valid.tolist()},
    }
    folder = root / "dataset-samples" / "interhand2.6m"
    folder.mkdir(parents=True)
    (folder / "test_interhand2.6m_joint_3d.json").write_text(json.dumps({"7": rows}))


@pytest.fixture
def realdata(tmp_path):
    """make(hand): every source has this hand (21, 3) alone."""

    def make(hand):
        hand = np.asarray(hand)
        joints = tmp_path / "joints3d" / "joints"
        joints.mkdir(parents=True)
        for name in ("stb_train", "stb_test", "rhd_test"):
            np.save(joints / f"{name}.npy", hand[None])
        write_interhand(tmp_path, hand)
        (tmp_path / "sign-digits").mkdir()
        image = {"landmarks_px": (1000 * hand).tolist()}
        text = json.dumps({"images": {"5/a.png": image, "4/b.png": None, "5/c.png": None}})
        (tmp_path / "sign-digits" / "mediapipe_reference.json").write_text(text)
        return tmp_path

    return make


# ---- bone_ratios ----


def test_hands_of_interhand_are_right_ones_in_metres(realdata):
    hands = bone_ratios.interhand(realdata(REST))["7"]
    assert len(hands) == 3
    np.testing.assert_allclose(hands, REST.expand(3, 21, 3), atol=1e-12)


def test_sources_of_our_own_hand_agree_with_it(realdata, monkeypatch, capsys):
    root = realdata(REST)
    ours = bone_ratios.lengths(REST)
    ratios, millimetres = bone_ratios.sources(root)["STB"]
    np.testing.assert_allclose(ratios, ours / ours[9])
    assert millimetres == pytest.approx(1000 * ours[9])
    monkeypatch.setattr(sys, "argv", ["tool", str(root)])
    with pytest.raises(SystemExit) as end:
        bone_ratios.main()
    table = capsys.readouterr().out
    assert end.value.code == 0
    assert "outside" not in table
    assert len(table.splitlines()) == 3 + 20


def test_a_bone_outside_the_sources_is_an_error(realdata, monkeypatch, capsys):
    longer = REST.clone()
    longer[3:5] += 0.05 * torch.nn.functional.normalize(REST[3] - REST[2], dim=0)
    monkeypatch.setattr(bone_ratios, "BURYANOV", np.full(20, np.nan))
    monkeypatch.setattr(bone_ratios, "BUCHHOLZ", np.full(20, np.nan))
    monkeypatch.setattr(sys, "argv", ["tool", str(realdata(longer))])
    with pytest.raises(SystemExit) as end:
        bone_ratios.main()
    assert end.value.code == 1
    assert "outside the sources: (2, 3)" in capsys.readouterr().out


# ---- angle_statistics ----


def test_the_thumb_frame_is_found_and_ours_put_back():
    ours = anatomy.THUMB_BASE.clone()
    poses = bent(*({1: a, 2: b} for a in (0.0, 0.4, 0.8) for b in (0.1, 0.6)))
    angles = anatomy.joint_angles(poses)[:, 1:3]
    fitted = angle_statistics.fit_thumb_base(poses)
    assert torch.equal(anatomy.THUMB_BASE, ours)
    np.testing.assert_allclose(fitted @ fitted.T, np.eye(3), atol=1e-9)
    anatomy.THUMB_BASE = torch.from_numpy(fitted)
    try:
        after = anatomy.joint_angles(poses)[:, 1:3]
    finally:
        anatomy.THUMB_BASE = ours
    assert after[..., 1].square().mean() <= angles[..., 1].square().mean() + 1e-9


def test_limits_of_others(tmp_path, capsys):
    lengths = bone_ratios.lengths(REST)
    ratios = lengths / lengths[8]
    low, high = 0.9 * ratios, 1.1 * ratios
    low[4] = 1.05 * ratios[4]
    for name, value in (
        ("bone_len_min", low),
        ("bone_len_max", high),
        ("PHI_min", np.zeros(4)),
        ("PHI_max", np.ones(4)),
    ):
        np.save(tmp_path / f"{name}.npy", value)
    angle_statistics.compare_with_bmc(tmp_path)
    text = capsys.readouterr().out
    assert "BMC: 19 of 20 bone lengths" in text
    assert f"index_mcp {ratios[4]:.3f} not in" in text


# ---- pose_coverage ----


def test_patterns_of_folded_fingers():
    index, middle, ring, pinky = (3 + 3 * finger for finger in range(4))
    hands = bent({}, {index: 1.2, index + 1: 1.2}, {pinky: 1.2, pinky + 1: 1.2}, {ring: 1.2})
    names = [pose_coverage.PATTERNS[n] for n in pose_coverage.patterns(hands)]
    assert names == ["ssss", "fsss", "sssf", "ssss"]
    assert middle == 6


def test_octants_turn_with_the_hand():
    # At rest the fingers point to -y and the back to +z: a camera at -z sees the palm's side.
    turn = torch.diag(torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64))
    away = torch.tensor([0.0, 0.0, 0.5], dtype=torch.float64)
    tilt = torch.tensor([0.1, -0.1, 0.0], dtype=torch.float64)
    hands = torch.stack([REST + away + tilt, REST @ turn + away + tilt])
    one, other = (pose_coverage.OCTANTS[n].split() for n in pose_coverage.octants(hands))
    assert one[0] != other[0], "half a turn shows the other face"
    assert one[1] != other[1], "and the other side"
    assert one[2] == other[2], "fingers still point upwards"


def test_shares_add_up(tmp_path, hand_dataset, monkeypatch, capsys):
    hands = pose_coverage.joints(hand_dataset)
    assert hands.shape == (12, 21, 3)
    thumb = hands[:, 4] - hands[:, 20]
    assert (thumb[:, 0] > 0).float().mean() > 0.7, "left hands are mirrored"
    np.save(tmp_path / "poses.npy", hands.numpy())
    monkeypatch.setattr(sys, "argv", ["tool", str(tmp_path / "poses.npy")])
    pose_coverage.main()
    lines = capsys.readouterr().out.splitlines()
    (last,) = [line for line in lines if line.startswith("| all")]
    cells = [int(cell) for cell in last.strip("| ").split("|")[1:]]
    assert cells[-1] == 1000
    assert sum(cells[:-1]) == pytest.approx(1000, abs=4)
    np.save(tmp_path / "wrong.npy", np.zeros((3, 20, 3)))
    with pytest.raises(ValueError, match=r"must be \(N, 21, 3\), got \(3, 20, 3\)"):
        pose_coverage.joints(tmp_path / "wrong.npy")


# ---- fit_circles ----


def test_radii_come_back_from_their_own_masks():
    flat = REST[:, :2].float()
    flat = 50 * (flat - flat.amin(0)) / (flat.amax(0) - flat.amin(0)).max() + 7
    joints = flat.repeat(32, 1, 1) + torch.linspace(0, 3, 32)[:, None, None]
    radii = torch.full((len(primitives.CIRCLES),), 0.27)
    masks = (fit_circles.rendered(joints, radii, 0.0) > 0).float()
    fitted = fit_circles.fit(masks, joints, epochs=8, seed=0)
    start = torch.full_like(radii, 0.25)

    def off(values):
        return float((fit_circles.rendered(joints, values, 0.0) - masks).abs().mean())

    assert off(fitted) < 0.6 * off(start)


def test_masks_are_of_the_hand_without_its_arm():
    masks, joints = fit_circles.masks_and_joints(2, seed=0)
    assert masks.shape == (2, 64, 64)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    u, v = joints.round().long().clamp(0, 63).unbind(-1)
    assert masks[torch.arange(2)[:, None], v, u].mean() > 0.8


# ---- fit_labels ----


def test_labels_are_read_in_our_order_and_once(tmp_path):
    points = np.column_stack([np.arange(42.0).reshape(21, 2), np.ones(21)])
    stored = np.zeros_like(points)
    stored[list(ORDERS["freihand"])] = points
    few = stored * [1, 1, 0]
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [
            {"image_id": 1, "keypoints": stored.tolist()},
            {"image_id": 1, "keypoints": json.dumps(stored.tolist())},
            {"image_id": 1, "keypoints": few.tolist()},
        ],
    }
    file = tmp_path / "some.json"
    file.write_text(json.dumps(content))
    ((name, uv, seen),) = fit_labels.read_coco(file, "freihand")
    assert name == str(tmp_path / "a.jpg")
    np.testing.assert_array_equal(uv, points[:, :2])
    assert seen.all()


def test_a_hand_is_fitted_to_its_own_projection(tmp_path):
    surface = HandSurface()
    surface.template, surface.weights = surface.template[:1], surface.weights[:1]
    uv = (1000 * surface.rest_joints[None, :, :2] + 100).float()
    seen = torch.ones(1, 21, dtype=torch.bool)
    fitted, loss = fit_labels.fit(surface, uv, seen, steps=20)
    box = (uv.amax(1) - uv.amin(1)).amax()
    assert (fitted - uv).norm(dim=-1).mean() / box < 0.03
    assert loss.shape == (1,)
    Image.new("RGB", (400, 400)).save(tmp_path / "a.png")
    labels = [(str(tmp_path / "a.png"), uv[0].numpy(), seen[0].numpy())]
    fit_labels.draw(labels, fitted.numpy(), tmp_path / "out")
    drawn = np.array(Image.open(tmp_path / "out" / "a.png"))
    assert max(drawn.shape[:2]) == pytest.approx(700, abs=5)
    assert (drawn == [255, 0, 0]).all(-1).any()
    assert (drawn == [0, 255, 0]).all(-1).any()
