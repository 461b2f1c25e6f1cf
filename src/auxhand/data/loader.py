"""Batches of the epoch that the trainer is in, from its beginning or from where a run was left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import DataLoader, Dataset

from auxhand.data.sampler import KeySampler
from auxhand.sample import HandBatch, HandSample


class Position(NamedTuple):
    """Batches that were given out of an epoch."""

    epoch: int
    batches: int


class EpochLoader(DataLoader[HandSample]):
    """A DataLoader whose workers begin an epoch when its first batch is asked for.

    The trainer makes the first iterator before it tells the sampler the epoch. Workers of a plain
    DataLoader prefetch at once, so the first batches of a resumed run would be those of epoch 0.
    The position within an epoch is part of the trainer's checkpoints (see `Positions`).

    Args:
        data: samples by `Key`.
        sampler: keys of an epoch; its `set_epoch` tells which.
        batch_size: samples a batch.
        options: further arguments of DataLoader.
    """

    sampler: KeySampler

    def __init__(
        self, data: Dataset[HandSample], sampler: KeySampler, batch_size: int, **options: Any
    ) -> None:
        super().__init__(data, batch_size, sampler=sampler, **options)
        self._given = self._resumed = Position(0, 0)

    def __iter__(self) -> Iterator[HandBatch]:  # type: ignore[override]
        """The batches of the epoch that the sampler is told by the time of the first."""
        epoch, resumed = self.sampler.epoch, self._resumed
        given = resumed.batches if resumed.epoch == epoch else 0
        self._resumed = Position(epoch, 0)
        assert self.batch_size is not None
        self.sampler.skip = given * self.batch_size
        for batch in super().__iter__():
            given += 1
            self._given = Position(epoch, given)
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Position within the epoch, for a checkpoint."""
        return self._given._asdict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Leave out what the epoch has given; another epoch than that is given whole."""
        self._resumed = Position(**state)


def in_own_words(error: Exception) -> Exception:
    """A worker's error about data without the traceback that PyTorch puts into its text, or what it
    means that a worker was killed; another error as it is."""
    if isinstance(error, RuntimeError) and "DataLoader worker" in str(error):
        return OSError(
            "a process that makes batches was killed (out of memory?): use fewer "
            "(data.init_args.workers), or smaller batches"
        )
    _, found, said = str(error).rpartition(f"\n{type(error).__name__}: ")
    return type(error)(said.strip()) if found else error


class Positions(Callback):
    """Has the loaders of a resumed run begin where the checkpoint says.

    Lightning does so for loaders that it makes after it has read the checkpoint; where a schedule
    asks for the number of steps, they are made before.
    """

    def __init__(self) -> None:
        self.states: list[dict[str, int]] = []

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Remember the positions that Lightning has saved.

        Raises:
            TypeError, ValueError: they are none.
        """
        self.states = checkpoint["loops"]["fit_loop"]["state_dict"].get("combined_loader", [])
        numbers = [number for state in self.states for number in Position(**state)]
        if not all(isinstance(number, int) and number >= 0 for number in numbers):
            raise ValueError(f"no positions of batches: {self.states}")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand them to the loaders, from which nothing has been asked yet."""
        loaders = CombinedLoader(trainer.train_dataloader).flattened
        for loader, state in zip(loaders, self.states, strict=False):
            loader.load_state_dict(state)
        self.states = []
