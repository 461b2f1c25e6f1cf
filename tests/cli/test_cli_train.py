import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from auxhand.cli.main import main
from auxhand.data.store import shard_path, write_description, write_shard
from auxhand.inference.bundle import load_bundle
from auxhand.models.backbone import Backbone


def test_the_bundle_is_the_averaged_network_with_its_provenance(tmp_path, write_config):
    config = write_config("run")
    assert main(["train", str(config), "--set", "trainer.max_epochs=1"]) == 0
    bundle = load_bundle(tmp_path / "run" / "bundle")
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    averaged, current = checkpoint["state_dict"], checkpoint["current_model_state"]
    name = "heads.0.predict.weight"
    torch.testing.assert_close(bundle.network.state_dict()[name], averaged[f"network.{name}"])
    assert not torch.equal(averaged[f"network.{name}"], current[f"network.{name}"])
    assert bundle.input_size == 64
    assert bundle.metadata["images_seen"] == 8
    assert {"val/epe_mm", "val/pck_05"} <= set(bundle.metadata["metrics"])
    pose = bundle.network(torch.rand(1, 3, 64, 64))
    assert pose.uv.shape == (1, 21, 2)


def test_before_the_average_starts_the_bundle_is_the_weights(tmp_path, write_config):
    settings = ["trainer.max_epochs=1", "trainer.callbacks.init_args.update_starting_at_step=600"]
    assert main(["train", str(write_config("run")), "--set", *settings]) == 0
    network = load_bundle(tmp_path / "run" / "bundle").network.state_dict()
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    for name, weights in checkpoint["current_model_state"].items():
        torch.testing.assert_close(network[name.removeprefix("network.")], weights, rtol=0, atol=0)


@pytest.mark.slow
def test_two_processes_train_one_bundle(tmp_path, write_config):
    settings = ["trainer.devices=2", "trainer.strategy=ddp", "data.init_args.batch_size=2"]
    command = [sys.executable, "-m", "auxhand.cli.main", "train", str(write_config("run"))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [*command, "--set", *settings], capture_output=True, text=True, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("model: ") == 1
    bundle = load_bundle(tmp_path / "run" / "bundle")
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    steps = checkpoint["global_step"]
    assert bundle.metadata["images_seen"] == steps * 2 * 2  # a batch of two in each process


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("average", ["auxhand.optim.WeightAverage", "EMAWeightAveraging"])
def test_a_finished_run_that_is_run_again_keeps_its_bundle(tmp_path, write_config, capsys, average):
    config = write_config("run")
    config.write_text(config.read_text().replace("auxhand.optim.WeightAverage", average))
    command = ["train", str(config), "--set", "trainer.max_epochs=1"]
    bundle, last = tmp_path / "run" / "bundle", tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert main(command) == 0
    first = contents(bundle)
    assert main(command) == 0
    assert "was finished before" in capsys.readouterr().out
    assert contents(bundle) == first
    # A bundle that is missing or older than the checkpoint is made of it.
    (bundle / "model.safetensors").write_bytes(b"of an earlier run")
    os.utime(bundle / "bundle.json", ns=(0, last.stat().st_mtime_ns - 10**9))
    assert main(command) == 0
    assert contents(bundle)["model.safetensors"] == first["model.safetensors"]


def test_restarting_leaves_the_earlier_run_behind(tmp_path, write_config):
    config = str(write_config("run"))
    assert main(["train", config]) == 0
    assert main(["train", config, "--restart", "--set", "trainer.max_epochs=1"]) == 0
    checkpoints = tmp_path / "run" / "checkpoints"
    steps = {
        name: torch.load(checkpoints / name, weights_only=True)["global_step"]
        for name in ("earlier.ckpt", "last.ckpt")
    }
    assert steps == {"earlier.ckpt": 6, "last.ckpt": 2}
    assert load_bundle(tmp_path / "run" / "bundle").metadata["images_seen"] == 8


def test_a_run_resumed_with_other_settings_says_which(write_config, capsys):
    config = str(write_config("run"))
    assert main(["train", config, "--set", "trainer.max_epochs=1"]) == 0
    settings = ["trainer.max_epochs=2", "model.init_args.schedule.hold=0.7"]
    assert main(["train", config, "--set", *settings]) == 0
    said = capsys.readouterr().out
    assert "trainer.max_epochs: 2 (was 1); model.init_args.schedule.hold: 0.7 (was 0.5)\n" in said
    assert main(["train", config, "--set", *settings]) == 0
    assert "not those of before" not in capsys.readouterr().out


def test_a_run_of_another_network_is_not_resumed(write_config, capsys):
    config = str(write_config("run"))
    body = "model.init_args.network.init_args.body.init_args.width"
    assert main(["train", config, "--set", "trainer.max_epochs=1"]) == 0
    assert main(["train", config, "--set", f"{body}=16"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "another network" in error
    assert "was (8, " in error
    assert "is (16, " in error
    assert main(["train", config, "--restart", "--set", f"{body}=16", "trainer.max_epochs=1"]) == 0


def test_the_bundles_command_can_be_pasted(tmp_path, write_config):
    config = write_config("run").rename(tmp_path / "my run.yaml")
    phases = "data.init_args.phases=[{epoch: 0, size: 32, difficulty: 0.0}]"
    argv = ["train", str(config), "--set", "trainer.max_epochs=1", phases]
    assert main(argv) == 0
    metadata = load_bundle(tmp_path / "run" / "bundle").metadata
    assert shlex.split(metadata["command"]) == ["auxhand", *argv]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model.init_args.weights.depht=1"], "depht"),
        (["data.init_args.train=/nowhere"], "no dataset folder /nowhere; `auxhand synth` makes"),
        (
            ["data.init_args.train=/data/rhd"],
            "`auxhand data convert rhd DOWNLOADED /data/rhd` makes",
        ),
        (["data.init_args.val=/data/stb-test"], "`auxhand data convert stb DOWNLOADED"),
        (["data.init_args.val_count=-3"], "val_count must be at least 1, got -3"),
        (["data.init_args.batch_size=0"], "batch_size must be at least 1, got 0"),
        (
            ["data.init_args.phases=[{epoch: 0, size: 100000}]"],
            "size of a phase is 1 to 1024 pixels",
        ),
        (["trainer.max_epochs"], "KEY=VALUE"),
        (["model.init_args.network.init_args.head.class_path=Heatmap"], "needs d"),
    ],
)
def test_mistakes_are_one_line(write_config, capsys, options, message):
    assert main(["train", str(write_config("run")), "--set", *options]) == 2
    *_, error = capsys.readouterr().err.strip().splitlines()
    assert error.startswith("auxhand train: error:")
    assert message in error


def test_a_strategy_that_is_none_is_said_in_plain_words(capsys):
    config = str(FOLDER / "alignment.yaml")
    assert main(["train", config, "--set", "model.init_args.strategy=S9"]) == 2
    error = capsys.readouterr().err
    assert "strategy is one of S1, S2, S3, S4, Spurr; not S9" in error
    assert error.count("\n") == 1


def test_a_training_says_nothing_but_what_is_of_it(write_config, capfd):
    settings = ["trainer.max_epochs=1", "data.init_args.workers=1"]
    assert main(["train", str(write_config("run")), "--set", *settings]) == 0
    said = "".join(capfd.readouterr())
    for noise in (
        "Tip",
        "TPU",
        "FLOPs",
        "deprecated",
        "Params",
        "`Trainer.fit` stopped",
        "litlogger",
    ):
        assert noise not in said


def test_what_is_wrong_with_data_in_a_worker_is_one_line(write_config, capfd, hand_row, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    rows = [hand_row(i) for i in range(8)]
    write_shard(shard_path(data, 0), [row | {"image": b"no picture"} for row in rows])
    write_description(data, 8)
    settings = [f"data.init_args.train={data}", "data.init_args.workers=1"]
    assert main(["train", str(write_config("run")), "--set", *settings]) == 2
    said = capfd.readouterr().err
    *_, error = said.strip().splitlines()
    assert "Traceback" not in said
    assert error.startswith(f"auxhand train: error: {data}, row ")
    assert len(error) < 200


def test_a_missing_configuration_is_named(capsys):
    assert main(["train", "missing.yaml"]) == 2
    assert "missing.yaml" in capsys.readouterr().err


FOLDER = Path(__file__).parents[2] / "configs" / "laptop"
OTHER_DATA = (
    "finder",
    "dvae_synthesis",
    "semihand",
    "dual_modality",
    "dual_modality_pretrain",
    "comparators",
)
DEFAULT, FINISH, PHOTOS = (FOLDER / f"default{end}.yaml" for end in ("", "_finish", "_photos"))
OTHERS = {FINISH, PHOTOS, *(FOLDER / f"{name}.yaml" for name in OTHER_DATA)}
LAPTOP = sorted(set(FOLDER.rglob("*.yaml")) - OTHERS)
"""All that learn from one folder of crops; the finder learns from whole photos, SemiHand, the
dual-modality network and its comparators from several streams (see the end of this file)."""


def backbones(node, place=""):
    """(place, settings) of what has a backbone in a configuration, or in a part of it."""
    for key, value in node.items() if isinstance(node, dict) else ():
        if key == "backbone" and isinstance(value, str):
            yield place, node
        yield from backbones(value, f"{place}{key}.")


def tiny(config):
    """Settings for a small backbone with random weights; ImageNet's are not here."""
    options = {}
    for place, settings in backbones(yaml.safe_load(config.read_text())):
        options[f"{place}backbone"] = "test_resnet"
        options |= {f"{place}{key}": False for key in ("pretrained", "folded") if key in settings}
    return options


def test_backbones_that_configurations_name_are_there():
    found = (backbones(yaml.safe_load(path.read_text())) for path in FOLDER.parent.rglob("*.yaml"))
    names = {settings["backbone"] for each in found for _, settings in each}
    assert {"regnetx_002", "resnet18", "tf_efficientnet_lite0"} <= names
    for name in names:
        assert all(count > 0 for count in Backbone(name).channels)


@pytest.mark.slow
@pytest.mark.parametrize(
    "configs",
    [*([path] for path in LAPTOP), [DEFAULT, FINISH], [DEFAULT, FINISH, PHOTOS]],
    ids=lambda paths: paths[-1].stem,
)
def test_every_laptop_configuration_trains(configs, tmp_path, hand_dataset):
    options = {
        "trainer.default_root_dir": tmp_path,
        "trainer.accelerator": "cpu",
        "trainer.max_epochs": 1,
        "data.init_args.train": hand_dataset,
        "data.init_args.val_count": 2,
        "data.init_args.batch_size": 2,
        "data.init_args.images_per_epoch": 2,
        "data.init_args.workers": 0,
        "data.init_args.backgrounds": "null",
        "data.init_args.phases": "[{epoch: 0, size: 32, difficulty: 0.0}]",
    }
    options |= tiny(configs[0])
    if configs[0].stem == "default":  # folded, as it is shipped
        body = "model.init_args.network.init_args.body.init_args."
        options |= {f"{body}backbone": "tf_efficientnet_lite0", f"{body}folded": True}
    if FINISH in configs:  # nor the run that it goes on from
        options["start_from"] = "null"
    if PHOTOS in configs:
        del options["data.init_args.train"]
        for name in ("labelled", "photos"):
            options[f"data.init_args.train.{name}.roots"] = hand_dataset
            options[f"data.init_args.train.{name}.batch_size"] = 1
    words = [f"{name}={value}" for name, value in options.items()]
    assert main(["train", *map(str, configs), "--set", *words]) == 0
    load_bundle(tmp_path / "bundle")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["semihand", "dual_modality"])
def test_methods_of_two_stages_train_in_both(tmp_path, hand_dataset, method):
    first, second = tmp_path / "first", tmp_path / "second"
    options = {
        "trainer.accelerator": "cpu",
        "trainer.max_epochs": 1,
        "data.init_args.val": "null",
        "data.init_args.val_count": 2,
        "data.init_args.images_per_epoch": 4,
        "data.init_args.workers": 0,
        "data.init_args.batch_size": 2,
    }
    streams = {"semihand": "train", "dual_modality": "train.source.roots"}
    given = {
        "trainer.default_root_dir": first,
        f"data.init_args.{streams[method]}": hand_dataset,
        **tiny(FOLDER / f"{method}_pretrain.yaml"),
        **options,
    }
    settings = [f"{k}={v}" for k, v in given.items()]
    assert main(["train", str(FOLDER / f"{method}_pretrain.yaml"), "--set", *settings]) == 0
    given = {
        "trainer.default_root_dir": second,
        "start_from": first,
        "data.init_args.train.source.roots": hand_dataset,
        "data.init_args.train.target.roots": hand_dataset,
        "data.init_args.train.source.batch_size": 2,
        "data.init_args.train.target.batch_size": 2,
        **tiny(FOLDER / f"{method}.yaml"),
        **options,
    }
    settings = [f"{k}={v}" for k, v in given.items()]
    assert main(["train", str(FOLDER / f"{method}.yaml"), "--set", *settings]) == 0
    load_bundle(second / "bundle")


@pytest.mark.parametrize("comparator", ["CCSSL", "AnimalDA", "RegDA"])
def test_comparators_train(tmp_path, hand_dataset, comparator):
    options = {
        "start_from": "null",
        "trainer.default_root_dir": tmp_path,
        "trainer.accelerator": "cpu",
        "trainer.max_epochs": 1,
        "model.class_path": f"auxhand.methods.comparators.{comparator}",
        "model.init_args.network.init_args.body.init_args.backbone": "test_resnet",
        "data.init_args.val": "null",
        "data.init_args.val_count": 2,
        "data.init_args.images_per_epoch": 8,
        "data.init_args.workers": 0,
        "data.init_args.batch_size": 2,
        "data.init_args.train.source.roots": hand_dataset,
        "data.init_args.train.target.roots": hand_dataset,
        "data.init_args.train.source.batch_size": 2,
        "data.init_args.train.target.batch_size": 2,
    }
    settings = [f"{k}={v}" for k, v in options.items()]
    assert main(["train", str(FOLDER / "comparators.yaml"), "--set", *settings]) == 0
    load_bundle(tmp_path / "bundle")
