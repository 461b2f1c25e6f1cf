"""`auxhand synth` from the command line."""

import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from auxhand.cli.main import main
from auxhand.data.columns import decode_image
from auxhand.data.store import PreparedDataset


def run(*arguments):
    return main(["synth", *map(str, arguments)])


ENDLESS = """
import sys
from dataclasses import replace
from auxhand.cli.main import main
from auxhand.synth import factory
generate = factory.generate
factory.generate = lambda out, job, *a, **k: generate(out, replace(job, shard_size=3), *a, **k)
sys.exit(main(["synth", sys.argv[1], "--count", "3000", "--size", "32", "--workers", "2"]))
"""
"""Two processes that make many small shards."""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no such signals")
@pytest.mark.parametrize(
    ("number", "code", "last"),
    [
        (signal.SIGTERM, 143, "the same command goes on"),
        (signal.SIGKILL, -signal.SIGKILL, ""),
    ],
)
def test_a_killed_run_takes_its_workers_with_it_and_leaves_whole_shards(
    tmp_path, number, code, last
):
    out = tmp_path / "hands"
    run = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(out)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while len(list(out.glob("data-*.parquet"))) < 4:
            assert run.poll() is None
            time.sleep(0.05)
        run.send_signal(number)
        # The pipe ends when the last process that holds it has ended.
        _, errors = run.communicate()
    finally:
        if run.returncode is None:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
    assert run.returncode == code
    assert not last or errors.rstrip().endswith(last)
    assert "Traceback" not in errors
    shards = list(out.glob("data-*.parquet"))
    assert {pq.read_metadata(shard).num_rows for shard in shards} == {3}
    if number == signal.SIGTERM:
        assert {path.name for path in out.iterdir()} == {*(s.name for s in shards), "dataset.json"}


def test_makes_a_dataset_and_says_where(tmp_path, capsys):
    config = tmp_path / "factors.yaml"
    config.write_text("left: 1.0\npose:\n  shares: {fist: 1}\nfixed:\n  camera: {distance: 0.7}\n")
    out = tmp_path / "hands"
    code = run(out, "--count", 2, "--size", 32, "--workers", 1, "--config", config)
    assert code == 0
    assert str(out) in capsys.readouterr().out
    dataset = PreparedDataset(out)
    assert len(dataset) == 2
    assert dataset[1].side == "left"


def test_a_preview_is_one_sheet_and_no_dataset(tmp_path, capsys):
    out = tmp_path / "new" / "look"
    assert run(out, "--count", 3, "--size", 64, "--seed", 2, "--preview") == 0
    sheet = out.with_suffix(".png")
    assert str(sheet) in capsys.readouterr().out
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["look.png"]
    assert decode_image(sheet.read_bytes()).shape == (2 * (192 + 18 + 4) + 4, 2 * 196 + 4, 3)
    first = sheet.read_bytes()
    assert run(sheet, "--count", 3, "--size", 64, "--seed", 2, "--preview") == 0
    assert sheet.read_bytes() == first


def test_a_preview_that_cannot_be_written_costs_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(tmp_path / "file" / "look", "--count", 1, "--size", 32, "--preview") == 2
    assert "cannot write" in capsys.readouterr().err


def test_the_name_of_a_preview_is_kept_whole(tmp_path):
    assert run(tmp_path / "look.v2", "--count", 1, "--size", 32, "--preview") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["look.v2.png"]


def test_a_preview_needs_a_name(capsys):
    assert run(".", "--count", 1, "--preview") == 2
    assert "name a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("view: {uprigt: 1}", "uprigt"),
        ("camera: {near: 3}", "camera.near"),
        ("pose: {shares: {fists: 1}}", "fists"),
        ("fixed: {camra: {}}", "camra"),
        ("fixed: {shape: {finger_width: [1, 1]}}", "finger_width must be 5 numbers"),
        ("fixed: {pose: {angles: [0.1]}}", "pose.angles must be 45 numbers"),
        ("- a list", "a list"),
        ("a: [", "parsing"),
        ("pose:", "factors.yaml: pose takes some of"),
        ("camera: 3", "factors.yaml: camera takes some of near"),
        ("left:", "factors.yaml: left is empty"),
        ("pose: {shares: }", "pose.shares is empty"),
        ("fixed:", "fixed is empty"),
        ("pose: {attempts: 0}", "factors.yaml: pose.attempts"),
        ("view: {pitch: [-100, 0]}", "factors.yaml: view.pitch"),
        ("people: [3, 3]", "factors.yaml: people"),
        ("left: .nan", "left must be a number"),
        ("left: 0.1\nleft: 0.2", "found duplicate key left"),
        ("a text", "not a list or a text"),
        ("3", "not a list or a text"),
    ],
)
def test_wrong_configurations_cost_one_line(tmp_path, capsys, text, words):
    path = tmp_path / "factors.yaml"
    path.write_text(text)
    assert run(tmp_path / "out", "--count", 1, "--config", path) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--count", 0), "count"),
        (("--count", 1, "--config", "nowhere.yaml"), "nowhere.yaml"),
        (("--count", 1, "--backgrounds", "nowhere"), "nowhere"),
        (("--count", 1, "--workers", 0), "workers"),
        (("--count", 1, "--shard", "2"), "I/N"),
        (("--count", 1, "--shard", "4/4"), "no share 4/4: shares are i/n with 0 <= i < n"),
        (("--count", 1, "--shard", "4/4"), "here 0/4 to 3/4"),
        (("--count", 1, "--shard", "1/0"), "no share 1/0"),
        (("--count", 1, "--size", 15), "size must be at least 16"),
        (("--count", 1, "--size", 5000), "size must be at most 4096"),
        (("--count", 1, "--seed", -1), "seed must be at least 0"),
        (("--count", 1, "--renderer", "opengl"), "raster"),
    ],
)
def test_mistakes_cost_one_line(tmp_path, capsys, arguments, words):
    assert run(tmp_path / "out", *arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_file_in_place_of_the_folder_costs_one_line(tmp_path, capsys):
    (tmp_path / "hands").write_text("mine")
    assert run(tmp_path / "hands", "--count", 1) == 2
    error = capsys.readouterr().err
    assert "hands is a file: name a folder" in error
    assert error.count("\n") == 1
    assert (tmp_path / "hands").read_text() == "mine"


def test_a_photo_that_is_none_costs_one_line(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "broken.jpg").write_text("no picture")
    assert run(tmp_path / "out", "--count", 1, "--backgrounds", tmp_path / "photos") == 2
    error = capsys.readouterr().err
    assert "broken.jpg cannot be read as a picture" in error
    assert error.count("\n") == 1


def test_another_dataset_is_kept(tmp_path, capsys):
    out = tmp_path / "hands"
    assert run(out, "--count", 1, "--size", 32, "--workers", 1) == 0
    assert run(out, "--count", 1, "--size", 32, "--workers", 1, "--seed", 1) == 2
    assert "another seed" in capsys.readouterr().err


def test_path_tracing_from_the_command_line(tmp_path, capsys, monkeypatch):
    out = tmp_path / "hands"
    command = (out, "--count", 1, "--size", 32, "--workers", 1, "--renderer", "pathtrace")
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    assert run(*command) == 2
    error = capsys.readouterr().err
    assert "auxhand[pathtrace]" in error
    assert error.count("\n") == 1
    assert not out.exists()
    monkeypatch.undo()
    assert run(*command) == 0
    assert PreparedDataset(out).description["renderer"] == "pathtrace"
    traced = PreparedDataset(out).row(0)
    assert run(tmp_path / "drawn", *command[1:-2]) == 0
    drawn = PreparedDataset(tmp_path / "drawn").row(0)
    assert {name for name in drawn if drawn[name] != traced[name]} == {"image", "rgba"}
