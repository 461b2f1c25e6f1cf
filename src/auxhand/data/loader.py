"""Batches from worker processes, and the threads of the network beside them.

On a CPU workers and network share the cores, and the network's threads wait for each other at
every layer: a worker that takes the core of one of them holds up all. So workers make their batches
in bursts, and whenever a batch is handed out the network gets a thread for each core on which no
worker is busy: few while a burst is made, all of them until the next.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from auxhand.sample import HandBatch, HandSample

BURST = 8
"""Batches that a worker makes at a time. More would only delay the first batch of an epoch."""


class BatchLoader(DataLoader[Any]):
    """Batches of a dataset's samples, in the order of a sampler.

    Args:
        data: samples by key.
        sampler: keys.
        batch_size: samples a batch.
        drop_last: leave out a last, incomplete batch.
        workers: processes that make batches; 0: the process that asks for them.
        cloud_points: see `HandSample.collate`.
    """

    def __init__(
        self,
        data: Dataset[HandSample],
        sampler: DistributedSampler[Any] | SequentialSampler,
        batch_size: int,
        drop_last: bool,
        workers: int,
        cloud_points: int = 1,
    ) -> None:
        if workers == 0:  # else OpenCV's threads take the cores from the network's
            _start_worker(0)
        # Nothing is to be gained where the network runs elsewhere, or nothing runs beside it.
        burst = BURST if workers > 0 and not torch.cuda.is_available() else 1
        self.bursts = _Bursts(data, batch_size, drop_last, cloud_points)
        self.batches = len(sampler) // batch_size if drop_last else -(-len(sampler) // batch_size)
        self.threads = torch.get_num_threads()
        super().__init__(
            self.bursts,
            batch_size=burst * batch_size,
            sampler=sampler,
            num_workers=workers,
            prefetch_factor=1 if burst > 1 else None,
            collate_fn=_as_it_is,
            worker_init_fn=_start_worker,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[HandBatch]:  # type: ignore[override]
        try:
            for burst in super().__iter__():
                for batch in burst:
                    free = _cores() - self.bursts.busy.value
                    torch.set_num_threads(max(1, min(self.threads, free)))
                    yield batch
        finally:
            torch.set_num_threads(self.threads)


class _Bursts(Dataset[Any]):
    """Several batches at once, and how many processes are making some now."""

    def __init__(
        self, data: Dataset[HandSample], batch_size: int, drop_last: bool, cloud_points: int
    ) -> None:
        self.data = data
        self.cloud_points = cloud_points
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.busy = multiprocessing.Value("i", 0)

    def __getitems__(self, keys: Sequence[Any]) -> list[HandBatch]:
        with self.busy.get_lock():
            self.busy.value += 1
        try:
            parts = [
                keys[first : first + self.batch_size]
                for first in range(0, len(keys), self.batch_size)
            ]
            return [
                HandSample.collate([self.data[key] for key in part], self.cloud_points)
                for part in parts
                if len(part) == self.batch_size or not self.drop_last
            ]
        finally:
            with self.busy.get_lock():
                self.busy.value -= 1


def _as_it_is(burst: list[HandBatch]) -> list[HandBatch]:
    return burst


def _start_worker(_: int) -> None:
    """One thread a process: pictures are small, and there are as many workers as cores to spare."""
    cv2.setNumThreads(0)


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
