import numpy as np
import pytest
import torch
from miniature import (
    OURS,
    array,
    assert_like,
    hand,
    mano_file,
    reprojected,
    shown,
    through,
    truncate,
    write_image,
    write_pickle,
)
from scipy.spatial.transform import Rotation

from auxhand.data.readers.obman import ObMan

K = np.array([[480.0, 0, 128], [0, 480, 128], [0, 0, 1]])
NAMES = ("00000003", "00000012")


def hands():
    return [through(hand(index), K, 256) for index in (0, 1)]


def to_blender(xyz):
    return np.stack([xyz[:, 0], -xyz[:, 1], -xyz[:, 2]], 1)


def meta(one, near, far):
    return {
        "coords_2d": array(one.uv).astype(np.float32),
        "coords_3d": to_blender(array(one.xyz)).astype(np.float32),
        "side": one.side,
        "depth_min": np.float32(near),
        "depth_max": np.float32(far),
        "hand_depth_min": np.float32(9),
        "hand_depth_max": np.float32(10),
        "pca_pose": np.arange(45) / 100,
        "hand_pose": np.arange(45) / 100,
        "shape": np.zeros(10, np.float32),
        "obj_path": "02876657/model_normalized.obj",
        "obj_scale": 0.2,
    }


@pytest.fixture
def root(tmp_path):
    for name, one in zip(NAMES, hands(), strict=True):
        folder = tmp_path / "obman" / "val"
        seen = one.depth[one.depth > 0]
        near, far = seen.min(), seen.max()
        scene = np.where(one.depth > 0, (1 + 254 * (far - one.depth) / (far - near)).round(), 0)
        palm, fingers = (22, 24) if one.side == "right" else (21, 23)
        segments = np.where(one.mask, np.where(np.arange(256) % 2, palm, fingers), 0)
        segments[:9, :9] = 100  # the object
        segments[-9:, :9] = 43 - palm  # the other hand
        write_image(folder / "rgb" / f"{name}.jpg", one.image)
        for kind, first in (("depth", scene), ("segm", segments)):
            other = np.full((256, 256, 2), 77.0)  # of hand and object alone
            stored = np.concatenate([first[..., None], other], -1)[..., ::-1]  # RGB
            write_image(folder / kind / f"{name}.png", stored.astype(np.uint8))
        write_pickle(folder / "meta" / f"{name}.pkl", meta(one, near, far))
        (folder / "meta" / f"._{name}.pkl").write_bytes(b"hidden")
    return tmp_path / "obman"


def test_samples_come_back(root):
    dataset = ObMan(root, "val")
    assert len(dataset) == 2
    for name, one, sample in zip(NAMES, hands(), dataset, strict=True):
        assert sample.source == f"obman/val/{name}"
        assert sample.side == one.side
        assert_like(shown(sample), one.image, 2)
        np.testing.assert_array_equal(sample.K, K)
        np.testing.assert_allclose(sample.joints_xyz, array(one.xyz), atol=1e-6)
        np.testing.assert_allclose(sample.joints_uv, array(one.uv), atol=1e-4)
        np.testing.assert_allclose(reprojected(sample), sample.joints_uv, atol=1e-3)
        assert sample.joint_valid.all()
        np.testing.assert_array_equal(sample.mask > 0, one.mask & ~_corners())
        there = one.depth > 0
        np.testing.assert_array_equal(sample.depth > 0, there)
        step = np.ptp(one.depth[there]) / 254
        assert np.abs(sample.depth.numpy() - one.depth)[there].max() <= step * 0.501
        assert sample.mano is None


def _corners():
    corners = np.zeros((256, 256), bool)
    corners[:9, :9] = corners[-9:, :9] = True
    return corners


def test_depth_lies_at_the_joints(root):
    """What is seen where a joint projects is the skin before it, or something nearer."""
    for sample in ObMan(root, "val"):
        u, v = sample.joints_uv.round().long().clamp(0, 255).T
        seen = sample.depth[v, u]
        before = (sample.joints_xyz[:, 2] - seen)[seen > 0]
        assert before.median() < 0.03
        assert before.min() > -0.01


def test_mano_pose_is_about_the_mean_and_in_the_camera(root, tmp_path):
    content = mano_file(tmp_path / "MANO_RIGHT.pkl")
    turn = Rotation.from_rotvec([0.4, -1.1, 0.7])
    rest = content["v_template"][:16]
    joints = dict.fromkeys(OURS, np.array([0.0, 0.0, 0.6]))
    bases = {"wrist": 0, "index_mcp": 1, "middle_mcp": 4, "pinky_mcp": 7, "ring_mcp": 10}
    for name, joint in {**bases, "thumb_cmc": 13}.items():
        joints[name] = turn.apply(rest[joint] - rest[0]) + np.array([0.01, 0.02, 0.6])
    path = root / "val" / "meta" / f"{NAMES[0]}.pkl"
    stored = meta(hands()[0], 0.5, 0.7)
    write_pickle(path, stored | {"coords_3d": to_blender(array(joints)), "side": "right"})
    mano = ObMan(root, "val", tmp_path / "MANO_RIGHT.pkl")[0].mano
    np.testing.assert_allclose(mano[:3], turn.as_rotvec(), atol=1e-5)
    fingers = mano[3:48].double().numpy() + content["hands_mean"]
    np.testing.assert_allclose(
        fingers @ content["hands_components"].T, stored["pca_pose"], atol=1e-5
    )
    assert torch.equal(mano[48:], torch.zeros(10))


def test_what_is_missing_or_damaged_is_named(root, tmp_path):
    with pytest.raises(ValueError, match="no split 'evaluation'; it has: train, val, test"):
        ObMan(root, "evaluation")
    with pytest.raises(
        FileNotFoundError, match=r"no train/rgb, train/depth, .*; expected:\nobman/"
    ):
        ObMan(root, "train")
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        ObMan(tmp_path / "nowhere", "val")
    folder = root / "val"
    truncate(folder / "rgb" / f"{NAMES[0]}.jpg")
    (folder / "depth" / f"{NAMES[1]}.png").unlink()
    dataset = ObMan(root, "val")
    with pytest.raises(ValueError, match=r"rgb/00000003\.jpg: a truncated JPEG"):
        dataset[0]
    with pytest.raises(FileNotFoundError, match=r"depth/00000012\.png"):
        dataset[1]
    truncate(folder / "meta" / f"{NAMES[1]}.pkl")
    with pytest.raises(ValueError, match=r"meta/00000012\.pkl is no pickle"):
        dataset[1]
    write_pickle(folder / "meta" / f"{NAMES[1]}.pkl", {"coords_3d": np.zeros((20, 3))})
    with pytest.raises(ValueError, match=r"00000012\.pkl: expected .*\(21, 3\)"):
        dataset[1]


def test_an_image_of_another_size_is_refused(root):
    write_image(root / "val" / "segm" / f"{NAMES[0]}.png", np.zeros((64, 96, 3), np.uint8))
    with pytest.raises(ValueError, match=r"segm/00000003\.png is 96 x 64 .* 256 x 256"):
        ObMan(root, "val")[0]
