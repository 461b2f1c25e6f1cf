"""`auxhand evaluate` end to end: a tiny untrained model on a tiny prepared dataset."""

import json

import cv2
import numpy as np
import pytest
import torch

from auxhand.cli.main import main
from auxhand.data.columns import PARTS, make_row
from auxhand.data.store import shard_path, write_description, write_shard
from auxhand.geometry.pose25d import relative
from auxhand.inference.bundle import save_bundle
from auxhand.models.backbone import ImageFeatures
from auxhand.models.cpn import FeaturePyramid
from auxhand.models.gaussian import GaussianEncoder
from auxhand.models.heads import Latent25D
from auxhand.models.latent_pose import LatentPoseNet
from auxhand.models.mlp import PoseDecoder
from auxhand.models.pose_net import PoseNet

COUNT = 5


def write_dataset(root, labelled=True, unit=1.0, **left_out):
    """Hands of random joints before noise, right and left; `left_out` of the labels are None."""
    rng = np.random.default_rng(0)
    K = np.array([[150.0, 0, 47.5], [0, 150.0, 47.5], [0, 0, 1]])
    rows = []
    for index in range(COUNT):
        xyz = rng.normal((0, 0, 0.5), 0.04, (21, 3))
        xyz[10] = xyz[9] + (0, -0.03, 0)
        uv = (xyz @ K.T)[:, :2] / xyz[:, 2:]
        joints = {"joints_uv": uv, "joints_xyz": xyz * unit, "K": K} if labelled else {}
        joints |= left_out
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
    net = PoseNet(FeaturePyramid("test_resnet", 8), Latent25D()).eval()
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


def test_rows_of_like_names_have_curves_of_their_own(place, tmp_path, monkeypatch):
    monkeypatch.chdir(place)
    (place / "a").mkdir()
    long = place / ("long" * 50)
    for link in (place / "a" / "b", place / "a_b", long):
        link.symlink_to(place / "data")
    for data in ("a/b", "a_b", str(long)):
        assert main(["evaluate", "model", data, "--out", str(tmp_path / "out")]) == 0
    curves = list((tmp_path / "out").glob("*.csv"))
    assert len(curves) == 3
    assert max(len(curve.name) for curve in curves) < 100


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        '{"rows": [{"name": "a", "metrics": []}]}',
        '{"rows": [{"name": "a", "metrics": {"epe_mm": ["x"]}}]}',
    ],
)
def test_results_of_others_are_found_before_the_work(place, tmp_path, capsys, monkeypatch, text):
    monkeypatch.setattr("auxhand.evaluation.protocol.evaluate", None)
    (tmp_path / "evaluation.json").write_text(text)
    command = ["evaluate", str(place / "model"), str(place / "data"), "--out"]
    assert main([*command, str(tmp_path)]) == 2
    assert "evaluation.json is not a results file" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "evaluation.json")]) == 2
    assert "Not a directory: " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation.json"]


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


def test_poses_without_pixels_are_as_large_as_the_crops_show_them(tmp_path):
    """A network that knows the one pose of a dataset has all joints right in 2D as well, in crops
    by the joints and by the mask; an arm that the mask shows does not matter."""
    K = np.array([[300.0, 0, 99.5], [0, 300.0, 99.5], [0, 0, 1]])
    xyz = 0.03 * np.random.default_rng(0).uniform(-1, 1, (21, 3)) * (1, 1, 0.2) + (0, 0, 0.3)
    uv = (xyz @ K.T)[:, :2] / xyz[:, 2:]
    low, high = uv.min(0), uv.max(0)
    middle, half = (low + high) / 2, (high - low).max() / 2 * 8 / 7
    v, u = np.mgrid[:200, :200]
    parts = (np.maximum(abs(u - middle[0]), abs(v - middle[1])) <= half).astype(np.uint8)
    parts[(parts == 0) & (abs(u - middle[0]) < 10) & (v > middle[1])] = PARTS.index("arm")
    image = np.zeros((200, 200, 3), np.uint8)
    labels = {"joints_uv": uv, "joints_xyz": xyz, "K": K, "parts": parts, "mask": parts > 0}
    data = tmp_path / "data"
    data.mkdir()
    write_shard(shard_path(data, 0), [make_row(0, image=image, side="right", **labels)])
    write_description(data, 1)

    pose = PoseDecoder(4, 8)
    last = pose.layers[0][-1]
    torch.nn.init.zeros_(last.weight)
    true = torch.from_numpy(xyz)
    last.bias.data = relative(true).flatten().float()
    net = LatentPoseNet(GaussianEncoder(ImageFeatures("test_resnet"), 4), pose).eval()
    save_bundle(tmp_path / "model", net, 64, {})
    command = ["evaluate", str(tmp_path / "model"), str(data), "--out", str(tmp_path / "out")]
    for options in ([], ["--crop", "mask"], ["--protocol", "rhd"], ["--protocol", "stb"]):
        assert main([*command, *options]) == 0
    rows = json.loads((tmp_path / "out" / "evaluation.json").read_text())["rows"]
    assert len(rows) == 4
    assert [row["metrics"]["pck_05"] for row in rows] == [[1.0]] * 4
    assert rows[1]["name"].endswith("known_root_scale, crops by mask")
    assert rows[1]["command"].endswith("--crop mask")


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


def test_labels_that_cannot_be_are_refused_with_their_row(place, tmp_path, capsys):
    """Metres that were taken for millimetres would give an EPE of 0.0 mm."""
    write_dataset(tmp_path / "small", unit=1e-3)
    model = str(place / "model")
    assert main(["evaluate", model, str(tmp_path / "small"), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    for row in range(COUNT):
        assert f"row {row} (" in said.err
    assert said.err.count("bone 9-10 is 0.003 cm long") == COUNT
    assert "perhaps metres were taken for millimetres" in said.err
    assert not (tmp_path / "out").exists()


def test_where_epe_is_missing_it_says_why(place, tmp_path, capsys):
    write_dataset(tmp_path / "flat", joints_xyz=None)
    out = str(tmp_path / "out")
    assert main(["evaluate", str(place / "model"), str(tmp_path / "flat"), "--out", out]) == 0
    assert "no EPE: the dataset has no 3D joints" in capsys.readouterr().out
