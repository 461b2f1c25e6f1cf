"""Tables 7.1 and 7.2, and the cost of the test path: what their scripts train, count and write."""

import frame
import pytest
import yaml
from PIL import Image
from scripts import call, load, rows

table, speed = load("accuracy/dual_modality.py"), load("speed/dual_modality.py")
figures = load("accuracy/dual_modality_figures.py")


@pytest.fixture
def trained(monkeypatch):
    """What the script asks to be trained: (configuration, folder, settings)."""
    asked = []

    def train(config, folder, seed, settings=(), restart=False):
        given = dict(entry.split("=", 1) for entry in settings)
        asked.append((config.stem, folder.name, given, restart))
        return folder / "bundle"

    monkeypatch.setattr(table, "train", train)
    monkeypatch.setattr(table, "evaluate_bundle", lambda bundle, test: {"epe_mm": 12.0})
    return asked


def run(monkeypatch, hand_dataset, tmp_path, *only, seed=0):
    for name in ("person", "person-test"):
        if not (tmp_path / name).exists():
            (tmp_path / name).symlink_to(hand_dataset)
    out = tmp_path / "table.json"
    folders = ["--data", tmp_path, "--runs", tmp_path / "runs", "--out", out]
    call(monkeypatch, table, *folders, "--seeds", seed, "--only", *only)
    return rows(out)


def test_a_seed_is_of_all_that_a_row_draws_and_bases_have_one(
    trained, monkeypatch, hand_dataset, tmp_path
):
    names = ("base, three branches", "+Lf", "SemiHand")
    assert [*run(monkeypatch, hand_dataset, tmp_path, *names, seed=1)] == ["+Lf", "SemiHand"]
    seeds = {folder: settings.get("model.init_args.seed") for _, folder, settings, _ in trained}
    assert seeds.pop("base_0") is None
    assert seeds.pop("base_three_branches_0") == "0"
    assert seeds == dict.fromkeys(["w_SG_1", "Lf_1", "none_1", "SemiHand_1"], "1")


def test_pre_trainings_are_the_rows_of_table_7_2(trained, monkeypatch, hand_dataset, tmp_path):
    found = run(monkeypatch, hand_dataset, tmp_path, *table.VARIANTS)
    assert list(found) == ["none", "baseline", *table.VARIANTS[1:], "+Lc"]
    first, second, own = (trained[i::3] for i in range(3))
    assert {folder for _, folder, _, _ in first} == {"base_0"}, "which each begins with"
    assert {folder for _, folder, _, _ in second} == {"base_three_branches_0"}
    assert second[0][2]["start_from"] == str(tmp_path / "runs" / "base_0" / "bundle")
    assert second[0][2]["model.init_args.objective.variant"] == "none"
    assert len({folder for _, folder, _, _ in own}) == 6
    for (config, _, settings, _), variant in zip(own, table.VARIANTS, strict=True):
        assert settings["start_from"] == str(tmp_path / "runs" / "base_three_branches_0")
        assert config == "dual_modality_pretrain"
        assert settings["model.init_args.objective.variant"] == variant
        epochs, images = settings["trainer.max_epochs"], "data.init_args.images_per_epoch"
        assert int(epochs) * int(settings[images]) == 30_720


def test_what_is_compared_has_one_budget_and_one_start(
    trained, monkeypatch, hand_dataset, tmp_path
):
    names = ("+Ll", "+Lf", "SemiHand", "RegDA", "CC-SSL", "AnimalDA")
    found = run(monkeypatch, hand_dataset, tmp_path, *names)
    assert list(found) == list(names)
    by_row = dict(zip(names, trained[3::4], strict=True))  # each after the three it starts from
    for name, (_, _, settings, _) in by_row.items():
        images = int(settings["data.init_args.images_per_epoch"])
        assert int(settings["trainer.max_epochs"]) * images == 36_000
        start = "w_SG_0" if name.startswith("+") else "none_0/bundle"
        assert settings["start_from"] == str(tmp_path / "runs" / start)
        told = name in ("+Ll", "+Lf", "SemiHand")
        assert ("model.init_args.template" in settings) == told, "as in Ch. 7.4.2"
    assert [config for config, _, _, _ in by_row.values()] == [
        *["dual_modality"] * 2,
        "semihand",
        *["comparators"] * 3,
    ]
    assert by_row["+Ll"][2]["model.init_args.objective.distillation"] == "0"
    assert by_row["RegDA"][2]["model.class_path"] == "auxhand.methods.comparators.RegDA"
    assert by_row["SemiHand"][2]["model.init_args.objective.tolerance"] == "0"
    assert by_row["SemiHand"][2]["data.init_args.train.target.batch_size"] == "16"
    assert by_row["SemiHand"][2][f"{table.BODY}.init_args.backbone"] == "resnet18"


def test_what_parts_of_the_fine_tuning_are_worth(trained, monkeypatch, hand_dataset, tmp_path):
    names = ("+Lf, fusion detached", "+Lc, longer")
    found = run(monkeypatch, hand_dataset, tmp_path, *names)
    assert list(found) == [*names]
    (_, _, detached, _), (_, folder, longer, _) = trained[3::4]
    part = "model.init_args.objective."
    assert detached[f"{part}detached"] == "fusion"
    assert (longer[f"{part}distillation"], longer[f"{part}pseudo_labels"]) == ("0", "0")
    assert folder == "Lc_longer_0"
    assert detached["start_from"] == longer["start_from"] == str(tmp_path / "runs" / "w_SG_0")


def test_what_is_compared_is_augmented_alike():
    """SemiHand's labelled images and the strong views of all as those of the full method."""
    wanted, *others = (
        yaml.safe_load((table.CONFIGS / f"{name}.yaml").read_text())["data"]["init_args"]
        for name in ("dual_modality", "semihand", "comparators")
    )
    for data in others:
        assert data["phases"] == wanted["phases"]
        assert data["train"]["target"]["phases"] == wanted["train"]["target"]["phases"]


@pytest.mark.slow
def test_a_miniature_of_the_tables(monkeypatch, hand_dataset, tmp_path):
    """Rows of every kind are trained in one step each, and measured."""
    for name in ("source", "person-val"):
        (tmp_path / name).symlink_to(hand_dataset)
    network = "model.init_args.network.init_args"

    def train(config, folder, seed, settings=(), restart=False):
        dual, alone = config.stem.startswith("dual"), config.stem.endswith("pretrain")
        within = network if dual else table.BODY + ".init_args"
        tiny = [f"{within}.backbone=test_resnet", f"{within}.width=8", "trainer.max_epochs=1"]
        tiny += [f"{within}.pretrained=false"] if alone else []
        streams = ("source",) if alone else ("source", "target")
        if config.stem == "semihand_pretrain":
            tiny += ["data.init_args.batch_size=2"]
        else:
            tiny += [f"data.init_args.train.{stream}.batch_size=2" for stream in streams]
        tiny += ["data.init_args.images_per_epoch=4", "data.init_args.val_count=2"]
        tiny += ["trainer.enable_progress_bar=false"]
        return frame.train(config, folder, seed, [*settings, *tiny], restart)

    monkeypatch.setattr(table, "train", train)
    names = ("+Lf", "SemiHand", "RegDA")
    found = run(monkeypatch, hand_dataset, tmp_path, *names)
    assert list(found) == [*names]
    for row in found.values():
        assert row["metrics"]["epe_mm"][0] > 0
        assert {"pa_epe_mm", "auc_20_50", "pck_05"} <= {*row["metrics"]}
    folders = {path.name for path in (tmp_path / "runs").iterdir()}
    bases = {"base_0", "base_three_branches_0"}
    assert folders == bases | {"w_SG_0", "none_0", "Lf_0", "SemiHand_0", "RegDA_0"}

    arguments = ["--runs", tmp_path / "runs", "--test", tmp_path / "person-test"]
    call(monkeypatch, figures, *arguments, "--out", tmp_path)
    for name, size in (("attention", (796, 1204)), ("poses", (824, 732))):
        file = tmp_path / f"dual_modality_{name}.png"
        assert Image.open(file).size == size


def test_the_test_path_costs_what_a_plain_network_does(monkeypatch, tmp_path):
    out, clock = tmp_path / "speed.json", iter(range(10_000))
    monkeypatch.setattr(speed.time, "process_time", lambda: next(clock))
    options = ["--backbone", "test_resnet", "--width", 8, "--size", 64, "--rounds", 3]
    call(monkeypatch, speed, *options, "--out", out)
    found = rows(out)["dual modality, test_resnet at 64 px"]["metrics"]
    assert found["ours_ms"] == found["plain_ms"] == [1000.0]
    for name in ("ours_over_plain", "parameters_over_plain", "flops_over_plain"):
        assert found[name] == [1.0]
    assert found["gigaflops_of_all_branches"][0] > 2.5 * found["gigaflops"][0]
