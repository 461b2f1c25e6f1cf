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
from PIL import ExifTags, Image

from auxhand.data.plausible import problems
from auxhand.data.readers.hsd import Hsd


@pytest.fixture
def root(tmp_path):
    for sequence in (1, 2, 3, 4):
        for camera in (1, 2, 3, 4):
            folder, one = tmp_path / f"sequence{sequence}" / f"camera{camera}", hand(camera - 1)
            poses = [array(one.xyz), array(one.xyz) + np.array([0, 0, 0.01 * sequence])]
            write_json(folder / "K.json", one.K.tolist())
            write_json(folder / "xyz.json", [pose.tolist() for pose in poses])
            for frame in range(2):
                write_image(folder / "rgb" / f"{frame:08d}.jpg", one.image)
    return tmp_path


def test_samples_come_back(root):
    train, test = Hsd(root, "train"), Hsd(root, "test")
    assert len(train) == len(test) == 2 * 4 * 2
    assert {s.source.split("/")[2] for s in train} == {"sequence1", "sequence2"}
    assert {s.source.split("/")[2] for s in test} == {"sequence3", "sequence4"}
    sample = test[13]  # after eight of sequence 3, and six
    assert sample.source == "hsd/test/sequence4/camera3/00000001"
    assert_like(shown(sample), hand(2).image, 6)
    np.testing.assert_allclose(sample.K, hand(2).K, rtol=1e-6)
    np.testing.assert_allclose(
        sample.joints_xyz, array(hand(2).xyz) + np.array([0, 0, 0.04]), atol=1e-6
    )
    np.testing.assert_allclose(reprojected(sample), sample.joints_uv, atol=1e-3)
    np.testing.assert_allclose(test[12].joints_uv, array(hand(2).uv), atol=1e-3)
    assert sample.joint_valid.all()
    assert sample.side is None


def test_a_joint_that_is_no_number_is_named(root):
    path = root / "sequence1" / "camera1" / "xyz.json"
    poses = [array(hand(0).xyz).tolist() for _ in range(2)]
    poses[1][12] = [0.0, None, 1.0]
    write_json(path, poses)
    train = Hsd(root, "train")
    assert problems(train[0]) == []
    assert "middle_tip: 3D position is not a number" in problems(train[1])


def test_a_picture_that_has_been_turned_is_refused(root):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = root / "sequence1" / "camera1" / "rgb" / "00000000.jpg"
    Image.fromarray(hand(0).image).save(path, exif=exif)
    with pytest.raises(ValueError, match=r"00000000\.jpg is turned by its EXIF orientation \(6\)"):
        Hsd(root, "train")[0]


def test_what_is_missing_or_damaged_is_named(root):
    with pytest.raises(ValueError, match="no split 'val'; it has: train, test"):
        Hsd(root, "val")
    part = root / "sequence2" / "camera3"
    dataset = Hsd(root, "train")
    truncate(part / "rgb" / "00000001.jpg")
    with pytest.raises(ValueError, match=r"camera3/rgb/00000001\.jpg: a truncated JPEG"):
        dataset[13]
    (part / "rgb" / "00000001.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"camera3/rgb/00000001\.jpg"):
        dataset[13]
    write_json(part / "xyz.json", [[[0, 0, 1]] * 20])
    with pytest.raises(ValueError, match=r"camera3/xyz\.json: expected .*\(1, 21, 3\)"):
        Hsd(root, "train")
    write_json(part / "xyz.json", {})
    with pytest.raises(ValueError, match=r"camera3/xyz\.json is no list"):
        Hsd(root, "train")
    (part / "xyz.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no sequence2/camera3/xyz\.json; expected:\nHSD/"):
        Hsd(root, "train")
    assert len(Hsd(root, "test")) == 16
