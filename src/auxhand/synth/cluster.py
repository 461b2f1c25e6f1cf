"""Shards made by the machines of a Ray cluster (extra `ray`): the same writer, the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

LOCAL = "local"
"""The address of a cluster that is started for the run on this machine, and ended with it."""


def on_cluster(
    make: Callable[[int], int], shards: list[int], address: str, workers: int
) -> Iterator[int]:
    """Results of `make(shard)`, in the order in which the machines finish them.

    Args:
        make: what to do for a shard; it and what it holds travel to the machines, which need the
            same version of this package and see the same folders.
        shards: numbers of the shards.
        address: of a running cluster as in `ray.init`, or `LOCAL`.
        workers: processes of a local cluster; a running one decides by its free cores.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ConnectionError: no cluster at the address (Ray itself tries a host for minutes).
        OSError: a process of the cluster was killed; whatever `make` raises.
    """
    ray = _ray()
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if address == LOCAL:
        options |= {"num_cpus": workers, "include_dashboard": False}

    @ray.remote(num_cpus=1, max_retries=0)  # type: ignore[untyped-decorator]
    def task(shard: int) -> int:
        return make(shard)

    try:
        ray.init(address=address, **options)
        waiting = [task.remote(shard) for shard in shards]
        while waiting:
            finished, waiting = ray.wait(waiting)
            for result in finished:
                yield ray.get(result)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.WorkerCrashedError as error:
        raise OSError("a process of the cluster was killed (out of memory?)") from error
    finally:
        ray.shutdown()


def _ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("a cluster needs Ray: pip install 'auxhand[ray]'") from error
    return ray
