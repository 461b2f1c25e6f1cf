"""A cluster makes the bytes that one process makes."""

import sys

import pytest

from auxhand.synth.factory import Job, generate

pytest.importorskip("ray")

JOB = Job(count=7, seed=3, size=48, shard_size=2)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_local_cluster_of_two_workers_makes_the_same_bytes(tmp_path):
    alone = generate(tmp_path / "alone", JOB, workers=1, progress=False)
    together = generate(tmp_path / "ray", JOB, workers=2, progress=False, cluster="local")
    assert files(together) == files(alone)


def test_errors_of_the_cluster_arrive_as_they_were(tmp_path):
    out = generate(tmp_path / "out", JOB, workers=1, progress=False)
    (out / "data-00001.parquet").unlink()
    (out / "data-00001.parquet").mkdir()  # nothing can be renamed onto a folder
    with pytest.raises(OSError, match=r"cannot write .*every shard that is there is complete"):
        generate(out, JOB, workers=2, progress=False, cluster="local")


def test_no_cluster_there(tmp_path):
    with pytest.raises(ConnectionError, match="running Ray instance"):
        generate(tmp_path / "out", JOB, progress=False, cluster="auto")


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'auxhand\[ray\]'"):
        generate(tmp_path / "out", JOB, progress=False, cluster="local")
