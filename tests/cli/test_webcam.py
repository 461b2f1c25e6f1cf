"""`auxhand webcam` of videos and stand-ins for a camera and for a window."""

import json
import os
import signal

import cv2
import numpy as np
import pytest
from clips import Bright, write
from pyarrow import parquet as pq

from auxhand.cli import window as window_module
from auxhand.cli.main import main
from auxhand.inference.estimator import HandPoseEstimator


class Screen:
    """A window that keeps what it shows, and is closed after `patience` pictures."""

    def __init__(self, patience=10_000):
        self.shown, self.patience, self.open = [], patience, True

    def __call__(self, title):
        self.title = title
        return self

    @property
    def closed(self):
        return len(self.shown) >= self.patience

    def show(self, picture):
        self.shown.append(picture)

    def close(self):
        self.open = False


@pytest.fixture
def screen(monkeypatch):
    monkeypatch.setattr(HandPoseEstimator, "load", lambda *arguments: Bright())
    screen = Screen()
    monkeypatch.setattr(window_module, "Window", screen)
    return screen


PLACES = [(20 + 2 * i, 30) for i in range(12)]


def bright_at(picture):
    """Column of the middle of what is white, in a picture for viewing."""
    return np.argwhere(picture.min(2) > 250).mean(0)[1]


def test_a_recording_is_that_of_predict(screen, tmp_path, capsys):
    clip = write(tmp_path / "clip.mp4", PLACES)
    out = tmp_path / "new" / "out"
    assert main(["webcam", "--source", str(clip), "--out", str(out), "--csv"]) == 0
    assert "clip.mp4: 12 of 12 frames show a hand, 1 in all;" in capsys.readouterr().out
    assert main(["predict", str(clip), "--hands", "2", "--out", str(tmp_path / "same")]) == 0
    assert pq.read_table(out / "webcam.parquet").equals(
        pq.read_table(tmp_path / "same" / "clip.parquet")
    )
    names = ["webcam.csv", "webcam.json", "webcam.parquet", "webcam_overlay.mp4"]
    assert sorted(path.name for path in out.iterdir()) == names
    said = json.loads((out / "webcam.json").read_text())
    same = json.loads((tmp_path / "same" / "clip.json").read_text())
    assert said["mirrored"] is False
    assert {k: said[k] for k in same if k != "frames_broken"} == {
        k: v for k, v in same.items() if k != "frames_broken"
    }
    assert (len(screen.shown), screen.open) == (12, False)


def test_a_mirror_shows_the_other_way_and_says_the_same(screen, tmp_path):
    clip = write(tmp_path / "clip.mp4", PLACES)
    for options in ([], ["--mirror"]):
        out = str(tmp_path / "out")
        assert main(["webcam", "--source", str(clip), "--out", out, *options]) == 0
    first, second = (
        pq.read_table(tmp_path / "out" / name) for name in ("webcam.parquet", "webcam_2.parquet")
    )
    assert first.equals(second)
    plain, mirrored = screen.shown[5], screen.shown[17]
    scale = plain.shape[1] / 96
    u = PLACES[5][0]
    # What a skeleton covers is not white, which moves the middle a little.
    assert bright_at(plain) / scale == pytest.approx(u, abs=3)
    assert bright_at(mirrored) / scale == pytest.approx(95 - u, abs=3)


def test_a_closed_window_ends_it(screen, tmp_path, capsys):
    screen.patience = 3
    assert main(["webcam", "--source", str(write(tmp_path / "clip.mp4", PLACES))]) == 0
    assert "3 of 3 frames" in capsys.readouterr().out
    assert not screen.open
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_an_interruption_ends_the_recording_properly(screen, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(screen, "show", lambda picture: os.kill(os.getpid(), signal.SIGINT))
    clip = write(tmp_path / "clip.mp4", PLACES)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert main(["webcam", "--source", str(clip), "--out", str(tmp_path / "out")]) == 0
    assert pq.read_table(tmp_path / "out" / "webcam.parquet").num_rows == 1
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_seconds_end_it(screen, tmp_path, capsys):
    clip = write(tmp_path / "clip.mp4", PLACES)
    arguments = ["--seconds", "0.26", "--no-window", "--out", str(tmp_path / "out")]
    assert main(["webcam", "--source", str(clip), *arguments]) == 0
    assert "6 of 6 frames" in capsys.readouterr().out
    assert screen.shown == []


class FakeCamera:
    """What `cv2.VideoCapture` gives: four BGR frames, then none."""

    def __init__(self, number):
        self.left = 4 if number == 1 else 0

    def set(self, option, value):
        return True

    def read(self):
        if not self.left:
            return False, None
        self.left -= 1
        frame = np.zeros((64, 96, 3), np.uint8)
        frame[26:35, 46:55] = 255, 200, 150  # blue most
        return True, frame

    def release(self):
        self.left = None


def test_a_camera(screen, monkeypatch, capsys):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    assert main(["webcam", "--source", "1"]) == 0
    assert "camera 1: 4 of 4 frames show a hand" in capsys.readouterr().out
    assert "camera 1" in screen.title
    picture = screen.shown[0]
    assert (picture == [150, 200, 255]).all(2).sum() > 100  # RGB
    assert not (picture == [255, 200, 150]).all(2).any()


def test_no_camera_costs_one_line(screen, monkeypatch, capfd):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    assert main(["webcam"]) == 2
    error = capfd.readouterr().err
    assert "camera 0: there is none" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--source", "nowhere.mp4"], "No such file: nowhere.mp4"),
        (["--source", "http://a/b"], "not the address"),
        (["--no-window"], "name a folder for the recording by --out"),
        (["--seconds", "0"], "--seconds must be positive"),
        (["--fov", "50", "--focal", "500"], "not both"),
        (["--threshold", "2"], "--threshold must lie between 0 and 1"),
    ],
)
def test_mistakes_cost_one_line(screen, capsys, arguments, says):
    assert main(["webcam", *arguments]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_a_machine_without_screen_is_told_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(HandPoseEstimator, "load", lambda *arguments: Bright())
    tkinter = pytest.importorskip("tkinter")

    def fail():
        raise tkinter.TclError("no display name and no $DISPLAY environment variable")

    monkeypatch.setattr(tkinter, "Tk", fail)
    assert main(["webcam", "--source", str(write(tmp_path / "clip.mp4", PLACES))]) == 2
    error = capsys.readouterr().err
    assert "no window can be shown here (no display name" in error
    assert "--no-window" in error
    assert error.count("\n") == 1
