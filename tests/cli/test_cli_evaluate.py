"""`auxhand evaluate` end to end: a tiny untrained model on a tiny prepared dataset."""

import json

import cv2
import numpy as np
import pytest
import torch

from auxhand.cli.main import main
from auxhand.data.columns import make_row
from auxhand.data.store import shard_path, write_description, write_shard
from auxhand.inference.bundle import save_bundle
from auxhand.models.cpn import FeaturePyramid
from auxhand.models.heads import Latent25D
from auxhand.models.pose_net import PoseNet

COUNT = 5


def write_dataset(root, labelled=True):
    """Hands of random joints before noise, right and left."""
    rng = np.random.default_rng(0)
    K = np.array([[150.0, 0, 47.5], [0, 150.0, 47.5], [0, 0, 1]])
    rows = []
    for index in range(COUNT):
        xyz = rng.normal((0, 0, 0.5), 0.04, (21, 3))
        uv = (xyz @ K.T)[:, :2] / xyz[:, 2:]
        joints = {"joints_uv": uv, "joints_xyz": xyz, "K": K} if labelled else {}
        image = rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)
        side = ("right", "left")[index % 2]
        rows.append(make_row(index, image=image, side=side, **joints))
    root.mkdir()
    write_shard(shard_path(root, 0), rows)
    write_description(root, COUNT)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with datasets and a bundle."""
    folder = tmp_path_factory.mktemp("evaluate")
    write_dataset(folder / "data")
    write_dataset(folder / "unlabelled", labelled=False)
    torch.manual_seed(0)
    net = PoseNet(FeaturePyramid("regnetx_002", 8), Latent25D()).eval()
    save_bundle(folder / "model", net, 64, {"images_seen": 0})
    return folder


def test_table_results_and_curve(place, tmp_path, capsys):
    out = tmp_path / "out"
    model, data = str(place / "model"), str(place / "data")
    assert main(["evaluate", model, data, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "EPE (mm)  PA-EPE (mm)  AUC 20-50  AUC 0-50  PCK@0.05 2D" in printed
    assert printed.endswith(
        f"results: {out / 'evaluation.json'}\nPCK curve: {out / 'pck_curve.png'}\n"
    )
    (row,) = json.loads((out / "evaluation.json").read_text())["rows"]
    metrics = row["metrics"]
    assert metrics["epe_mm"][0] > metrics["pa_epe_mm"][0] > 5
    assert 0 <= metrics["pck_05"][0] < 0.5
    assert f"{metrics['epe_mm'][0]:.1f}" in printed
    assert row["command"] == f"auxhand evaluate {model} {data} --protocol known_root_scale"
    assert cv2.imread(str(out / "pck_curve.png")).shape == (600, 825, 3)

    again = ["evaluate", model, data, "--out", str(out)]
    assert main(again) == 0
    assert main([*again, "--protocol", "closed_form_root"]) == 0
    printed = capsys.readouterr().out
    assert "root solved" in printed
    rows = json.loads((out / "evaluation.json").read_text())["rows"]
    assert [row["name"] for row in rows] == [
        f"{model} on {data}, known_root_scale",
        f"{model} on {data}, closed_form_root",
    ]
    assert rows[0]["metrics"] == metrics
    assert len(list(out.glob("*.csv"))) == 2


def test_published_curves_beside_ours(place, tmp_path, capsys):
    curves = tmp_path / "published"
    curves.mkdir()
    (curves / "a method").write_text("20 0.5\n50 0.9\n")
    (curves / "no curve").write_text("PCK\n")
    model, data, out = str(place / "model"), str(place / "data"), str(tmp_path / "out")
    command = ["evaluate", model, data, "--protocol", "stb", "--out", out]
    assert main(command) == 0
    alone = (tmp_path / "out" / "pck_curve.png").read_bytes()
    assert main([*command, "--curves", str(curves)]) == 0
    assert "left out: " in capsys.readouterr().out
    assert (tmp_path / "out" / "pck_curve.png").read_bytes() != alone
    assert main([*command, "--curves", str(curves / "no curve")]) == 2
    assert main([*command, "--curves", str(tmp_path / "none")]) == 2
    assert "no curve" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing", "data"], "no bundle at"),
        (["model", "missing"], "no dataset folder"),
        (["model", "model"], "no prepared dataset"),
        (["model", "data", "--protocol", "mine"], "no protocol 'mine'"),
        (["model", "unlabelled"], "no sample has the joints"),
    ],
)
def test_mistakes_take_one_line(place, tmp_path, capsys, arguments, says):
    model, data, *rest = arguments
    out = tmp_path / "out"
    assert main(["evaluate", str(place / model), str(place / data), *rest, "--out", str(out)]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert says in line
    assert line.startswith("auxhand evaluate: error: ")
    assert not out.exists()
