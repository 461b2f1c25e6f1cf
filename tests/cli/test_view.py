"""`auxhand view` from end to end."""

import json
import sys

import numpy as np
import pytest
from clips import write
from moving import K, record
from PIL import Image

from auxhand.cli import view
from auxhand.cli.main import main

pytest.importorskip("rerun")
pytest.importorskip("pygltflib")


@pytest.fixture
def result(tmp_path):
    said = {"video": "clip.mp4", "width_px": 96, "height_px": 64, "camera": {"K_px": K.tolist()}}
    (tmp_path / "clip.json").write_text(json.dumps(said))
    return record(tmp_path / "clip.parquet")


def test_a_recording_with_its_video(result, tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(view, "_open", opened.append)
    clip = write(tmp_path / "clip.mp4", [(20, 30)] * 4)
    assert main(["view", str(result), "--video", str(clip), "--open"]) == 0
    assert "clip.rrd: 6 hands in its frames" in capsys.readouterr().out
    assert opened == [tmp_path / "clip.rrd"]
    assert (tmp_path / "clip.rrd").stat().st_size > 10_000


def test_gltf(result, tmp_path, capsys):
    out = tmp_path / "new" / "hands.glb"
    assert main(["view", str(result), "--out", str(out)]) == 0
    assert "hands.glb: 2 hands" in capsys.readouterr().out
    assert out.read_bytes()[:4] == b"glTF"


def test_a_photo_is_a_picture_of_one_frame(tmp_path):
    Image.fromarray(np.full((9, 6, 3), 80, np.uint8)).save(tmp_path / "a.png")
    (frame,) = view._pictures(tmp_path / "a.png")
    assert (frame.pixels.shape, frame.time, frame.number) == ((9, 6, 3), 0.0, 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.parquet"], "No such file: nowhere.parquet"),
        (["clip.parquet", "--out", "a.txt"], "--out ends in .rrd or .glb"),
        (["clip.parquet", "--out", "a.glb", "--open"], "--open and --video are for rerun"),
        (["clip.parquet", "--video", "nowhere.mp4"], "No such file: nowhere.mp4"),
        (["lone.parquet", "--video", "clip.mp4"], "--video needs the camera"),
    ],
)
def test_mistakes_cost_one_line(result, tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lone.parquet").write_bytes(result.read_bytes())
    before = sorted(tmp_path.iterdir())
    assert main(["view", *arguments]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("out", "module"), [("a.rrd", "rerun"), ("a.glb", "pygltflib")])
def test_a_missing_extra_is_one_line(result, tmp_path, monkeypatch, capsys, out, module):
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["view", str(result), "--out", str(tmp_path / out)]) == 2
    assert "pip install 'auxhand[viewer]'" in capsys.readouterr().err
    assert not (tmp_path / out).exists()
