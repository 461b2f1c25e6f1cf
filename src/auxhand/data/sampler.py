"""Which samples an epoch sees, in which order: a function of its number and a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data.distributed import DistributedSampler

Indices = npt.NDArray[np.int64]
Pool = Callable[[int], Indices]
"""Epoch -> numbers of the samples that it draws from."""


class Key(NamedTuple):
    """What to make: in which epoch (for the phase), at which visit to which sample."""

    epoch: int
    visit: int
    sample: int


class KeySampler(DistributedSampler[Key]):
    """The keys of an epoch: this process's share of `images` of them.

    Shuffled, epochs cut one endless row of permutations of the samples into pieces: an epoch may be
    shorter or longer than the dataset, and all samples are seen equally often. The trainer tells
    the epoch (`set_epoch`). It is a `DistributedSampler` because the trainer leaves those in place;
    unlike it, this one asks for the process's rank when it is iterated.

    Args:
        length: number of samples of the dataset.
        images: number of keys in an epoch, all processes together; None = `length`.
        order_seed: of the permutations; None = in order.
        pool: epoch -> numbers of the samples it draws from; None: always all.

    Attributes:
        epoch: whose keys come next.
        skip: number of this process's keys of that epoch that are left out: they were given before.
    """

    def __init__(
        self,
        length: int,
        images: int | None = None,
        order_seed: int | None = None,
        pool: Pool | None = None,
    ) -> None:
        self.length = length
        self.images = length if images is None else images
        self.order_seed = order_seed
        self.pool = pool
        self.epoch = 0
        self.skip = 0

    def __len__(self) -> int:
        rank, processes = _processes()
        if self.order_seed is None:
            return len(range(rank, self.images, processes))
        return self.images // processes  # equal shares, since all processes step together

    def __iter__(self) -> Iterator[Key]:
        rank, processes = _processes()
        first = self.epoch * self.images + rank
        positions = range(first, first + len(self) * processes, processes)[self.skip :]
        draw = self._draw(np.arange(self.length) if self.pool is None else self.pool(self.epoch))
        yield from (draw(position) for position in positions)

    def _draw(self, pool: Indices) -> Callable[[int], Key]:
        """Position in the endless row of permutations of a pool -> key."""
        order, shuffled = pool, None

        def draw(position: int) -> Key:
            nonlocal order, shuffled
            visit, place = divmod(position, len(pool))
            if self.order_seed is not None and visit != shuffled:
                order = np.random.default_rng([self.order_seed, visit]).permutation(pool)
                shuffled = visit
            return Key(self.epoch, visit, int(order[place]))

        return draw


def _processes() -> tuple[int, int]:
    """(rank, number of processes)."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
