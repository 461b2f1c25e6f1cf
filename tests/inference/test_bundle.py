"""Bundles: round trip, replacement, and what a damaged one says."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn

from auxhand.data.crops import CropRule
from auxhand.inference import bundle as module
from auxhand.inference.bundle import (
    DESCRIPTION,
    WEIGHTS,
    bundle_folder,
    load_bundle,
    save_bundle,
)
from auxhand.models.cpn import FeaturePyramid
from auxhand.models.heads import Latent25D
from auxhand.models.pose_net import PoseNet

CROP = CropRule("mask", 0.6, "plain")


def network(width=8, seed=0):
    torch.manual_seed(seed)
    return PoseNet(FeaturePyramid("test_resnet", width), Latent25D()).eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "deep" / "bundle"
    net = network()
    save_bundle(folder, net, 64, {"images_seen": 5, "metrics": {"epe": 0.1}}, CROP)
    return folder, net


@pytest.fixture
def copy(saved, tmp_path):
    """A bundle that a test may damage."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name in (WEIGHTS, DESCRIPTION):
        (folder / name).write_bytes((saved[0] / name).read_bytes())
    return folder


def test_round_trip(saved):
    folder, net = saved
    bundle = load_bundle(folder)
    assert bundle.input_size == 64
    assert bundle.crop == CROP
    assert bundle.fraction == pytest.approx(0.6 * 0.7 / 0.8)
    assert bundle.metadata == {"images_seen": 5, "metrics": {"epe": 0.1}}
    assert not bundle.network.training
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        for (name, before), (_, after) in zip(
            net(image).items(), bundle.network(image).items(), strict=True
        ):
            torch.testing.assert_close(after, before, rtol=0, atol=0, msg=name)


def test_the_description_reads_by_itself(saved):
    description = json.loads((saved[0] / DESCRIPTION).read_text())
    assert description["network"]["class"] == "auxhand.models.pose_net.PoseNet"
    assert len(description["conventions"]["joints"]) == 21
    assert {p.name for p in saved[0].iterdir()} == {WEIGHTS, DESCRIPTION}
    modes = {(saved[0] / name).stat().st_mode for name in (WEIGHTS, DESCRIPTION)}
    assert len(modes) == 1  # who may read one may read the other
    assert [p.name for p in saved[0].parent.iterdir()] == ["bundle"]


def test_half_precision_takes_half_the_space(saved, tmp_path):
    save_bundle(tmp_path / "half", network(), 64, {}, CROP, half=True)
    sizes = [
        (folder / "model.safetensors").stat().st_size for folder in (saved[0], tmp_path / "half")
    ]
    assert sizes[1] < 0.6 * sizes[0]
    whole, half = (load_bundle(f).network.state_dict() for f in (saved[0], tmp_path / "half"))
    for name, value in half.items():
        assert value.dtype == whole[name].dtype
        torch.testing.assert_close(value, whole[name].half().to(value.dtype), rtol=0, atol=0)


def test_replaced_when_complete(copy):
    with pytest.raises(ValueError, match="plain values"):
        save_bundle(copy, network(), 32, {"a": object()})
    assert load_bundle(copy).input_size == 64
    save_bundle(copy, network(), 32, {})
    assert load_bundle(copy).input_size == 32
    assert [p.name for p in copy.parent.iterdir()] == ["bundle"]


def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"thesis\.tex"):
        save_bundle(tmp_path, network(), 32, {})
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_unrecorded_networks_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Linear"):
        save_bundle(tmp_path / "b", nn.Linear(2, 2), 32, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION])
def test_missing_files(copy, name):
    (copy / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("version", 99, "version 99"),
        ("format", "else", "not the description"),
        ("input_size", "big", "input_size"),
        ("network", {"class": "os.system", "arguments": {}}, r"auxhand\.models"),
        ("network", None, "network 'None' is of the wrong type"),
        ("weights", None, "weights 'None' is of the wrong type"),
        ("conventions", {"joints": ["wrist"]}, "joints"),
        ("crop", {"fraction": None}, "fraction 'None' is of the wrong type"),
        ("crop", {"by": "smell", "fraction": 0.7}, "by 'smell'"),
        ("crop", {"view": "rear", "fraction": 0.7}, "view 'rear'"),
    ],
)
def test_wrong_descriptions(copy, key, value, says):
    description = json.loads((copy / DESCRIPTION).read_text())
    (copy / DESCRIPTION).write_text(json.dumps(description | {key: value}))
    with pytest.raises(ValueError, match=says) as error:
        load_bundle(copy)
    assert str(copy) in str(error.value)


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_descriptions_that_are_none(copy, text):
    (copy / DESCRIPTION).write_text(text)
    with pytest.raises(ValueError, match=DESCRIPTION):
        load_bundle(copy)


def test_an_entry_that_is_missing(copy):
    description = json.loads((copy / DESCRIPTION).read_text())
    del description["crop"]["fraction"]
    (copy / DESCRIPTION).write_text(json.dumps(description))
    with pytest.raises(ValueError, match="no entry 'fraction'"):
        load_bundle(copy)


def test_weights_of_another_network(copy, tmp_path):
    save_bundle(tmp_path / "other", network(width=12), 64, {})
    (copy / WEIGHTS).write_bytes((tmp_path / "other" / WEIGHTS).read_bytes())
    with pytest.raises(ValueError, match="does not fit"):
        load_bundle(copy)


def test_damaged_weights(copy):
    data = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="damaged"):
        load_bundle(copy)


def test_bundles_of_the_first_version_load(copy):
    description = json.loads((copy / DESCRIPTION).read_text())
    del description["crop"], description["weights"]
    old = description | {"version": 1, "fraction": 0.65}
    (copy / DESCRIPTION).write_text(json.dumps(old))
    assert load_bundle(copy).crop == CropRule("joints", 0.65, "corrected")
    (copy / DESCRIPTION).write_text(json.dumps(old | {"view": "labels"}))
    assert load_bundle(copy).view == "labels"


def test_weights_of_another_training(copy, tmp_path):
    save_bundle(tmp_path / "other", network(seed=1), 64, {})
    (copy / WEIGHTS).write_bytes((tmp_path / "other" / WEIGHTS).read_bytes())
    with pytest.raises(ValueError, match="not the file"):
        load_bundle(copy)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_neither_saved_nor_loaded(copy, value):
    net = network()
    with torch.no_grad():
        net.heads[0].predict.weight[0] = value
    with pytest.raises(FloatingPointError, match=r"heads\.0\.predict\.weight"):
        save_bundle(copy, net, 32, {})
    assert load_bundle(copy).input_size == 64  # the one before
    (copy / WEIGHTS).write_bytes(save(net.state_dict()))
    description = json.loads((copy / DESCRIPTION).read_text())
    del description["weights"]
    (copy / DESCRIPTION).write_text(json.dumps(description))
    with pytest.raises(ValueError, match=r"heads\.0\.predict\.weight is not finite"):
        load_bundle(copy)


def test_a_network_that_does_not_fit_is_refused_before_it_is_made(copy, monkeypatch):
    """A width of 10^7 would take 16 GB."""
    description = json.loads((copy / DESCRIPTION).read_text())

    made = []
    monkeypatch.setattr("auxhand.inference.bundle.load_file", lambda path: made.append(path))
    for number in (10**7, -1, 0, "wide", None, [1]):
        description["network"]["arguments"]["body"]["arguments"]["width"] = number
        (copy / DESCRIPTION).write_text(json.dumps(description))
        with pytest.raises(ValueError, match=DESCRIPTION) as error:
            load_bundle(copy)
        assert "\n" not in str(error.value)
    assert made == []


def test_shipped_bundles_have_names_and_others_are_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "files", lambda package: tmp_path)
    (tmp_path / "assets" / "default").mkdir(parents=True)
    assert bundle_folder() == tmp_path / "assets" / "default"
    assert bundle_folder("runs/default") == Path("runs/default")
    assert bundle_folder(tmp_path / "finder") == tmp_path / "finder"
    with pytest.raises(FileNotFoundError, match="finder weights are not installed"):
        bundle_folder("finder")
