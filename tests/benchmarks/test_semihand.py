"""Table 6.1 and its figures: what each row trains on and is told, and a miniature of it all."""

import frame
import pytest
import semihand
import semihand_figures
from scripts import call, rows

from auxhand.data.store import shard_path, write_description, write_shard
from auxhand.evaluation.report import read_rows, record
from auxhand.training import assemble

BODY = "model.init_args.network.init_args.body.init_args"
TINY = [f"{BODY}.backbone=test_resnet", f"{BODY}.width=8", "data.init_args.batch_size=4"]
TINY += [f"{BODY}.pretrained=false", f"{BODY}.folded=false"]
COUNT = 20  # 5% of the target are one image


@pytest.fixture(scope="module")
def data(tmp_path_factory, hand_row):
    """A folder of all sets, which are one."""
    root = tmp_path_factory.mktemp("domains")
    write_shard(shard_path(root, 0), [hand_row(i, 64, rgba=False) for i in range(COUNT)])
    write_description(root, COUNT)
    for name in ("source", "person", "person-val", "person-test"):
        (root / name).symlink_to(root)
    return root


@pytest.fixture
def small(monkeypatch):
    """Batches of four, two of each domain, and one of them an epoch."""
    for name, value in (("BATCH", 4), ("TARGETS", COUNT), ("FIRST", 64), ("SECOND", 320)):
        monkeypatch.setattr(semihand, name, value)


@pytest.fixture
def asked(monkeypatch):
    """What is to be trained: folder -> (configuration, settings)."""
    found = {}

    def train(config, folder, seed, settings=(), restart=False):
        found[folder.name] = config, list(settings)
        return folder / "bundle"

    monkeypatch.setattr(semihand, "train", train)

    def evaluate(bundle, *_):
        return {"epe_mm": float(len(bundle.parent.name))}

    monkeypatch.setattr(semihand, "evaluate_bundle", evaluate)
    return found


def run(monkeypatch, data, folder, *only, seeds=(0,)):
    out = folder / "semihand.json"
    arguments = ["--data", data, "--runs", folder / "runs", "--out", out]
    if only:
        arguments += ["--only", *only]
    call(monkeypatch, semihand, *arguments, "--seeds", *seeds)
    return rows(out)


IMAGE = "weak", "side"
ALL = {"view", "cross_modal", "pseudo_labels"}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("name", "told", "count", "parts"),
    [
        ("vc", IMAGE, COUNT, {"view"}),
        ("SemiHand on both", IMAGE, 2 * COUNT, ALL),
        ("SemiHand 25%", IMAGE, 5, ALL),
        ("strong 10%", ("labelled",), 2, None),
        ("weak masks 5%", (*IMAGE, "mask"), 1, None),
    ],
)
def test_a_row_is_told_what_it_says(name, told, count, parts, asked, monkeypatch, data, tmp_path):
    assert name in run(monkeypatch, data, tmp_path, name)
    config, settings = asked[f"{frame.file_name(name)}_0"]
    cli = assemble([config], [*settings, *TINY, f"trainer.default_root_dir={tmp_path}"])
    target = cli.datamodule.streams["target"]
    assert (target.use, *target.told) == told
    assert len(cli.datamodule.training_sets["target"]) == count
    assert cli.datamodule.images_per_batch == 4, "of both domains together"
    assert cli.datamodule.streams["source"].batch_size == target.batch_size == 2
    assert cli.datamodule.val_root == str(data / "person-val")
    assert cli.model.stage == ("finetune" if parts else "pretrain")
    assert cli.model.objective.mask_consistency == (100 if "masks" in name else 0)
    # Labels are learnt from with the usual augmentation, in one view.
    assert target.views == (2 if parts else 1)
    assert bool(target.phases) == bool(parts)
    if parts:
        assert {part for part in ALL if getattr(cli.model.objective, part)} == parts


def test_rows_differ_in_what_they_say_and_have_one_budget(asked, monkeypatch, data, tmp_path):
    assert list(run(monkeypatch, data, tmp_path)) == [*semihand.ROWS]
    assert len({tuple(settings) for _, settings in asked.values()}) == len(semihand.ROWS)
    for name, left_out in semihand.OBJECTIVES.items():
        settings = asked[f"{frame.file_name(name)}_0"][1]
        off = {f"model.init_args.objective.{part}=false" for part in left_out}
        given = name != semihand.OWN_TEMPLATE
        exact = {"model.init_args.objective.tolerance=0"} if given else set()
        assert {entry for entry in settings if "objective" in entry} == off | exact
        assert any("template=[" in entry for entry in settings) == given
        assert left_out < ALL
    for share, count in zip(semihand.SHARES, (150, 300, 750, 1500, 3000), strict=True):
        for kind, told in semihand.LABELS.items():
            row = frame.file_name(semihand.of_share(kind, share))
            settings = " ".join(asked[f"{row}_0"][1])
            assert f"{told}, count: {count}}}}}" in settings
    for name in semihand.ROWS:
        _, settings = asked[f"{frame.file_name(name)}_0"]
        given = dict(entry.split("=", 1) for entry in settings)
        epochs, images = given["trainer.max_epochs"], given["data.init_args.images_per_epoch"]
        seen = int(epochs) * int(images)
        first_stage = name in ("pre-trained", semihand.TARGET_ONLY)
        batch = semihand.BATCH // 2 if first_stage else semihand.BATCH
        assert int(images) % batch == 0, "no incomplete batches"
        if name == "pre-trained":
            assert seen == semihand.FIRST
        elif name == semihand.TARGET_ONLY:
            assert seen == semihand.FIRST + semihand.SECOND
            assert "start_from" not in given
        else:
            assert seen == semihand.SECOND
            assert given["start_from"] == str(tmp_path / "runs" / "pre_trained_0")
    keeping = [name for name, (_, settings) in asked.items() if semihand.EVERY_EPOCH in settings]
    assert keeping == ["SemiHand_0"]


def test_percent_closed_is_of_the_same_seed(tmp_path):
    out = tmp_path / "semihand.json"
    values = {
        "SemiHand": ([0], [14.0]),
        "source only": ([0, 1], [24.0, 30.0]),
        "source+target (bound)": ([0, 1], [8.0, 10.0]),
        "vc": ([0, 1], [20.0, 31.0]),
        "cc": ([0, 2], [20.0, 20.0]),
    }
    for name, (seeds, epe) in values.items():
        record(out, name, [{"epe_mm": value} for value in epe], "made", 0.0, seeds)
    semihand.close(out)
    semihand.close(out)
    found = {row.name: row.metrics.get("closed_pct") for row in read_rows(out)}
    assert found == {
        "SemiHand": [62.5],
        "source only": [0.0, 0.0],
        "source+target (bound)": [100.0, 100.0],
        "vc": [25.0, -5.0],
        "cc": None,  # seed 2 has no bound
    }


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_a_miniature_of_the_table(monkeypatch, data, tmp_path, capsys):
    """Rows of every kind are trained, measured, kept, and drawn."""

    def train(config, folder, seed, settings=(), restart=False):
        tiny = [*TINY, "trainer.max_epochs=1", "trainer.enable_progress_bar=false"]
        return frame.train(config, folder, seed, [*settings, *tiny], restart)

    monkeypatch.setattr(semihand, "train", train)
    names = ("source only", "source+target (bound)", "SemiHand", "weak 2D 5%")
    found = run(monkeypatch, data, tmp_path, *names)
    assert list(found) == [*names]
    metrics = found["SemiHand"]["metrics"]
    assert metrics["epe_mm"] == metrics["train_epe_mm"], "of one set"
    assert {"pa_epe_mm", "auc_20_50", "pck_05", "closed_pct", "train_closed_pct"} <= {*metrics}
    assert found["source+target (bound)"]["metrics"]["closed_pct"] == [100.0]
    assert "train_epe_mm" not in found["weak 2D 5%"]["metrics"]
    assert (tmp_path / "semihand" / "pck_SemiHand.csv").is_file()
    assert (tmp_path / "runs" / "pre_trained_0" / "bundle" / "bundle.json").is_file()
    capsys.readouterr()
    run(monkeypatch, data, tmp_path, *names)
    assert capsys.readouterr().out.count("there already") == 4

    arguments = ["--runs", tmp_path / "runs", "--results", tmp_path / "semihand.json"]
    call(monkeypatch, semihand_figures, *arguments, "--target", data, "--out", tmp_path)
    for name in ("semihand_arrows.png", "semihand_pck.png", "semihand_shares.png"):
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"
