"""An adaptation from photos to a bundle, tiny and whole, of both kinds of models."""

import json
import math
import time

import pytest
import torch
import yaml

from auxhand.adaptation.adapt import TRAINING, Settings, _deadline, adapt
from auxhand.adaptation.fit import KeepBest
from auxhand.adaptation.hands import HANDS
from auxhand.adaptation.judge import Verdict
from auxhand.adaptation.kept import ADAPTED, ship
from auxhand.adaptation.plan import EPOCHS, PASSES, VISITS, Plan, plan, suitable
from auxhand.cli.main import main
from auxhand.data.store import shard_path, write_description, write_shard
from auxhand.inference.bundle import load_bundle, save_bundle
from auxhand.models.cpn import FeaturePyramid
from auxhand.models.heads import Integral, Latent25D, Peak25D
from auxhand.models.pose_net import PoseNet
from auxhand.synth.config_file import load_config

pytestmark = pytest.mark.usefixtures("hands_everywhere")


def tiny(side=False):
    torch.manual_seed(0)
    head = Peak25D() if side else Latent25D()
    return PoseNet(FeaturePyramid("test_resnet", width=8), head, side=side)


@pytest.fixture
def model(tmp_path):
    """make(side): a bundle that finds a hand in everything."""

    def make(side=False):
        save_bundle(tmp_path / "model", tiny(side), 32, {"images_seen": 5}, presence_threshold=0.0)
        return tmp_path / "model"

    return make


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("side", [False, True])
def test_photos_become_a_bundle_and_a_report(
    photos, model, hand_dataset, tmp_path, capsys, monkeypatch, side
):
    monkeypatch.setattr("auxhand.adaptation.crops.SURE", 0.0)  # an untrained network is never sure
    for spread in ("JOINT", "HAND"):
        monkeypatch.setattr(f"auxhand.adaptation.crops.{spread}", math.inf if side else 0.0)
    out, original = tmp_path / "out", model(side)
    arguments = ["adapt", str(photos), "--out", str(out), "--model", str(original)]
    arguments += ["--synthetic", str(hand_dataset), "--minutes", "0.01", "--workers", "0"]
    with monkeypatch.context() as patch:
        patch.setattr("auxhand.adaptation.fit.trained", interrupt)
        assert main(arguments) == 130
    assert f"the best model so far is {out}; the same command goes on" in capsys.readouterr().err
    assert load_bundle(out).metadata["images_seen"] == 5  # the original weights
    code = main(arguments)
    said = json.loads((out / "report.json").read_text())
    assert code == (0 if said["better"] else 3)
    assert (said["crops"], said["held_out"]) == (14, 7)
    assert said["pictures"]["kept"] == 21
    assert said["labelled"] == (14 if side else 0)
    learnt = yaml.safe_load((out / "work" / "adapt.yaml").read_text())["data"]["init_args"]["train"]
    own = [str(out / "work" / "labelled")] if side else []
    assert learnt["source"]["roots"] == [str(hand_dataset), *own]
    assert learnt["target"]["told"] == ["side"]
    assert len(said["epochs"]) == 1
    assert said["before"]["inconsistency"] > 0
    page = (out / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 7
    bundle, before = load_bundle(out), load_bundle(original)
    assert bundle.metadata["images_seen"] == 5
    assert bundle.input_size == 32
    same = all(
        torch.equal(value, before.network.state_dict()[name])
        for name, value in bundle.network.state_dict().items()
    )
    assert same != said["better"]
    assert {path.name for path in out.iterdir()} == {
        *("bundle.json", "model.safetensors", "report.html", "report.json", "work"),
    }
    capsys.readouterr()
    assert main(arguments) == code  # it is finished, and says so again
    assert "report.html" in capsys.readouterr().out
    assert main([*arguments, "--seed", "1"]) == 2
    assert "other seed" in capsys.readouterr().err


@pytest.fixture
def command(photos, model, hand_dataset, tmp_path, monkeypatch):
    """Of an adaptation of a second, into tmp_path/out."""
    monkeypatch.setattr("auxhand.adaptation.crops.SURE", 0.0)
    arguments = ["adapt", str(photos), "--out", str(tmp_path / "out"), "--model", str(model())]
    return [*arguments, "--synthetic", str(hand_dataset), "--minutes", "0.01", "--workers", "0"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--minutes", "nan"], "minutes must be positive"),
        (["--minutes", "inf"], "minutes must be positive"),
        (["--workers", "-1"], "workers must be 0 or more"),
        (["--seed", "-1"], "seed must lie between 0 and 4294967295"),
        (["--seed", "4294967296"], "seed must lie between 0 and 4294967295"),
    ],
)
def test_numbers_out_of_range_cost_one_line_at_once(command, tmp_path, capsys, arguments, says):
    assert main([*command, *arguments]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_training_has_its_share_however_late_it_begins():
    now = time.monotonic()
    assert _deadline(10, now - 60) == pytest.approx(now + 540, abs=1)
    assert _deadline(10, now - 590) == pytest.approx(now + 600 * TRAINING, abs=1)


def files(folder, apart):
    return {path for path in folder.rglob("*") if apart not in (path, *path.parents)}


@pytest.mark.slow
def test_an_interrupted_training_goes_on_and_leaves_nothing_elsewhere(
    command, tmp_path, monkeypatch
):
    out, home = tmp_path / "out", tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TMPDIR", str(home))
    monkeypatch.chdir(home)
    monkeypatch.setattr("socket.socket.connect", None)
    verdicts = iter([Verdict(True, ("yes",), score) for score in (0.5, 0.4)])
    monkeypatch.setattr("auxhand.adaptation.fit.decide", lambda before, after: next(verdicts))
    monkeypatch.setattr("auxhand.adaptation.adapt.plan", lambda *_: Plan(2, 1, "32-true"))

    def interrupt_the_second(keep, trainer, model):
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt

    command = [*command, "--minutes", "5"]
    before = files(tmp_path, out)
    with monkeypatch.context() as patch:
        patch.setattr(KeepBest, "on_train_epoch_start", interrupt_the_second)
        assert main(command) == 130
    assert load_bundle(out).metadata[ADAPTED] == 1
    assert main(command) == 0
    assert load_bundle(out).metadata[ADAPTED] == 2
    epochs = json.loads((out / "report.json").read_text())["epochs"]
    assert [line["epoch"] for line in epochs] == [1, 2]
    assert files(tmp_path, out) == before


@pytest.mark.slow
def test_weights_that_no_checkpoint_knows_are_not_called_original(command, tmp_path, monkeypatch):
    """A run that was killed between the bundle and the checkpoint of an epoch."""
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("auxhand.adaptation.fit.trained", interrupt)
        assert main(command) == 130
    original = load_bundle(out).network.state_dict()
    torch.manual_seed(1)
    other = tiny()
    torch.nn.init.ones_(next(iter(other.parameters())))
    ship(load_bundle(out), other, out, {ADAPTED: 1})
    monkeypatch.setattr(
        "auxhand.adaptation.fit.decide", lambda before, after: Verdict(False, ("worse",), 1.0)
    )
    assert main(command) == 3
    kept = load_bundle(out).network.state_dict()
    assert all(torch.equal(value, original[name]) for name, value in kept.items())
    assert ADAPTED not in load_bundle(out).metadata


@pytest.mark.slow
def test_a_best_model_that_was_deleted_is_not_reported(command, tmp_path, monkeypatch):
    out, verdicts = tmp_path / "out", [Verdict(True, (), 0.5)]
    monkeypatch.setattr("auxhand.adaptation.fit.decide", lambda before, after: verdicts[0])
    with monkeypatch.context() as patch:
        patch.setattr("auxhand.adaptation.adapt._judged", interrupt)
        assert main(command) == 130
    assert load_bundle(out).metadata[ADAPTED] == 1
    (out / "bundle.json").unlink()
    assert main(command) == 3
    assert not json.loads((out / "report.json").read_text())["better"]
    assert ADAPTED not in load_bundle(out).metadata


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("work/settings.json", "settings.json is damaged: delete "),
        ("work/plan.json", "plan.json is damaged: delete "),
        ("report.json", "report.json is damaged: delete "),
        ("model.safetensors", "was finished, but something of it is gone"),
    ],
)
def test_what_is_damaged_is_named(command, tmp_path, monkeypatch, capsys, name, says):
    out = tmp_path / "out"
    if name.startswith("work"):
        with monkeypatch.context() as patch:
            patch.setattr("auxhand.adaptation.fit.trained", interrupt)
            assert main(command) == 130
    else:
        assert main(command) in (0, 3)
    (out / name).write_bytes((out / name).read_bytes()[:9])
    capsys.readouterr()
    assert main(command) == 2
    assert says in capsys.readouterr().err


def test_whoever_interrupts_the_search_has_the_original_weights(
    command, model, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("auxhand.adaptation.adapt.find", interrupt)
    assert main(command) == 130
    assert f"the best model so far is {tmp_path / 'out'}" in capsys.readouterr().err
    kept, original = (load_bundle(f).network.state_dict() for f in (tmp_path / "out", model()))
    assert all(torch.equal(kept[name], value) for name, value in original.items())


def test_few_photos_cost_one_line_and_leave_nothing(photos, model, hand_dataset, tmp_path, capsys):
    some = [str(photos / f"{i:02d}.png") for i in range(3)]
    arguments = ["--out", str(tmp_path / "out"), "--model", str(model())]
    assert main(["adapt", *some, *arguments, "--synthetic", str(hand_dataset)]) == 2
    assert "3 usable crops of hands are too few (at least 20)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_hands_without_labels_are_refused_at_once(photos, model, hand_row, tmp_path, capsys):
    rows = [hand_row(i) | {"joints_xyz": None} for i in range(3)]
    (tmp_path / "data").mkdir()
    write_shard(shard_path(tmp_path / "data", 0), rows)
    write_description(tmp_path / "data", len(rows))
    arguments = ["--out", str(tmp_path / "out"), "--model", str(model())]
    assert main(["adapt", str(photos), *arguments, "--synthetic", str(tmp_path / "data")]) == 2
    assert "none of the first 3 samples has joints_uv, joints_xyz, which" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_things_is_left_alone(photos, model, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "diary.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty and holds no adaptation"):
        adapt(Settings((str(photos),), str(model())), tmp_path / "out")


def test_a_model_without_depth_is_refused():
    with pytest.raises(ValueError, match="cannot be adapted"):
        suitable(PoseNet(FeaturePyramid("test_resnet", width=8), Integral()))
    assert suitable(tiny())


def test_a_plan_fits_the_time_and_the_crops(monkeypatch):
    once = 1 / PASSES["semihand"]
    speed = {"32-true": (once, 0.01), "bf16-mixed": (2 * once, 0.02)}
    monkeypatch.setattr("auxhand.adaptation.plan._speed", lambda n, s, kind: speed[kind])
    found = plan(tiny(), 64, crops=400, held=100, seconds=600)
    assert found.precision == "32-true"
    assert found.epochs == EPOCHS[0]
    assert found.steps == int(600 / 8 - 0.01 * (800 + 600))
    few = plan(tiny(), 64, crops=16, held=10, seconds=6000)
    assert few.epochs * few.steps * 16 <= VISITS * 16
    assert plan(tiny(), 64, crops=5000, held=200, seconds=1).steps == 1


def test_rendered_hands_are_those_of_the_natural_configuration(request):
    path = request.config.rootpath / "configs" / "synth" / "natural.yaml"
    assert load_config(path) == HANDS
