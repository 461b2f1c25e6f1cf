from pathlib import Path

import numpy as np
import pytest
import torch
from miniature import (
    OURS,
    RHD,
    array,
    assert_like,
    hand,
    reprojected,
    shown,
    truncate,
    write_image,
    write_json,
)

from auxhand.data.readers.coco import Coco
from auxhand.hand.skeleton import BONES, WRIST

SAMPLES = Path(__file__).parents[3] / "../shared/realdata/dataset-samples"


def keypoints(one, names=OURS, flag=1):
    return np.concatenate([array(one.uv, names), np.full((21, 1), flag)], 1)


def dataset(
    tmp_path, annotations, images=({"id": 4, "file_name": "a.jpg"},), images_in=None, **arguments
):
    write_image(tmp_path / "a.jpg", hand(0).image)
    annotations = [{"image_id": 4} | a for a in annotations]
    write_json(tmp_path / "mine.json", {"images": list(images), "annotations": annotations})
    return Coco(tmp_path, "mine", images=images_in, **arguments)


def test_keypoints_in_one_list(tmp_path):
    points = keypoints(hand(0))
    points[OURS.index("ring_dip")] = 0  # not labelled
    (sample,) = dataset(tmp_path, [{"id": 7, "keypoints": points.flatten().tolist()}])
    assert sample.source == "coco/mine/7"
    assert_like(shown(sample), hand(0).image, 6)
    valid = np.array(OURS) != "ring_dip"
    np.testing.assert_array_equal(sample.joint_valid, valid)
    np.testing.assert_allclose(sample.joints_uv[valid], array(hand(0).uv)[valid], atol=1e-4)
    for name in ("joint_visible", "joints_xyz", "K", "side", "depth", "mask"):
        assert getattr(sample, name) is None


def test_an_order_by_name_with_3d_camera_and_side(tmp_path):
    """As mmpose writes RHD: [21][3], each finger from its tip, millimetres, focal and princpt."""
    one = hand(1)
    camera = {"focal": [one.K[0, 0], one.K[1, 1]], "princpt": [one.K[0, 2], one.K[1, 2]]}
    annotation = {
        "keypoints": keypoints(one, RHD).tolist(),
        "joint_cam": (array(one.xyz, RHD) * 1000).tolist(),
        "joint_valid": [int(name != "thumb_ip") for name in RHD],
        "hand_type": one.side,
    }
    images = [{"id": 4, "file_name": "a.jpg", "cam_param": camera}]
    (sample,) = dataset(tmp_path, [annotation], images, order="rhd")
    assert sample.source == "coco/mine/0"
    assert sample.side == one.side
    np.testing.assert_allclose(sample.K, one.K, rtol=1e-6)
    np.testing.assert_allclose(sample.joints_uv, array(one.uv), atol=1e-4)
    np.testing.assert_allclose(sample.joints_xyz, array(one.xyz), atol=1e-6)
    np.testing.assert_allclose(reprojected(sample), sample.joints_uv, atol=1e-3)
    np.testing.assert_array_equal(sample.joint_valid, np.array(OURS) != "thumb_ip")


def test_metres_with_a_matrix_of_the_annotation(tmp_path):
    one = hand(2)
    annotation = {"keypoints_3d": array(one.xyz).tolist(), "K": one.K.tolist(), "side": "left"}
    (sample,) = dataset(tmp_path, [annotation], unit=1.0)
    np.testing.assert_allclose(sample.joints_xyz, array(one.xyz), atol=1e-6)
    np.testing.assert_allclose(sample.K, one.K, rtol=1e-6)
    assert sample.side == "left"
    assert sample.joints_uv is None
    assert sample.joint_valid is None


def test_visible_joints_are_told_where_a_flag_is_2(tmp_path):
    hidden, mixed = keypoints(hand(0)), keypoints(hand(0), flag=2)
    mixed[OURS.index("index_tip"), 2] = 1
    mixed[OURS.index("wrist"), 2] = 0
    first, second = dataset(
        tmp_path, [{"keypoints": hidden.tolist()}, {"keypoints": mixed.tolist()}]
    )
    assert not first.joint_visible.any()
    assert first.joint_valid.all()
    names = np.array(OURS)
    np.testing.assert_array_equal(second.joint_visible, ~np.isin(names, ["index_tip", "wrist"]))
    np.testing.assert_array_equal(second.joint_valid, names != "wrist")


def test_annotations_of_one_image_are_samples_of_their_own(tmp_path):
    box = {"id": 1, "bbox": [10, 10, 20, 20]}
    both = [box, {"id": 2, "keypoints": keypoints(hand(0)).tolist()}]
    first, second = dataset(tmp_path, both)
    assert (first.source, second.source) == ("coco/mine/1", "coco/mine/2")
    assert first.joints_uv is None
    assert torch.equal(first.image, second.image)


def test_images_in_their_own_folder(tmp_path):
    write_image(tmp_path / "images" / "sub" / "b.png", hand(1).image)
    images = [{"id": 4, "file_name": "sub/b.png"}]
    (sample,) = dataset(tmp_path, [{}], images)
    np.testing.assert_array_equal(shown(sample), hand(1).image)
    images = [{"id": 4, "file_name": "b.png"}]
    (sample,) = dataset(tmp_path, [{}], images, images_in=tmp_path / "images" / "sub")
    np.testing.assert_array_equal(shown(sample), hand(1).image)


def test_what_is_missing_or_damaged_is_named(tmp_path):
    dataset(tmp_path, [])
    with pytest.raises(FileNotFoundError, match=r"no other\.json; expected:\nROOT/"):
        Coco(tmp_path, "other")
    with pytest.raises(ValueError, match="joint order 'mine' is unknown; known are"):
        dataset(tmp_path, [], order="mine")
    made = dataset(tmp_path, [{}])
    truncate(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match=r"a\.jpg is a truncated JPEG"):
        made[0]
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.jpg"):
        made[0]
    truncate(tmp_path / "mine.json")
    with pytest.raises(ValueError, match=r"mine\.json is no JSON"):
        Coco(tmp_path, "mine")


def test_annotations_that_are_none_are_refused(tmp_path):
    write_json(tmp_path / "mine.json", {"images": [], "annotations": [[1, 2]]})
    with pytest.raises(ValueError, match=r"mine\.json: expected a dictionary with 'image_id'"):
        Coco(tmp_path, "mine")


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ({"id": 3, "keypoints": [1, 2, 1] * 20}, r"annotation 3: expected .*\(21, 3\)"),
        ({"id": 3, "keypoints": [[1, 2, float("nan")]] * 21}, "annotation 3: expected finite"),
        ({"id": 3, "joint_cam": [1, 2, 3]}, r"annotation 3, joint_cam: expected .*\(21, 3\)"),
        ({"id": 3, "hand_type": "both"}, "annotation 3: hand_type is 'both'"),
        ({"id": 3, "image_id": 5}, "annotation 3: there is no image 5"),
        ({"id": 3, "cam_param": {"focal": [1, 1]}}, "annotation 3: expected .*'princpt'"),
    ],
)
def test_a_damaged_annotation_is_named(tmp_path, annotation, message):
    with pytest.raises(ValueError, match=r"mine\.json, " + message):
        dataset(tmp_path, [annotation])


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no real samples at ../shared/realdata")
class TestRealSamples:
    @pytest.mark.parametrize(
        ("name", "order", "count"),
        [("freihand", "freihand", 8), ("onehand10k", "onehand10k", 4), ("panoptic", "panoptic", 4)],
    )
    def test_2d(self, name, order, count):
        samples = list(Coco(SAMPLES / name, f"test_{name}", order=order))
        assert len(samples) == count
        for sample in samples:
            height, width = sample.image.shape[1:]
            uv = sample.joints_uv[sample.joint_valid]
            assert bool(((uv > 0) & (uv < torch.tensor([width, height]))).all())
            # In the right order bones are short; shuffled, they would cross the hand.
            bones = [b for b in BONES if bool(sample.joint_valid[list(b)].all()) and b[0] != WRIST]
            lengths = (
                sample.joints_uv[[a for a, _ in bones]] - sample.joints_uv[[b for _, b in bones]]
            )
            assert lengths.norm(dim=-1).max() < 0.6 * (uv.amax(0) - uv.amin(0)).max()

    def test_3d_projects_onto_the_stored_2d(self):
        samples = list(Coco(SAMPLES / "rhd", "test_rhd", order="rhd"))
        assert [s.side for s in samples] == ["left", "left", "right"]
        for sample in samples:
            np.testing.assert_allclose(reprojected(sample), sample.joints_uv, atol=0.1)
            palm = (sample.joints_xyz[9] - sample.joints_xyz[0]).norm()
            assert 0.06 < palm < 0.12

    def test_missing_joints_are_not_zeros(self):
        samples = list(Coco(SAMPLES / "onehand10k", "test_onehand10k"))
        assert [int(s.joint_valid.sum()) for s in samples] == [20, 7, 15, 21]
        assert not samples[0].joint_valid[0]
