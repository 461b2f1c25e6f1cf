"""From YAML to a bundle that predicts: every strategy of Ch. 5, through the commands."""

import itertools
import json
from importlib.resources import files

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from auxhand.cli.main import main
from auxhand.data import crops
from auxhand.data.columns import decode_image
from auxhand.inference import scene
from auxhand.inference.bundle import load_bundle
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.inference.latent import LatentSpace
from auxhand.methods.alignment import Alignment
from auxhand.models.latent_pose import LatentPoseNet


class Killed(Exception):
    """What ends a training, of which no command knows."""


CONFIG = """
seed_everything: 0
trainer:
  default_root_dir: {root}
  accelerator: cpu
  max_epochs: 2
  log_every_n_steps: 1
  num_sanity_val_steps: 0
  enable_progress_bar: false
  callbacks:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {{save_last: true}}
model:
  class_path: auxhand.methods.alignment.Alignment
  init_args:
    strategy: S4
    pairs: RC2CHP
    networks:
      backbone: test_resnet
      latent: 8
      points: 16
      cloud_widths: [8]
      cloud_features: 8
      folding_width: 8
      cells: 8
      map_width: 4
data:
  class_path: auxhand.data.module.HandDataModule
  init_args:
    train: {data}
    val_count: 4
    batch_size: 4
    workers: 0
    crop: {{by: mask, fraction: 0.8}}
    phases: [{{epoch: 0, size: 64, difficulty: 0.0}}]
"""


@pytest.fixture
def config(tmp_path, hand_dataset):
    path = tmp_path / "alignment.yaml"
    path.write_text(CONFIG.format(root=tmp_path / "run", data=hand_dataset))
    return str(path)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, hand_dataset):
    """A trained one, of S4."""
    folder = tmp_path_factory.mktemp("alignment")
    path = folder / "alignment.yaml"
    path.write_text(CONFIG.format(root=folder / "run", data=hand_dataset))
    assert main(["train", str(path)]) == 0
    return folder / "run" / "bundle"


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    cv2.imwrite(str(path), pixels)
    return path


@pytest.mark.parametrize(
    ("strategy", "pairs"),
    [
        ("S1", "R2P"),
        ("S2", "R2CHP"),
        ("S3", "RC2CHP"),
        ("S4", "RCDM2CHPDM"),
        ("Spurr", "RP2RP"),
    ],
)
def test_every_strategy_trains_from_yaml_alone(config, tmp_path, strategy, pairs):
    settings = [
        f"model.init_args.strategy={strategy}",
        f"model.init_args.pairs={pairs}",
        "trainer.max_epochs=1",
    ]
    assert main(["train", config, "--set", *settings]) == 0
    network = load_bundle(tmp_path / "run" / "bundle").network
    assert isinstance(network, LatentPoseNet)
    assert network(torch.rand(1, 3, 64, 64)).xyz.isfinite().all()


def test_two_processes_train_the_pairs_of_spurr_by_turns(config, tmp_path, train_in_two_processes):
    """Which leaves parameters without a gradient in every step."""
    settings = [
        *("model.init_args.strategy=Spurr", "model.init_args.pairs=RP2RP", "trainer.devices=2"),
        *("trainer.strategy=ddp_find_unused_parameters_true", "data.init_args.batch_size=2"),
    ]
    train_in_two_processes(config, "--set", *settings)
    seen = load_bundle(tmp_path / "run" / "bundle").metadata["images_seen"]
    assert seen == 4 * 2 * 2  # each of the four pairs once, with two images in each process


@pytest.mark.parametrize("view", ["plain", "labels"])
def test_the_bundle_knows_what_its_crops_do_to_the_viewpoint(
    view, config, hand_dataset, tmp_path, monkeypatch, photo
):
    settings = [f"data.init_args.crop.view={view}", "trainer.max_epochs=1"]
    assert main(["train", config, "--set", *settings]) == 0
    folder = tmp_path / "run" / "bundle"
    assert load_bundle(folder).view == view
    asked, crop = [], crops.square_crop

    def noted(*args, **kwargs):
        asked.append(kwargs.get("view", args[-1]))
        return crop(*args, **kwargs)

    for module in (crops, scene):
        monkeypatch.setattr(module, "square_crop", noted)
    out = ["--out", str(tmp_path / "out")]
    assert main(["evaluate", str(folder), str(hand_dataset), *out]) == 0
    box = ["--box", "30,20,60,50", "--side", "right"]
    assert main(["predict", str(photo), "--model", str(folder), *box, *out]) == 0
    assert view in asked
    assert set(asked) <= {view, "corrected"}  # the finder has its own


def test_weakly_labelled_streams_join_in_a_batch(config, hand_dataset, monkeypatch):
    """Half of every batch is labelled (Fig. 5.8)."""
    half = f"roots: {hand_dataset}, batch_size: 2"
    told = "use: weak, told: [K, side, presence, mask, depth, cloud]"
    streams = f"{{labelled: {{{half}, count: 3}}, weak: {{{half}, start: 3, {told}}}}}"
    step, seen = Alignment.training_step, []

    def noted(self, batch, batch_idx):
        seen.append(batch.index.tolist())
        assert not batch.valid["joints_xyz"][2:].any()
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Alignment, "training_step", noted)
    settings = [f"data.init_args.train={streams}", "data.init_args.joined=true"]
    assert main(["train", config, "--set", *settings, "trainer.max_epochs=1"]) == 0
    assert len(seen) >= 2
    assert all(len(indices) == 4 for indices in seen)


def test_a_killed_run_resumes_to_the_same_weights(bundle, config, tmp_path, monkeypatch):
    whole = load_file(bundle / "model.safetensors")
    step = Alignment.training_step

    def killed(self, batch, batch_idx):
        if self.trainer.current_epoch == 1:
            raise Killed
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Alignment, "training_step", killed)
    with pytest.raises(Killed):
        main(["train", config])
    monkeypatch.setattr(Alignment, "training_step", step)
    assert main(["train", config]) == 0
    torn = load_file(tmp_path / "run" / "bundle" / "model.safetensors")
    for name, value in whole.items():
        torch.testing.assert_close(torn[name], value, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.init_args.pairs=RH2CHP", "RH2CHP: no encoder for H (heatmaps)"),
        ("model.init_args.strategy=S1", "strategy S1 takes one modality to one"),
        ("model.init_args.strategy=S7", "strategy is one of S1, S2, S3, S4, Spurr; not S7"),
        ("model.init_args.strateggy=S1", "Option 'strateggy' is not accepted"),
        ("trainer.max_epochs=few", "Parser key \"trainer.max_epochs\": Expected a <class 'int'>"),
        ("data.init_args.train={a: {roots: x, use: weak}}", "told is for weak streams"),
        ("data.init_args.crop={by: nose}", "by"),
        ("data.init_args.cloud_points=8", "leave data.init_args.cloud_points out"),
    ],
)
def test_impossible_combinations_cost_one_line(config, tmp_path, capsys, setting, message):
    assert main(["train", config, "--set", setting]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Union" not in error
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_training_that_diverges_says_so_and_where_its_weights_are(config, capsys, monkeypatch):
    monkeypatch.setattr(
        Alignment, "objective", lambda self, seen: torch.tensor(torch.nan, requires_grad=True)
    )
    assert main(["train", config]) == 1
    error = capsys.readouterr().err
    assert "step 0: the loss is not finite" in error
    assert "checkpoints" not in error  # there are none yet


def test_the_bundle_predicts_and_is_evaluated_like_any_other(bundle, photo, hand_dataset, tmp_path):
    arguments = ["--model", str(bundle), "--out", str(tmp_path / "out")]
    assert main(["predict", str(photo), *arguments, "--box", "30,20,60,50", "--side", "left"]) == 0
    joints = json.loads((tmp_path / "out" / "photo.json").read_text())["hand"]["joints"]
    assert all(len(joint["uv_px"]) == 2 for joint in joints.values())
    assert all(len(joint["camera_m"]) == 3 for joint in joints.values())
    out = tmp_path / "evaluation"
    assert main(["evaluate", str(bundle), str(hand_dataset), "--out", str(out)]) == 0
    metrics = json.loads((out / "evaluation.json").read_text())["rows"][0]["metrics"]
    assert {"epe_mm", "auc_20_50", "pck_05"} <= set(metrics)


def test_a_model_without_heatmaps_is_evaluated_in_2d_too(config, hand_dataset, tmp_path):
    settings = ["model.init_args.strategy=S1", "model.init_args.pairs=R2P", "trainer.max_epochs=1"]
    assert main(["train", config, "--set", *settings]) == 0
    model, out = str(tmp_path / "run" / "bundle"), tmp_path / "evaluation"
    assert main(["evaluate", model, str(hand_dataset), "--out", str(out)]) == 0
    metrics = json.loads((out / "evaluation.json").read_text())["rows"][0]["metrics"]
    assert 0 <= metrics["pck_05"][0] <= 1


def test_hands_at_random_are_those_of_their_seed(bundle, tmp_path):
    command = ["synthesize", "sample", "--model", str(bundle), "--count", "3", "--seed"]
    for name, seed in (("a", "4"), ("b", "4"), ("c", "5")):
        assert main([*command, seed, "--out", str(tmp_path / name)]) == 0
    a, b, c = (np.load(tmp_path / name / "hands.npz") for name in "abc")
    assert a["z"].shape == (3, 8)
    assert a["xyz_m"].shape == (3, 21, 3)
    assert a["cloud_m"].shape == (3, 16, 3)
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])
    assert not np.array_equal(a["z"], c["z"])
    pictures = [(tmp_path / name / "hands.png").read_bytes() for name in "ab"]
    assert pictures[0] == pictures[1]


def test_samples_are_shown_in_rows_of_eight(bundle, tmp_path):
    command = ["synthesize", "sample", "--model", str(bundle), "--count", "10"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    # Two rows of poses, each with its clouds below, and four pixels between the tiles.
    assert cv2.imread(str(tmp_path / "hands.png")).shape[:2] == (4 * 196 + 4, 8 * 196 + 4)


@pytest.mark.parametrize("name", ["walk", "sample"])
def test_the_help_of_a_part_is_that_of_the_command(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["synthesize", name, "--help"])
    told = capsys.readouterr().out
    assert "usage: auxhand synthesize" in told
    assert f"example: auxhand synthesize {name}" in told


def test_a_walk_is_straight_between_two_photos(bundle, photo, tmp_path, monkeypatch):
    codes = itertools.cycle([torch.zeros(8), torch.ones(8)])
    monkeypatch.setattr(LatentSpace, "encode", lambda self, image, side: next(codes))
    command = ["synthesize", "walk", str(photo), str(photo), "--model", str(bundle)]
    assert main([*command, "--steps", "5", "--out", str(tmp_path / "walk")]) == 0
    hands = np.load(tmp_path / "walk" / "hands.npz")
    np.testing.assert_allclose(hands["z"], np.linspace(0, 1, 5)[:, None].repeat(8, 1))
    assert hands["xyz_m"].shape == (5, 21, 3)
    picture = cv2.imread(str(tmp_path / "walk" / "hands.png"))
    assert picture.shape[1] > 3 * picture.shape[0]  # seven tiles by two
    assert main([*command, "--steps", "1"]) == 2


def test_the_code_of_a_photo_is_that_of_its_prediction(bundle, monkeypatch):
    """The encoder sees the hand's crop as the prediction has seen it."""
    latent = LatentSpace(HandPoseEstimator.load(bundle))
    photo = decode_image((files("auxhand") / "assets" / "photos" / "five.jpg").read_bytes())
    seen, encode = [], latent.network.encode
    monkeypatch.setattr(latent.network, "encode", lambda x: seen.append(x) or encode(x))
    assert latent.encode(photo).shape == (8,)
    *predicted, encoded = seen  # it looks at several crops, of which one counts
    assert (encoded - torch.cat(predicted)).abs().amax((1, 2, 3)).min() <= 4 / 255


def test_a_photo_without_a_hand_is_named(bundle, photo, tmp_path, capsys):
    other = tmp_path / "other.png"
    cv2.imwrite(str(other), cv2.imread(str(photo))[:, ::-1])
    out = tmp_path / "walk"
    command = ["synthesize", "walk", str(photo), str(other), "--model", str(bundle)]
    # A picture of noise shows no hand.
    assert main([*command, "--out", str(out)]) == 2
    assert "no hand found" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "--model", "default"], "has no latent space"),
        (["sample", "--model", "nowhere"], "no bundle at nowhere"),
    ],
)
def test_models_that_cannot_synthesize_are_named(arguments, message, capsys, tmp_path):
    assert main(["synthesize", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
