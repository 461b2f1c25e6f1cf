"""Tables and films of tracked hands, read back by the libraries that users read them with."""

import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from pyarrow import parquet as pq

from auxhand.geometry.crop import Crop
from auxhand.hand.skeleton import JOINT_NAMES
from auxhand.inference import recording
from auxhand.inference.prediction import Prediction
from auxhand.inference.recording import COLUMNS, comma_separated, film, parquet
from auxhand.inference.tracker import TrackedHand


def hand(identity, flat=False):
    rng = np.random.default_rng(identity)
    xyz = rng.normal(size=(21, 3))
    return TrackedHand(
        identity,
        Prediction(
            joints_uv=rng.uniform(0, 100, (21, 2)),
            joints_relative=None if flat else xyz - xyz[9],
            joints_xyz=None if flat else xyz,
            confidence=None if flat else rng.uniform(size=21),
            presence=None if flat else 0.75,
            side="left" if identity % 2 else "right",
            side_scores=None,
            mask=None,
            box=(1.0, 2.0, 30.0, 40.0),
            K=np.eye(3),
            hand_size=0.0448,
            crop=Crop(torch.eye(3).double(), (64, 64), torch.eye(3).double()),
            photo_size=(640, 480),
        ),
    )


def assert_is(given, frame, time, tracked):
    said = tracked.prediction
    assert (int(given["frame"]), int(given["hand"])) == (frame, tracked.identity)
    assert float(given["time_s"]) == pytest.approx(time)
    assert given["side"] == said.side
    assert float(given["box_width_px"]) == 30
    for joint, name in enumerate(JOINT_NAMES):
        u, z = float(given[f"{name}_u_px"]), float(given[f"{name}_camera_z_m"])
        assert u == pytest.approx(said.joints_uv[joint, 0], rel=1e-6)
        assert z == pytest.approx(said.joints_xyz[joint, 2], rel=1e-6)
        relative = float(given[f"{name}_relative_y_m"])
        assert relative == pytest.approx(said.joints_relative[joint, 1], rel=1e-6)
        assert float(given[f"{name}_confidence"]) == pytest.approx(said.confidence[joint])


def test_parquet_has_a_row_for_each_hand_and_frame(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "ROWS", 4)
    with parquet(tmp_path / "clip.parquet") as table:
        for frame in range(7):
            table.add(frame, frame / 30, [hand(0), hand(1)] if frame != 3 else [])
        assert not (tmp_path / "clip.parquet").exists()
    file = pq.ParquetFile(tmp_path / "clip.parquet")
    assert file.num_row_groups >= 3  # written on the way
    rows = file.read().to_pylist()
    assert tuple(file.schema_arrow.names) == COLUMNS
    assert [(r["frame"], r["hand"]) for r in rows] == [
        (frame, number) for frame in range(7) if frame != 3 for number in (0, 1)
    ]
    assert_is(rows[0], 0, 0.0, hand(0))
    assert_is(rows[-1], 6, 0.2, hand(1))


def test_csv_says_the_same(tmp_path):
    with comma_separated(tmp_path / "clip.csv") as table:
        table.add(0, 0.0, [hand(0), hand(1)])
    with (tmp_path / "clip.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    for number, given in enumerate(rows):
        assert_is(given, 0, 0.0, hand(number))


def test_what_a_model_does_not_say_is_empty(tmp_path):
    with parquet(tmp_path / "a.parquet") as table, comma_separated(tmp_path / "a.csv") as text:
        for each in (table, text):
            each.add(0, 0.0, [hand(0, flat=True)])
    (given,) = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert given["presence"] is None
    assert given["wrist_camera_z_m"] is None
    assert given["wrist_confidence"] is None
    assert given["wrist_u_px"] is not None
    with (tmp_path / "a.csv").open(newline="") as file:
        (line,) = csv.DictReader(file)
    assert line["wrist_camera_z_m"] == ""


def test_no_hand_is_an_empty_table(tmp_path):
    with parquet(tmp_path / "clip.parquet") as table:
        table.add(0, 0.0, [])
    assert pq.read_table(tmp_path / "clip.parquet").num_rows == 0


@pytest.mark.parametrize("kind", [parquet, comma_separated, film])
def test_what_fails_leaves_no_file(tmp_path, kind):
    def fail():
        with kind(tmp_path / "clip.x"):
            raise RuntimeError("the work has failed")

    with pytest.raises(RuntimeError, match="failed"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_film_has_its_pictures_at_their_times(tmp_path):
    av = pytest.importorskip("av")
    times = [0.0, 0.1, 0.15, 0.7]
    with film(tmp_path / "clip.mp4") as made:
        for number, time in enumerate(times):
            made.add(np.full((49, 65, 3), 40 + 50 * number, np.uint8), time)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        frames = list(container.decode(video=0))
    assert [frame.time for frame in frames] == pytest.approx(times, abs=1e-3)
    assert (frames[0].width, frames[0].height) == (64, 48)
    for number, frame in enumerate(frames):
        assert frame.to_ndarray(format="rgb24").mean() == pytest.approx(40 + 50 * number, abs=4)


@pytest.mark.parametrize("kind", [parquet, comma_separated, film])
def test_a_name_need_not_be_text(tmp_path, kind):
    """As bytes of another encoding than UTF-8 in the name of the video."""
    path = tmp_path / os.fsdecode(b"caf\xe9.x")
    with kind(path) as made:
        if kind is film:
            made.add(np.zeros((48, 64, 3), np.uint8), 0.0)
    assert path.stat().st_size > 100
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [parquet, film])
def test_a_full_disk_is_named(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(Path, "open", lambda path, mode: io.FileIO("/dev/full", mode))

    def write():
        with kind(tmp_path / "clip.x") as made:
            if kind is film:
                made.add(np.zeros((48, 64, 3), np.uint8), 0.0)

    with pytest.raises(OSError, match="No space left on device") as error:
        write()
    assert error.value.filename == str(tmp_path / "clip.x")
    assert list(tmp_path.iterdir()) == []
