"""`auxhand data` from the command line, on a miniature FreiHAND."""

import json
import shutil
from functools import cache

import numpy as np
import pytest
import torch
from miniature import array, assert_like, hand, shown, truncate, write_image, write_json

from auxhand.cli.data import _sheet
from auxhand.cli.main import main
from auxhand.data import convert as conversion
from auxhand.data.columns import decode_image
from auxhand.data.store import PreparedDataset
from auxhand.geometry.camera import project
from auxhand.geometry.crop import uv_box


@cache
def hands():
    """Three right hands."""
    return [h for h in map(hand, range(8)) if h.side == "right"][:3]


@pytest.fixture
def freihand(tmp_path):
    """The evaluation split with labels."""
    root = tmp_path / "FreiHAND_pub_v2"
    for i, one in enumerate(hands()):
        write_image(root / "evaluation" / "rgb" / f"{i:08d}.jpg", one.image)
    write_json(root / "evaluation_K.json", [h.K.tolist() for h in hands()])
    write_json(root / "evaluation_xyz.json", [array(h.xyz).tolist() for h in hands()])
    return root


def run(*arguments):
    return main(["data", *map(str, arguments)])


def test_check_counts_and_draws(freihand, tmp_path, capsys):
    sheet = tmp_path / "new" / "sheet.png"
    arguments = ("check", "freihand", freihand, "--split", "evaluation", "--sheet", sheet)
    assert run(*arguments) == 0
    said = capsys.readouterr().out
    assert "freihand evaluation: 3 samples, published 3960: missing 3957" in said
    assert "joints_xyz: 3 of 3" in said
    assert "mask" not in said
    assert "median 0.000, most 0.000 px" in said
    assert str(sheet) in said
    drawn = decode_image(sheet.read_bytes())
    assert drawn.shape[1] == 3 * 204 + 4
    assert drawn.std() > 10


def test_the_sheet_shows_once_what_any_sample_has():
    grey = np.full((200, 200, 3), 90, np.uint8)
    sheet = _sheet([("a", {"joints": grey}), ("b", {"joints": grey, "mask": grey})])
    assert sheet.shape == (200 + 18 + 8, 4 * 204 + 4, 3)
    assert [sheet[100, 100 + 204 * column, 0] for column in range(4)] == [90, 0, 90, 90]


def test_check_names_what_is_damaged(freihand, tmp_path, capsys):
    truncate(freihand / "evaluation" / "rgb" / "00000001.jpg")
    (freihand / "evaluation" / "rgb" / "00000002.jpg").unlink()
    sheet = tmp_path / "sheet.png"
    assert run("check", "freihand", freihand, "--split", "evaluation", "--sheet", sheet) == 2
    said = capsys.readouterr()
    assert "00000001.jpg: a truncated JPEG" in said.out
    assert "no file" in said.out
    assert "2 samples cannot be read" in said.err
    assert sheet.is_file()


def test_converted_samples_are_the_hands_and_a_stopped_run_goes_on(
    freihand, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(conversion, "SHARD_SIZE", 2)
    out = tmp_path / "prepared"
    arguments = ("convert", "freihand", freihand, out, "--split", "evaluation", "--size", 80)
    image = freihand / "evaluation" / "rgb" / "00000002.jpg"
    whole = image.read_bytes()
    truncate(image)
    assert run(*arguments) == 2
    assert "00000002.jpg: a truncated JPEG" in capsys.readouterr().err
    assert sorted(p.name for p in out.iterdir()) == ["data-00000.parquet", "dataset.json"]
    image.write_bytes(whole)
    assert run(*arguments) == 0
    assert f"3 samples of freihand evaluation: {out}" in capsys.readouterr().out
    description = json.loads((out / "dataset.json").read_text())
    assert description["crop"] == {"by": "joints", "fraction": 0.8}
    dataset = PreparedDataset(out)
    assert len(dataset) == 3
    for i in range(3):
        sample = dataset[i]
        assert sample.image.shape == (3, 80, 80)
        box = uv_box(sample.joints_uv)
        assert float(box[2:].max()) == pytest.approx(80 * 0.8 / 1.5)
        np.testing.assert_allclose(box[:2] + box[2:] / 2, 39.5, atol=1e-6)
        np.testing.assert_allclose(sample.joints_xyz, array(hands()[i].xyz), atol=1e-12)
        torch.testing.assert_close(project(sample.K, sample.joints_xyz), sample.joints_uv)
        assert (sample.side, float(sample.presence)) == ("right", 1.0)
        assert sample.source == f"freihand/evaluation/{i:08d}"
    assert run(*arguments[:-1], 96) == 2
    assert "another size" in capsys.readouterr().err


def test_other_photos_do_not_go_on_with_a_dataset(freihand, tmp_path, capsys):
    photos, again, out = freihand / "evaluation" / "rgb", tmp_path / "again", tmp_path / "out"
    shutil.copytree(photos, again)
    assert run("convert", "folder", photos, out) == 0
    description = (out / "dataset.json").read_text()
    assert run("convert", "folder", again, out) == 2
    assert "another origin" in capsys.readouterr().err
    assert run("convert", "folder", photos, out, "--step", 1) == 2
    assert "another options" in capsys.readouterr().err
    assert run("convert", "folder", photos / ".." / "rgb", out) == 0
    assert (out / "dataset.json").read_text() == description
    assert str(tmp_path) not in description


def test_a_folder_of_photos_is_converted_whole(freihand, tmp_path):
    out = tmp_path / "photos"
    assert run("convert", "folder", freihand / "evaluation" / "rgb", out) == 0
    sample = PreparedDataset(out)[2]
    assert_like(shown(sample), hands()[2].image)
    assert sample.joints_uv is None


def test_mistakes_cost_one_line(freihand, tmp_path, capsys):
    for arguments, words in {
        ("check", "freihands", freihand): "no dataset 'freihands'; there are: rhd, stb",
        ("check", "freihand", tmp_path): "no training/rgb",
        ("check", "freihand", freihand, "--split", "test"): "no split 'test'",
        ("check", "freihand", freihand, "--order", "rhd"): "takes no --order",
        ("check", "coco", freihand): "coco needs --split",
        ("check", "freihand", freihand, "--limit", 0): "--limit must be at least 1, not 0",
        ("convert", "freihand", freihand, tmp_path, "--size", 0): "--size must be between 16 and",
        ("convert", "freihand", freihand, tmp_path, "--margin", "nan"): "--margin must be between",
    }.items():
        assert run(*arguments) == 2
        said = capsys.readouterr().err
        assert words in said
        assert said.count("\n") == 1


def impossible(freihand, rows=(0, 2)):
    """Joints of some rows in millimetres; one photo truncated."""
    path = freihand / "evaluation_xyz.json"
    joints = [(np.array(x) * (1000 if i in rows else 1)).tolist() for i, x in
              enumerate(json.loads(path.read_text()))]  # fmt: skip
    write_json(path, joints)


def test_check_lists_all_that_cannot_be(freihand, tmp_path, capsys):
    impossible(freihand)
    truncate(freihand / "evaluation" / "rgb" / "00000001.jpg")
    arguments = ("--split", "evaluation", "--sheet", tmp_path / "sheet.png")
    assert run("check", "freihand", freihand, *arguments) == 2
    said = capsys.readouterr()
    for row in (0, 2):
        line = f"row {row} (freihand/evaluation/{row:08d}): bone 9-10 is"
        assert line in said.out
    assert "perhaps millimetres were taken for metres" in said.out
    assert "row 1: " in said.out
    assert "3 samples cannot be read, or their labels cannot be" in said.err
    assert said.err.splitlines()[-1].startswith("auxhand data: error:")


def test_convert_refuses_what_cannot_be_unless_told(freihand, tmp_path, capsys):
    impossible(freihand)
    split = ("--split", "evaluation", "--size", 64)
    assert run("convert", "freihand", freihand, tmp_path / "a", *split) == 2
    said = capsys.readouterr().err
    assert "row 0 (" in said
    assert "row 2 (" in said
    assert "2 things are wrong" in said
    assert "leave those samples out by --skip-bad, in another folder than this" in said
    assert run("convert", "freihand", freihand, tmp_path / "a", *split, "--skip-bad") == 2
    assert "another count, skipped: name another folder" in capsys.readouterr().err
    assert run("convert", "freihand", freihand, tmp_path / "b", *split, "--skip-bad") == 0
    assert "1 samples of freihand evaluation (2 bad ones left out)" in capsys.readouterr().out
    (kept,) = PreparedDataset(tmp_path / "b")
    assert kept.source == "freihand/evaluation/00000001"
    assert run("convert", "freihand", freihand, tmp_path / "c", *split, "--keep-implausible") == 0
    assert len(PreparedDataset(tmp_path / "c")) == 3
    truncate(freihand / "evaluation" / "rgb" / "00000001.jpg")
    assert run("convert", "freihand", freihand, tmp_path / "d", *split, "--skip-bad") == 2
    assert "not one of the 3 samples is good" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()
