"""`auxhand predict` of many photos: resumed, and on a cluster."""

import json
import os

import numpy as np
import pytest
from clips import Bright, write
from PIL import Image

from auxhand.cli.main import main
from auxhand.cli.results import write_result
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.models.pose_net import PoseNet
from auxhand.models.pose_resnet import PoseResNet


def photo(path, u):
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[26:35, u - 4 : u + 5] = 255
    Image.fromarray(pixels).save(path)
    return path


class Counting(Bright):
    """Counts what it is asked."""

    asked = 0

    def predict(self, image, *arguments):
        self.asked += 1
        return super().predict(image, *arguments)

    def predict_many(self, images, *arguments, **options):
        self.asked += len(images)
        return super().predict_many(images, *arguments, **options)


@pytest.fixture
def estimator(monkeypatch):
    estimator = Counting()
    monkeypatch.setattr(HandPoseEstimator, "load", lambda *arguments: estimator)
    return estimator


def test_resume_leaves_out_what_is_there(estimator, tmp_path, capsys):
    inputs = [photo(tmp_path / f"{name}.png", 30) for name in "ab"]
    inputs.append(write(tmp_path / "clip.mp4", [(20, 30)] * 3))
    out = tmp_path / "out"
    command = ["predict", *map(str, inputs), "--out", str(out)]
    assert main([*command, "--resume"]) == 0
    once, files = estimator.asked, {p: p.read_bytes() for p in out.iterdir()}
    capsys.readouterr()
    assert main([*command, "--resume"]) == 0
    assert estimator.asked == once
    told = capsys.readouterr().out
    assert told.count("its results are there") == 3
    assert "3 photos and videos: 3 hands found, 0 without a hand, 0 failed" in told
    assert {p: p.read_bytes() for p in out.iterdir()} == files
    # A half-written result is none, and neither is another model's.
    (out / "a.json").write_text('{\n  "photo":')
    said = json.loads((out / "b.json").read_text())
    (out / "b.json").write_text(json.dumps(said | {"model": "another"}, indent=2) + "\n")
    assert main([*command, "--resume"]) == 0
    assert estimator.asked == once + 2
    assert {p: p.read_bytes() for p in out.iterdir()} == files
    assert main(command) == 0
    assert estimator.asked > once + 2


def test_resume_makes_anew_what_is_not_all_there_or_older(estimator, tmp_path):
    files = [photo(tmp_path / "a.png", 30), write(tmp_path / "clip.mp4", [(20, 30)] * 3)]
    rest = ["--out", str(tmp_path / "out"), "--resume"]
    command = ["predict", *map(str, files), *rest]
    assert main(command) == 0
    once, out = estimator.asked, tmp_path / "out"
    for name in ("a_overlay.png", "clip_overlay.mp4", "clip.parquet"):
        (out / name).unlink()
        before = estimator.asked
        assert main(command) == 0
        assert (out / name).is_file()
        assert 0 < estimator.asked - before < once  # the other one is left out
    assert main([*command, "--csv"]) == 0
    assert (out / "clip.csv").is_file()
    photo(tmp_path / "a.png", 60)
    later = (out / "a.json").stat().st_mtime_ns + 1
    os.utime(tmp_path / "a.png", ns=(later, later))
    before = (out / "a.json").read_bytes()
    assert main(["predict", str(files[0]), *rest]) == 0
    assert (out / "a.json").read_bytes() != before


@pytest.mark.parametrize("written", range(3))
@pytest.mark.parametrize("earlier", [False, True])
def test_what_a_kill_left_is_made_anew(estimator, tmp_path, monkeypatch, earlier, written):
    """Between two files of a result, beside which there may be files of an earlier run."""
    command = ["predict", str(photo(tmp_path / "a.png", 30)), "--out"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    out = tmp_path / "out"
    if earlier:
        assert main([*command, str(out)]) == 0
    writes = []

    def until_killed(stem, suffix, data):
        if data is not None:
            if len(writes) == written:
                raise KeyboardInterrupt
            writes.append(suffix)
        write_result(stem, suffix, data)

    with monkeypatch.context() as killed:
        killed.setattr("auxhand.cli.photo.write_result", until_killed)
        killed.setattr("auxhand.cli.work.remove_results", lambda *arguments: None)
        assert main([*command, str(out)]) == 130
    assert main([*command, str(out), "--resume"]) == 0
    contents = [{p.name: p.read_bytes() for p in f.iterdir()} for f in (out, tmp_path / "whole")]
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--workers", "0"], "--workers must be at least 1"),
        (["--cluster", "here"], "HOST:PORT, auto or local"),
        (["--cluster", "127.0.0.1:1"], "no Ray cluster at 127.0.0.1:1"),
    ],
)
def test_mistakes_cost_one_line(estimator, tmp_path, capsys, arguments, says):
    if "--cluster" in arguments:
        pytest.importorskip("ray")
    path = photo(tmp_path / "a.png", 30)
    assert main(["predict", str(path), "--out", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_cluster_writes_the_same_and_goes_on(tmp_path, monkeypatch, capsys):
    pytest.importorskip("ray")
    import torch

    from auxhand.inference.bundle import save_bundle
    from auxhand.models.heads import Peak25D

    torch.manual_seed(0)
    network = PoseNet(PoseResNet("test_resnet", width=8), Peak25D(), side=True).eval()
    save_bundle(tmp_path / "bundle", network, 64, {})
    for number in range(3):
        photo(tmp_path / f"{number}.png", 20 + 20 * number)
    (tmp_path / "bad.png").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_worker_niceness", "0")  # ours waits for them: no other work goes first
    command = ["predict", *sorted(p.name for p in tmp_path.glob("*.png")), "--model", "bundle"]
    command += ["--box", "10,10,40,40", "--out"]
    runs = {"alone": [], "together": ["--cluster", "local", "--workers", "2"]}
    for name, options in runs.items():
        assert main([*command, name, *options]) == 1
        captured = capsys.readouterr()
        assert "4 photos: 3 hands found, 0 without a hand, 1 failed" in captured.out
        assert captured.err.count("bad.png") == 1
    alone = {path.name: path.read_bytes() for path in (tmp_path / "alone").iterdir()}
    together = tmp_path / "together"
    assert len(alone) == 9
    assert alone == {path.name: path.read_bytes() for path in together.iterdir()}
    (together / "1.json").write_text('{\n  "photo":')
    options = ["--cluster", "local", "--workers", "1", "--resume"]
    assert main([*command, str(together), *options]) == 1
    assert capsys.readouterr().out.count("its results are there") == 2
    assert alone == {path.name: path.read_bytes() for path in together.iterdir()}
