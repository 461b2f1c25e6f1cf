"""The dissertation's configurations: loadable, and trainable on a miniature."""

import json
import math
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
import yaml
from torch import nn

from auxhand.cli.main import main
from auxhand.data.perturbation import Perturbation
from auxhand.evaluation.datasets import DATASETS
from auxhand.losses.consistency import DEPTH_WEIGHT, OUTPUT_CELLS
from auxhand.methods import alignment, dvae
from auxhand.methods.dvae.variant import VARIANTS
from auxhand.methods.semihand.module import Objective
from auxhand.models.mlp import PoseDecoder
from auxhand.optim import Schedule

FOLDER = Path(__file__).parents[2] / "configs" / "paper"
PAPER = sorted(p for p in FOLDER.glob("*.yaml") if not p.stem.startswith("dual_modality"))
"""Chapter 7's are in `test_dual_modality_configs.py`."""
WITHOUT_CHAPTER_4 = [path for path in PAPER if not path.stem.startswith("dvae")]


ALIGNMENT = {
    # Ch. 5.4.1
    "data.init_args.phases.0.size": 256,
    "data.init_args.cloud_points": 256,
    "data.init_args.phases.0.augmentation.any_rotation_share": 1.0,
    # Ch. 5.5
    "model.init_args.weights.heatmap": 0.01,
    "model.init_args.weights.cloud": 1.0,
    "model.init_args.beta": [1e-5, 1e-3],
    "model.init_args.beta_prime": 1.0,
    "model.init_args.learning_rate": 1e-4,
    "data.init_args.batch_size": 32,
    # Table 5.1, its best row
    "model.init_args.strategy": "S4",
    "model.init_args.pairs": "RC2CHP",
}
SUPERVISED = {
    # Ch. 6.4.1
    "data.init_args.phases.0.size": 64,
    "model.init_args.network.init_args.body.init_args.stacks": 2,
    "model.init_args.network.init_args.body.init_args.stride": 1,
    "model.init_args.learning_rate": 1e-3,
    "model.init_args.weight_decay": 0.0,
    "trainer.max_epochs": 100,
    "model.init_args.schedule.drops": [60 / 100, 90 / 100],
    "data.init_args.batch_size": 32,
    # Eq. 6.2 and 6.3, uv in pixels of an output of 64
    "model.init_args.weights.uv_squared": 64**2,
    "model.init_args.weights.d_squared": 50,
    "model.init_args.weights.mask": 100,
    # Ch. 7.4.3, since Ch. 6 states kinds alone
    "data.init_args.phases.0.augmentation.any_rotation_share": 1.0,
}
SEMIHAND = {
    # Ch. 6.4.1
    "data.init_args.phases.0.size": 64,
    "data.init_args.train.target.phases.0.size": 64,
    "model.init_args.network.init_args.body.init_args.stacks": 2,
    "model.init_args.network.init_args.body.init_args.stride": 1,
    "model.init_args.objective.depth": 50,
    "model.init_args.objective.mask": 100,
    "model.init_args.objective.consistency": 0.1,
    "model.init_args.objective.tau": 1.5,
    "model.init_args.learning_rate": 1e-4,
    "model.init_args.weight_decay": 0.0,
    "model.init_args.schedule.drops": [4 / 10],
    "trainer.max_epochs": 10,
    # half of every batch of 128 from each domain
    "data.init_args.batch_size": 128,
    "data.init_args.train.source.batch_size": 64,
    "data.init_args.train.target.batch_size": 64,
    # Ch. 6.3.4, in pixels of 64 and degrees
    "model.init_args.perturbation.shift": 5,
    "model.init_args.perturbation.turn": 2,
    "model.init_args.perturbation.quarters": True,
    "data.init_args.train.target.views": 2,
    # Ch. 7.4.3, since Ch. 6 states kinds alone
    "data.init_args.phases.0.augmentation.any_rotation_share": 1.0,
    # Alg. 6.1
    "model.init_args.stage": "finetune",
    "start_from": "runs/paper/semihand_pretrain",
}
SEMIHAND_PRETRAIN = {
    # Ch. 6.3.1, 6.4.1
    "data.init_args.phases.0.size": 64,
    "model.init_args.stage": "pretrain",
    "model.init_args.network.init_args.body.init_args.stacks": 2,
    "model.init_args.network.init_args.body.init_args.stride": 1,
    "model.init_args.objective.depth": 50,
    "model.init_args.objective.mask": 100,
    "model.init_args.learning_rate": 1e-3,
    "model.init_args.weight_decay": 0.0,
    "trainer.max_epochs": 100,
    "model.init_args.schedule.drops": [60 / 100, 90 / 100],
    "data.init_args.batch_size": 32,
    # Ch. 7.4.3, since Ch. 6 states kinds alone
    "data.init_args.phases.0.augmentation.any_rotation_share": 1.0,
}
FINE_TUNED = [p for p in PAPER if "semihand" in p.stem and p.stem != "semihand_pretrain"]


def table(path):
    """The constants of a file's method and stage."""
    if path in FINE_TUNED:
        return SEMIHAND
    tables = {"alignment": ALIGNMENT, "supervised": SUPERVISED, "semihand": SEMIHAND_PRETRAIN}
    return tables[path.stem.split("_")[0]]


STATED = [
    (path, entry, value) for path in WITHOUT_CHAPTER_4 for entry, value in table(path).items()
]
"""File, entry and the value that the dissertation states for it."""


@cache
def _content(path):
    return yaml.safe_load(path.read_text())


def stated(path, entry):
    """What a file itself says of an entry."""
    value = _content(path)
    for key in entry.split("."):
        value = value[int(key) if isinstance(value, list) else key]
    return deepcopy(value)


@pytest.mark.parametrize(("path", "entry", "value"), STATED, ids=lambda x: getattr(x, "stem", x))
def test_constants_are_those_of_the_dissertation(path, entry, value):
    assert stated(path, entry) == value


@pytest.mark.parametrize("path", WITHOUT_CHAPTER_4, ids=lambda path: path.stem)
def test_augmentation_is_that_of_the_dissertation(path):
    """Scale 1 to 1.2, translation 20 of 256 pixels (Ch. 5.4.1; 0.8 to 1 in Ch. 7.4.3), hue up to a
    tenth of a turn either way, whose uniform distribution has this deviation in radians."""
    augmentation = stated(path, "data.init_args.phases.0.augmentation")
    scale = augmentation["largest"] / augmentation["smallest"]
    assert scale == pytest.approx(1.2 if "alignment" in path.stem else 1 / 0.8, abs=0.015)
    assert augmentation["translation"] == pytest.approx(20 / 256, abs=5e-4)
    hue = 2 * math.pi * 0.2 / math.sqrt(12)
    assert augmentation["photometric"]["hue"] == pytest.approx(hue, abs=5e-3)
    if "alignment" not in path.stem:  # color jitter, gray-scale and random erasure (Ch. 6.3.4)
        for kind in ("brightness", "contrast", "saturation", "grey_share", "occluder_share"):
            assert augmentation["photometric"][kind] > 0


def test_the_networks_of_chapter_5_are_the_defaults():
    """Ch. 5.4.2 and 5.5; half as many hidden units as ResPEL, whose layers have 64, 128, 256."""
    networks = alignment.Networks()
    assert networks.backbone == "resnet18"
    assert (networks.latent, networks.points, networks.pose_width) == (64, 256, 128)
    assert networks.cloud_widths == (32, 64, 128)
    decoder = PoseDecoder(networks.latent, networks.pose_width)
    layers = [m for m in decoder.modules() if isinstance(m, nn.Linear)]
    assert [layer.out_features for layer in layers] == [128, 128, 128, 128, 63]
    for path in PAPER:
        if "alignment" in path.stem:
            assert "networks" not in stated(path, "model.init_args")


def test_rates_drop_by_10_twice():
    """Ch. 5.5 after convergence, Ch. 6.4.1 at epochs 60 and 90 of 100."""
    for path in set(WITHOUT_CHAPTER_4) - set(FINE_TUNED):
        schedule = Schedule(**stated(path, "model.init_args.schedule"))
        factors = [schedule.factor(epoch, 100) for epoch in range(100)]
        assert sorted({round(factor, 9) for factor in factors}) == [0.01, 0.1, 1.0]


def test_fine_tuning_is_at_a_tenth_of_its_rate_from_the_5th_epoch():
    """Ch. 6.4.1: 1e-5 instead of 1e-4, K = 10."""
    schedule = Schedule(**stated(FINE_TUNED[0], "model.init_args.schedule"))
    factors = [schedule.factor(epoch, 10) for epoch in range(10)]
    assert factors == pytest.approx([1.0] * 4 + [0.1] * 6)


def test_the_constants_of_chapter_6_are_the_defaults():
    """In units of its output of 64 x 64, whatever the size of crops and maps."""
    weights, perturbation = Objective(), Perturbation()
    assert (weights.depth, weights.mask, weights.consistency, weights.tau) == (50, 100, 0.1, 1.5)
    assert (DEPTH_WEIGHT, OUTPUT_CELLS) == (50, 64)
    assert (perturbation.shift, perturbation.turn, perturbation.quarters) == (5, 2, True)
    assert DATASETS["h3d"].length == DATASETS["yt3d"].length == 0.04


def test_targets_are_seen_with_both_augmentations_and_without_labels():
    """Ch. 6.3.4: diversity as the source's; the plain view is as crops are in evaluation."""
    assert [path.stem.split("_")[1] for path in FINE_TUNED] == ["do", "h3d", "hsd", "stb", "yt3d"]
    for path in FINE_TUNED:
        data = stated(path, "data.init_args")
        target = data["train"]["target"]
        assert set(target.get("told", ())) <= {"K", "side"}
        phase, share = target["phases"][0], data["crop"]["fraction"]
        assert phase["augmentation"] == {"smallest": share, "largest": share}
        assert phase["second"] == data["phases"][0]["augmentation"]
        assert data["crop"]["view"] == "plain"


def test_targets_differ_in_their_data_alone():
    rows = [yaml.safe_load(path.read_text()) for path in FINE_TUNED]
    for row in rows:
        del row["trainer"]["default_root_dir"], row["data"]["init_args"]["val"]
        del row["data"]["init_args"]["train"]["target"]["roots"]
        del row["data"]["init_args"]["train"]["target"]["told"]
    assert all(row == rows[0] for row in rows)


SMALLER = {
    "dvae": [
        "model.init_args.networks.backbone=test_resnet",
        "model.init_args.networks.width=16",
        "data.init_args.phases.size=64",
    ],
    "semihand": ["model.init_args.network.init_args.body.init_args.width=16"],
    "supervised": ["model.init_args.network.init_args.body.init_args.width=16"],
    "alignment": [
        "model.init_args.networks.backbone=test_resnet",
        "model.init_args.networks.folding_width=8",
        "data.init_args.phases.size=64",
    ],
}


BASELINES = [p for p in PAPER if "supervised" in p.stem]
"""The rows of Table 6.1."""


# Those of fine-tuning differ in their data alone, as do the rows of Table 6.1.
@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [p for p in PAPER if p not in FINE_TUNED[1:] + BASELINES[1:]],
    ids=lambda path: path.stem,
)
def test_paper_configurations_train(config, hand_dataset, tmp_path):
    train = f"[{hand_dataset}]"
    if config in FINE_TUNED:
        own = yaml.safe_load(config.read_text())["data"]["init_args"]["train"]
        for stream in own.values():
            stream |= {"roots": str(hand_dataset), "batch_size": 2}
        train = json.dumps(own)
    small = [
        f"trainer.default_root_dir={tmp_path}",
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=1",
        "trainer.limit_val_batches=1",
        "trainer.precision=32-true",
        *SMALLER[config.stem.split("_")[0]],
        *(["start_from=null"] if config in FINE_TUNED else []),
        f"data.init_args.train={train}",
        f"data.init_args.val={hand_dataset}",
        "data.init_args.batch_size=2",
        "data.init_args.workers=0",
    ]
    assert main(["train", str(config), "--set", *small]) == 0
    assert (tmp_path / "bundle" / "bundle.json").is_file()


def test_rows_of_table_6_1_differ_in_their_data_alone():
    rows = [yaml.safe_load(path.read_text()) for path in BASELINES]
    for row in rows:
        del row["trainer"]["default_root_dir"]
        del row["data"]["init_args"]["train"], row["data"]["init_args"]["val"]
    assert len(rows) == 3
    assert all(row == rows[0] for row in rows)


def test_constants_of_chapter_4():
    """Ch. 4.4.1, and what differs between its two applications."""
    rows = {path.stem: yaml.safe_load(path.read_text()) for path in PAPER if "dvae" in path.stem}
    assert sorted(rows) == [
        "dvae_pose_rhd",
        "dvae_pose_stb",
        "dvae_synthesis_rhd",
        "dvae_synthesis_stb",
    ]
    for name, row in rows.items():
        model, data = row["model"]["init_args"], row["data"]["init_args"]
        assert model["learning_rate"] == 1e-4
        assert data["batch_size"] == 32
        assert model["weights"] == {"x": 1.0, "y": 0.01}
        assert model["networks"] == {
            "backbone": "resnet18",
            "dimensions": 32,
            "width": 512,
            "layers": 6,
            "cells": 64,
            "map_width": 64,
        }
        augmentation = data["phases"][0]["augmentation"]
        if "pose" in name:
            assert (model["variant"], model["beta"]) == ("pose", 0.01)
            assert augmentation["any_rotation_share"] == 1.0
        else:
            assert (model["variant"], model["beta"]) == ("untagged", 100.0)
        assert "other_side_share" not in augmentation  # no flips
    networks = dvae.Networks()
    assert networks == dvae.Networks(**rows["dvae_pose_rhd"]["model"]["init_args"]["networks"])
    network = VARIANTS["pose"].network(networks)
    assert network.latent == 64
    assert network.factors == {"canonical": 32, "viewpoint": 32}
