import numpy as np
import pytest
from miniature import (
    MANO,
    SIZE,
    array,
    hand,
    mano_file,
    shown,
    truncate,
    write_image,
    write_json,
)

from auxhand.data.readers.youtube_hands import YouTubeHands

FRAME = "youtube/abc/video/frames/7.png"
TIPS = {"thumb_tip": 744, "index_tip": 320, "middle_tip": 443, "ring_tip": 555, "pinky_tip": 672}


def vertices(uv):
    """Vertices whose first 16 are MANO's joints and whose fingertips are the fingers' tips."""
    made = np.random.default_rng(0).normal(50, 20, (778, 3))
    made[:16, :2] = array(uv, MANO)
    for name, vertex in TIPS.items():
        made[vertex, :2] = uv[name]
    return made


@pytest.fixture
def root(tmp_path):
    one = hand(0)
    right = {"vertices": vertices(one.uv).tolist(), "is_left": 0, "image_id": 4, "id": 11}
    mirrored = {name: np.array([SIZE - 1 - u, v]) for name, (u, v) in one.uv.items()}
    left = {"vertices": vertices(mirrored).tolist(), "is_left": 1, "image_id": 4, "id": 12}
    image = {"name": FRAME, "width": SIZE, "height": SIZE, "id": 4}
    content = {"images": [image], "annotations": [right, left]}
    write_json(tmp_path / "youtube_train.json", content)
    write_image(tmp_path / FRAME, one.image)
    mano_file(tmp_path / "MANO_RIGHT.pkl")
    return tmp_path


def test_vertices_become_joints(root):
    one, dataset = hand(0), YouTubeHands(root, "train", root / "MANO_RIGHT.pkl")
    right, left = dataset
    assert (right.side, left.side) == ("right", "left")
    assert (right.source, left.source) == ("yt3d/train/11", "yt3d/train/12")
    np.testing.assert_array_equal(shown(right), one.image)
    np.testing.assert_allclose(right.joints_uv, array(one.uv), atol=1e-4)
    np.testing.assert_allclose(left.joints_uv[:, 0], SIZE - 1 - array(one.uv)[:, 0], atol=1e-4)
    for sample in dataset:
        assert sample.joint_valid.all()
        assert sample.K is None
        assert sample.joints_xyz is None


def test_without_mano_there_are_no_joints_and_it_is_said(root):
    with pytest.warns(UserWarning, match="only with a MANO file"):
        dataset = YouTubeHands(root, "train")
    assert [s.joints_uv for s in dataset] == [None, None]
    assert dataset[1].side == "left"


def test_labels_follow_a_frame_of_another_resolution(root):
    one = hand(0)
    write_image(root / FRAME, one.image.repeat(2, 0).repeat(2, 1))
    sample = YouTubeHands(root, "train", root / "MANO_RIGHT.pkl")[0]
    assert sample.image.shape == (3, 2 * SIZE, 2 * SIZE)
    np.testing.assert_allclose(sample.joints_uv, array(one.uv) * 2 + 0.5, atol=1e-4)
    write_image(root / FRAME, one.image[: SIZE // 2])
    with pytest.raises(ValueError, match=r"7\.png is 96 x 48 pixels, but was labelled as 96 x 96"):
        YouTubeHands(root, "train", root / "MANO_RIGHT.pkl")[0]


@pytest.mark.filterwarnings("ignore:yt3d")
def test_what_is_missing_or_damaged_is_named(root):
    with pytest.raises(ValueError, match="no split 'evaluation'"):
        YouTubeHands(root, "evaluation")
    with pytest.raises(FileNotFoundError, match=r"no youtube_val\.json; expected:\ndata/"):
        YouTubeHands(root, "val")
    dataset = YouTubeHands(root, "train")
    truncate(root / FRAME)
    with pytest.raises(ValueError, match=r"frames/7\.png"):
        dataset[0]
    (root / FRAME).unlink()
    with pytest.raises(FileNotFoundError, match=r"frames/7\.png"):
        dataset[0]
    write_json(root / "youtube_val.json", {"images": [], "annotations": [{"image_id": 4, "id": 1}]})
    with pytest.raises(ValueError, match=r"youtube_val\.json, annotation 1: there is no image 4"):
        YouTubeHands(root, "val")
    truncate(root / "youtube_train.json")
    with pytest.raises(ValueError, match=r"youtube_train\.json is no JSON"):
        YouTubeHands(root, "train")


def test_vertices_of_another_mesh_are_refused(root):
    image = {"name": FRAME, "width": SIZE, "height": SIZE, "id": 4}
    hand_of_two = {"vertices": [[0, 0, 0]] * 2, "is_left": 0, "image_id": 4, "id": 3}
    write_json(root / "youtube_val.json", {"images": [image], "annotations": [hand_of_two]})
    with pytest.raises(ValueError, match=r"annotation 3: expected numbers of shape \(778, 3\)"):
        YouTubeHands(root, "val", root / "MANO_RIGHT.pkl")
