"""The dissertation's configurations: loadable, and trainable on a miniature."""

import math
from pathlib import Path

import pytest
import yaml
from torch import nn

from auxhand.cli.main import main
from auxhand.methods import alignment, dvae
from auxhand.methods.dvae.variant import VARIANTS
from auxhand.models.mlp import PoseDecoder
from auxhand.optim import Schedule

PAPER = sorted((Path(__file__).parents[2] / "configs" / "paper").glob("*.yaml"))
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
STATED = [
    (path, entry, value)
    for path in WITHOUT_CHAPTER_4
    for entry, value in (ALIGNMENT if "alignment" in path.stem else SUPERVISED).items()
]
"""File, entry and the value that the dissertation states for it."""


def stated(path, entry):
    """What a file itself says of an entry."""
    value = yaml.safe_load(path.read_text())
    for key in entry.split("."):
        value = value[int(key) if isinstance(value, list) else key]
    return value


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
    for path in WITHOUT_CHAPTER_4:
        schedule = Schedule(**stated(path, "model.init_args.schedule"))
        factors = [schedule.factor(epoch, 100) for epoch in range(100)]
        assert sorted({round(factor, 9) for factor in factors}) == [0.01, 0.1, 1.0]


SMALLER = {
    "dvae": [
        "model.init_args.networks.backbone=test_resnet",
        "model.init_args.networks.width=16",
        "data.init_args.phases.size=64",
    ],
    "supervised": ["model.init_args.network.init_args.body.init_args.width=16"],
    "alignment": [
        "model.init_args.networks.backbone=test_resnet",
        "model.init_args.networks.folding_width=8",
        "data.init_args.phases.size=64",
    ],
}


@pytest.mark.parametrize("config", PAPER, ids=lambda path: path.stem)
def test_paper_configurations_train(config, hand_dataset, tmp_path):
    small = [
        f"trainer.default_root_dir={tmp_path}",
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=1",
        "trainer.limit_val_batches=1",
        "trainer.precision=32-true",
        *SMALLER[config.stem.split("_")[0]],
        f"data.init_args.train=[{hand_dataset}]",
        f"data.init_args.val={hand_dataset}",
        "data.init_args.batch_size=2",
        "data.init_args.workers=0",
    ]
    assert main(["train", str(config), "--set", *small]) == 0
    assert (tmp_path / "bundle" / "bundle.json").is_file()


def test_rows_of_table_6_1_differ_in_their_data_alone():
    rows = [yaml.safe_load(path.read_text()) for path in PAPER if "supervised" in path.stem]
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
