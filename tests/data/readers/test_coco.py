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
from PIL import ExifTags, Image

from auxhand.data.plausible import problems
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
    with pytest.raises(ValueError, match=r"mine\.json has no annotation of a hand"):
        dataset(tmp_path, [])
    with pytest.raises(FileNotFoundError, match=r"no other\.json; expected:\nROOT/"):
        Coco(tmp_path, "other")
    with pytest.raises(ValueError, match="joint order 'mine' is unknown; known are"):
        dataset(tmp_path, [], order="mine")
    made = dataset(tmp_path, [{}])
    truncate(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match=r"a\.jpg: a truncated JPEG"):
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
        ({"id": 3, "keypoints": [[1, 2, float("nan")]] * 21}, "annotation 3: a joint's flag"),
        ({"id": 3, "joint_cam": [1, 2, 3]}, r"annotation 3, joint_cam: expected .*\(21, 3\)"),
        ({"id": 3, "hand_type": "both"}, "annotation 3: hand_type is 'both'"),
        ({"id": 3, "image_id": 5}, "annotation 3: there is no image 5"),
        ({"id": 3, "cam_param": {"focal": [1, 1]}}, "annotation 3: expected .*'princpt'"),
    ],
)
def test_a_damaged_annotation_is_named(tmp_path, annotation, message):
    with pytest.raises(ValueError, match=r"mine\.json, " + message):
        dataset(tmp_path, [annotation])[0]


ANATOMY = [n.replace("_", "_finger_") if n[0] in "imrp" else n for n in OURS]
NUMBERED = ["wrist", *(f"{f}{n}" for f in ("thumb", "forefinger", "middle_finger", "ring_finger",
            "pinky_finger") for n in (1, 2, 3, 4))]  # fmt: skip


def file(tmp_path, content, name="a.jpg", image=None, **arguments):
    write_image(tmp_path / name, hand(0).image if image is None else image)
    write_json(tmp_path / "mine.json", content)
    return Coco(tmp_path, "mine", **arguments)


def content(*annotations, image=None, categories=None):
    found = {"images": [{"id": 4, "file_name": "a.jpg"} | (image or {})]}
    found["annotations"] = [{"image_id": 4} | a for a in annotations]
    return found | ({} if categories is None else {"categories": categories})


def test_named_joints_are_ordered_by_name(tmp_path):
    backwards = [ANATOMY[i] for i in range(20, -1, -1)]
    points = keypoints(hand(0))[::-1].tolist()
    categories = [{"id": 1, "name": "hand", "keypoints": backwards}]
    made = content({"keypoints": points, "category_id": 1}, categories=categories)
    np.testing.assert_allclose(file(tmp_path, made)[0].joints_uv, array(hand(0).uv), atol=1e-4)
    with pytest.raises(ValueError, match="order 'freihand' contradicts the names of its joints"):
        Coco(tmp_path, "mine", order="freihand")


def test_numbered_names_tell_fingers_alone(tmp_path):
    """mmpose names RHD's joints as those of FreiHAND, though its fingers begin at the tip."""
    categories = [{"id": 1, "name": "hand", "keypoints": NUMBERED}]
    points = keypoints(hand(0), RHD).tolist()
    made = content({"keypoints": points}, categories=categories)
    (sample,) = file(tmp_path, made, order="rhd")
    np.testing.assert_allclose(sample.joints_uv, array(hand(0).uv), atol=1e-4)
    with pytest.raises(ValueError, match="order 'interhand' contradicts"):
        Coco(tmp_path, "mine", order="interhand")


def test_categories_beside_hands_are_left_out(tmp_path):
    categories = [{"id": 1, "name": "person"}, {"id": "2", "name": "hand"}]
    person = {"id": 1, "category_id": 1, "keypoints": [0, 0, 0] * 17}
    one = {"id": 2, "category_id": 2, "keypoints": keypoints(hand(0)).tolist()}
    (sample,) = file(tmp_path, content(person, one, categories=categories))
    assert sample.source == "coco/mine/2"
    only = content(person, categories=categories)
    with pytest.raises(ValueError, match="no annotation of a hand"):
        file(tmp_path, only)


@pytest.mark.parametrize("as_133", [False, True])
def test_hands_of_whole_bodies(tmp_path, as_133):
    points = keypoints(hand(0), flag=2).flatten().tolist()
    nothing = [0.0] * 63
    if as_133:
        body = {"keypoints": [0.0] * 3 * 91 + nothing + points}
    else:
        body = {"keypoints": [0.0] * 51, "righthand_kpts": points, "lefthand_kpts": nothing}
    (sample,) = file(tmp_path, content({"id": 5} | body))
    assert (sample.side, sample.source) == ("right", "coco/mine/5_right")
    np.testing.assert_allclose(sample.joints_uv, array(hand(0).uv), atol=1e-4)


def test_ids_are_texts_or_numbers_and_never_twice(tmp_path):
    points = keypoints(hand(0)).tolist()
    made = content({"id": 0, "image_id": 0, "keypoints": points}, image={"id": "0"})
    (sample,) = file(tmp_path, made)
    assert sample.source == "coco/mine/0"
    made["images"] *= 2
    with pytest.raises(ValueError, match="image id 0 occurs twice"):
        file(tmp_path, made)


def test_a_side_for_hands_that_have_none(tmp_path):
    points = {"keypoints": keypoints(hand(0)).tolist()}
    made = content(points, points | {"hand_type": "right"})
    assert [s.side for s in file(tmp_path, made, side="left")] == ["left", "right"]


@pytest.mark.parametrize("name", ["images/sub/a.png", "images\\sub\\a.png", "sub/a.png"])
def test_images_named_twice_and_backslashes(tmp_path, name):
    write_image(tmp_path / "images" / "sub" / "a.png", hand(1).image)
    for images in (None, tmp_path / "images"):
        (sample,) = file(tmp_path, content({}, image={"file_name": name}), images=images)
        np.testing.assert_array_equal(shown(sample), hand(1).image)


@pytest.mark.parametrize(
    "name",
    [
        "../a.jpg",
        "/etc/a.jpg",
        "x/../../a.jpg",
        "..\\a.jpg",
        "C:\\a.jpg",
        "C:a.jpg",
        "\\\\h\\s\\a.jpg",
    ],
)
def test_a_file_name_stays_in_the_folder(tmp_path, name):
    (tmp_path / "data").mkdir()
    write_image(tmp_path / "a.jpg", hand(0).image)
    made = file(tmp_path / "data", content({}, image={"file_name": name}))
    with pytest.raises(ValueError, match="leaves the folder of the images"):
        made[0]


def test_what_is_not_labelled_may_be_no_number(tmp_path):
    points, xyz = keypoints(hand(0)).tolist(), (1000 * array(hand(0).xyz)).tolist()
    points[4], xyz[4] = [None, float("nan"), 0], [None] * 3
    (sample,) = file(tmp_path, content({"keypoints": points, "joint_cam": xyz}))
    assert problems(sample) == []
    assert sample.joints_uv[4].tolist() == [0, 0]
    points[4][2] = 1
    (sample,) = file(tmp_path, content({"keypoints": points}))
    assert problems(sample) == ["thumb_tip: 2D position is not a number"]


def test_labels_for_another_size_are_refused(tmp_path):
    half = content({}, image={"width": 48, "height": 48})
    with pytest.raises(ValueError, match=r"is 96 x 96 pixels, but its entry says 48 x 48"):
        file(tmp_path, half)[0]


def turned(tmp_path, orientation, size):
    """A 40 x 24 picture that its EXIF orientation turns, with an entry of a size."""
    pixels = np.zeros((24, 40, 3), np.uint8)
    pixels[:, 20:] = 255
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    image = {"file_name": "a.png"} | (
        {} if size is None else dict(zip(("width", "height"), size, strict=True))
    )
    write_json(tmp_path / "mine.json", content({}, image=image))
    return Coco(tmp_path, "mine")


def test_orientation_is_applied_where_the_labels_are_for_the_upright_picture(tmp_path):
    upright = shown(turned(tmp_path, 6, (24, 40))[0])
    assert upright.shape == (40, 24, 3)
    assert (upright[:20].max(), upright[20:].min()) == (0, 255)
    stored = shown(turned(tmp_path, 6, (40, 24))[0])
    assert (stored[:, :20].max(), stored[:, 20:].min()) == (0, 255)


@pytest.mark.parametrize(("orientation", "size"), [(3, (40, 24)), (6, None), (2, None)])
def test_orientation_that_cannot_be_told_is_refused(tmp_path, orientation, size):
    with pytest.raises(ValueError, match=r"a\.png is turned by its EXIF orientation"):
        turned(tmp_path, orientation, size)[0]


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
