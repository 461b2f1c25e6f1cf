"""Order of samples, alone and between processes."""

import numpy as np

from auxhand.data.sampler import KeySampler


def test_keys_of_an_epoch_see_every_sample_equally_often():
    sampler = KeySampler(length=10, images=4, order_seed=1)
    keys = []
    for epoch in range(5):  # 20 keys: two passes
        sampler.set_epoch(epoch)
        assert len(sampler) == 4
        keys += list(sampler)
    assert [k.epoch for k in keys] == sorted([0, 1, 2, 3, 4] * 4)
    for visit in range(2):
        part = [k for k in keys if k.visit == visit]
        assert sorted(k.sample for k in part) == list(range(10))
    assert len({(k.visit, k.sample) for k in keys}) == 20
    assert [k.sample for k in keys[:10]] != [k.sample for k in keys[10:]]
    longer = KeySampler(length=3, images=7, order_seed=1)
    assert len({(k.visit, k.sample) for k in longer}) == 7


def test_keys_are_shared_between_processes(monkeypatch):
    def keys(rank, processes, **arguments):
        monkeypatch.setattr("auxhand.data.sampler._processes", lambda: (rank, processes))
        return list(KeySampler(**arguments))

    training = {"length": 9, "images": 7, "order_seed": 3}
    parts = [keys(rank, 2, **training) for rank in range(2)]
    assert [len(p) for p in parts] == [3, 3]
    assert [k for pair in zip(*parts, strict=True) for k in pair] == keys(0, 1, **training)[:6]
    held_out = [keys(rank, 2, length=5) for rank in range(2)]
    assert sorted(k.sample for part in held_out for k in part) == list(range(5))


def test_index_of_a_pass_is_a_permutation():
    sampler = KeySampler(50, order_seed=0)
    sampler.set_epoch(3)
    assert sorted(k.sample for k in sampler) == list(range(50))
    assert np.array_equal([k.sample for k in KeySampler(5)], range(5))
