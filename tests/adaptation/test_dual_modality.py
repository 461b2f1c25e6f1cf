"""An adaptation by the dual-modality network's fine-tuning, tiny and whole."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from auxhand.adaptation.adapt import Settings
from auxhand.adaptation.fit import KeepBest
from auxhand.adaptation.judge import Verdict
from auxhand.adaptation.plan import PASSES, Plan, plan
from auxhand.adaptation.start import branches_of, of_run
from auxhand.cli.main import main
from auxhand.data.image import load_photo
from auxhand.data.store import shard_path, write_description, write_shard
from auxhand.inference.bundle import load_bundle, save_bundle
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.models.cpn import FeaturePyramid
from auxhand.models.dual_branch import DualBranch
from auxhand.models.heads import Peak25D
from auxhand.models.pose_net import PoseNet

LAPTOP = Path(__file__).parents[2] / "configs" / "laptop" / "dual_modality.yaml"
TINY = {"backbone": "test_resnet", "width": 8}

pytestmark = pytest.mark.usefixtures("hands_everywhere")


@pytest.fixture(scope="module")
def run(tmp_path_factory, hand_dataset):
    """A tiny run of the first stage."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    told = {
        "seed_everything": 0,
        "trainer": {
            "default_root_dir": str(folder),
            "accelerator": "cpu",
            "max_epochs": 2,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": False,
            "callbacks": [
                {
                    "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                    "init_args": {"save_last": True, "save_top_k": -1},
                }
            ],
        },
        "model": {
            "class_path": "auxhand.methods.dual_modality.DualModality",
            "init_args": {
                "network": {
                    "class_path": "auxhand.models.dual_branch.DualBranch",
                    "init_args": TINY,
                },
            },
        },
        "data": {
            "class_path": "auxhand.data.module.HandDataModule",
            "init_args": {
                "train": {"s": {"roots": str(hand_dataset), "views": 2, "same_place": True}},
                "val_count": 2,
                "batch_size": 4,
                "images_per_epoch": 4,
                "workers": 0,
                "crop": {"by": "mask", "fraction": 0.8, "view": "plain"},
                "phases": [{"epoch": 0, "size": 32}],
            },
        },
    }
    config = folder.with_suffix(".yaml")
    config.write_text(yaml.safe_dump(told))
    assert main(["train", str(config)]) == 0
    return folder


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A tiny model in the shipped one's place, that says which hand it sees in everything."""
    torch.manual_seed(0)
    network = PoseNet(FeaturePyramid("test_resnet", width=8), Peak25D(), side=True)
    save_bundle(tmp_path / "shipped", network, 32, {}, presence_threshold=0.0)
    monkeypatch.setattr("auxhand.adaptation.start.DEFAULT", str(tmp_path / "shipped"))
    monkeypatch.setattr("auxhand.adaptation.crops.SURE", 0.0)  # it is never sure


@pytest.fixture
def arguments(photos, hand_dataset, tmp_path):
    """Of the command, but for what it starts from."""
    told = ["adapt", str(photos), "--out", str(tmp_path / "out"), "--synthetic", str(hand_dataset)]
    return [*told, "--workers", "0", "--method", "dual_modality"]


def same(first, second):
    """Whether two bundles have the same weights."""
    state = second.network.state_dict()
    return all(torch.equal(w, state[name]) for name, w in first.network.state_dict().items())


@pytest.fixture
def two_epochs(monkeypatch):
    """Of one step each, whatever the time; each of them is better than all before."""
    verdicts = iter([Verdict(True, ("yes: it is said so",), score) for score in (0.5, 0.4)])
    monkeypatch.setattr("auxhand.adaptation.fit.decide", lambda before, after: next(verdicts))
    monkeypatch.setattr("auxhand.adaptation.adapt.plan", lambda *_: Plan(2, 1, "32-true"))


def views(data):
    """Of the unlabelled stream: the share that a hand has of its plain crop, and how the strong one
    varies."""
    phase = data["train"]["target"]["phases"][0]
    return phase["augmentation"]["smallest"], phase["second"]


def interrupt_the_second(keep, trainer, model):
    if trainer.current_epoch == 1:
        raise KeyboardInterrupt


@pytest.mark.slow
def test_a_run_becomes_a_bundle_and_a_report(
    run, arguments, photos, tmp_path, capsys, monkeypatch, shipped, two_epochs
):
    out, command = tmp_path / "out", [*arguments, "--start", str(run)]
    before = load_bundle(run / "bundle")
    with monkeypatch.context() as patch:
        patch.setattr(KeepBest, "on_train_epoch_start", interrupt_the_second)
        assert main(command) == 130
    printed, complaint = capsys.readouterr()
    assert f"the best model so far is {out}; the same command goes on" in complaint
    assert same(before, load_bundle(out / "work" / "start"))
    assert load_bundle(out).metadata["adapted_epochs"] == 1
    # The tensors of all branches were taken over; the first stage's projections were not.
    count = len(DualBranch(**TINY).state_dict())
    assert f"start.ckpt: {count} of {count} tensors" in printed

    assert main(command) == 0
    printed = capsys.readouterr().out
    assert f"resuming from {out / 'work' / 'run'}" in printed
    assert "better: adapted weights" in printed
    said = json.loads((out / "report.json").read_text())
    assert (said["crops"], said["held_out"]) == (14, 7)
    assert [line["epoch"] for line in said["epochs"]] == [1, 2]
    assert (said["settings"]["method"], said["settings"]["start"]) == ("dual_modality", str(run))
    page = (out / "report.html").read_text()
    assert f"By fine-tuning of the dual-modality network (chapter 7) from {run}." in page

    trained, laptop = (
        yaml.safe_load(path.read_text()) for path in (out / "work" / "adapt.yaml", LAPTOP)
    )
    for part in ("objective", "weak"):
        assert trained["model"]["init_args"][part] == laptop["model"]["init_args"][part]
    own, theirs = (each["data"]["init_args"] for each in (trained, laptop))
    plain, strong = zip(*(map(views, (own, theirs))), strict=True)
    labelled = [
        own["train"]["source"]["phases"][0]["augmentation"],
        theirs["phases"][0]["augmentation"],
    ]
    usual = [data["crop"]["fraction"] for data in (own, theirs)]
    for (found, expected), shares in ((strong, plain), (labelled, usual)):
        for end in ("smallest", "largest"):
            ours, laptops = found.pop(end) / shares[0], expected.pop(end) / shares[1]
            assert ours == pytest.approx(laptops)
        assert found == expected

    kept, learnt = load_bundle(out), load_bundle(out / "work" / "run" / "bundle")
    assert same(kept, learnt)
    assert not same(kept, before)
    assert (kept.metadata["adapted_epochs"], kept.input_size) == (2, 32)
    assert kept.metadata["images_seen"] == before.metadata["images_seen"]
    assert kept.crop == before.crop
    assert learnt.metadata["adapted_from"] == str(run)
    photo = load_photo(photos / "00.png").pixels
    hand = HandPoseEstimator.load(str(out)).predict(photo, box=(4, 4, 56, 56), side="right")
    assert hand.joints_uv.shape == (21, 2)
    assert main(command) == 0  # it is finished, and says so again
    assert "report.html" in capsys.readouterr().out
    assert main([*arguments, "--start", str(run / "checkpoints" / "last.ckpt")]) == 2
    assert "other start" in capsys.readouterr().err


def test_hands_without_depth_are_refused_at_once(run, photos, hand_row, tmp_path, capsys, shipped):
    rows = [hand_row(i) | {"depth": None} for i in range(3)]
    (tmp_path / "data").mkdir()
    write_shard(shard_path(tmp_path / "data", 0), rows)
    write_description(tmp_path / "data", len(rows))
    told = ["adapt", str(photos), "--out", str(tmp_path / "out"), "--method", "dual_modality"]
    told += ["--start", str(run), "--synthetic", str(tmp_path / "data")]
    assert main(told) == 2
    assert "has joints_uv, joints_xyz, mask, depth, which" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_gives_its_own_weights(run):
    last, first = run / "checkpoints" / "last.ckpt", next(run.glob("checkpoints/epoch=0*.ckpt"))
    start, earlier = of_run(last), of_run(first)
    assert branches_of(start.bundle.network) == TINY
    assert same(start.bundle, load_bundle(run / "bundle"))
    assert same(of_run(run).bundle, start.bundle)
    weights = torch.load(first, weights_only=True)["state_dict"]
    for name, weight in earlier.bundle.network.state_dict().items():
        assert torch.equal(weight, weights[f"network.rgb.{name}"])
    assert not same(start.bundle, earlier.bundle)
    assert start.checkpoint["optimizer_states"] == []


def one_line(capsys):
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_method_without_what_it_starts_from_is_refused(run, arguments, tmp_path, capsys):
    assert main(arguments) == 2
    assert "--method dual_modality takes --start RUN" in one_line(capsys)
    semihand = ["semihand" if each == "dual_modality" else each for each in arguments]
    assert main([*semihand, "--start", str(run)]) == 2
    assert "--start is for --method dual_modality" in one_line(capsys)
    assert main([*arguments, "--start", str(run), "--model", str(run / "bundle")]) == 2
    assert "--model is for --method semihand" in one_line(capsys)
    with pytest.raises(ValueError, match="--start is for"):
        Settings(("photos",), start=str(run))
    assert not (tmp_path / "out").exists()


def test_a_start_that_is_no_such_run_is_refused(run, arguments, tmp_path, capsys, photos):
    def refused(start):
        assert main([*arguments, "--start", str(start)]) == 2
        return one_line(capsys)

    assert "no run of the dual-modality network at" in refused(tmp_path / "nowhere")
    assert "no run of the dual-modality network at" in refused(photos)
    assert "is a bundle, which has an RGB branch alone" in refused(run / "bundle")
    assert "is damaged, or none" in refused(photos / "00.png")
    unfinished = tmp_path / "unfinished"
    shutil.copytree(run / "checkpoints", unfinished / "checkpoints")
    assert f"no bundle at {unfinished / 'bundle'}" in refused(unfinished)

    other = tmp_path / "other"
    shutil.copytree(run, other)
    file = other / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    weights = checkpoint["state_dict"]

    def refused_with(state):
        torch.save(checkpoint | {"state_dict": state}, file)
        return refused(other)

    of_the_network = weights | {"network.depth_map.bias": torch.zeros(7)}
    assert "depth_map.bias was (7,), is (1,)" in refused_with(of_the_network)
    plain = {name: w for name, w in weights.items() if "depth_encoder" not in name}
    told = "no run of auxhand.methods.dual_modality (its network has no depth branch)"
    assert told in refused_with(plain)
    assert not (tmp_path / "out").exists()


def test_three_branches_take_longer(monkeypatch):
    monkeypatch.setattr("auxhand.adaptation.plan._speed", lambda n, s, kind: (0.1, 0.0))
    found = plan(DualBranch(**TINY).estimator(), 32, 4000, 10, 800, "dual_modality")
    assert found.epochs * found.steps == int(800 / (0.1 * PASSES["dual_modality"]))
