"""Work done by the machines of a Ray cluster (extra `ray`): the same function, the same files."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

LOCAL = "local"
"""The address of a cluster that is started for the run on this machine, and ended with it."""
RUNNING = "auto"
"""The address of the cluster that runs on this machine already."""

Result = TypeVar("Result")

_PATIENCE = 5.0
"""Seconds until a machine counts as unreachable."""


def on_cluster(
    make: Callable[[int], Result], numbers: list[int], address: str, workers: int
) -> Iterator[Result]:
    """Results of `make(number)`, in the order in which the machines finish them.

    `check_cluster` says what is wrong with an address sooner and more clearly.

    Args:
        make: what to do for a number, of a shard or photo; it and what it holds travel to the
            machines, which need the same version of this package and see the same folders.
        numbers: what it is called with.
        address: HOST:PORT of a running cluster, `RUNNING` or `LOCAL`.
        workers: processes of a local cluster; a running one decides by its free cores.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ConnectionError: no cluster at the address, or of another version of Ray.
        OSError: the cluster failed, or killed a process; whatever `make` raises.
    """
    ray = _ray()
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if address == LOCAL:
        options |= {"num_cpus": workers, "include_dashboard": False}

    @ray.remote(num_cpus=1, max_retries=0)  # type: ignore[untyped-decorator]
    def task(number: int) -> Result:
        return make(number)

    _connect(ray, address, options)
    try:
        waiting = [task.remote(number) for number in numbers]
        while waiting:
            finished, waiting = ray.wait(waiting)
            for result in finished:
                yield ray.get(result)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        reason = str(error).partition("\n")[0]
        raise OSError(f"a process of the cluster failed (out of memory?): {reason}") from error
    finally:
        ray.shutdown()


def check_cluster(address: str) -> None:
    """Check that a session with the cluster can be opened; Ray itself would try for minutes.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ValueError: an address of another form, or a session that is open in this process.
        ConnectionError: nothing listens at HOST:PORT.
    """
    if _ray().is_initialized():
        raise ValueError("a Ray session is open in this process: call ray.shutdown() before")
    if address in (LOCAL, RUNNING):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal() and int(port) < 1 << 16):
        raise ValueError(f"a cluster's address is HOST:PORT, auto or local, got {address!r}")
    try:
        socket.create_connection((host, int(port)), _PATIENCE).close()
    except OSError as error:
        raise ConnectionError(
            f"no Ray cluster at {address} ({error.strerror or error}): name that of `ray start`"
        ) from error


def _connect(ray: Any, address: str, options: dict[str, Any]) -> None:
    """Open a session; SIGTERM, which Ray takes for itself, stays the caller's."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, **options)
    except Exception as error:  # Ray raises this class itself where a node starts too slowly
        raise ConnectionError(f"no session with the Ray cluster at {address}: {error}") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler or signal.SIG_DFL)


def _ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("a cluster needs Ray: pip install 'auxhand[ray]'") from error
    return ray
