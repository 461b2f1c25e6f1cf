"""Speeds: what is counted and divided, with clocks and work that are known."""

import os
from types import SimpleNamespace

import pytest
import torch
from scripts import call, load, rows

from auxhand.data.store import shard_path
from auxhand.hand.skeleton import BONES
from auxhand.methods.alignment import modalities
from auxhand.synth.config import FactorConfig
from auxhand.synth.distributions import sample_factors
from auxhand.synth.factory import Job


@pytest.fixture(autouse=True)
def threads():
    """Scripts set the threads of their process, which is ours here."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def metrics(out, name):
    return {key: values[0] for key, values in rows(out)[name]["metrics"].items()}


def test_memory_of_the_first_tenth_and_of_all(monkeypatch, tmp_path):
    memory, peaks = load("speed/memory.py"), iter(range(1, 21))
    assert 10 < memory.peak_megabytes() < 1e6
    monkeypatch.setattr(memory, "peak_megabytes", lambda: next(peaks))
    monkeypatch.setattr(
        memory, "make_shard", lambda job, folder, shard: shard_path(folder, shard).touch()
    )
    out = tmp_path / "speed.json"
    call(monkeypatch, memory, "--count", 20 * Job(1).shard_size, "--out", out)
    assert metrics(out, "synth memory, 10000 samples of 64 px") == {
        "peak_mb_first_tenth": 2,
        "peak_mb": 20,
    }
    command = rows(out)["synth memory, 10000 samples of 64 px"]["command"]
    assert "python benchmarks/speed/memory.py --count 10000" in command


def test_raster_draws_its_own_scenes_after_all_are_ready(monkeypatch):
    raster, events = load("speed/raster.py"), []
    monkeypatch.setattr(
        raster, "_barrier", SimpleNamespace(wait=lambda: events.append("wait")), raising=False
    )
    monkeypatch.setattr(raster, "build_scene", lambda factors, size: ((factors, size),))
    monkeypatch.setattr(raster, "render", events.append)
    cold, wall, cpu = raster.draw(3, 2, 16, 5)
    scenes = [(sample_factors(FactorConfig(), 5, index), 16) for index in (3, 4)]
    assert events == [scenes[0], "wait", *scenes]
    assert min(cold, wall, cpu) >= 0


def test_raster_rates_are_of_all_processes_together(monkeypatch, tmp_path):
    raster = load("speed/raster.py")

    class Pool:
        def __init__(self, *_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def starmap(self, function, jobs, chunksize):
            assert [job[:2] for job in jobs] == [(0, 10), (10, 10)]
            return [(0.5, 2.0, 1.0), (0.7, 4.0, 3.0)]

    context = SimpleNamespace(Pool=Pool, Barrier=lambda n: n)
    monkeypatch.setattr(raster.multiprocessing, "get_context", lambda how: context)
    out = tmp_path / "speed.json"
    call(monkeypatch, raster, "--processes", 2, "--count", 10, "--sizes", 64, 32, "--out", out)
    expected = {"render_img_s": 5.0, "render_img_per_cpu_s": 5.0, "first_image_s": 0.7}
    assert metrics(out, "raster 64 px, 2 processes") == expected
    assert metrics(out, "raster 32 px, 2 processes") == expected


def test_synth_counts_what_follows_the_first_shards(monkeypatch, tmp_path):
    synth, made = load("speed/synth.py"), []

    def generate(out, job, workers):
        out.mkdir()
        for shard in range(job.shards()):
            file = out / f"data-{shard}"
            file.write_bytes(bytes(1000))
            os.utime(file, (100 + shard, 100 + shard))

    monkeypatch.setattr(synth, "generate", generate)
    monkeypatch.setattr(synth, "make_sample", lambda job, index: made.append(index))
    out = tmp_path / "speed.json"
    call(monkeypatch, synth, "--count", 40, "--workers", 2, "--out", out)
    values = metrics(out, "synth 128 px")
    assert values["samples_s"] == 2.0, "20 shards of 2, one a second"
    assert -20 <= values["start_s"] < -10
    assert values["kilobytes_sample"] == 0.5
    assert len(made) == 101


def test_a_training_is_compared_with_its_network(monkeypatch, tmp_path, write_config):
    training = load("speed/training.py")
    monkeypatch.setattr(training, "WARM_UP", 1)
    out = tmp_path / "speed.json"
    arguments = [write_config("run"), "--steps", 2, "--size", 32, "--out", out, "--name", "tiny"]
    call(monkeypatch, training, *arguments)
    values = metrics(out, "tiny 32 px")
    assert values["over_same"] == pytest.approx(values["same_threads_img_s"] / values["loop_img_s"])
    assert values["over_all"] == pytest.approx(values["all_cores_img_s"] / values["loop_img_s"])
    assert values["loop_img_s"] > 0
    assert not (tmp_path / "run").exists(), "the run is not kept"


CONFIG = """
seed_everything: 0
trainer: {{default_root_dir: unused, accelerator: cpu}}
model:
  class_path: auxhand.methods.alignment.Alignment
  init_args:
    networks:
      backbone: test_resnet
      latent: 8
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
    batch_size: 2
    images_per_epoch: 4
    phases: [{{epoch: 0, size: 64, difficulty: 0.0}}]
"""


def test_the_earth_movers_distance_is_timed_within_a_step(monkeypatch, tmp_path, hand_dataset):
    alignment = load("speed/alignment.py")
    config = tmp_path / "tiny.yaml"
    config.write_text(CONFIG.format(data=hand_dataset))
    monkeypatch.setattr(alignment, "CONFIG", config)
    monkeypatch.setattr(alignment, "WARM_UP", 1)
    distance = modalities.earth_movers
    s4, s1 = alignment.milliseconds("S4", None, 1), alignment.milliseconds("S1", None, 1)
    assert 0 < s4["emd"] < s4["step"]
    assert s1["emd"] == 0
    assert s1["pictures"] > 0
    assert modalities.earth_movers is distance


def test_s4_over_s1(monkeypatch, tmp_path, capsys):
    alignment, out = load("speed/alignment.py"), tmp_path / "speed.json"
    times = {
        "S1": {"pictures": 1.0, "step": 3.0, "emd": 0.0},
        "S4": {"pictures": 2.0, "step": 6.0, "emd": 2.0},
    }
    monkeypatch.setattr(alignment, "milliseconds", lambda strategy, file, steps: times[strategy])
    arguments = ["--runs", tmp_path, "--out", out]
    with pytest.raises(SystemExit) as error:
        call(monkeypatch, alignment, *arguments)
    assert error.value.code == 2
    assert "S1_R2P_0" in capsys.readouterr().err
    for run in ("S1_R2P_0", "S4_RC2CHP_0"):
        (tmp_path / run / "checkpoints").mkdir(parents=True)
        (tmp_path / run / "checkpoints" / "last.ckpt").touch()
    call(monkeypatch, alignment, *arguments)
    for kind in ("trained", "fresh"):
        values = metrics(out, f"alignment 64 px, {kind}")
        assert values["s4_over_s1"] == values["networks_s4_over_s1"] == 2.0
        assert values["emd_share_of_s4"] == 0.25


def test_crop_networks_are_compared_within_each_round(monkeypatch, tmp_path):
    crop_network = load("speed/crop_network.py")
    assert crop_network.median_ms([9.0] * crop_network.WARM + [0.001, 0.002, 0.009]) == 2.0
    ours = iter([2.0, 3.0, 8.0])
    theirs = iter(
        [{"lite": 4.0, "full": 8.0}, {"lite": 3.0, "full": 9.0}, {"lite": 4.0, "full": 8}]
    )
    monkeypatch.setattr(crop_network, "auxhand_ms", lambda *_: next(ours))
    monkeypatch.setattr(crop_network, "mediapipe_ms", lambda *_: next(theirs))
    out = tmp_path / "speed.json"
    call(monkeypatch, crop_network, "--mediapipe", "python", "--rounds", 3, "--out", out)
    assert metrics(out, "crop network, one thread") == {
        "ours_ms": 3.0,
        "lite_ms": 4.0,
        "full_ms": 8.0,
        "over_lite": 1.0,
        "over_full": pytest.approx(1 / 3),
    }


@pytest.mark.slow
def test_our_crop_network_runs(monkeypatch):
    crop_network = load("speed/crop_network.py")
    assert 0 < crop_network.auxhand_ms("default", crop_network.WARM + 2) < 1000


def test_registered_and_corrected_poses_are_counted(monkeypatch, tmp_path):
    registration, out, clock = (
        load("speed/registration.py"),
        tmp_path / "speed.json",
        iter(range(99)),
    )
    xyz, lengths = registration.poses(50)
    apart = torch.linalg.vector_norm(xyz[:, 9] - xyz[:, 10], dim=-1)
    assert apart.mean().item() == pytest.approx(float(lengths[BONES.index((9, 10))]), rel=0.1)
    assert apart.std() > 0.001
    monkeypatch.setattr(registration.time, "perf_counter", lambda: 2 * next(clock))
    out = tmp_path / "speed.json"
    call(monkeypatch, registration, "--batches", 6, "--rounds", 3, "--out", out)
    found = metrics(out, "registration, batches of 6")
    assert found["registered_poses_s"] == found["corrected_poses_s"] == 3
