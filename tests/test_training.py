"""Trainings that are resumed, begun from other weights, damaged, or done twice at once."""

import io
import os
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file

from auxhand.cli.main import main
from auxhand.data.loader import in_own_words
from auxhand.data.store import shard_path, write_description, write_shard
from auxhand.inference.bundle import load_bundle
from auxhand.methods.supervised import Supervised
from auxhand.training import (
    WholeCheckpoints,
    assemble,
    leave_cores,
    locked,
    read_checkpoint,
    start_from,
)


class Killed(Exception):
    """What ends a training, of which no command knows."""


@pytest.fixture
def kill(monkeypatch):
    """kill(epoch, batch): trainings end there; kill(): they do not."""
    step = Supervised.training_step

    def arm(*place):
        def killed(self, batch, batch_idx):
            if (self.trainer.current_epoch, batch_idx) == place:
                raise Killed
            return step(self, batch, batch_idx)

        monkeypatch.setattr(Supervised, "training_step", killed)

    return arm


@pytest.fixture(scope="module")
def whole(tmp_path_factory, training_yaml):
    """The weights of a run that was not killed."""
    folder = tmp_path_factory.mktemp("whole")
    config = folder / "run.yaml"
    config.write_text(training_yaml(folder / "run"))
    assert main(["train", str(config)]) == 0
    return load_file(folder / "run" / "bundle" / "model.safetensors")


@pytest.mark.parametrize(
    ("workers", "place", "often"),
    [(0, (1, 1), False), (1, (2, 0), False), (2, (1, 0), False), (1, (2, 1), True)],
)
def test_a_killed_run_resumes_to_the_weights_of_one_that_was_not(
    tmp_path, write_config, kill, whole, capsys, workers, place, often
):
    """Killed at the beginning of an epoch and of a phase, and within an epoch, of which some is
    saved or none."""
    config = write_config("run")
    if often:
        saves = "save_last: true, every_n_train_steps: 1"
        config.write_text(config.read_text().replace("save_last: true", saves))
    command = ["train", str(config), "--set", f"data.init_args.workers={workers}"]
    kill(*place)
    with pytest.raises(Killed):
        main(command)
    kill()
    assert main(command) == 0
    assert "resuming from" in capsys.readouterr().out
    resumed = load_file(tmp_path / "run" / "bundle" / "model.safetensors")
    assert resumed.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0)


def test_a_run_whose_folder_was_moved_has_one_last_checkpoint(tmp_path, write_config, kill, whole):
    kill(2, 0)
    with pytest.raises(Killed):
        main(["train", str(write_config("run"))])
    kill()
    (tmp_path / "run").rename(tmp_path / "moved")
    assert main(["train", str(write_config("moved"))]) == 0
    folder = tmp_path / "moved"
    assert [file.name for file in folder.rglob("last*")] == ["last.ckpt"]
    saved = read_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"]
    shipped = load_file(folder / "bundle" / "model.safetensors")
    for name, value in whole.items():
        torch.testing.assert_close(shipped[name], value, rtol=0, atol=0)
        torch.testing.assert_close(saved[f"network.{name}"], value, rtol=0, atol=0)


@pytest.mark.parametrize(("workers", "threads"), [(0, 6), (2, 4), (9, 1)])
def test_the_network_leaves_cores_to_the_workers(monkeypatch, workers, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    told = []
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    leave_cores(workers)
    assert told == [threads]


def error_of(capsys, *command):
    """What `auxhand` says, in one line, and its exit code."""
    code = main([*map(str, command)])
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    return code, lines[0]


def test_a_training_that_diverges_ends_and_keeps_what_was_good(
    tmp_path, write_config, capsys, monkeypatch
):
    step = Supervised.training_step

    def diverging(self, batch, batch_idx):
        return step(self, batch, batch_idx) * (torch.nan if self.current_epoch == 1 else 1.0)

    monkeypatch.setattr(Supervised, "training_step", diverging)
    code, line = error_of(capsys, "train", write_config("run"))
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert code == 1
    assert "step 2: the loss is not finite" in line
    assert str(last) in line
    saved = read_checkpoint(last)
    assert saved["global_step"] == 2
    assert all(value.isfinite().all() for value in saved["state_dict"].values())
    assert not (tmp_path / "run" / "bundle").exists()


@pytest.mark.parametrize(
    "settings",
    [
        ["model.init_args.learning_rate=1.0e+6"],
        ["model.init_args.learning_rate=1.0e+10", "model.init_args.weights={pose_25d: 10}"],
    ],
    ids=["all terms", "the pose alone"],
)
def test_a_rate_that_is_too_high_costs_one_line(tmp_path, write_config, capsys, settings):
    settings = [*settings, "trainer.max_epochs=6"]
    code, line = error_of(capsys, "train", write_config("run"), "--set", *settings)
    assert code == 1
    assert "not finite" in line
    assert not (tmp_path / "run" / "bundle").exists()
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert last.is_file() == (str(last) in line)
    if last.is_file():
        state = read_checkpoint(last)["state_dict"]
        assert all(value.isfinite().all() for value in state.values())


def test_training_without_labels_is_refused(tmp_path, write_config, hand_row, capsys):
    rows = [hand_row(i, 64) for i in range(8)]
    blank = {"joints_uv", "joints_xyz", "joint_valid", "joint_visible", "mask", "depth", "rgba"}
    rows = [{k: None if k in blank else v for k, v in row.items()} for row in rows]
    root = tmp_path / "unlabelled"
    root.mkdir()
    write_shard(shard_path(root, 0), rows)
    write_description(root, len(rows))
    settings = [f"data.init_args.train={root}", "data.init_args.images_per_epoch=4"]
    code, line = error_of(capsys, "train", write_config("run"), "--set", *settings)
    assert code == 2
    assert "has a label" in line


@pytest.fixture(scope="module")
def one_epoch(tmp_path_factory, training_yaml):
    """The configuration of a run of one epoch, and its folder."""
    folder = tmp_path_factory.mktemp("trained")
    config = folder / "run.yaml"
    config.write_text(training_yaml(folder / "run"))
    assert main(["train", str(config), "--set", "trainer.max_epochs=1"]) == 0
    return config, folder / "run"


@pytest.fixture
def trained(one_epoch, tmp_path):
    """That run; whatever a test does to its files, the next test has them as they were."""
    config, run = one_epoch
    shutil.copytree(run, tmp_path / "kept")
    yield config, run
    shutil.rmtree(run)
    shutil.copytree(tmp_path / "kept", run)


def test_damaged_files_of_a_run_are_named_with_what_is_good(trained, capsys):
    config, run = trained
    last = run / "checkpoints" / "last.ckpt"
    good = last.with_name("epoch=0-step=2.ckpt")
    whole = last.read_bytes()
    other = io.BytesIO()
    torch.save({"weights": torch.ones(3)}, other)
    for content in (
        whole[: len(whole) // 2],
        b"",
        b"a text",
        pickle.dumps(os.path.join),
        other.getvalue(),
    ):
        last.write_bytes(content)
        code, line = error_of(capsys, "train", config)
        assert code == 2
        assert str(last) in line
        assert str(good) in line
        assert last.read_bytes() == content
    last.write_bytes(whole)
    for content in (b"", b"trainer: [", b"\xff\xfe", b"a text"):
        (run / "config.yaml").write_bytes(content)
        code, line = error_of(capsys, "train", config)
        assert code == 2
        assert str(run / "config.yaml") in line
        assert str(last) in line


@pytest.mark.slow
def test_damaged_parts_of_a_checkpoint_are_named(trained, capsys):
    config, run = trained
    last = run / "checkpoints" / "last.ckpt"
    whole = torch.load(last, weights_only=True)

    def loops(name, value):
        return {"loops": {"fit_loop": whole["loops"]["fit_loop"] | {name: value}}}

    positions = [{"epoch": 0, "batches": "many"}]
    for wrong, part in (
        ({"loops": {}}, "loops"),
        ({"loops": {"fit_loop": {}}}, "loops.state_dict"),
        (loops("epoch_progress", [1]), "loops.epoch_progress"),
        (loops("epoch_loop.state_dict", {"_batches_that_stepped": -1}), "_batches_that_stepped"),
        (loops("state_dict", {"combined_loader": positions}), "positions of batches"),
        (loops("state_dict", {"combined_loader": [{}]}), "TypeError"),
        ({"optimizer_states": [{}]}, "Error"),
        ({"lr_schedulers": [3]}, "Error"),
        ({"callbacks": dict.fromkeys(whole["callbacks"], 3)}, "Error"),
    ):
        torch.save(whole | wrong, last)
        code, line = error_of(capsys, "train", config)
        assert code == 2
        assert line.startswith(f"auxhand train: error: {last} is damaged (")
        assert part in line
        assert "the newest good checkpoint is" in line


def test_checkpoints_are_written_beside_their_place(tmp_path, monkeypatch):
    """One that is cut off leaves the one before, and nothing else."""
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"step": 1}, path)
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]

    def full(checkpoint, file):
        assert file.parent == tmp_path
        file.write_bytes(b"PK")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="no space"):
        WholeCheckpoints().save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_two_trainings_do_not_share_a_folder(tmp_path, write_config, capsys):
    with locked(tmp_path / "run"):
        code, line = error_of(capsys, "train", write_config("run"))
    assert code == 2
    assert f"another process is at work in {tmp_path / 'run'}" in line


def test_a_run_starts_from_the_weights_of_another(trained, tmp_path, capsys):
    config, run = trained
    weights = load_bundle(run / "bundle").network.state_dict()
    saved = read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]
    wider = "model.init_args.network.init_args.body.init_args.width=16"
    for source, names in ((run, saved), (run / "bundle", weights)):
        model = assemble([config], [wider]).model
        target = model.state_dict()
        start_from(source, model)
        told = capsys.readouterr().out
        assert "left over: " in told
        assert "not there, as initialised: " in told
        prefix = "" if source == run else "network."
        for name, value in names.items():
            if target[prefix + name].shape == value.shape:
                assert torch.equal(model.state_dict()[prefix + name], value)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        start_from(tmp_path / "nowhere", model)


def test_a_configuration_says_what_a_run_starts_from(trained, tmp_path, write_config, capsys):
    _, run = trained
    again = write_config("again")
    settings = [f"start_from={run}", "model.init_args.learning_rate=0", "trainer.max_epochs=1"]
    assert main(["train", str(again), "--set", *settings]) == 0
    assert f"starting from {run}: " in capsys.readouterr().out
    name = "heads.0.predict.weight"
    bundles = (load_bundle(folder / "bundle") for folder in (run, tmp_path / "again"))
    old, new = (bundle.network.state_dict()[name] for bundle in bundles)
    assert torch.equal(old, new)


def test_later_files_override_earlier_ones(tmp_path, write_config):
    base, other = write_config("run"), tmp_path / "other.yaml"
    other.write_text(
        "model: {init_args: {weight_decay: 0.5}}\ndata: {init_args: {batch_size: 3}}\n"
    )
    run = assemble([base, other], ["data.init_args.workers=1"])
    assert (run.model.weight_decay, run.model.schedule.warmup_steps) == (0.5, 2)
    data = run.datamodule
    assert (data.batch_size, data.workers, data.images_per_epoch) == (3, 1, 8)


def test_images_of_accumulated_gradients_are_counted(tmp_path, write_config):
    settings = ["trainer.max_epochs=1", "trainer.accumulate_grad_batches=2"]
    assert main(["train", str(write_config("run")), "--set", *settings]) == 0
    assert load_bundle(tmp_path / "run" / "bundle").metadata["images_seen"] == 8


def test_a_killed_worker_is_said_in_plain_words_and_bugs_are_not_hidden():
    killed = in_own_words(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."))
    assert isinstance(killed, OSError)
    assert "out of memory" in str(killed)
    bug = RuntimeError("a bug")
    assert in_own_words(bug) is bug
