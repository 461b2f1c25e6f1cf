"""`adapt` on real photos: which halves are learnt from and judged on, and a miniature of it."""

import csv
import importlib
import json
import shutil
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from scripts import call, hand, load, rows

from auxhand.adaptation.adapt import Outcome
from auxhand.data.columns import decode_image, decode_mask
from auxhand.inference.bundle import save_bundle
from auxhand.inference.finder import Finder, FoundHand
from auxhand.models.cpn import FeaturePyramid
from auxhand.models.heads import Peak25D
from auxhand.models.pose_net import PoseNet

table = load("accuracy/adapt.py")


def write_references(folder, uv, names):
    told = {"landmarks_px": np.pad(uv, ((0, 0), (0, 1))).tolist(), "handedness": "right"}
    text = json.dumps({"images": {**dict.fromkeys(names, told), "nobody.png": None}})
    (folder / "mediapipe_reference.json").write_text(text)


@pytest.fixture(scope="module")
def photos(tmp_path_factory, hand_row):
    """sign-digits and finger-counting with 44 photos each."""
    root = tmp_path_factory.mktemp("realdata")
    signs, counting = root / "sign-digits", root / "finger-counting" / "silhouettes"
    counting.mkdir(parents=True)
    names = [f"{digit}/{letter}.png" for digit in range(2) for letter in "abcdefghijklmnopqrstuv"]
    for i, name in enumerate(names):
        row, file = hand_row(100 + i, size=64), signs / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = decode_image(row["image"])[..., ::-1]
        cv2.imwrite(str(file), pixels)
        cv2.imwrite(str(counting / f"{i:02d}.jpg"), pixels)
        mask = decode_mask(row["mask"])
        cv2.imwrite(str(counting / f"{i:02d}.png"), (255 * mask).astype(np.uint8))
        x, y, w, h = cv2.boundingRect((mask > 0.5).astype(np.uint8))
        corners = {"xmin": x, "ymin": y, "xmax": x + w, "ymax": y + h}
        text = "".join(f"<{key}>{value}</{key}>" for key, value in corners.items())
        (counting / f"{i:02d}.xml").write_text(f"<a><o><bndbox>{text}</bndbox></o></a>")
    write_references(signs, hand(), names)
    return root


def test_what_is_judged_on_was_not_learnt_from(photos, tmp_path):
    pool, uv = tmp_path / "photos-pool", hand()
    for name in ("lab", "everyday"):
        files = [f"{i}.png" for i in range(8)]
        (pool / name).mkdir(parents=True)
        with (pool / name / "index.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "source", "x", "y", "w", "h"])
            writer.writerows(
                [each, f"g{i % 2}/{i}.jpg", 1, 2, 3, 4] for i, each in enumerate(files)
            )
        write_references(pool / name, uv, files[:6])
    learnt, tests = table.lab(tmp_path)
    assert sorted(path.name for path in learnt) == ["0.png", "1.png", "2.png", "3.png"]
    assert sorted(test.path.name for test in tests) == ["4.png", "5.png"], "the others are not told"
    assert tests[0].box == (1, 2, 3, 4)
    learnt, tests = table.everyday(tmp_path)
    assert [path.name for path in learnt] == ["0.png", "2.png", "4.png", "6.png"]
    assert [test.path.name for test in tests] == ["1.png", "3.png", "5.png"]
    for name in ("sign-digits", "finger-counting"):
        learnt, tests = table.SETS[name](photos)
        assert len(learnt) == len(tests) == 22
        assert not {*learnt} & {test.path for test in tests}


def test_change_is_in_percent_of_before():
    before = np.full((10, 21), 2.0)
    assert table.change(before, 0.75 * before) == {"change_low": -25.0, "change_high": -25.0}


@pytest.fixture
def model(monkeypatch, tmp_path):
    """The bundle of an untrained network; a finder that sees a hand in every photo."""
    torch.manual_seed(0)
    network = PoseNet(FeaturePyramid("test_resnet", width=8), Peak25D(), side=True)
    save_bundle(tmp_path / "model", network, 32, {}, presence_threshold=0.0)
    found = FoundHand((6.0, 6.0, 52.0, 52.0), 0.9, 0.5)
    monkeypatch.setattr(Finder, "find", lambda *_, **__: [found])
    return tmp_path / "model"


def test_silhouettes_are_judged_by_their_overlap(photos, model):
    _, tests = table.finger_counting(photos)
    judged = table.judge(table.HandPoseEstimator.load(model), tests[:3], "silhouettes")
    assert judged.each.shape == (3, 1)
    assert 0 <= judged.metrics["mask_iou"] == judged.each.mean() <= 1
    assert judged.metrics["bone_variation"] > 0


@pytest.mark.slow
def test_a_miniature_of_the_table(photos, model, hand_dataset, monkeypatch, tmp_path, capsys):
    crops = importlib.import_module("auxhand.adaptation.crops")
    monkeypatch.setattr(crops, "SURE", 0.0)  # an untrained network is never sure
    settings = partial(table.Settings, synthetic=str(hand_dataset), workers=0)
    monkeypatch.setattr(table, "Settings", settings)
    out = tmp_path / "adapt.json"
    arguments = ["--realdata", photos, "--model", model, "--minutes", 0.01, "--out", out]
    arguments += ["--runs", tmp_path / "runs", "--only", "sign-digits"]
    call(monkeypatch, table, *arguments)
    before, after = (rows(out)[f"sign-digits {which}"]["metrics"] for which in ("before", "after"))
    assert {"median_pct", "pck_05", "pck_10", "bone_variation"} <= {*before}
    assert after["kept"][0] in (0.0, 1.0)
    assert after["change_low"] <= after["change_high"]
    if not after["kept"][0]:  # the same weights
        assert after["median_pct"] == before["median_pct"]
        assert after["change_low"] == after["change_high"] == [0.0]
    capsys.readouterr()
    call(monkeypatch, table, *arguments)
    assert capsys.readouterr().out.count("there already") == 1
    report = tmp_path / "runs" / "sign_digits_0" / "report.json"
    report.write_text("of another time")
    call(monkeypatch, table, *arguments, "--force")
    assert json.loads(report.read_text())["held_out"] > 0


def test_the_dual_modality_network_is_adapted_from_its_run(photos, model, monkeypatch, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(model, run / "bundle")
    asked = []

    def adapt(settings, out):
        asked.append(settings)
        shutil.copytree(run / "bundle", out)
        return Outcome(False, (), {}, (), 2.5)

    monkeypatch.setattr(table, "adapt", adapt)
    out = tmp_path / "adapt.json"
    arguments = ["--realdata", photos, "--model", "nowhere", "--start", run, "--out", out]
    arguments += ["--runs", tmp_path / "runs", "--only", "sign-digits, dual-modality"]
    call(monkeypatch, table, *arguments)
    assert (asked[0].method, asked[0].start) == ("dual_modality", str(run))
    made = rows(out)
    assert [*made] == ["sign-digits, dual-modality before", "sign-digits, dual-modality after"]
    assert made["sign-digits, dual-modality after"]["metrics"]["minutes"] == [2.5]
