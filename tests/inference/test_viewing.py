"""Recordings of rerun, read back by its own reader."""

from collections import defaultdict

import cv2
import numpy as np
import pytest
import torch
from moving import TIMES, K, hand, record

from auxhand.hand.fitting import fit_hand
from auxhand.hand.skeleton import BONES
from auxhand.inference.motion import PictureCamera, read_hands
from auxhand.inference.video import Frame
from auxhand.inference.viewing import write_rrd

chunk = pytest.importorskip("rerun.chunk")


def read(path):
    """By entity and component: pairs of time in seconds (None: always) and value."""
    said = defaultdict(list)
    for each in chunk.RrdReader(path).stream().to_chunks():
        batch = each.to_record_batch()
        names = batch.schema.names
        times = [None] * batch.num_rows
        if "time" in names:
            times = [t.total_seconds() for t in batch.column("time").to_pylist()]
        for name in names:
            if ":" in name:
                values = batch.column(name).to_pylist()
                known = zip(times, values, strict=True)
                said[each.entity_path, name] += [(t, v) for t, v in known if v is not None]
    return {key: sorted(rows, key=lambda row: row[0] or 0.0) for key, rows in said.items()}


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rerun")
    hands = read_hands(record(folder / "clip.parquet"))
    camera = PictureCamera(K, 640, 480)
    grey = [np.full((480, 640, 3), 40 * step, np.uint8) for step in range(4)]
    frames = [Frame(p, t, n) for n, (p, t) in enumerate(zip(grey, TIMES, strict=True))]
    assert write_rrd(folder / "clip.rrd", hands, camera, frames) == 6
    assert sorted(path.name for path in folder.iterdir()) == ["clip.parquet", "clip.rrd"]
    return read(folder / "clip.rrd")


def test_joints_are_those_of_the_frames(said):
    rows = said["/hands/0/joints", "Points3D:positions"]
    assert [time for time, _ in rows] == pytest.approx(list(TIMES))
    for step, (_, positions) in enumerate(rows):
        np.testing.assert_allclose(positions, hand(step).prediction.joints_xyz, atol=1e-6)
    left = said["/hands/1/joints", "Points3D:positions"]
    assert [time for time, _ in left] == pytest.approx(list(TIMES[1:3]))


def test_skeletons_and_meshes(said):
    xyz = hand(2).prediction.joints_xyz
    (_, strips), mesh = (
        said["/hands/0/skeleton", "LineStrips3D:strips"][2],
        said["/hands/0/mesh", "Mesh3D:vertex_positions"][2][1],
    )
    np.testing.assert_allclose(strips, xyz[np.array(BONES)], atol=1e-6)
    expected, faces = fit_hand(torch.from_numpy(xyz), "right").mesh()
    np.testing.assert_allclose(mesh, expected, atol=1e-5)
    ((time, triangles),) = said["/hands/0/mesh", "Mesh3D:triangle_indices"]  # once is enough
    assert time == 0
    np.testing.assert_array_equal(triangles, faces)
    normals = np.array(said["/hands/0/mesh", "Mesh3D:vertex_normals"][2][1])
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-4)
    # Outwards: a step along them leaves the middle of the hand behind.
    away = np.array(mesh) - np.mean(mesh, 0)
    assert (np.sum(away * normals, 1) > 0).mean() > 0.6


def test_the_image_plane(said):
    ((_, matrix),) = said["/camera", "Pinhole:image_from_camera"]
    np.testing.assert_allclose(np.reshape(matrix, (3, 3)).T, K)
    pictures = said["/camera", "EncodedImage:blob"]
    assert len(pictures) == 4
    data = np.frombuffer(bytes(pictures[2][1][0]), np.uint8)
    assert cv2.imdecode(data, cv2.IMREAD_COLOR).mean() == pytest.approx(80, abs=1)
    strips = np.array(said["/camera/hands/0", "LineStrips2D:strips"][1][1])
    np.testing.assert_allclose(strips, hand(1).prediction.joints_uv[np.array(BONES)], atol=1e-3)


def test_curves(said):
    presence = said["/presence/0", "Scalars:scalars"]
    assert [v[0] for _, v in presence] == pytest.approx([0.9, 0.8, 0.7, 0.6])
    confidence = said["/confidence/0", "Scalars:scalars"]
    np.testing.assert_allclose(confidence[3][1], hand(3).prediction.confidence, atol=1e-6)
    ((_, names),) = said["/confidence/0", "SeriesLines:names"]
    assert names[0] == "wrist"


def test_a_hand_that_is_gone_disappears(said):
    cleared = said["/hands/1", "Clear:is_recursive"]
    assert [time for time, _ in cleared] == pytest.approx([TIMES[3]])
    assert ("/hands/0", "Clear:is_recursive") not in said
