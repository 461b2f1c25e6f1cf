"""Tables whose rows are trainings: what is trained with what, and which rows come of it."""

from types import SimpleNamespace

import alignment
import alignment_figures
import domains
import numpy as np
import pytest
import realism
import recipe
import supervised
import torch
import yaml
from scripts import BENCHMARKS, call, rows

from auxhand.evaluation.report import read_rows, record
from auxhand.training import assemble


@pytest.fixture
def trained(monkeypatch):
    """Stand in for training and evaluation in a script; lists (folder, seed, settings, restart).

    A folder is the run's name; EPE is the length of that name plus the seed.
    """

    def into(module):
        asked = []

        def train(config, folder, seed, settings=(), restart=False):
            assert config.is_file()
            asked.append((folder.name, seed, list(settings), restart))
            return folder

        def evaluate(bundle, test):
            size = len(bundle.name) + int(bundle.name[-1])
            return {"epe_mm": float(size), "pck_05": len(test) / 100}

        monkeypatch.setattr(module, "train", train)
        monkeypatch.setattr(module, "evaluate_bundle", evaluate, raising=False)
        return asked

    return into


def test_supervised(trained, monkeypatch, hand_dataset, tmp_path):
    asked, out = trained(supervised), tmp_path / "supervised.json"
    arguments = ["--test", hand_dataset, "--out", out, "--only", "heatmap", "lifting"]
    call(monkeypatch, supervised, *arguments)
    assert [each[0] for each in asked] == ["heatmap_0", "lifting_0"]
    call(monkeypatch, supervised, *arguments, "--seeds", "0", "2")
    assert [each[0] for each in asked[2:]] == ["heatmap_2", "lifting_2"]
    assert rows(out)["heatmap"]["metrics"] == {"epe_mm": [9.0, 11.0], "pck_05": [0.12, 0.12]}


def test_each_domain_is_tested_on_both(trained, monkeypatch, hand_dataset, tmp_path, capsys):
    asked, out = trained(domains), tmp_path / "domains.json"
    for domain in domains.DOMAINS:
        (tmp_path / f"{domain}-test").symlink_to(hand_dataset)
    arguments = ["--data", tmp_path, "--out", out]
    call(monkeypatch, domains, *arguments, "--only", "target", "both")
    assert list(rows(out)) == [
        f"{name} -> {d}" for name in ("target", "both") for d in ("source", "target")
    ]
    last = [dict(entry.split("=", 1) for entry in settings) for _, _, settings, _ in asked]
    streams = [yaml.safe_load(each["data.init_args.train"]) for each in last]
    assert streams == [[str(tmp_path / "target")], [str(tmp_path / d) for d in domains.DOMAINS]]
    assert last[0]["data.init_args.val"] == str(tmp_path / "target-val")
    assert "data.init_args.val" not in last[1]
    for settings in last:
        epochs = int(settings["trainer.max_epochs"])
        assert epochs * int(settings["data.init_args.images_per_epoch"]) == 204_800
    call(monkeypatch, domains, *arguments, "--seed", "0")
    assert [each[0] for each in asked] == ["target_0", "both_0", "source_0"]
    assert "both, seed 0: there already" in capsys.readouterr().out


def test_recipes_have_the_images_that_they_say(trained, monkeypatch, hand_dataset, tmp_path):
    asked, out = trained(recipe), tmp_path / "recipe.json"
    call(monkeypatch, recipe, "--test", hand_dataset, "--out", out, "--force")
    assert len(asked) == len(recipe.RECIPES)
    for (name, (images, _)), (_, _, settings, restart) in zip(
        recipe.RECIPES.items(), asked, strict=True
    ):
        assert rows(out)[name]["metrics"]["images"] == [images]
        assert rows(out)[name]["metrics"]["cpu_minutes"][0] < 1
        assert f"data.init_args.images_per_epoch={images // 10}" in settings
        assert restart
    phases = asked[list(recipe.RECIPES).index("64 then 96 px")][2]
    *_, last = [entry for entry in phases if entry.startswith("data.init_args.phases=")]
    sizes = [phase["size"] for phase in yaml.safe_load(last.partition("=")[2])]
    assert sizes == [64, 64, 96]


def test_realism_leaves_one_thing_out_at_a_time(trained, monkeypatch, tmp_path):
    asked, out, jobs = trained(realism), tmp_path / "realism.json", []

    def generate(folder, job):
        jobs.append(job)
        return folder

    monkeypatch.setattr(realism, "generate", generate)
    monkeypatch.setattr(realism.HandPoseEstimator, "load", lambda bundle: bundle)
    monkeypatch.setattr(realism, "sign_digits", lambda *_: {"sign_pck_10": 0.5})
    call(monkeypatch, realism, "--backgrounds", tmp_path, "--out", out, "--runs", tmp_path)
    assert list(rows(out)) == list(realism.VARIANTS)
    whole, smooth, walls, free, clean = jobs
    assert [job.backgrounds for job in jobs] == [tmp_path, tmp_path, None, tmp_path, tmp_path]
    assert walls.config == whole.config
    assert smooth.config.skin.creases == (0.0, 0.0)
    assert free.config.occluders.held == free.config.occluders.front == 0
    assert clean.config.sensor.noise_share == 0
    assert not any(job.cutouts for job in jobs)
    assert f"data.init_args.train={tmp_path / 'hands_all_of_it'}" in asked[0][2]


# ---- Table 5.1 ----


def streams_of(row):
    """The streams that a row of alignment trains on."""
    (entry,) = [s for s in alignment.ROWS[row] if s.startswith("data.init_args.train=")]
    return yaml.safe_load(entry.partition("=")[2])


@pytest.mark.parametrize("percent", [5, 10, 25, 50])
def test_weak_rows_learn_from_the_rest(percent):
    count = 190 * percent
    assert streams_of(f"supervised {percent}%")["labelled"]["count"] == count
    for name, half, images in (
        (f"weak {percent}%", 32, 20032),
        (f"weak {percent}% equal images", 16, 10016),
    ):
        labelled, weak = streams_of(name).values()
        assert (labelled["count"], weak["start"]) == (count, count)
        assert labelled["batch_size"] == weak["batch_size"] == half
        assert f"data.init_args.images_per_epoch={images}" in alignment.ROWS[name]
        assert "joints_xyz" not in weak["told"]
        assert "cloud" in weak["told"]


def test_rows_differ_in_what_they_say():
    names = [name for name in alignment.ROWS if "places" not in name]
    settings = [tuple(alignment.ROWS[name]) for name in names]
    assert len(set(settings)) == len(names)
    assert alignment.rows_of("S4 RC2CHP") == {
        "S4 RC2CHP": "R",
        "S4 RC2CHP from C": "C",
        "S4 RC2CHP from RC": "RC",
    }
    assert alignment.rows_of("S1 R2P") == {"S1 R2P": "R"}


@pytest.mark.parametrize(
    ("row", "view", "points"),
    [("S1 R2P no vc", "plain", 0), ("S1 R2P places vc of labels", "labels", 0)],
)
def test_settings_fit_the_classes(row, view, points, tmp_path):
    settings = [*alignment.ROWS[row], f"trainer.default_root_dir={tmp_path}"]
    data = assemble([alignment.CONFIG], settings).datamodule
    assert (data.contents.crop.view, data.contents.cloud_points) == (view, points)
    assert data.contents.crop.by == "mask"


def test_weak_streams_fit_the_classes():
    data = assemble(
        [alignment.CONFIG], [*alignment.ROWS["weak 5%"], "trainer.default_root_dir=unused"]
    ).datamodule
    assert {name: stream.use for name, stream in data.streams.items()} == {
        "labelled": "labelled",
        "weak": "weak",
    }
    assert data.images_per_batch == 2 * alignment.BATCH


def test_minutes_are_the_median_between_validations(tmp_path, monkeypatch):
    points = [
        SimpleNamespace(step=9, value=50.0, wall_time=0.0),
        SimpleNamespace(step=19, value=40.0, wall_time=60.0),
        SimpleNamespace(step=29, value=30.0, wall_time=120.0),
        SimpleNamespace(step=39, value=20.0, wall_time=9000.0),  # interrupted, and resumed
        SimpleNamespace(step=49, value=15.0, wall_time=9060.0),
    ]
    events = SimpleNamespace(Reload=lambda: None, Scalars=lambda name: points)
    monkeypatch.setattr(alignment, "EventAccumulator", lambda folder: events)
    curve, minutes = alignment.validation(tmp_path, 32)
    assert minutes == 5
    np.testing.assert_array_equal(curve[:2], [[320, 50], [640, 40]])


def test_a_seed_of_alignment_joins_all_its_rows(monkeypatch, tmp_path):
    asked, out = [], tmp_path / "alignment.json"
    curve = np.array([[320.0, 50.0]])
    monkeypatch.setattr(alignment, "train", lambda *args: asked.append(args))
    model = SimpleNamespace(predict=lambda batch, inputs: inputs)
    data = SimpleNamespace(batch_size=32, val_dataloader=list)
    monkeypatch.setattr(alignment, "trained", lambda *_: (model, data))
    monkeypatch.setattr(alignment, "validation", lambda *_: (curve, 1.5))
    asked_of = []

    def scores(predict, batches, curve):
        asked_of.append((predict(None), curve and curve.name))
        return {"epe_mm": 20.0 + len(asked_of)}

    monkeypatch.setattr(alignment, "scores", scores)
    arguments = ["--out", out, "--only", "S4 RC2CHP", "weak 5%", "--data", tmp_path]
    call(monkeypatch, alignment, *arguments, "--seeds", "0", "1")
    assert list(rows(out)) == [*alignment.rows_of("S4 RC2CHP"), "weak 5%"]
    row = rows(out)["S4 RC2CHP from C"]
    assert row["metrics"] == {"epe_mm": [22.0, 25.0], "minutes": [1.5, 1.5]}
    assert [inputs for inputs, _ in asked_of] == ["R", "C", "RC", "R", "C", "RC", "R", "R"]
    assert asked_of[1][1] == "pck_S4_RC2CHP_from_C.csv"
    assert asked_of[4][1] is None, "curves are those of seed 0"
    assert row["minutes"] == 3.0
    assert (tmp_path / "alignment" / "val_S4_RC2CHP_1.csv").read_text() == "320, 50\n"
    settings = " ".join(asked[-1][3])
    assert f"{{labelled: {{roots: {tmp_path / 'source'}, count: 950, " in settings
    assert alignment.SOURCE not in settings


def test_figures_draw_what_is_there(monkeypatch, tmp_path):
    out = tmp_path / "alignment.json"
    for name, epe in (("S1 R2P", 28.0), ("S4 RC2CHP", 24.0), ("weak 10%", 26.0)):
        record(out, name, [{"epe_mm": epe}], "made", 0.0)
    curves = tmp_path / "alignment"
    curves.mkdir()
    (curves / "pck_S1_R2P.csv").write_text("0, 0\n50, 0.9\n")
    (curves / "val_S1_R2P_0.csv").write_text("320, 50\n640, 40\n")
    values = {row.name: row.metrics["epe_mm"][0] for row in read_rows(out)}
    assert alignment_figures._epe_by_share("weak {}%", values) == [(10, 26.0), (100, 24.0)]
    call(monkeypatch, alignment_figures, "--results", out, "--out", tmp_path, "--test", tmp_path)
    for name in ("alignment_pck.png", "alignment_curves.png"):
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"
    image = torch.zeros(3, 8, 8)
    image[0] = 0.5
    assert alignment_figures.picture(image)[0, 0].tolist() == [128, 0, 0]


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (alignment, []),
        (domains, []),
        (recipe, ["--test", "data/test"]),
        (supervised, ["--test", "data/test"]),
        (realism, ["--backgrounds", "data/backgrounds"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_committed_rows_are_not_made_again(module, arguments, monkeypatch, tmp_path, capsys):
    class Trained(Exception):
        pass

    def train(*_):
        raise Trained

    name = module.__name__
    out = tmp_path / f"{name}.json"
    out.write_text((BENCHMARKS.parent / "results" / out.name).read_text())
    there = [row for row in read_rows(out) if " from " not in row.name]
    names = {row.name.split(" -> ")[0] for row in there}
    monkeypatch.setattr(module, "train", train)
    monkeypatch.setattr(module, "PreparedDataset", lambda path: None, raising=False)
    call(monkeypatch, module, *arguments, "--out", out, "--only", *names)
    assert capsys.readouterr().out.count("there already") == len(names) > 2
    if module is domains:
        with pytest.raises(Trained):
            call(monkeypatch, module, "--data", "other", "--out", out)
