"""What every table shares: options, resuming, records, training and evaluation."""

import json
import sys

import frame
import pytest
import torch
from scripts import rows

from auxhand.data.crops import CropRule
from auxhand.data.store import PreparedDataset
from auxhand.evaluation.protocol import EvaluationCrops, PoseMetrics, evaluate
from auxhand.inference.bundle import load_bundle, save_bundle
from auxhand.models.cpn import FeaturePyramid
from auxhand.models.heads import Latent25D
from auxhand.models.pose_net import PoseNet

RULE = CropRule("mask", 0.8, "plain")
ROWS = {"a": ["a -> x", "a -> y"], "b %": ["b %"]}


@pytest.fixture
def sitting(monkeypatch, tmp_path):
    """sitting(*arguments): what is due, each recorded as it comes; seed 3 gives an EPE of 13."""
    out = tmp_path / "results" / "some.json"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def run(*arguments, epe=10.0, more=None):
        script = frame.ROOT / "benchmarks" / "accuracy" / "some.py"
        monkeypatch.setattr(sys, "argv", [str(script), *arguments])
        parser = frame.training_arguments("some", "some", ROWS)
        parser.add_argument("--data", default="data/domains")
        parser.add_argument("--mean-of", type=int, default=50)
        options = parser.parse_args([*arguments, "--out", str(out)])
        done = []
        for work in frame.due(parser, options, ROWS):
            done.append(work.folder.name)
            for row in ROWS[work.name]:
                frame.add(work, row, {"epe_mm": epe + work.seed, "minutes": 2.0, **(more or {})})
        return done

    run.out = out
    return run


def test_a_row_says_how_it_was_made(sitting):
    assert sitting("--only", "b %", "--data", "my data") == ["b_0"]
    (row,) = rows(sitting.out).values()
    assert row["command"] == (
        "OMP_NUM_THREADS=1 python benchmarks/accuracy/some.py "
        "--only 'b %' --data 'my data' --mean-of 50 --seeds 0"
    )
    assert row["metrics"] == {"epe_mm": [10.0], "minutes": [2.0]}
    assert (row["seeds"], row["minutes"]) == ([0], 2.0)
    content = json.loads(sitting.out.read_text())
    assert content["benchmark"] == "some"
    assert "cores" in content["machine"]
    assert [path.name for path in sitting.out.parent.iterdir()] == ["some.json"]


def test_what_is_there_is_not_made_again(sitting):
    assert sitting() == ["a_0", "b_0"]
    assert sitting() == []
    assert sitting("--seeds", "0", "1", "--only", "a") == ["a_1"]
    assert rows(sitting.out)["a -> y"]["metrics"]["epe_mm"] == [10.0, 11.0]
    assert rows(sitting.out)["a -> y"]["command"].endswith("--seeds 0 1")
    assert sitting("--seed", "1") == ["b_1"], "--seed, as older commands have it"
    assert sitting("--force", "--only", "a", epe=20.0) == ["a_0"]
    assert rows(sitting.out)["a -> x"]["metrics"]["epe_mm"] == [20.0, 11.0]
    assert rows(sitting.out)["a -> x"]["minutes"] == 4.0


def test_a_training_is_repeated_for_one_of_its_rows(sitting):
    sitting("--only", "a")
    content = json.loads(sitting.out.read_text())
    content["rows"] = [row for row in content["rows"] if row["name"] != "a -> y"]
    sitting.out.write_text(json.dumps(content))
    assert sitting("--only", "a") == ["a_0"]


def test_figures_from_other_options_give_way(sitting):
    sitting("--only", "a")
    assert sitting("--only", "a", "--mean-of", "60", "--seeds", "1") == ["a_1"]
    assert rows(sitting.out)["a -> x"]["seeds"] == [1]
    assert sitting("--only", "a", "--mean-of", "50") == ["a_0"]


def test_seeds_share_metrics(sitting):
    sitting("--only", "a", more={"pck_05": 0.5})
    sitting("--only", "a", "--seeds", "1")
    assert set(rows(sitting.out)["a -> x"]["metrics"]) == {"epe_mm", "minutes"}


def test_a_seed_is_joined_when_it_is_done(sitting, monkeypatch):
    added = []

    def killed(work, row, metrics):
        added.append(row)
        if len(added) > 3:
            raise KeyboardInterrupt
        join(work, row, metrics)

    join = frame.add
    monkeypatch.setattr(frame, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        sitting("--seeds", "0", "1", "--only", "a")
    assert rows(sitting.out)["a -> x"]["seeds"] == [0, 1]
    assert rows(sitting.out)["a -> y"]["seeds"] == [0]
    monkeypatch.setattr(frame, "add", join)
    assert sitting("--seeds", "0", "1", "--only", "a") == ["a_1"]


def test_recorded_commands_mean_the_same(sitting):
    parser = frame.training_arguments("some", "some", ROWS)
    parser.add_argument("--data", default="data/domains")
    parser.add_argument("--mean-of", type=int, default=50)
    told = 'OMP_NUM_THREADS=1 python benchmarks/accuracy/some.py --only "a b" --seeds 0 1'
    assert frame.configuration(told, parser) == {}
    assert frame.configuration(f"{told} --data data/domains --mean-of 50", parser) == {}
    other = "python benchmarks/accuracy/some.py model --mean-of 7 --data 'x y' --seed 1"
    assert frame.configuration(other, parser) == {"data": ["x y"], "mean_of": ["7"]}


@pytest.mark.parametrize("arguments", [["--only", "c"], ["--seeds", "x"]])
def test_wrong_options_are_one_line_and_code_2(sitting, arguments, capsys):
    with pytest.raises(SystemExit) as error:
        sitting(*arguments)
    assert error.value.code == 2
    assert "some.py: error: argument" in capsys.readouterr().err


def test_budgets_are_images():
    settings = dict(entry.split("=") for entry in frame.budget(204_800, 16))
    epochs = int(settings["trainer.max_epochs"])
    assert epochs * int(settings["data.init_args.images_per_epoch"]) == 204_800
    assert settings["trainer.check_val_every_n_epoch"] == "16"
    assert frame.budget(320, 4, every=2)[1] == "trainer.check_val_every_n_epoch=2"


def test_what_is_too_wide_for_a_table_is_listed(sitting, monkeypatch, capsys):
    sitting("--only", "b %")
    heads = capsys.readouterr().out.splitlines()[0].split()
    assert heads == ["EPE", "(mm)", "minutes"]
    monkeypatch.setattr(frame, "WIDEST", 1)
    frame.show(sitting.out)
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["b", "%"],
        ["epe_mm", "10"],
        ["minutes", "2"],
    ]


@pytest.fixture
def bundle(tmp_path):
    """Of a tiny network whose crops lie by the mask."""
    torch.manual_seed(0)
    network = PoseNet(FeaturePyramid("test_resnet", 8), Latent25D())
    save_bundle(tmp_path / "bundle", network, 32, {}, RULE)
    return tmp_path / "bundle"


def test_a_bundle_is_evaluated_on_crops_as_its_own(bundle, hand_dataset, tmp_path, monkeypatch):
    data = PreparedDataset(hand_dataset)
    values = frame.evaluate_bundle(bundle, data, tmp_path / "pck.csv")
    network = load_bundle(bundle).network
    own, usual = (EvaluationCrops(data, 32, rule) for rule in (RULE, CropRule()))
    expected = evaluate(lambda batch: network(batch.image), own.batches(), PoseMetrics())
    assert values == pytest.approx(expected, rel=1e-4)
    curve = [line.split(", ") for line in (tmp_path / "pck.csv").read_text().splitlines()]
    assert float(curve[0][0]) == 0
    assert 0 <= float(curve[-1][1]) <= 1

    monkeypatch.setattr(frame, "scores", lambda predict, batches, curve: next(iter(batches)))
    seen = frame.evaluate_bundle(bundle, data).joints_uv
    assert torch.equal(seen, next(iter(own.batches())).joints_uv)
    assert (seen - next(iter(usual.batches())).joints_uv).abs().max() > 1


def test_a_training_is_made_resumed_and_made_anew(write_config, tmp_path, hand_dataset, capsys):
    config, folder = write_config("unused"), tmp_path / "run"
    settings = ["trainer.max_epochs=1", "model.init_args.learning_rate=0.001"]
    bundle = frame.train(config, folder, 3, settings)
    first = load_bundle(bundle)
    assert first.metadata["images_seen"] == 8
    assert "seed_everything=3" in first.metadata["command"]
    frame.train(config, folder, 3, settings)
    assert "finished before" in capsys.readouterr().out
    frame.train(config, folder, 3, settings, restart=True)
    assert (folder / "checkpoints" / "earlier.ckpt").is_file()
    again = load_bundle(bundle).network.state_dict()
    assert all(torch.equal(again[k], v) for k, v in first.network.state_dict().items())
    with pytest.raises(SystemExit) as error:
        frame.train(config, tmp_path / "other", 0, ["data.init_args.train=nowhere"])
    assert error.value.code == 2
    assert not (tmp_path / "other" / "bundle").exists()
