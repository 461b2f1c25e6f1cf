"""The dissertation's configurations of chapter 7: its constants, and trainable on a miniature."""

import json
import math
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
import timm
import yaml

from auxhand.cli.main import main
from auxhand.losses.contrastive import TEMPERATURE, VARIANTS
from auxhand.methods.dual_modality.objective import Objective
from auxhand.optim import Schedule

FOLDER = Path(__file__).parents[2] / "configs" / "paper"
PRETRAIN = FOLDER / "dual_modality_pretrain.yaml"
TARGETS = [FOLDER / f"dual_modality_{name}.yaml" for name in ("stb", "freihand", "h3d", "hsd")]

BOTH = {
    # Ch. 7.4.2: ResNet-101 at 256
    "model.init_args.network.init_args.backbone": "resnet101.tv_in1k",
    "data.init_args.phases.0.size": 256,
    "model.init_args.betas": [0.9, 0.99],
    # Ch. 6.3.1 and 7.4.2
    "model.init_args.objective.depth": 50,
    "model.init_args.objective.mask": 100,
    "model.init_args.objective.depth_map": 50,
    "data.init_args.phases.0.augmentation.any_rotation_share": 1.0,
}
PRETRAINING = {
    "model.init_args.stage": "pretrain",
    "model.init_args.network.init_args.pretrained": True,
    "trainer.max_epochs": 60,
    "model.init_args.learning_rate": 2.5e-4,
    "model.init_args.objective.contrastive": 0.1,
    "model.init_args.objective.temperature": 0.5,
    "model.init_args.objective.variant": "w/ SG",
    "data.init_args.train.source.views": 2,
    "data.init_args.train.source.same_place": True,
}
FINETUNING = {
    "model.init_args.stage": "finetune",
    "start_from": "runs/paper/dual_modality_pretrain",
    "trainer.max_epochs": 6,
    "model.init_args.learning_rate": 2.5e-5,
    "model.init_args.objective.distillation": 0.2,
    "model.init_args.objective.pseudo_labels": 1.0,
    "model.init_args.objective.epsilon": 1.5,
    # Ch. 7.4.3, in pixels of 64: 8 of 256
    "model.init_args.weak": {"shift": 8 / 4, "turn": 2, "quarters": True, "together": True},
    "data.init_args.train.target.views": 2,
    "data.init_args.train.target.phases.0.size": 256,
}
STATED = [(PRETRAIN, BOTH | PRETRAINING), *((path, BOTH | FINETUNING) for path in TARGETS)]


@cache
def _content(path):
    return yaml.safe_load(path.read_text())


def settings(path):
    return deepcopy(_content(path))


def stated(path, entry):
    """What a file itself says of an entry."""
    value = settings(path)
    for key in entry.split("."):
        value = value[int(key) if isinstance(value, list) else key]
    return value


@pytest.mark.parametrize(("path", "table"), STATED, ids=lambda x: getattr(x, "stem", ""))
def test_constants_are_those_of_the_dissertation(path, table):
    for entry, value in table.items():
        assert stated(path, entry) == value, entry


def test_batches_are_of_140_and_of_20():
    """Of the latter, half from each domain."""
    given = settings(PRETRAIN)
    assert (
        given["data"]["init_args"]["batch_size"] * given["trainer"]["accumulate_grad_batches"]
        == 140
    )
    for path in TARGETS:
        train = stated(path, "data.init_args.train")
        assert train["source"]["batch_size"] + train["target"]["batch_size"] == 20


def test_rates_drop_after_40_and_50_epochs_and_then_no_more():
    schedule = Schedule(**stated(PRETRAIN, "model.init_args.schedule"))
    factors = [schedule.factor(epoch, 60) for epoch in range(60)]
    assert factors == pytest.approx([1.0] * 40 + [0.1] * 10 + [0.01] * 10)
    for path in TARGETS:
        assert "schedule" not in settings(path)["model"]["init_args"]


def test_the_backbone_is_there_with_imagenets_weights():
    assert timm.models.get_pretrained_cfg("resnet101.tv_in1k").has_weights


def test_the_defaults_are_the_chapters():
    w = Objective()
    assert (w.depth, w.mask, w.depth_map, w.contrastive) == (50, 100, 50, 0.1)
    assert w.contrastive_batch == 140
    assert (w.distillation, w.pseudo_labels, w.epsilon, w.temperature) == (0.2, 1.0, 1.5, 0.5)
    assert (w.variant, w.form, TEMPERATURE) == ("w/ SG", "printed", 0.5)
    assert list(VARIANTS) == ["none", "RGB only", "RGB & DM", "RGB & DM*", "w/out SG", "w/ SG"]


def strong(augmentation):
    """G of Ch. 7.4.3 is +-180 degrees, scale 0.8 to 1 and +-20 of 256 pixels."""
    assert augmentation["any_rotation_share"] == 1.0
    # A plain crop, of 0.8 here, is near the middle of the chapter's 0.8 to 1 times the image.
    assert (augmentation["smallest"], augmentation["largest"]) == (0.72, 0.9)
    assert augmentation["translation"] == pytest.approx(20 / 256, abs=5e-4)


def texture(photometric):
    """T_RGB: colour jitter, grey, erasure; hue up to a tenth of a turn either way."""
    assert photometric["hue"] == pytest.approx(2 * math.pi * 0.2 / math.sqrt(12), abs=5e-3)
    for kind in ("brightness", "contrast", "saturation", "grey_share", "occluder_share"):
        assert photometric[kind] > 0


def test_augmentations_are_the_chapters():
    phase = stated(PRETRAIN, "data.init_args.phases.0")
    strong(phase["augmentation"])
    assert 0 < phase["augmentation"]["still_share"] < 1  # (x, T x) or (G x, T G x)
    assert "photometric" not in phase["augmentation"]
    texture(phase["second"]["photometric"])
    for path in TARGETS:
        data = stated(path, "data.init_args")
        target, share = data["train"]["target"]["phases"][0], data["crop"]["fraction"]
        assert target["augmentation"] == {"smallest": share, "largest": share}
        for augmentation in (target["second"], data["phases"][0]["augmentation"]):
            strong(augmentation)
            texture(augmentation["photometric"])
        assert data["crop"]["view"] == "plain"


def test_an_epoch_is_the_labelled_images_once_or_the_target_s():
    """Of a batch of fine-tuning half are the target's 15,000, of H3D 11,000."""
    assert "images_per_epoch" not in settings(PRETRAIN)["data"]["init_args"]
    images = [stated(path, "data.init_args.images_per_epoch") for path in TARGETS]
    assert images == [30_000, 30_000, 22_000, 30_000]


def test_targets_are_as_large_as_stb_and_tell_no_labels():
    counts = {
        path.stem: stated(path, "data.init_args.train.target").get("count") for path in TARGETS
    }
    assert counts == {
        "dual_modality_stb": None,  # has 15,000
        "dual_modality_freihand": 15000,
        "dual_modality_h3d": None,  # has 11,000
        "dual_modality_hsd": 15000,
    }
    for path in TARGETS:
        assert stated(path, "data.init_args.train.target.told") == ["K", "side"]


def test_targets_differ_in_their_data_alone():
    rows = [settings(path) for path in TARGETS]
    for row in rows:
        data = row["data"]["init_args"]
        del row["trainer"]["default_root_dir"], data["val"], data["images_per_epoch"]
        for name in ("roots", "start", "count"):
            data["train"]["target"].pop(name, None)
    assert all(row == rows[0] for row in rows)


@pytest.mark.parametrize("config", [PRETRAIN, TARGETS[0]], ids=lambda path: path.stem)
def test_they_train_on_a_miniature(config, hand_dataset, tmp_path):
    train = stated(config, "data.init_args.train")
    for stream in train.values():
        stream |= {"roots": str(hand_dataset), "batch_size": 2}
        for phase in stream.get("phases", []):
            phase["size"] = 64
    small = [
        f"trainer.default_root_dir={tmp_path}",
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=1",
        "trainer.limit_val_batches=1",
        "trainer.precision=32-true",
        "model.init_args.network.init_args.backbone=test_resnet",
        "model.init_args.network.init_args.width=8",
        "model.init_args.network.init_args.pretrained=false",
        "start_from=null",
        f"data.init_args.train={json.dumps(train)}",
        f"data.init_args.val={hand_dataset}",
        "data.init_args.batch_size=2",
        "data.init_args.images_per_epoch=4",
        "data.init_args.workers=0",
        "data.init_args.phases.size=64",
    ]
    assert main(["train", str(config), "--set", *small]) == 0
    assert (tmp_path / "bundle" / "bundle.json").is_file()
