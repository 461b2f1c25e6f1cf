"""Dexter+Object, written in the axes and the text format of its annotations."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from miniature import hand, reprojected, truncate, write_image

from auxhand.data.readers.dexter_object import SEQUENCES, DexterObject

TIPS = ("thumb_tip", "index_tip", "middle_tip", "ring_tip", "pinky_tip")
PLACES = (4, 8, 12, 16, 20)
# As public loaders print it: x_colour = R x_depth + t.
R = np.array([[0.9999, 0.0034, 0.0161], [-0.0033, 1.0, -0.0079], [-0.0162, 0.0079, 0.9998]])
T = np.array([19.0473, -1.8514, -4.7501])
COLOUR = np.array([[587.45209, 0, 325], [0, 600.67456, 249], [0, 0, 1]])


def tips(index: int) -> np.ndarray:
    """(5, 3) millimetres in the depth camera's frame, x right and y down."""
    xyz = hand(index).xyz
    return np.array([1000 * (xyz[name] - xyz["middle_mcp"]) + [10, 20, 400] for name in TIPS])


def write(root: Path) -> Path:
    for number, sequence in enumerate(SEQUENCES):
        folder = root / "data" / sequence
        lines = []
        for frame in range(2):
            kind = "bmp" if sequence == "Rotate" else "png"
            colour = folder / "color" / f"image_{frame}_color.{kind}"
            write_image(colour, np.full((480, 640, 3), 9, np.uint8))
            depth = np.full((240, 320), 32001, np.uint16)
            depth[100:140, 140:180] = 400
            (folder / "depth").mkdir(exist_ok=True)
            assert cv2.imwrite(str(folder / "depth" / f"image_{frame}_depth.png"), depth)
            (folder / "color" / f"._image_{frame}_color.{kind}").write_bytes(b"hidden")
            points = tips(number) * [-1, -1, 1]
            if frame == 1:
                points[3] = [0, 0, 32001]
            corners = [(5.0, 6.0, 7.0)] * 3  # of the cuboid
            listed = [f"{x:.4f}, {y:.4f}, {z:.4f}" for x, y, z in [*points, *corners]]
            lines.append("; ".join(listed) + ";")
        (folder / "annotations").mkdir()
        (folder / "annotations" / f"{sequence}3D.txt").write_text("\n".join(lines) + "\n")
    return root


def test_fingertips_alone_are_labelled(tmp_path):
    reader = DexterObject(write(tmp_path), "test")
    assert len(reader) == 12
    for index in (0, 3, 10):
        sample = reader[index]
        valid = np.isin(np.arange(21), PLACES)
        valid[16] &= index % 2 == 0
        np.testing.assert_array_equal(sample.joint_valid, valid)
        wanted = (R @ tips(index // 2).T).T + T
        kept = [i for i, place in enumerate(PLACES) if valid[place]]
        found = 1000 * sample.joints_xyz.numpy()[list(PLACES)]
        np.testing.assert_allclose(found[kept], wanted[kept], atol=1e-3)
        uvw = wanted @ COLOUR.T
        uv = sample.joints_uv.numpy()[list(PLACES)]
        np.testing.assert_allclose(uv[kept], (uvw[:, :2] / uvw[:, 2:])[kept], atol=1e-2)
        np.testing.assert_allclose(reprojected(sample), sample.joints_uv, atol=1e-9)
        assert sample.side == "left"
    assert reader[3].source == "do/test/Grasp2/1"


def test_depth_is_that_of_the_colour_camera(tmp_path):
    depth = DexterObject(write(tmp_path), "test")[0].depth.numpy()
    assert depth.shape == (480, 640)
    rows, columns = np.nonzero(depth)
    # The near square's middle pixel is (159.5, 119.5) of the depth camera.
    point = np.array([(159.5 - 160) / 224.502, (119.5 - 120) / 230.494, 1]) * 400
    seen = R @ point + T
    u, v = (COLOUR @ (seen / seen[2]))[:2]
    assert columns.mean() == pytest.approx(u, abs=1)
    assert rows.mean() == pytest.approx(v, abs=1)
    assert len(rows) == pytest.approx(
        1600 * COLOUR[0, 0] / 224.502 * COLOUR[1, 1] / 230.494, rel=0.06
    )
    assert np.median(depth[depth > 0]) == pytest.approx(seen[2] / 1000, abs=1e-3)


def test_mistakes_name_the_file_and_the_layout(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)expected the dataset there:.*annotations"):
        DexterObject(tmp_path / "none", "test")
    with pytest.raises(ValueError, match="no split 'training'; it has: test"):
        DexterObject(write(tmp_path), "training")
    truncate(tmp_path / "data" / "Grasp1" / "color" / "image_1_color.png")
    with pytest.raises(ValueError, match=r"image_1_color\.png: a truncated image"):
        DexterObject(tmp_path, "test")[1]
    annotations = tmp_path / "data" / "Pinch" / "annotations" / "Pinch3D.txt"
    text = annotations.read_text()
    annotations.write_text(text.splitlines()[0] + "\n")
    with pytest.raises(
        ValueError, match="Pinch has 2 colour images, 2 depth images and 1 annotations"
    ):
        DexterObject(tmp_path, "test")
    annotations.write_text("1, 2; 3\n")
    with pytest.raises(ValueError, match=r"Pinch3D\.txt, line 1: expected five points"):
        DexterObject(tmp_path, "test")
    annotations.unlink()
    with pytest.raises(FileNotFoundError, match=r"no data/Pinch/annotations/Pinch3D\.txt"):
        DexterObject(tmp_path, "test")
