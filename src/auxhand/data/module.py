"""Training and validation data of a run (`HandDataModule`), on a schedule of sizes and difficulty.

What a worker makes depends on nothing but the `Key` that the sampler hands it and the run's seed:
workers keep no state, any number of them gives the same batches, and a resumed run sees what it
would have seen.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import lightning
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from auxhand.data.augment import Augmentation, augment, generator
from auxhand.data.background import Backgrounds
from auxhand.data.geometric import CropBy, evaluation_crop
from auxhand.data.loader import BatchLoader
from auxhand.data.store import PreparedDataset
from auxhand.sample import HandSample

Indices = npt.NDArray[np.int64]


class Key(NamedTuple):
    """What to make: in which epoch (for the phase), at which visit to which sample."""

    epoch: int
    visit: int
    sample: int


Views = Literal["all", "upright"]


@dataclass(frozen=True)
class Phase:
    """From `epoch` on, crops of `size` pixels at `difficulty` in [0, 1] (`Augmentation.at`), or
    with an `augmentation` that is given in full.

    With `views` "upright" only rendered hands whose factors say so: palms, backs and edges of
    raised hands, which are learnt several times faster than hands that are turned any way.
    """

    epoch: int
    size: int
    difficulty: float = 1.0
    views: Views = "all"
    augmentation: Augmentation | None = None


class Schedule:
    """The phase of each epoch.

    Raises:
        ValueError: phases that do not begin with epoch 0 or are not in order.
    """

    def __init__(self, phases: Sequence[Phase]) -> None:
        starts = [phase.epoch for phase in phases]
        if not starts or starts[0] != 0 or sorted(set(starts)) != starts:
            raise ValueError(f"phases must begin at epoch 0 and ascend, got epochs {starts}")
        self.phases = tuple(phases)
        self.augmentations = tuple(
            phase.augmentation or Augmentation.at(phase.difficulty) for phase in phases
        )
        self._starts = starts

    def number(self, epoch: int) -> int:
        """Index of the phase that `epoch` belongs to."""
        return bisect_right(self._starts, epoch) - 1


class TrainingSet(Dataset[HandSample]):
    """Augmented samples of one or more prepared datasets, by `Key`."""

    def __init__(
        self,
        parts: Sequence[tuple[PreparedDataset, range]],
        schedule: Schedule,
        backgrounds: Backgrounds,
        seed: int,
        depth: bool = False,
        cloud_points: int = 0,
        by: CropBy = "joints",
    ) -> None:
        self.parts = list(parts)
        self.schedule = schedule
        self.backgrounds = backgrounds
        self.seed = seed
        self.depth = depth
        self.cloud_points = cloud_points
        self.by = by
        self._ends = np.cumsum([len(rows) for _, rows in self.parts]).tolist()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def pool(self, epoch: int) -> Indices:
        """Numbers of the samples that an epoch draws from.

        Raises:
            ValueError: its phase wants upright hands, and there are none.
        """
        if self.schedule.phases[self.schedule.number(epoch)].views == "all":
            return np.arange(len(self))
        if not len(self._upright):
            raise ValueError(
                "a phase asks for upright views, but no sample's factors name one: set its views "
                "to all"
            )
        return self._upright

    @cached_property
    def _upright(self) -> Indices:
        kinds = [
            factors.get("view", {}).get("kind")
            for dataset, rows in self.parts
            for factors in dataset.factors()[rows.start : rows.stop]
        ]
        return np.flatnonzero(np.array(kinds) == "upright")

    def __getitem__(self, key: Key) -> HandSample:
        part = bisect_right(self._ends, key.sample)
        dataset, rows = self.parts[part]
        phase = self.schedule.number(key.epoch)
        return augment(
            dataset.row(rows[key.sample - self._ends[part]]),
            self.schedule.phases[phase].size,
            generator(self.seed, *key),
            self.schedule.augmentations[phase],
            self.backgrounds,
            depth=self.depth,
            cloud_points=self.cloud_points,
            by=self.by,
            where=str(dataset.root),
        )


class EvaluationSet(Dataset[HandSample]):
    """Evaluation crops of a prepared dataset, by `Key`: the epoch gives the size."""

    def __init__(
        self, dataset: PreparedDataset, rows: range, schedule: Schedule, by: CropBy = "joints"
    ) -> None:
        self.dataset = dataset
        self.rows = rows
        self.schedule = schedule
        self.by = by

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Key) -> HandSample:
        size = self.schedule.phases[self.schedule.number(key.epoch)].size
        return evaluation_crop(self.dataset[self.rows[key.sample]], size, by=self.by)


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
    """

    def __init__(
        self,
        length: int,
        images: int | None = None,
        order_seed: int | None = None,
        pool: Callable[[int], Indices] | None = None,
    ) -> None:
        self.length = length
        self.images = length if images is None else images
        self.order_seed = order_seed
        self.pool = pool
        self.epoch = 0

    def __len__(self) -> int:
        rank, processes = _processes()
        if self.order_seed is None:
            return len(range(rank, self.images, processes))
        return self.images // processes  # equal shares, since all processes step together

    def __iter__(self) -> Iterator[Key]:
        rank, processes = _processes()
        first = self.epoch * self.images + rank
        order = pool = np.arange(self.length) if self.pool is None else self.pool(self.epoch)
        shuffled = None
        for position in range(first, first + len(self) * processes, processes):
            visit, place = divmod(position, len(pool))
            if self.order_seed is not None and visit != shuffled:
                order = np.random.default_rng([self.order_seed, visit]).permutation(pool)
                shuffled = visit
            yield Key(self.epoch, visit, int(order[place]))


def _processes() -> tuple[int, int]:
    """(rank, number of processes)."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


class HandDataModule(lightning.LightningDataModule):
    """Batches (`HandBatch`) from prepared datasets.

    Args:
        train: folder, or folders, of prepared datasets.
        val: folder of the validation set; None: the last `val_count` samples of the first of
            `train`, which are then left out of training.
        val_count: number of validation samples; None with `val` given: all of it.
        batch_size: samples a batch and process.
        images_per_epoch: samples an epoch, all processes together; None: as many as there are.
        phases: schedule of size and difficulty. Validation crops have the size of their epoch.
        backgrounds: folder of photos; None: procedural backgrounds alone.
        workers: processes that make batches; 0: the training process itself.
        depth: also give depth maps.
        cloud_points: also give that many random points of the visible hand; 0: none.
        crop_by: place crops by the true joints or by the true mask (Ch. 5.4.1).
        seed: of order and augmentation.

    Raises:
        ValueError: phases out of order, more validation samples than there are samples.
        FileNotFoundError: (when set up) no such dataset or folder.
    """

    def __init__(
        self,
        train: str | list[str],
        val: str | None = None,
        val_count: int | None = None,
        batch_size: int = 64,
        images_per_epoch: int | None = None,
        phases: list[Phase] | None = None,
        backgrounds: str | None = None,
        workers: int = 1,
        depth: bool = False,
        cloud_points: int = 0,
        crop_by: CropBy = "joints",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if val is None and not val_count:
            raise ValueError("give a validation folder `val`, or hold samples out: `val_count`")
        self.roots = [train] if isinstance(train, str) else list(train)
        self.val_root = val
        self.val_count = val_count
        self.batch_size = batch_size
        self.images_per_epoch = images_per_epoch
        self.schedule = Schedule(phases or [Phase(0, 96)])
        self.background_folder = backgrounds
        self.workers = workers
        self.depth = depth
        self.cloud_points = cloud_points
        self.crop_by = crop_by
        self.seed = seed

    def prepare_data(self) -> None:
        """Open the datasets once, by one process: their Arrow copies are made here."""
        for root in {*self.roots, *([self.val_root] if self.val_root else [])}:
            PreparedDataset(root)

    @cached_property
    def training_set(self) -> TrainingSet:
        """The training samples."""
        parts = []
        for number, root in enumerate(self.roots):
            dataset = PreparedDataset(root)
            held_out = self._held_out(dataset) if number == 0 and self.val_root is None else 0
            parts.append((dataset, range(len(dataset) - held_out)))
        folder = None if self.background_folder is None else Path(self.background_folder)
        backgrounds = Backgrounds(folder)
        return TrainingSet(
            *(parts, self.schedule, backgrounds, self.seed),
            *(self.depth, self.cloud_points, self.crop_by),
        )

    @cached_property
    def evaluation_set(self) -> EvaluationSet:
        """The validation samples."""
        dataset = PreparedDataset(self.val_root or self.roots[0])
        count = self._held_out(dataset)
        first = 0 if self.val_root else len(dataset) - count
        rows = range(first, first + count)
        return EvaluationSet(dataset, rows, self.schedule, self.crop_by)

    def _held_out(self, dataset: PreparedDataset) -> int:
        """Number of validation samples in `dataset`."""
        count = len(dataset) if self.val_count is None else self.val_count
        if count > len(dataset) or (self.val_root is None and count == len(dataset)):
            raise ValueError(
                f"val_count {count} leaves nothing to train on: {dataset.root} has {len(dataset)}"
            )
        return count

    def train_dataloader(self) -> BatchLoader:
        """Shuffled, augmented batches, incomplete ones left out."""
        data = self.training_set
        images = self.images_per_epoch or len(data)
        if images < self.batch_size:
            raise ValueError(f"{images} images an epoch do not fill a batch of {self.batch_size}")
        sampler = KeySampler(len(data), images, self.seed, data.pool)
        return self._loader(data, sampler, drop_last=True)

    def val_dataloader(self) -> BatchLoader:
        """All validation crops, in order."""
        data = self.evaluation_set
        return self._loader(data, KeySampler(len(data)), drop_last=False)

    def _loader(
        self, data: Dataset[HandSample], sampler: KeySampler, drop_last: bool
    ) -> BatchLoader:
        points = self.cloud_points or 1
        return BatchLoader(data, sampler, self.batch_size, drop_last, self.workers, points)
