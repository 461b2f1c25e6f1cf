"""Pseudo-labels are kept by number, in whatever size crops have."""

import torch

from auxhand.methods.semihand.labels import Labels, PseudoLabels


def some(count, seed=0):
    rng = torch.Generator().manual_seed(seed)
    pose = 64 * torch.rand(count, 21, 2, generator=rng), torch.randn(count, 21, generator=rng)
    correction = pose[0] + 1, pose[1] - 1
    return Labels(pose, correction, torch.arange(count) / 1.0, torch.arange(count) != 1)


def test_what_is_written_is_read():
    store, labels = PseudoLabels(5), some(3)
    index = torch.tensor([4, 0, 2])
    store.write(index, labels, size=64)
    read = store.read(index, size=64)
    torch.testing.assert_close(read.pose, labels.pose)
    torch.testing.assert_close(read.correction, labels.correction)
    assert torch.equal(read.valid, labels.valid)
    larger = store.read(index, size=128)
    torch.testing.assert_close(larger.pose[0], (labels.pose[0] + 0.5) * 2 - 0.5)
    assert store.read(torch.tensor([1, 3]), 64).cost.isinf().all()


def test_trust_is_for_cheap_and_corrected_ones():
    assert some(4).trusted(2.0).tolist() == [True, False, True, False]
    assert not PseudoLabels(3).read(torch.arange(3), 64).trusted(1e9).any()


def test_its_state_is_all_of_it():
    store, again = PseudoLabels(3), PseudoLabels()
    store.write(torch.arange(3), some(3), 64)
    again.load_state_dict(store.state_dict())
    assert len(again) == 3
    first, second = (each.read(torch.tensor([2, 0]), 64) for each in (store, again))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
