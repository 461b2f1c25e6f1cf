import os

import pytest
import torch
from torch.utils.data import Dataset, SequentialSampler

from auxhand.data.loader import BURST, BatchLoader
from auxhand.sample import HandSample


class Numbers(Dataset):
    """Samples that say which they are."""

    def __init__(self, count: int, bad: int | None = None) -> None:
        self.count, self.bad = count, bad

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: int) -> HandSample:
        if key == self.bad:
            raise ValueError(f"sample {key} is bad")
        return HandSample(image=torch.full((3, 2, 2), float(key)), source=str(key))


def load(data, workers, drop_last, batch_size=3):
    return BatchLoader(data, SequentialSampler(data), batch_size, drop_last, workers)


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("drop_last", [True, False])
def test_bursts_are_unpacked_in_order(workers, drop_last):
    count = 3 * (2 * BURST + 1) + 2  # two bursts, one batch, and two samples
    loader = load(Numbers(count), workers, drop_last)
    for _ in range(2):  # workers live on
        batches = list(loader)
        assert len(batches) == len(loader) == 2 * BURST + (1 if drop_last else 2)
        seen = [int(source) for batch in batches for source in batch.source]
        assert seen == list(range(count - 2 if drop_last else count))
        assert batches[4].image[:, 0, 0, 0].tolist() == [12, 13, 14]


@pytest.mark.parametrize(
    ("cores", "busy", "threads"), [(6, 0, 4), (6, 2, 4), (4, 1, 3), (2, 1, 1), (2, 5, 1)]
)
def test_the_network_has_the_cores_on_which_no_worker_is_busy(monkeypatch, cores, busy, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    told = []
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    loader = load(Numbers(3), 0, drop_last=True)
    loader.bursts.busy.value = busy
    for _ in loader:
        assert told == [threads]
    assert told == [threads, 4]  # and all of them afterwards


def test_a_worker_that_fails_is_no_longer_busy():
    loader = load(Numbers(9, bad=4), 1, drop_last=True)
    with pytest.raises(ValueError, match="sample 4 is bad"):
        list(loader)
    assert loader.bursts.busy.value == 0
