"""Streams of training samples: from which datasets, how much of them is told, and how it varies.

What a worker makes depends on nothing but the `Key` that the sampler hands it and the run's seed:
workers keep no state, any number of them gives the same batches, and a resumed run sees what it
would have seen.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from torch.utils.data import Dataset

from auxhand.data.augment import Contents, augment, generator
from auxhand.data.background import Backgrounds
from auxhand.data.sampler import Indices, Key
from auxhand.data.store import PreparedDataset
from auxhand.data.stored import TELLING, Stored
from auxhand.data.strengths import Augmentation
from auxhand.sample import HandSample

Viewpoints = Literal["all", "upright"]

LARGEST = 1024
"""Pixels of the largest crop: a batch of 64 takes 800 MB."""

Use = Literal["labelled", "weak", "unlabelled"]
"""How much of a dataset a stream reads.

"labelled": all. "weak": images, the hand's box, and what the stream says is told. "unlabelled":
images and the hand's box, nothing else.
"""


@dataclass(frozen=True)
class Phase:
    """From `epoch` on, crops of `size` pixels at `difficulty` in [0, 1] (`Augmentation.at`), or
    with an `augmentation` that is given in full.

    Attributes:
        epoch: the first one.
        size: side of the crops in pixels.
        difficulty: of the augmentation, where none is given.
        viewpoints: "upright": only rendered hands whose factors say so: palms, backs and edges of
            raised hands, which are learnt several times faster than hands that are turned any way.
        augmentation: instead of a difficulty.
        natural: light and cameras of photos, see `Augmentation.at`.
        second: augmentation of the second view of a visit (`Stream.views`); None: as the first's.

    Raises:
        ValueError: a size or difficulty out of range.
    """

    epoch: int
    size: int
    difficulty: float = 1.0
    viewpoints: Viewpoints = "all"
    augmentation: Augmentation | None = None
    natural: bool = False
    second: Augmentation | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.size <= LARGEST:
            raise ValueError(f"size of a phase is 1 to {LARGEST} pixels, got {self.size}")
        if not 0 <= self.difficulty <= 1:
            raise ValueError(f"difficulty of a phase is 0 to 1, got {self.difficulty}")


class Curriculum:
    """The phase of each epoch, and the augmentations of its views.

    Raises:
        ValueError: phases that do not begin with epoch 0 or are not in order.
    """

    def __init__(self, phases: Sequence[Phase]) -> None:
        starts = [phase.epoch for phase in phases]
        if not starts or starts[0] != 0 or sorted(set(starts)) != starts:
            raise ValueError(f"phases must begin at epoch 0 and ascend, got epochs {starts}")
        self.phases = tuple(phases)
        firsts = [
            phase.augmentation or Augmentation.at(phase.difficulty, phase.natural)
            for phase in phases
        ]
        self.augmentations = tuple(
            (first, phase.second or first) for first, phase in zip(firsts, phases, strict=True)
        )
        self._starts = starts

    def number(self, epoch: int) -> int:
        """Index of the phase that `epoch` belongs to."""
        return bisect_right(self._starts, epoch) - 1

    def size(self, epoch: int) -> int:
        """Side of its crops in pixels."""
        return self.phases[self.number(epoch)].size


@dataclass(frozen=True)
class Stream:
    """Training samples of one kind.

    Attributes:
        roots: folder, or folders, of prepared datasets.
        use: see `Use`.
        told: of a weak stream, fields of `HandSample` that are told besides the image. Crops are
            placed by joints or mask where these are told, else by the hand's box.
        phases: schedule of size and augmentation; None: that of the data module.
        batch_size: samples a batch and process; None: that of the data module.
        start, count: `count` samples (None: all) from number `start` on, of all roots together.
        views: pictures of each visit, 1 or 2; two are `Views` of the same stored hand.
        same_place: the two views are of one crop, painted twice: of `Phase.second` the
            photometric part alone counts.

    Raises:
        ValueError: values that are none of these.
    """

    roots: str | list[str]
    use: Use = "labelled"
    told: list[str] = field(default_factory=list)
    phases: list[Phase] | None = None
    batch_size: int | None = None
    start: int = 0
    count: int | None = None
    views: int = 1
    same_place: bool = False

    def __post_init__(self) -> None:
        if self.use not in get_args(Use):
            raise ValueError(f"use of a stream is {', '.join(get_args(Use))}; got {self.use!r}")
        if unknown := sorted(set(self.told) - set(TELLING)):
            raise ValueError(f"{unknown[0]!r} cannot be told; there are: {', '.join(TELLING)}")
        if bool(self.told) != (self.use == "weak"):
            raise ValueError(f"told is for weak streams, which need it; this one is {self.use}")
        if self.views not in (1, 2):
            raise ValueError(f"a stream has 1 or 2 views, not {self.views}")
        if self.same_place and self.views == 1:
            raise ValueError("same_place is for streams with two views")


class Part(NamedTuple):
    """Rows of a prepared dataset."""

    dataset: PreparedDataset
    rows: range


class TrainingSet(Dataset[HandSample | tuple[HandSample, HandSample]]):
    """Augmented samples of a stream, or pairs of them where it has two views, by `Key`.

    A sample's `index` is its number in the stream, whatever the order of its visits.

    Args:
        stream: what they are.
        parts: where they are stored.
        curriculum: its phases.
        backgrounds: where backgrounds come from.
        seed: of all randomness.
        contents: what samples hold, and how they are cropped.
        number: of the stream; each has randomness of its own.
    """

    def __init__(
        self,
        stream: Stream,
        parts: Sequence[Part],
        curriculum: Curriculum,
        backgrounds: Backgrounds,
        seed: int,
        contents: Contents,
        number: int = 0,
    ) -> None:
        self.stream = stream
        self.parts = list(parts)
        self.curriculum = curriculum
        self.backgrounds = backgrounds
        self.seed = seed
        self.number = number
        placing = {"joints": "joints_uv", "mask": "mask", "box": None}[contents.crop.by]
        if stream.use != "labelled" and placing not in stream.told:
            contents = replace(contents, crop=replace(contents.crop, by="box"))
        self.contents = contents
        self._ends = np.cumsum([len(part.rows) for part in self.parts]).tolist()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def pool(self, epoch: int) -> Indices:
        """Numbers of the samples that an epoch draws from.

        Raises:
            ValueError: its phase wants upright hands, and there are none.
        """
        phase = self.curriculum.phases[self.curriculum.number(epoch)]
        if phase.viewpoints == "all":
            return np.arange(len(self))
        if not len(self._upright):
            raise ValueError(
                "a phase asks for upright viewpoints, but no sample's factors name one: set its "
                "viewpoints to all"
            )
        return self._upright

    @cached_property
    def _upright(self) -> Indices:
        kinds = [
            factors.get("view", {}).get("kind")
            for part in self.parts
            for factors in part.dataset.factors()[part.rows.start : part.rows.stop]
        ]
        return np.flatnonzero(np.array(kinds) == "upright")

    def __getitem__(self, key: Key) -> HandSample | tuple[HandSample, HandSample]:
        part = bisect_right(self._ends, key.sample)
        dataset, rows = self.parts[part]
        row = rows[key.sample - self._ends[part]]
        stored = self._told(dataset, row)
        if self.stream.views == 1:
            return self._view(stored, row, key, 0)
        return self._view(stored, row, key, 0), self._view(stored, row, key, 1)

    def _told(self, dataset: PreparedDataset, row: int) -> Stored:
        """What this stream tells of a stored row."""
        stored = dataset.stored(row)
        if self.contents.content:
            stored = stored.as_taken()
        if not self.contents.picture:
            stored = stored.without_picture()
        return stored if self.stream.use == "labelled" else stored.telling(self.stream.told)

    def _view(self, stored: Stored, row: int, key: Key, view: int) -> HandSample:
        """One picture of a visit."""
        phase = self.curriculum.number(key.epoch)
        augmentations = self.curriculum.augmentations[phase]
        rng, augmentation, painter = self._randomness(key, view), augmentations[view], None
        if view and self.stream.same_place:
            rng, painter = self._randomness(key, 0), rng
            augmentation = replace(augmentations[0], photometric=augmentation.photometric)
        sample = augment(
            stored,
            self.curriculum.phases[phase].size,
            rng,
            augmentation,
            self.backgrounds,
            self.contents,
            painter,
            self._tag(stored, row, key, rng) if self.contents.content else None,
        )
        if self.stream.use != "labelled":
            silent: dict[str, Any] = dict.fromkeys(set(TELLING) - set(self.stream.told))
            sample = replace(sample, **silent)
        return replace(sample, index=key.sample)

    def _randomness(self, key: Key, view: int) -> np.random.Generator:
        """Of one picture."""
        own = (self.number, view) if self.number or view else ()
        return generator(self.seed, *key, *own)

    def _tag(self, stored: Stored, row: int, key: Key, rng: np.random.Generator) -> Stored | None:
        """Another row of the same content, at random; None where there is none."""
        part = bisect_right(self._ends, key.sample)
        alike = self._alike[part].get(stored.row.get("content"), [])
        others = [other for other in alike if other != row]
        return self._told(self.parts[part].dataset, rng.choice(others)) if others else None

    @cached_property
    def _alike(self) -> list[dict[str | None, list[int]]]:
        """Of each part the rows by their content."""
        found = []
        for dataset, rows in self.parts:
            names = dataset.contents()
            alike: dict[str | None, list[int]] = defaultdict(list)
            for row in rows:
                if names[row] is not None:
                    alike[names[row]].append(row)
            found.append(alike)
        return found


def taken(parts: Sequence[Part], start: int, count: int | None) -> list[Part]:
    """`count` samples (None: all) from number `start` on, of all parts together.

    Raises:
        ValueError: no samples, or more than there are.
    """
    total = sum(len(part.rows) for part in parts)
    left = total - start if count is None else count
    if start < 0 or not 0 < left <= total - start:
        raise ValueError(
            f"a stream takes 1 to {max(total - start, 0)} samples from number {start} on, of "
            f"{total}; got {left}"
        )
    found = []
    for part in parts:
        rows = part.rows[start : start + left]
        start, left = max(0, start - len(part.rows)), left - len(rows)
        if rows:
            found.append(Part(part.dataset, rows))
    return found
