"""`auxhand predict` of videos that are made here, with a stand-in estimator."""

import json

import av
import numpy as np
import pytest
from clips import SHAPE, Bright, write
from PIL import Image
from pyarrow import parquet as pq

from auxhand.cli.main import main
from auxhand.inference.estimator import HandPoseEstimator


@pytest.fixture
def predict(monkeypatch, tmp_path):
    monkeypatch.setattr(HandPoseEstimator, "load", lambda *arguments: Bright())
    return lambda *arguments: main(
        ["predict", *map(str, arguments), "--out", str(tmp_path / "out")]
    )


def test_a_video_from_end_to_end(predict, tmp_path, capsys):
    places = [(20 + 2 * i, 30) for i in range(20)] + [None] * 3
    clip = write(tmp_path / "clip.mp4", places)
    assert predict(clip, "--csv", "--smoothing", "off") == 0
    told = capsys.readouterr().out
    assert "clip.mp4: 20 of 23 frames show a hand, 1 in all" in told
    assert "1 photos and videos: 1 hands found, 0 without a hand, 0 failed" in told
    out = tmp_path / "out"
    names = ["clip.csv", "clip.json", "clip.parquet", "clip_overlay.mp4"]
    assert sorted(path.name for path in out.iterdir()) == names
    rows = pq.read_table(out / "clip.parquet").to_pylist()
    assert [row["frame"] for row in rows] == list(range(20))
    assert [row["time_s"] for row in rows] == pytest.approx([i / 20 for i in range(20)])
    for row, (u, v) in zip(rows, places, strict=False):
        assert row["wrist_u_px"] == pytest.approx(u + SHAPE[0, 0], abs=0.6)
        assert row["wrist_v_px"] == pytest.approx(v + SHAPE[0, 1], abs=0.6)
    said = json.loads((out / "clip.json").read_text())
    assert (said["frames"], said["frames_with_hands"], said["hands"]) == (23, 20, 1)
    assert (said["width_px"], said["height_px"], said["frames_broken"]) == (96, 64, 0)
    assert said["smoothing"] is None
    assert len((out / "clip.csv").read_text().splitlines()) == 21
    with av.open(str(out / "clip_overlay.mp4")) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 23
    assert frames[5].time == pytest.approx(0.25, abs=1e-3)
    # Small videos are enlarged for the overlay.
    assert (frames[0].width, frames[0].height) == (96 * 6, 64 * 6)


def test_smoothing_is_on_by_default(predict, tmp_path):
    clip = write(tmp_path / "clip.mp4", [(40 + 6 * (i % 2), 30) for i in range(40)])
    assert predict(clip) == 0
    us = [row["wrist_u_px"] for row in pq.read_table(tmp_path / "out/clip.parquet").to_pylist()]
    assert np.ptp(us[20:]) < 4
    said = json.loads((tmp_path / "out/clip.json").read_text())
    assert said["smoothing"] == {"min_cutoff_hz": 1.5, "beta": 5.0}


def test_a_file_that_is_no_video_costs_one_line(predict, tmp_path, capsys):
    (tmp_path / "bad.mp4").write_text("not a video")
    clip = write(tmp_path / "clip.mp4", [(40, 30)] * 3)
    assert predict(tmp_path / "bad.mp4", clip) == 1
    error = capsys.readouterr().err
    assert "bad.mp4" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out" / "bad.json").exists()


def test_a_second_run_replaces_the_first_ones_files_and_no_others(predict, tmp_path, capsys):
    clip = write(tmp_path / "clip.mp4", [(40, 30)] * 3)
    assert predict(clip) == 0
    assert predict(clip) == 0
    (tmp_path / "out" / "clip.json").write_text("{}")
    assert predict(clip) == 2
    assert "name another --out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--smoothing", "1"], "two numbers HZ,BETA"),
        (["--smoothing", "0,1"], "a positive HZ"),
        (["--box", "1,2,3,4"], "--box and --side are for photos"),
        (["--side", "left"], "--box and --side are for photos"),
    ],
)
def test_mistakes_cost_one_line(predict, tmp_path, capsys, arguments, says):
    clip = write(tmp_path / "clip.mp4", [(40, 30)] * 3)
    assert predict(clip, *arguments) == 2
    error = capsys.readouterr().err
    assert says in error


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_an_animation_is_a_photo_or_a_video(predict, tmp_path, capsys, suffix):
    frames = []
    for u in (20, 40, 60):
        pixels = np.zeros((64, 96, 3), np.uint8)
        pixels[26:35, u - 4 : u + 5] = 255
        frames.append(Image.fromarray(pixels))
    path = tmp_path / f"wave.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, **options)
    assert predict(path, "--video", "--smoothing", "off") == 0
    assert "3 of 3 frames show a hand" in capsys.readouterr().out
    rows = pq.read_table(tmp_path / "out" / "wave.parquet").to_pylist()
    assert [row["time_s"] for row in rows] == pytest.approx([0, 0.1, 0.2])
    assert [row["wrist_u_px"] for row in rows] == pytest.approx(
        [u + SHAPE[0, 0] for u in (20, 40, 60)]
    )
    assert json.loads((tmp_path / "out" / "wave.json").read_text())["frames"] == 3
    assert predict(path, "--box", "1,1,30,30") == 0
    assert "first frame of an animation (--video reads all)" in capsys.readouterr().out
