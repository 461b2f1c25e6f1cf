"""The dissertation's configurations: loadable, and trainable on a miniature."""

from pathlib import Path

import pytest
import yaml

from auxhand.cli.main import main
from auxhand.methods.dvae import Networks
from auxhand.methods.dvae.variant import VARIANTS

PAPER = sorted((Path(__file__).parents[2] / "configs" / "paper").glob("*.yaml"))


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
        assert augmentation["other_side_share"] == 0.0  # no flips
    assert Networks() == Networks(**rows["dvae_pose_rhd"]["model"]["init_args"]["networks"])
    network = VARIANTS["pose"].network(Networks())
    assert network.latent == 64
    assert network.factors == {"canonical": 32, "viewpoint": 32}
