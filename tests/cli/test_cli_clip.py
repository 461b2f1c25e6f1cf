"""`auxhand predict` of videos that are made here, with a stand-in estimator."""

import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from pyarrow import parquet as pq

from auxhand.cli.main import main
from auxhand.geometry.crop import Crop
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.inference.prediction import Prediction

av = pytest.importorskip("av")
SHAPE = np.random.default_rng(0).uniform(-10, 10, (21, 2))


class Bright:
    """Sees a right hand at the brightest pixel of a picture, if there is light."""

    tells_side = True

    def predict_hands(self, image, count=None, K=None, hand_size=None, threshold=None):
        return self.seen(image)[:count]

    def predict_many(self, images, boxes, sides, Ks=None, hand_size=None, once=False):
        return [next(iter(self.seen(image)), None) for image in images]

    def seen(self, image):
        light = image.astype(int).sum(2)
        if light.max() < 300:
            return []
        v, u = np.argwhere(light > 300).mean(0)
        xyz = np.concatenate([SHAPE / 1000, np.full((21, 1), 0.5)], 1)
        return [
            Prediction(
                joints_uv=SHAPE + np.array([u, v]),
                joints_relative=xyz - xyz[9],
                joints_xyz=xyz,
                confidence=None,
                presence=0.9,
                side="right",
                side_scores={"right": 0.9, "left": 0.1},
                mask=None,
                box=(u - 12, v - 12, 24.0, 24.0),
                K=np.eye(3),
                hand_size=0.0448,
                crop=Crop(torch.eye(3).double(), (64, 64), torch.eye(3).double()),
                photo_size=(96, 64),
            )
        ]


def write(path, places):
    """A video of 20 frames a second: a light at each place (u, v), None: darkness."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 20)
        for number, place in enumerate(places):
            pixels = np.zeros((64, 96, 3), np.uint8)
            if place is not None:
                u, v = place
                pixels[v - 4 : v + 5, u - 4 : u + 5] = 255
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 20)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


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
