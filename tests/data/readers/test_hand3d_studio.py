import random

import numpy as np
import pytest
from miniature import (
    array,
    assert_like,
    hand,
    reprojected,
    shown,
    truncate,
    write_image,
    write_json,
)

from auxhand.data.readers.hand3d_studio import Hand3DStudio

GESTURES = 7


def write(root, millimetres=1000.0):
    entries = []
    for index in range(GESTURES + 2):
        one = hand(index % 3)
        entries.append(
            {
                "name": f"part1/a{index}/cam.jpg",
                "keypoint2d": array(one.uv).tolist(),
                "keypoint3d": (array(one.xyz) * millimetres).tolist(),
                "intrinsic_matrix": one.K.tolist(),
                "without_object": int(index < GESTURES),
            }
        )
        write_image(root / entries[-1]["name"], one.image)
    write_json(root / "annotation.json", entries)
    return entries


@pytest.fixture
def root(tmp_path):
    write(tmp_path)
    return tmp_path


def test_the_published_split_of_the_gestures_without_objects(root):
    order = list(range(GESTURES))
    random.seed(42)
    random.shuffle(order)
    test = [s.source for s in Hand3DStudio(root, "test")]
    train = [s.source for s in Hand3DStudio(root, "train")]
    assert test == [f"h3d/test/part1/a{i}/cam" for i in order[:1]]  # int(0.2 * 7)
    assert train == [f"h3d/train/part1/a{i}/cam" for i in order[1:]]


@pytest.mark.parametrize("per_metre", [1000.0, 100.0, 1.0])
def test_samples_come_back_in_metres(tmp_path, per_metre):
    write(tmp_path, per_metre)
    for sample in Hand3DStudio(tmp_path, "train"):
        one = hand(int(sample.source.split("/")[3][1:]) % 3)
        assert_like(shown(sample), one.image, 6)
        np.testing.assert_allclose(sample.K, one.K, rtol=1e-6)
        np.testing.assert_allclose(sample.joints_xyz, array(one.xyz), atol=1e-6)
        np.testing.assert_allclose(sample.joints_uv, array(one.uv), atol=1e-4)
        np.testing.assert_allclose(reprojected(sample), sample.joints_uv, atol=1e-3)
        assert sample.joint_valid.all()
        assert sample.side is None


def test_other_layouts_are_refused(root):
    entries = write(root)
    for e in entries:
        e["intrinsic_matrix"][0][2] += 40  # of the whole photo, not of the crop
    write_json(root / "annotation.json", entries)
    with pytest.raises(ValueError, match=r"annotation\.json: keypoint3d projects .* beside"):
        Hand3DStudio(root, "train")
    write(root, 17.0)
    with pytest.raises(ValueError, match="in no unit the size of a hand"):
        Hand3DStudio(root, "train")
    write_json(root / "annotation.json", {"images": []})
    with pytest.raises(ValueError, match=r"is no list of samples; expected:\nH3D_crop/"):
        Hand3DStudio(root, "train")
    write_json(root / "annotation.json", [{"name": "a.jpg"}])
    with pytest.raises(ValueError, match=r"annotation\.json: expected .*without_object"):
        Hand3DStudio(root, "train")


def test_what_is_missing_or_damaged_is_named(root, tmp_path):
    with pytest.raises(ValueError, match="no split 'val'; it has: train, test"):
        Hand3DStudio(root, "val")
    dataset = Hand3DStudio(root, "test")
    (path,) = (root / f"{s.source.removeprefix('h3d/test/')}.jpg" for s in dataset)
    truncate(path)
    with pytest.raises(ValueError, match="truncated JPEG"):
        dataset[0]
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"part1/a\d/cam\.jpg"):
        dataset[0]
    truncate(root / "annotation.json")
    with pytest.raises(ValueError, match=r"annotation\.json is no JSON"):
        Hand3DStudio(root, "test")
    (root / "annotation.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no annotation\.json; expected:\nH3D_crop/"):
        Hand3DStudio(root, "test")
