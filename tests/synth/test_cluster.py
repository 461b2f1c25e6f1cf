"""A cluster makes the bytes that one process makes."""

import os
import signal
import socket
import sys

import pytest

from auxhand.synth.cluster import check_cluster, on_cluster
from auxhand.synth.factory import Job, generate

pytestmark = pytest.mark.slow  # a cluster starts for them

JOB = Job(count=7, seed=3, size=48, shard_size=2)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module", autouse=True)
def ray():
    """Imported when it is needed: that takes seconds."""
    return pytest.importorskip("ray")


@pytest.fixture(scope="module")
def address(ray):
    """Of a running cluster, which starts once for all tests: a start takes seconds."""
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 2, "include_dashboard": False}
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("RAY_worker_niceness", "0")  # ours wait for them: no other work goes first
    try:
        cluster = Cluster(initialize_head=True, head_node_args=options)
    except Exception as error:  # Ray raises this class itself
        if "timed out during startup" in str(error):
            pytest.skip("Ray gives itself 30 seconds to start, and this machine is slower")
        raise
    finally:
        monkeypatch.undo()
    yield cluster.address
    cluster.shutdown()


def test_a_cluster_makes_the_same_bytes_and_leaves_sigterm_to_the_caller(tmp_path, address, ray):
    alone = generate(tmp_path / "alone", JOB, workers=1, progress=False)
    mine = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        together = generate(tmp_path / "ray", JOB, workers=2, progress=False, cluster=address)
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, mine)
    assert files(together) == files(alone)
    assert not ray.is_initialized()


def test_a_local_cluster_has_as_many_processes_as_it_is_told(monkeypatch, address, ray):
    connect, asked = ray.init, {}

    def init(**options):
        asked.update(options)
        quiet = ("log_to_driver", "configure_logging")
        return connect(address=address, **{name: options[name] for name in quiet})

    monkeypatch.setattr(ray, "init", init)
    assert sorted(on_cluster(abs, [-1, -2, 3], "local", 2)) == [1, 2, 3]
    assert (asked["address"], asked["num_cpus"]) == ("local", 2)


def test_errors_of_the_cluster_arrive_as_they_were(tmp_path, address):
    out = generate(tmp_path / "out", JOB, workers=1, progress=False)
    (out / "data-00001.parquet").unlink()
    (out / "data-00001.parquet").mkdir()  # nothing can be renamed onto a folder
    with pytest.raises(OSError, match=r"cannot write .*every shard that is there is complete"):
        generate(out, JOB, workers=2, progress=False, cluster=address)


def test_no_cluster_there(tmp_path, monkeypatch, ray):
    def absent(**options):  # whatever else runs on this machine
        raise ConnectionError("Could not find any running Ray instance")

    monkeypatch.setattr(ray, "init", absent)
    with pytest.raises(ConnectionError, match="running Ray instance"):
        generate(tmp_path / "out", JOB, progress=False, cluster="auto")


@pytest.fixture
def unused_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        yield server.getsockname()[1]  # bound, but nothing listens


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nothing_listens_is_said_at_once(
    tmp_path, monkeypatch, ray, unused_port, scheme
):
    monkeypatch.setattr(ray, "init", None)  # which would try for minutes
    address = f"{scheme}127.0.0.1:{unused_port}"
    with pytest.raises(ConnectionError, match=f"no Ray cluster at {address}"):
        generate(tmp_path / "out", JOB, progress=False, cluster=address)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("address", ["somewhere", "host:port", "host:99999", ":6379", ""])
def test_addresses_that_are_none_are_refused(address):
    with pytest.raises(ValueError, match="HOST:PORT, auto or local"):
        check_cluster(address)


def test_failures_of_the_cluster_cost_one_line(address, ray):
    with pytest.raises(OSError, match="process of the cluster failed") as failure:
        list(on_cluster(lambda shard: os._exit(1), [0], address, 1))
    assert "\n" not in str(failure.value)
    assert not ray.is_initialized()


def test_a_session_of_the_caller_is_left_alone(tmp_path, address, ray):
    ray.init(address=address, log_to_driver=False, configure_logging=False)
    try:
        with pytest.raises(ValueError, match="Ray session is open"):
            generate(tmp_path / "out", JOB, progress=False, cluster="local")
        with pytest.raises(ConnectionError, match="twice"):
            list(on_cluster(abs, [1], "local", 1))
        assert ray.is_initialized()
    finally:
        ray.shutdown()


def test_a_node_that_starts_too_slowly_costs_one_line(tmp_path, monkeypatch, ray):
    def slow(**options):
        raise Exception("The current node timed out during startup.")  # in Ray's words

    monkeypatch.setattr(ray, "init", slow)
    with pytest.raises(ConnectionError, match="at local: The current node timed out"):
        generate(tmp_path / "out", JOB, progress=False, cluster="local")


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'auxhand\[ray\]'"):
        generate(tmp_path / "out", JOB, progress=False, cluster="local")
