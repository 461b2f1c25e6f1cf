import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from miniature import (
    INTERHAND,
    OURS,
    array,
    hand,
    reprojected,
    shown,
    truncate,
    write_image,
    write_json,
)
from scipy.spatial.transform import Rotation

from auxhand.data.plausible import problems
from auxhand.data.readers.interhand import InterHand

REAL = Path(__file__).parents[3] / "../shared/realdata/dataset-samples/interhand2.6m"
FILE = "Capture0/ROM/cam40/image7.jpg"
R = Rotation.from_rotvec([0.3, 2.0, -0.5]).as_matrix()
POSITION = np.array([400.0, -200.0, 900.0])
MISSING = "index_tip"


@pytest.fixture
def root(tmp_path):
    """Hand 0 as the right one, hand 1 as the left one (of the same camera), in the world."""
    one, other = hand(0), hand(1)
    camera = np.concatenate([array(one.xyz, INTERHAND), array(other.xyz, INTERHAND)]) * 1000
    world = camera @ R + POSITION
    valid = [[1]] * 21 + [[int(name != MISSING)] for name in INTERHAND]
    world[21 + INTERHAND.index(MISSING)] = 1
    folder = tmp_path / "annotations" / "val"
    image = {"id": 3, "file_name": FILE, "capture": 0, "camera": "40", "frame_idx": 7}
    right_alone = [[1]] * 21 + [[0]] * 21
    annotations = [
        {"id": 8, "image_id": 3, "joint_valid": valid, "hand_type": "interacting"},
        {"id": 9, "image_id": 3, "joint_valid": right_alone, "hand_type": "right"},
    ]
    write_json(
        folder / "InterHand2.6M_val_data.json", {"images": [image], "annotations": annotations}
    )
    cameras = {
        "campos": {"40": POSITION.tolist()},
        "camrot": {"40": R.tolist()},
        "focal": {"40": [one.K[0, 0], one.K[1, 1]]},
        "princpt": {"40": [one.K[0, 2], one.K[1, 2]]},
    }
    write_json(folder / "InterHand2.6M_val_camera.json", {"0": cameras})
    joints = {"0": {"7": {"world_coord": world.tolist()}}}
    write_json(folder / "InterHand2.6M_val_joint_3d.json", joints)
    write_image(tmp_path / "images" / "val" / FILE, one.image)
    return tmp_path


def test_a_joint_that_is_not_labelled_may_be_no_number_and_another_is_named(root):
    path = root / "annotations" / "val" / "InterHand2.6M_val_joint_3d.json"
    content = json.loads(path.read_text())
    world = content["0"]["7"]["world_coord"]
    world[21 + INTERHAND.index(MISSING)] = [None, float("nan"), 1]
    world[INTERHAND.index("ring_dip")] = [None] * 3
    write_json(path, content)
    right, left, _ = InterHand(root, "val")
    assert left.joints_xyz.isfinite().all()
    assert left.joints_uv.isfinite().all()
    assert "ring_dip: 3D position is not a number" in problems(right)


def test_two_hands_are_two_samples(root):
    samples = list(InterHand(root, "val"))
    assert [s.source for s in samples] == [
        "interhand/val/8/right",
        "interhand/val/8/left",
        "interhand/val/9/right",
    ]
    right, left, alone = samples
    assert [s.side for s in samples] == ["right", "left", "right"]
    there = np.array(OURS) != MISSING
    for sample, one in ((right, hand(0)), (left, hand(1)), (alone, hand(0))):
        valid = there if sample is left else np.ones(21, bool)
        np.testing.assert_array_equal(sample.joint_valid, valid)
        np.testing.assert_allclose(sample.K, hand(0).K, rtol=1e-6)
        np.testing.assert_allclose(sample.joints_xyz[valid], array(one.xyz)[valid], atol=1e-6)
        np.testing.assert_allclose(reprojected(sample)[valid], sample.joints_uv[valid], atol=1e-3)
        assert shown(sample).shape == hand(0).image.shape
    np.testing.assert_allclose(right.joints_uv, array(hand(0).uv), atol=1e-3)


def test_what_is_missing_or_damaged_is_named(root):
    with pytest.raises(ValueError, match="no split 'all'; it has: train, val, test"):
        InterHand(root, "all")
    with pytest.raises(FileNotFoundError, match=r"no annotations/test/.*; expected:\nInterHand2"):
        InterHand(root, "test")
    dataset = InterHand(root, "val")
    truncate(root / "images" / "val" / FILE)
    with pytest.raises(ValueError, match=r"image7\.jpg: a truncated JPEG"):
        dataset[0]
    write_json(root / "annotations" / "val" / "InterHand2.6M_val_joint_3d.json", {"0": {}})
    with pytest.raises(ValueError, match="annotation 8: expected a dictionary with '7'"):
        InterHand(root, "val")


@pytest.mark.skipif(not REAL.is_dir(), reason="no real samples at ../shared/realdata")
def test_real_samples(tmp_path):
    for part in ("data", "camera", "joint_3d"):
        target = tmp_path / f"annotations/test/InterHand2.6M_test_{part}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REAL / f"test_interhand2.6m_{part}.json", target)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "test").symlink_to(REAL)
    samples = list(InterHand(tmp_path, "test"))
    assert [s.side for s in samples] == ["right", "left", "right", "left", "left", "right"]
    for sample in samples:
        height, width = sample.image.shape[1:]
        assert sample.joint_valid.all()
        assert (sample.joints_uv > 0).all()
        assert (sample.joints_uv < sample.joints_uv.new_tensor([width, height])).all()
        assert 0.06 < (sample.joints_xyz[9] - sample.joints_xyz[0]).norm() < 0.12
