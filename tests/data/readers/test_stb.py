"""STB, written by the names of its joints in the frame of its depth camera."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
from miniature import array, assert_like, hand, reprojected, shown, truncate, write_image
from scipy.spatial.transform import Rotation

from auxhand.data.readers.stb import STB

NAMES = [
    "wrist",
    *(f"pinky_{j}" for j in ("mcp", "pip", "dip", "tip")),
    *(f"ring_{j}" for j in ("mcp", "pip", "dip", "tip")),
    *(f"middle_{j}" for j in ("mcp", "pip", "dip", "tip")),
    *(f"index_{j}" for j in ("mcp", "pip", "dip", "tip")),
    *("thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip"),
]
# The calibration as the release's readme prints it.
R = Rotation.from_rotvec([0.00531, -0.01196, 0.00301]).as_matrix()
T = np.array([-24.0381, -0.4563, -1.2326])
COLOUR = np.array([[607.92271, 0, 314.78337], [0, 607.88192, 236.42484], [0, 0, 1]])
DEPTH = np.array([[475.62768, 0, 336.41179], [0, 474.77709, 238.77962], [0, 0, 1]])
STEREO = np.array([[822.79041, 0, 318.47345], [0, 822.79041, 250.31296], [0, 0, 1]])
SEQUENCES = [f"B{b}{kind}" for b in range(1, 7) for kind in ("Counting", "Random")]
WALL = 700.0  # millimetres


def left(index: int):
    return [h for h in map(hand, range(10)) if h.side == "left"][index]


def joints(index: int) -> dict[str, np.ndarray]:
    """Millimetres in the depth camera's frame, some 45 cm away."""
    place = np.array([0.01, 0.02, 0.45])
    xyz = left(index).xyz
    return {name: 1000 * (p - xyz["middle_mcp"] + place) for name, p in xyz.items()}


def write(root: Path, frames: int = 2) -> Path:
    for number, sequence in enumerate(SEQUENCES):
        stored = []
        for frame in range(frames):
            named = joints((number + frame) % 2)
            named["wrist"] = (named["wrist"] + named["middle_mcp"]) / 2  # the palm's centre
            stored.append(array(named, NAMES))
            if number > 2:
                continue
            image = np.full((480, 640, 3), 20 * number + frame, np.uint8)
            folder = root / "images" / sequence
            for shade, name in enumerate(("SK_color", "BB_left", "BB_right")):
                write_image(folder / f"{name}_{frame}.png", image + 5 * shade)
            millimetres = np.full((480, 640), WALL)
            millimetres[200:280, 300:380] = 450
            depth = np.zeros((480, 640, 3), np.uint8)
            depth[..., 0], depth[..., 1] = millimetres % 256, millimetres // 256
            write_image(folder / f"SK_depth_{frame}.png", depth)
        (root / "images" / sequence).mkdir(parents=True, exist_ok=True)
        (root / "labels").mkdir(exist_ok=True)
        for camera in ("SK", "BB"):
            content = {"handPara": np.stack(stored, -1).transpose(1, 0, 2)}
            scipy.io.savemat(root / "labels" / f"{sequence}_{camera}.mat", content)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write(tmp_path_factory.mktemp("stb"))


def test_the_splits_are_the_published_ones(root):
    assert len(STB(root, "test")) == 4
    assert len(STB(root, "training")) == 20
    assert STB(root, "test")[3].source == "stb/test/B1Random/1"
    assert STB(root, "training")[0].source == "stb/training/B2Counting/0"


@pytest.mark.parametrize(("camera", "shade"), [("SK", 0), ("BB_left", 5), ("BB_right", 10)])
def test_joints_are_in_the_colour_camera_and_the_wrist_is_one(root, camera, shade):
    reader = STB(root, "test", camera)
    for index in range(4):
        sample = reader[index]
        wanted = array(joints((index // 2 + index % 2) % 2))
        if camera == "SK":
            wanted = np.linalg.solve(R, (wanted - T).T).T
        if camera == "BB_right":
            wanted = wanted - [120.054, 0, 0]
        np.testing.assert_allclose(1000 * sample.joints_xyz, wanted, atol=1e-6)
        K = COLOUR if camera == "SK" else STEREO
        np.testing.assert_allclose(sample.K, K)
        np.testing.assert_allclose(reprojected(sample), sample.joints_uv, atol=1e-9)
        assert sample.side == "left"
        assert sample.joint_valid.all()
        assert (sample.depth is None) == (camera != "SK")
        wanted = np.full((480, 640, 3), 20 * (index // 2) + index % 2 + shade)
        assert_like(shown(sample), wanted, 0.01)


def test_depth_is_registered_to_the_colour_image(root):
    depth = STB(root, "test")[0].depth.numpy()
    # Where the middle of the near square lies in the colour image, by the published calibration.
    point = np.linalg.solve(DEPTH, [340.0, 240.0, 1]) * 450
    seen = np.linalg.solve(R, point - T)
    u, v = (COLOUR @ (seen / seen[2]))[:2].round().astype(int)
    assert depth[v, u] == pytest.approx(seen[2] / 1000, abs=1e-3)
    # 80 pixels of the depth camera are 102 of the colour camera.
    near = (depth > 0) & (depth < 0.6)
    assert near.any(0).sum() == pytest.approx(80 * COLOUR[0, 0] / DEPTH[0, 0], abs=2)
    assert near.any(1).sum() == pytest.approx(80 * COLOUR[1, 1] / DEPTH[1, 1], abs=2)
    # Beside it a strip of the wall is hidden from one of the cameras; elsewhere nothing is missing.
    assert (depth[60:420, 60:560] > 0).mean() > 0.97


def test_mistakes_name_the_file_and_the_layout(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)expected the dataset there:.*labels/"):
        STB(tmp_path / "none", "test")
    root = write(tmp_path, 1)
    truncate(root / "images" / "B1Random" / "SK_color_0.png")
    with pytest.raises(ValueError, match=r"B1Random/SK_color_0\.png: a truncated image"):
        STB(root, "test")[1]
    with pytest.raises(FileNotFoundError, match=r"B3Random/SK_color_0\.png"):
        STB(root, "training")[3]
    labels = root / "labels" / "B1Counting_SK.mat"
    for size in (0, 60, 130, labels.stat().st_size - 5):  # SciPy fails in another way at each
        labels.write_bytes((root / "labels" / "B1Random_SK.mat").read_bytes()[:size])
        with pytest.raises(ValueError, match=r"B1Counting_SK\.mat is no MATLAB file with handPara"):
            STB(root, "test")
    scipy.io.savemat(root / "labels" / "B1Counting_SK.mat", {"handPara": np.zeros((3, 20, 2))})
    with pytest.raises(ValueError, match=r"B1Counting_SK\.mat: .*\(3, 21, 2\)"):
        STB(root, "test")
    (root / "labels" / "B1Counting_SK.mat").unlink()
    with pytest.raises(FileNotFoundError, match=r"no labels/B1Counting_SK\.mat"):
        STB(root, "test")
    with pytest.raises(ValueError, match="no split 'train'"):
        STB(root, "train")
    with pytest.raises(ValueError, match="no camera 'BB'; it has: SK, BB_left, BB_right"):
        STB(root, "test", "BB")
