"""Training and validation data of a run (`HandDataModule`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import cv2
import lightning
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import Dataset

from auxhand.data.augment import Contents, generator
from auxhand.data.background import Backgrounds
from auxhand.data.cloud import random_surface
from auxhand.data.crops import CropRule, evaluation_crop
from auxhand.data.loader import EpochLoader
from auxhand.data.sampler import Key, KeySampler
from auxhand.data.store import PreparedDataset
from auxhand.data.streams import Curriculum, Part, Phase, Stream, TrainingSet, taken
from auxhand.sample import HandBatch, HandSample, Views


class EvaluationSet(Dataset[HandSample]):
    """Evaluation crops of a prepared dataset, by `Key`: the epoch gives the size.

    A sample's cloud is the same choice of points every time.
    """

    def __init__(
        self, dataset: PreparedDataset, rows: range, schedule: Curriculum, contents: Contents
    ) -> None:
        self.dataset = dataset
        self.rows = rows
        self.schedule = schedule
        self.contents = contents

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Key) -> HandSample:
        stored, contents = self.dataset.stored(self.rows[key.sample]), self.contents
        sample = replace(stored.sample, index=key.sample)
        if contents.depth == "hand":
            depth = stored.hand_depth
            sample = replace(sample, depth=None if depth is None else torch.from_numpy(depth))
        if contents.cloud_points:
            rng = generator(0, self.rows[key.sample])
            sample = replace(sample, cloud=random_surface(stored, contents.cloud_points, rng))
        box = stored.box if contents.crop.by == "box" else None
        return evaluation_crop(sample, self.schedule.size(key.epoch), contents.crop, box)


class HandDataModule(lightning.LightningDataModule):
    """Batches (`HandBatch`) from prepared datasets.

    One stream of training data gives its batches; several give dictionaries of them by their names,
    as many of each in an epoch. A stream of two views gives `Views`.

    Args:
        train: streams by their names; or the folder, or folders, of one that is labelled.
        val: folder of the validation set; None: the last `val_count` samples of the first root of
            `train`, which are then left out of training.
        val_count: number of validation samples; None with `val` given: all of it.
        batch_size: samples a batch and process, of streams that do not say.
        images_per_epoch: samples an epoch, all processes and streams together; None: as many as
            there are (of several streams: until each was seen once).
        phases: schedule of size and difficulty, of streams that do not say. Validation crops have
            the size of their epoch in the first stream.
        backgrounds: folder of photos; None: procedural backgrounds alone.
        photo_share, distractor_share, room_share: see `Backgrounds`.
        workers: processes that make a stream's batches; 0: the training process itself.
        depth: also give depth maps: of all that was stored (true), or of the hand alone ("hand").
        cloud_points: also give that many random points of the visible hand; 0: none.
        crop: what places crops, how large hands are in validation, what is done to the viewpoint.
        sides: for networks that say which side they see; see `Contents`.
        joined: make one batch of the several streams' batches, for methods that learn from each
            sample what it has.
        seed: of order and augmentation.

    Raises:
        ValueError: numbers out of range, phases out of order, more validation or training samples
            than there are.
        FileNotFoundError: (when set up) no such dataset or folder.
    """

    def __init__(
        self,
        train: dict[str, Stream] | str | list[str],
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
        depth: bool | Literal["hand"] = False,
        cloud_points: int = 0,
        crop: CropRule | None = None,
        sides: bool = False,
        joined: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, number, least in (
            ("val_count", val_count, 1),
            ("batch_size", batch_size, 1),
            ("images_per_epoch", images_per_epoch, 1),
            ("workers", workers, 0),
            ("cloud_points", cloud_points, 0),
        ):
            if number is not None and number < least:
                raise ValueError(f"{name} must be at least {least}, got {number}")
        if val is None and val_count is None:
            raise ValueError("give a validation folder `val`, or hold samples out: `val_count`")
        if not train:
            raise ValueError("name a folder, or streams, to train on: `train`")
        self.streams = train if isinstance(train, dict) else {"labelled": Stream(train)}
        self.val_root = val
        self.val_count = val_count
        self.batch_size = batch_size
        self.images_per_epoch = images_per_epoch
        usual = phases or [Phase(0, 96)]
        self.schedules = {n: Curriculum(s.phases or usual) for n, s in self.streams.items()}
        self.schedule = next(iter(self.schedules.values()))
        self.background_folder = backgrounds
        self.background_shares = (photo_share, distractor_share, room_share)
        self.workers = workers
        self.contents = Contents(depth, cloud_points, crop or CropRule(), sides=sides)
        self.joined = joined
        self.seed = seed

    @property
    def roots(self) -> list[str]:
        """Folders of the training samples, each once."""
        return list(dict.fromkeys(root for s in self.streams.values() for root in _roots(s)))

    def prepare_data(self) -> None:
        """Open the datasets once, by one process: their Arrow copies are made here."""
        for root in {*self.roots, *([self.val_root] if self.val_root else [])}:
            PreparedDataset(root)

    @cached_property
    def training_sets(self) -> dict[str, TrainingSet]:
        """The training samples of each stream."""
        folder = None if self.background_folder is None else Path(self.background_folder)
        photos, distractors, rooms = self.background_shares
        backgrounds = Backgrounds(folder, photos, distractors, room_share=rooms)
        return {
            name: TrainingSet(
                stream,
                taken(self._parts(stream), stream.start, stream.count),
                self.schedules[name],
                backgrounds,
                self.seed,
                self.contents,
                number,
            )
            for number, (name, stream) in enumerate(self.streams.items())
        }

    def _parts(self, stream: Stream) -> list[Part]:
        """All that a stream may take: what is not held out."""
        parts = []
        for root in _roots(stream):
            dataset = PreparedDataset(root)
            held = self.val_root is None and Path(root).resolve() == Path(self.roots[0]).resolve()
            parts.append(
                Part(dataset, range(len(dataset) - (self._held_out(dataset) if held else 0)))
            )
        return parts

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

    def train_dataloader(self) -> EpochLoader | CombinedLoader:
        """Shuffled, augmented batches, incomplete ones left out."""
        sizes = {name: self._batch_size(name) for name in self.streams}
        sets = self.training_sets
        images = self.images_per_epoch or max(
            len(data) // sizes[name] * sum(sizes.values()) for name, data in sets.items()
        )
        if len(sets) == 1:
            images = self.images_per_epoch or sum(len(data) for data in sets.values())
        batches = images // sum(sizes.values())
        if not batches:
            total = sum(sizes.values())
            raise ValueError(f"{images} images an epoch do not fill a batch of {total}")
        loaders = {}
        for name, data in sets.items():
            own = images if len(sets) == 1 else batches * sizes[name]
            sampler = KeySampler(len(data), own, self.seed, data.pool)
            loaders[name] = self._loader(data, sampler, sizes[name], drop_last=True)
        if len(loaders) == 1:
            return next(iter(loaders.values()))
        return CombinedLoader(loaders, "min_size")

    def in_order(self, name: str, epoch: int = 0) -> EpochLoader:
        """The first views of all samples of a stream, each once and in order, this process's share.

        Args:
            name: of the stream.
            epoch: whose phase says what they look like.

        Raises:
            KeyError: no such stream.
        """
        given = self.training_sets[name]
        one_view = TrainingSet(
            replace(given.stream, views=1),
            given.parts,
            given.curriculum,
            given.backgrounds,
            self.seed,
            self.contents,
            given.number,
        )
        sampler = KeySampler(len(one_view))
        sampler.set_epoch(epoch)
        return self._loader(one_view, sampler, self._batch_size(name), drop_last=False)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Several streams' batches as one, where it is asked for."""
        if self.joined and isinstance(batch, Mapping):
            return HandBatch.join(list(batch.values()))
        return batch

    @property
    def images_per_batch(self) -> int:
        """Samples of all streams in a training step, of each process."""
        return sum(map(self._batch_size, self.streams))

    def _batch_size(self, name: str) -> int:
        """Samples a batch of a stream."""
        return self.streams[name].batch_size or self.batch_size

    def val_dataloader(self) -> EpochLoader:
        """All validation crops, in order."""
        data = self.evaluation_set
        return self._loader(data, KeySampler(len(data)), self.batch_size, drop_last=False)

    def _loader(
        self, data: Dataset[Any], sampler: KeySampler, batch_size: int, drop_last: bool
    ) -> EpochLoader:
        if self.workers == 0:  # else OpenCV's threads take the cores from the network's
            _start_worker(0)
        points = self.contents.cloud_points or 1
        pairs = isinstance(data, TrainingSet) and data.stream.views == 2
        return EpochLoader(
            data,
            sampler,
            batch_size,
            num_workers=self.workers,
            collate_fn=partial((Views if pairs else HandSample).collate, cloud_points=points),
            drop_last=drop_last,
            worker_init_fn=_start_worker,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


def _roots(stream: Stream) -> list[str]:
    return [stream.roots] if isinstance(stream.roots, str) else list(stream.roots)


def _start_worker(_: int) -> None:
    """One thread a process: pictures are small, and there are as many workers as cores to spare."""
    cv2.setNumThreads(0)
