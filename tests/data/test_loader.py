"""Batches of the epoch that the trainer is in, whenever it says so."""

from types import SimpleNamespace

import pytest
from torch.utils.data import Dataset

from auxhand.data.loader import EpochLoader, Position, Positions
from auxhand.data.sampler import KeySampler


class Keys(Dataset):
    """Samples that are their keys."""

    def __getitem__(self, key):
        return key

    def __len__(self):
        return 10


def loader(workers=0, images=6):
    """Three batches of two keys an epoch."""
    sampler = KeySampler(10, images, order_seed=3)
    options = {"num_workers": workers, "collate_fn": list}
    return EpochLoader(Keys(), sampler, 2, **options)


def epoch(made, number):
    made.sampler.set_epoch(number)
    return [key for batch in made for key in batch]


def test_epochs_are_those_that_the_sampler_is_told_by_the_first_batch():
    made = loader()
    batches = iter(made)  # as the trainer does, before it tells the epoch
    made.sampler.set_epoch(4)
    assert {key.epoch for key in next(batches)} == {4}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_epoch_goes_on_behind_what_it_gave(workers):
    whole = [epoch(loader(), number) for number in range(3)]
    first = loader()
    first.sampler.set_epoch(1)
    batches = iter(first)
    given = next(batches)
    assert first.state_dict() == {"epoch": 1, "batches": 1}
    resumed = loader(workers)
    resumed.load_state_dict(first.state_dict())
    assert given + epoch(resumed, 1) == whole[1]
    assert epoch(resumed, 2) == whole[2]  # nothing is left out of the next
    assert resumed.state_dict() == {"epoch": 2, "batches": 3}


def test_another_epoch_than_the_saved_one_is_given_whole():
    resumed = loader()
    resumed.load_state_dict({"epoch": 1, "batches": 2})
    assert epoch(resumed, 2) == epoch(loader(), 2)


def test_an_epoch_that_was_given_whole_has_nothing_left():
    resumed = loader()
    resumed.load_state_dict({"epoch": 1, "batches": 3})
    assert epoch(resumed, 1) == []
    assert len(epoch(resumed, 1)) == 6  # asked for once more, it begins anew


def test_positions_of_a_checkpoint_reach_the_loaders():
    both = [loader(), loader()]
    positions = Positions()
    saved = [{"epoch": 1, "batches": 2}, {"epoch": 1, "batches": 1}]
    state = {"loops": {"fit_loop": {"state_dict": {"combined_loader": saved}}}}
    positions.on_load_checkpoint(None, None, state)
    trainer = SimpleNamespace(train_dataloader=dict(zip("ab", both, strict=True)))
    positions.on_train_start(trainer, None)
    assert [len(epoch(each, 1)) for each in both] == [2, 4]
    positions.on_train_start(trainer, None)  # once is enough
    assert [each._resumed for each in both] == [Position(1, 0)] * 2
