"""The dissertation's configurations: loadable, and trainable on a miniature."""

from pathlib import Path

import pytest
import yaml

from auxhand.cli.main import main

PAPER = sorted((Path(__file__).parents[2] / "configs" / "paper").glob("*.yaml"))


SMALLER = {
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
