"""Bad files, through every command that reads files: one line each, no traceback, no hang."""

import contextlib
import json
import shutil
import time
from contextlib import contextmanager

import bad_files
import numpy as np
import pytest
import torch
import yaml
from miniature import array, hand, write_image
from PIL import Image

import auxhand.training  # whose import is to take no command's time
from auxhand.cli.main import main
from auxhand.hand.unpickle import load_arrays

SOME = 8
"""Files of each kind in every run of the tests; `-m hostile` takes `ALL`."""
ALL = 60
LIMIT = 200.0
"""Processor seconds that one command may take: a hundred times what it takes, imports apart."""

counts = pytest.mark.parametrize(
    "count", [SOME, pytest.param(ALL, marks=pytest.mark.hostile)], ids=["some", "all"]
)


@contextmanager
def in_time():
    started = time.process_time()
    yield
    assert time.process_time() - started < LIMIT


def auxhand(capsys, *arguments, code=(0, 1, 2)):
    """Run a command: no traceback, an exit code of these, words about what was wrong."""
    with in_time():
        returned = main([str(a) for a in arguments])
    said = capsys.readouterr()
    assert returned in code
    assert "Traceback" not in said.err
    if returned:
        assert said.err.strip().splitlines()[-1].startswith(f"auxhand {arguments[0]}: error: ")
        assert len(said.err) < 100_000
    return said


@counts
def test_photos(tmp_path, capsys, count):
    """Every good photo among bad ones is answered."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, data in bad_files.photos(count, 1):
        (folder / name).write_bytes(data)
    rng = np.random.default_rng(0)
    for number in range(3):
        noise = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"good{number}.png")
    out = tmp_path / "out"
    box = ("--box", "4,4,20,20", "--side", "right")
    said = auxhand(capsys, "predict", folder, "--out", out, *box, code=(0, 1))
    for number in range(3):
        assert f"good{number}.png: right hand" in said.out
        assert json.loads((out / f"good{number}.json").read_text())["hand"] is not None
    sheet = tmp_path / "sheet.png"
    auxhand(capsys, "data", "check", "folder", folder, "--sheet", sheet)
    prepared = tmp_path / "prepared"
    auxhand(capsys, "data", "convert", "folder", folder, prepared, "--skip-bad", code=(0,))
    assert json.loads((prepared / "dataset.json").read_text())["count"] >= 3


@counts
def test_coco(tmp_path, capsys, count):
    one = hand(0)
    points = np.concatenate([array(one.uv), np.full((21, 1), 2)], 1).tolist()
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 96, "height": 96, "K": one.K.tolist()}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "keypoints": points, "hand_type": "right",
             "joint_cam": (1000 * array(one.xyz)).tolist(), "joint_valid": [1] * 21}
        ],
        "categories": [{"id": 1, "name": "hand", "keypoints": [f"thumb{n}" for n in range(21)]}],
    }  # fmt: skip
    write_image(tmp_path / "a.jpg", one.image)
    for text in bad_files.texts(content, count, 2):
        (tmp_path / "mine.json").write_text(text, encoding="utf-8", errors="surrogatepass")
        arguments = ("coco", tmp_path, "--split", "mine", "--sheet", tmp_path / "sheet.png")
        auxhand(capsys, "data", "check", *arguments)


@counts
def test_freihand(tmp_path, capsys, count):
    one = hand(0)
    write_image(tmp_path / "evaluation" / "rgb" / "00000000.jpg", one.image)
    content = {"K": [one.K.tolist()], "xyz": [array(one.xyz).tolist()]}
    for number, text in enumerate(bad_files.texts(content["xyz"], count, 3)):
        broken, whole = ("xyz", "K") if number % 2 else ("K", "xyz")
        (tmp_path / f"evaluation_{broken}.json").write_text(text, errors="surrogatepass")
        (tmp_path / f"evaluation_{whole}.json").write_text(json.dumps(content[whole]))
        arguments = ("freihand", tmp_path, "--split", "evaluation")
        auxhand(capsys, "data", "check", *arguments, "--sheet", tmp_path / "sheet.png")


@counts
def test_bundles(tmp_path, capsys, count):
    from auxhand.inference.bundle import DEFAULT, shipped

    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    broken = tmp_path / "bundle"
    shutil.copytree(shipped(DEFAULT), broken)
    content = json.loads((broken / "bundle.json").read_text())
    predict = ("predict", tmp_path / "a.png", "--model", broken, "--out", tmp_path / "out")
    for text in bad_files.texts(content, count, 4):
        (broken / "bundle.json").write_text(text, errors="surrogatepass")
        auxhand(capsys, *predict, "--box", "4,4,20,20", "--side", "right")


@counts
def test_prepared_datasets(hand_dataset, tmp_path, capsys, count):
    rng = np.random.default_rng(5)
    root = tmp_path / "data"
    shutil.copytree(hand_dataset, root, ignore=shutil.ignore_patterns(".cache"))
    shard = root / "data-00001.parquet"
    whole, description = shard.read_bytes(), (root / "dataset.json").read_text()
    evaluate = ("evaluate", "default", root, "--out", tmp_path / "out")
    texts = bad_files.texts(json.loads(description), count, 6)
    for number, text in enumerate(texts):
        if number % 2:
            (root / "dataset.json").write_text(text, errors="surrogatepass")
            shard.write_bytes(whole)
        else:
            (root / "dataset.json").write_text(description)
            shard.write_bytes(bad_files.mutated(whole, rng))
        auxhand(capsys, *evaluate)


@counts
def test_pickles(tmp_path, count):
    path = tmp_path / "a.pickle"
    for data in bad_files.pickles(count, 7):
        path.write_bytes(data)
        with in_time(), contextlib.suppress(ValueError):
            assert not callable(load_arrays(path))


@counts
def test_factors(tmp_path, capsys, count):
    content = {
        "left": 0.5,
        "people": [0, 10],
        "pose": {"shares": {"fist": 1}, "variation": 1.0},
        "camera": {"near": [0.3, 0.5], "far_share": 0.1},
        "fixed": {"camera": {"distance": 0.7}},
    }
    path = tmp_path / "factors.yaml"
    for number, data in enumerate(bad_files.yamls(content, count, 8)):
        path.write_bytes(data)
        arguments = ("--count", 1, "--size", 32, "--preview", "--config", path)
        auxhand(capsys, "synth", tmp_path / f"{number}.png", *arguments)


@counts
def test_configurations(tmp_path, capsys, training_yaml, monkeypatch, count):
    """A run that is possible all the same takes one batch."""
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load(training_yaml(tmp_path / "run"))
    content["trainer"] |= {"fast_dev_run": True, "callbacks": []}
    path = tmp_path / "run.yaml"
    for data in bad_files.yamls(content, count, 9):
        path.write_bytes(data)
        auxhand(capsys, "train", path, "--restart")


@counts
def test_checkpoints(tmp_path, capsys, write_config, count):
    rng = np.random.default_rng(10)
    config = write_config("run")
    auxhand(capsys, "train", config, "--set", "trainer.max_epochs=1", code=(0,))
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    whole = last.read_bytes()
    contents = torch.load(last, weights_only=True)
    for number in range(count):
        if number % 2:
            last.write_bytes(bad_files.mutated(whole, rng))
        else:
            name = list(contents)[number // 2 % len(contents)]
            value = bad_files.VALUES[int(rng.integers(len(bad_files.VALUES)))]
            torch.save(contents | {name: value}, last)
        auxhand(capsys, "train", config, "--set", "trainer.max_epochs=1")


@counts
def test_photos_of_a_walk(tmp_path, capsys, count):
    """Photos are read before the model, which here has no latent space."""
    good = tmp_path / "good.png"
    Image.new("RGB", (32, 32)).save(good)
    for name, data in bad_files.photos(count, 11):
        path = tmp_path / name
        path.write_bytes(data)
        arguments = ("walk", path, good, "--model", "default", "--out", tmp_path / "out")
        auxhand(capsys, "synthesize", *arguments, code=(2,))


@counts
def test_interhand(tmp_path, capsys, count):
    one = hand(0)
    image = {"id": 1, "file_name": "a.jpg", "capture": 0, "camera": "4", "frame_idx": 7}
    joints = np.concatenate([array(one.xyz)] * 2) * 1000
    contents = {
        "data": {
            "images": [image],
            "annotations": [{"id": 1, "image_id": 1, "joint_valid": [[1]] * 42}],
        },
        "camera": {
            "0": {
                "campos": {"4": [0, 0, 0]},
                "camrot": {"4": np.eye(3).tolist()},
                "focal": {"4": [one.K[0, 0], one.K[1, 1]]},
                "princpt": {"4": [one.K[0, 2], one.K[1, 2]]},
            }
        },
        "joint_3d": {"0": {"7": {"world_coord": joints.tolist()}}},
    }
    write_image(tmp_path / "images" / "val" / "a.jpg", one.image)
    folder = tmp_path / "annotations" / "val"
    folder.mkdir(parents=True)
    for kind, content in contents.items():
        (folder / f"InterHand2.6M_val_{kind}.json").write_text(json.dumps(content))
    for number, (kind, content) in enumerate(contents.items()):
        path = folder / f"InterHand2.6M_val_{kind}.json"
        for text in bad_files.texts(content, count, 12 + number):
            path.write_text(text, errors="surrogatepass")
            arguments = ("interhand", tmp_path, "--split", "val", "--sheet", tmp_path / "sheet.png")
            auxhand(capsys, "data", "check", *arguments)
        path.write_text(json.dumps(content))
