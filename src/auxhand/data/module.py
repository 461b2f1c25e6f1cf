"""Training and validation data of a run (`HandDataModule`), on a schedule of sizes and difficulty.

What a worker makes depends on nothing but the `Key` that the sampler hands it and the run's seed:
workers keep no state, any number of them gives the same batches, and a resumed run sees what it
would have seen.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, NamedTuple, cast

import cv2
import lightning
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from auxhand.data.augment import Augmentation, augment, generator
from auxhand.data.background import Backgrounds
from auxhand.data.cloud import random_surface
from auxhand.data.columns import decode_hand, decode_row
from auxhand.data.geometric import CropBy, View, evaluation_crop
from auxhand.data.sampler import Indices, Key, KeySampler
from auxhand.data.store import PreparedDataset
from auxhand.sample import HandBatch, HandSample

Views = Literal["all", "upright"]


@dataclass(frozen=True)
class Phase:
    """From `epoch` on, crops of `size` pixels at `difficulty` in [0, 1], `natural` or not
    (`Augmentation.at`), or with an `augmentation` that is given in full.

    With `views` "upright" only rendered hands whose factors say so: palms, backs and edges of
    raised hands, which are learnt several times faster than hands that are turned any way.
    """

    epoch: int
    size: int
    difficulty: float = 1.0
    views: Views = "all"
    natural: bool = False
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
            phase.augmentation or Augmentation.at(phase.difficulty, phase.natural)
            for phase in phases
        )
        self._starts = starts

    def number(self, epoch: int) -> int:
        """Index of the phase that `epoch` belongs to."""
        return bisect_right(self._starts, epoch) - 1


class Part(NamedTuple):
    """Rows of a prepared dataset, and whether their labels are used (`augment`)."""

    dataset: PreparedDataset
    rows: range
    labelled: bool = True


@dataclass(frozen=True)
class Contents:
    """What a sample holds besides image and labels, and how it is cropped.

    Attributes:
        depth: a depth map.
        cloud_points: points of the visible hand; 0: none.
        crop_by: see `geometric.CropBy`.
        view: see `geometric.View`.
    """

    depth: bool = False
    cloud_points: int = 0
    crop_by: CropBy = "joints"
    view: View = "corrected"


class TrainingSet(Dataset[HandSample]):
    """Augmented samples of one or more prepared datasets, by `Key`."""

    def __init__(
        self,
        parts: Sequence[Part],
        schedule: Schedule,
        backgrounds: Backgrounds,
        seed: int,
        contents: Contents,
    ) -> None:
        self.parts = list(parts)
        self.schedule = schedule
        self.backgrounds = backgrounds
        self.seed = seed
        self.contents = contents
        self._ends = np.cumsum([len(part.rows) for part in self.parts]).tolist()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def pool(self, epoch: int, labelled: bool | None = None) -> Indices:
        """Numbers of the samples that an epoch draws from, or of those that are `labelled` or not.

        Raises:
            ValueError: its phase wants upright hands, and there are none.
        """
        numbers = np.arange(len(self))
        if self.schedule.phases[self.schedule.number(epoch)].views == "upright":
            if not len(self._upright):
                raise ValueError(
                    "a phase asks for upright views, but no sample's factors name one: set its "
                    "views to all"
                )
            numbers = self._upright
        return numbers if labelled is None else numbers[self._labelled[numbers] == labelled]

    @cached_property
    def _labelled(self) -> npt.NDArray[np.bool_]:
        return np.concatenate([np.full(len(p.rows), p.labelled) for p in self.parts])

    @cached_property
    def _upright(self) -> Indices:
        kinds = [
            factors.get("view", {}).get("kind")
            for part in self.parts
            for factors in part.dataset.factors()[part.rows.start : part.rows.stop]
        ]
        return np.flatnonzero(np.array(kinds) == "upright")

    def __getitem__(self, key: Key) -> HandSample:
        number = bisect_right(self._ends, key.sample)
        dataset, rows, labelled = self.parts[number]
        phase = self.schedule.number(key.epoch)
        return augment(
            dataset.row(rows[key.sample - self._ends[number]]),
            self.schedule.phases[phase].size,
            generator(self.seed, *key),
            self.schedule.augmentations[phase],
            self.backgrounds,
            depth=self.contents.depth,
            cloud_points=self.contents.cloud_points,
            by=self.contents.crop_by,
            view=self.contents.view,
            labelled=labelled,
            where=str(dataset.root),
        )


class EvaluationSet(Dataset[HandSample]):
    """Evaluation crops of a prepared dataset, by `Key`: the epoch gives the size.

    A sample's cloud is the same choice of points every time.
    """

    def __init__(
        self, dataset: PreparedDataset, rows: range, schedule: Schedule, contents: Contents
    ) -> None:
        self.dataset = dataset
        self.rows = rows
        self.schedule = schedule
        self.contents = contents

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Key) -> HandSample:
        size = self.schedule.phases[self.schedule.number(key.epoch)].size
        row, where = self.dataset.row(self.rows[key.sample]), str(self.dataset.root)
        sample, contents = decode_row(row, where), self.contents
        hand = decode_hand(row, where) if contents.crop_by == "mask" else None
        if contents.cloud_points:
            rng = generator(0, self.rows[key.sample])
            cloud = random_surface(row, contents.cloud_points, rng, where, hand)
            sample = replace(sample, cloud=cloud)
        return evaluation_crop(sample, size, view=contents.view, by=contents.crop_by, hand=hand)


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
        photo_share, distractor_share, room_share: see `Backgrounds`.
        workers: processes that make batches; 0: the training process itself.
        depth: also give depth maps.
        cloud_points: also give that many random points of the visible hand; 0: none.
        crop_by: place crops by the true joints or by the true mask (Ch. 5.4.1).
        view: what crops do to the viewpoint, see `geometric.View`.
        train_count: only that many first training samples; None: all.
        labelled_count: only that many first training samples keep their pose, the others are weakly
            labelled (Fig. 5.8); None: all.
        labelled_share: share of the labelled ones in every batch; None: their share of all.
        seed: of order and augmentation.

    Raises:
        ValueError: phases out of order; more validation, training or labelled samples than there
            are samples; crops of weakly labelled samples by the joints that they lack.
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
        photo_share: float = 0.7,
        distractor_share: float = 0.3,
        room_share: float = 0.0,
        workers: int = 1,
        depth: bool = False,
        cloud_points: int = 0,
        crop_by: CropBy = "joints",
        view: View = "corrected",
        train_count: int | None = None,
        labelled_count: int | None = None,
        labelled_share: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if labelled_count is not None and crop_by == "joints":
            raise ValueError("weakly labelled samples have no joints to crop by: crop_by mask")
        if labelled_share is not None and not (labelled_count and 0 < labelled_share < 1):
            raise ValueError("labelled_share is a share in (0, 1) beside a labelled_count")
        if val is None and not val_count:
            raise ValueError("give a validation folder `val`, or hold samples out: `val_count`")
        self.roots = [train] if isinstance(train, str) else list(train)
        self.val_root = val
        self.val_count = val_count
        self.batch_size = batch_size
        self.images_per_epoch = images_per_epoch
        self.schedule = Schedule(phases or [Phase(0, 96)])
        self.background_folder = backgrounds
        self.background_shares = (photo_share, distractor_share, room_share)
        self.workers = workers
        self.contents = Contents(depth, cloud_points, crop_by, view)
        self.train_count = train_count
        self.labelled_count = labelled_count
        self.labelled_share = labelled_share
        self.seed = seed

    def prepare_data(self) -> None:
        """Open the datasets once, by one process: their Arrow copies are made here."""
        for root in {*self.roots, *([self.val_root] if self.val_root else [])}:
            PreparedDataset(root)

    @cached_property
    def training_set(self) -> TrainingSet:
        """The training samples."""
        parts: list[Part] = []
        for number, root in enumerate(self.roots):
            dataset = PreparedDataset(root)
            held_out = self._held_out(dataset) if number == 0 and self.val_root is None else 0
            parts.append(Part(dataset, range(len(dataset) - held_out)))
        if self.train_count is not None:
            parts = _split(parts, self.train_count, "train_count")[0]
        if self.labelled_count is not None:
            labelled, weak = _split(parts, self.labelled_count, "labelled_count")
            parts = labelled + [part._replace(labelled=False) for part in weak]
        folder = None if self.background_folder is None else Path(self.background_folder)
        photos, distractors, rooms = self.background_shares
        backgrounds = Backgrounds(folder, photos, distractors, room_share=rooms)
        return TrainingSet(parts, self.schedule, backgrounds, self.seed, self.contents)

    @cached_property
    def evaluation_set(self) -> EvaluationSet:
        """The validation samples."""
        dataset = PreparedDataset(self.val_root or self.roots[0])
        count = self._held_out(dataset)
        first = 0 if self.val_root else len(dataset) - count
        rows = range(first, first + count)
        return EvaluationSet(dataset, rows, self.schedule, self.contents)

    def _held_out(self, dataset: PreparedDataset) -> int:
        """Number of validation samples in `dataset`."""
        count = len(dataset) if self.val_count is None else self.val_count
        if count > len(dataset) or (self.val_root is None and count == len(dataset)):
            raise ValueError(
                f"val_count {count} leaves nothing to train on: {dataset.root} has {len(dataset)}"
            )
        return count

    def train_dataloader(self) -> DataLoader[HandBatch]:
        """Shuffled, augmented batches, incomplete ones left out."""
        data = self.training_set
        images = self.images_per_epoch or len(data)
        if images < self.batch_size:
            raise ValueError(f"{images} images an epoch do not fill a batch of {self.batch_size}")
        pools = partial(data.pool, labelled=True), partial(data.pool, labelled=False)
        share = self.labelled_share
        if share is not None and not all(len(pool(0)) for pool in pools):
            raise ValueError("labelled_share mixes two kinds of samples, but all are labelled")
        mixture = None if share is None else (*pools, share)
        sampler = KeySampler(len(data), images, self.seed, data.pool, mixture)
        return self._loader(data, sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader[HandBatch]:
        """All validation crops, in order."""
        data = self.evaluation_set
        return self._loader(data, KeySampler(len(data)), drop_last=False)

    def _loader(
        self, data: Dataset[HandSample], sampler: KeySampler, drop_last: bool
    ) -> DataLoader[HandBatch]:
        if self.workers == 0:  # else OpenCV's threads take the cores from the network's
            _start_worker(0)
        points = self.contents.cloud_points or 1
        loader = DataLoader(
            data,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=self.workers,
            collate_fn=partial(HandSample.collate, cloud_points=points),
            drop_last=drop_last,
            worker_init_fn=_start_worker,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
        return cast("DataLoader[HandBatch]", loader)


def _split(parts: Sequence[Part], count: int, name: str) -> tuple[list[Part], list[Part]]:
    """The first `count` samples of all parts together, and the rest.

    Raises:
        ValueError: no samples, or more than there are.
    """
    total = sum(len(part.rows) for part in parts)
    if not 0 < count <= total:
        raise ValueError(f"{name} must lie in 1 to {total}, the number of samples; got {count}")
    first, rest = [], []
    for part in parts:
        taken = min(count, len(part.rows))
        first.append(part._replace(rows=part.rows[:taken]))
        rest.append(part._replace(rows=part.rows[taken:]))
        count -= taken
    return [p for p in first if p.rows], [p for p in rest if p.rows]


def _start_worker(_: int) -> None:
    """One thread a process: pictures are small, and there are as many workers as cores to spare."""
    cv2.setNumThreads(0)
