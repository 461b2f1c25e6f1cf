"""Batches of scenes for a hand detector (`SceneDataModule`)."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, cast

import cv2
import lightning
import torch
from torch.utils.data import DataLoader, Dataset

from auxhand.data.augment import Contents
from auxhand.data.background import Backgrounds
from auxhand.data.loader import EpochLoader
from auxhand.data.photo_boxes import BoxedPhoto, read_photos
from auxhand.data.sampler import Key, KeySampler
from auxhand.data.scenes import BoxedScene, SceneBatch, SceneMix, Scenes, WholePhotos
from auxhand.data.store import PreparedDataset
from auxhand.data.streams import Curriculum, Part, Phase
from auxhand.data.strengths import Augmentation


class SceneDataModule(lightning.LightningDataModule):
    """Training scenes; in validation first whole photos, then rendered scenes.

    Args:
        hands: folder, or folders, of prepared datasets with cut-outs (`auxhand synth`).
        photos: folder that `tools/finder_photos.py` wrote.
        backgrounds: folder of photos without hands; None: procedural backgrounds alone.
        size: side of the pictures.
        difficulty: of light and camera, see `Augmentation.at`.
        mix: what scenes are made of.
        val_hands: hands at the end of each dataset that are kept for validation.
        val_scenes: rendered scenes in validation.
        batch_size: scenes a batch and process.
        images_per_epoch: scenes an epoch, all processes together.
        workers: processes that make batches; 0: the training process itself.
        seed: of everything random.

    Raises:
        FileNotFoundError: (when set up) no such dataset or folder.
        ValueError: (when set up) a dataset with fewer than `val_hands` hands.
    """

    def __init__(
        self,
        hands: str | list[str],
        photos: str,
        backgrounds: str | None = None,
        size: int = 192,
        difficulty: float = 0.35,
        mix: SceneMix | None = None,
        val_hands: int = 200,
        val_scenes: int = 100,
        batch_size: int = 16,
        images_per_epoch: int = 1600,
        workers: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.roots = [hands] if isinstance(hands, str) else list(hands)
        self.photo_folder = photos
        self.background_folder = backgrounds
        self.size = size
        self.photometric = Augmentation.at(difficulty).photometric
        self.mix = mix or SceneMix()
        self.val_hands = val_hands
        self.val_scenes = val_scenes
        self.batch_size = batch_size
        self.images_per_epoch = images_per_epoch
        self.workers = workers
        self.seed = seed
        self.schedule = Curriculum([Phase(0, size, difficulty)])
        self.contents = Contents()

    @property
    def images_per_batch(self) -> int:
        """Scenes in a training step, of each process."""
        return self.batch_size

    def prepare_data(self) -> None:
        """Open the datasets once, by one process: their Arrow copies are made here."""
        for root in self.roots:
            PreparedDataset(root)

    @cached_property
    def training_set(self) -> Scenes:
        """The training scenes."""
        photos = read_photos(self.photo_folder, "train")
        return self._scenes(photos, self.mix, validation=False)

    @cached_property
    def validation_sets(self) -> tuple[WholePhotos, Scenes]:
        """Whole photos, and rendered scenes of hands that are not trained on."""
        photos = WholePhotos(read_photos(self.photo_folder, "val"), self.size)
        mix = SceneMix(rendered=1, photos=0, empty=0)
        return photos, self._scenes([], mix, validation=True)

    def _scenes(self, photos: list[BoxedPhoto], mix: SceneMix, validation: bool) -> Scenes:
        folder = None if self.background_folder is None else Path(self.background_folder)
        return Scenes(
            [self._part(root, validation) for root in self.roots],
            photos,
            Backgrounds(folder, photo_share=0.75, distractor_share=0.35),
            self.photometric,
            mix,
            self.size,
            self.seed + validation,
        )

    def _part(self, root: str, validation: bool) -> Part:
        """The hands of a dataset that are for validation, or the others."""
        dataset = PreparedDataset(root)
        end = len(dataset) - self.val_hands
        if end <= 0:
            raise ValueError(f"{root} has {len(dataset)} hands, val_hands is {self.val_hands}")
        return Part(dataset, range(end, len(dataset)) if validation else range(end))

    def train_dataloader(self) -> EpochLoader:
        """Scenes that never come again."""
        sampler = KeySampler(self.images_per_epoch, self.images_per_epoch, self.seed)
        data: Dataset[Any] = self.training_set
        return EpochLoader(data, sampler, self.batch_size, drop_last=True, **self._options())

    def val_dataloader(self) -> list[DataLoader[SceneBatch]]:
        """The same pictures every time."""
        photos, scenes = self.validation_sets
        sets: list[tuple[Dataset[BoxedScene], Any]] = [
            (photos, KeySampler(len(photos))),
            (scenes, _FixedKeys(self.val_scenes)),
        ]
        return [
            cast(
                "DataLoader[SceneBatch]",
                DataLoader(data, self.batch_size, sampler=sampler, **self._options()),
            )
            for data, sampler in sets
        ]

    def _options(self) -> dict[str, Any]:
        if self.workers == 0:  # else OpenCV's threads take the cores from the network's
            _start_worker(0)
        return {
            "num_workers": self.workers,
            "collate_fn": SceneBatch.collate,
            "worker_init_fn": _start_worker,
            "persistent_workers": self.workers > 0,
            "pin_memory": torch.cuda.is_available(),
        }


class _FixedKeys(list[Key]):
    """Keys of the same scenes in every epoch."""

    def __init__(self, count: int) -> None:
        super().__init__(Key(0, 0, i) for i in range(count))


def _start_worker(_: int) -> None:
    """One thread a process, as in `data.module`."""
    cv2.setNumThreads(0)
