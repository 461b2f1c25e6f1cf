"""What a reader of a public dataset is.

A reader knows one dataset in the layout in which its authors publish it, and all that is peculiar
to it: joint order, units, side, a palm instead of a wrist, masks of several hands. What it yields
is in our conventions (CONTRIBUTING.md) and needs no further knowledge; what the dataset does not
have is `None`. Its samples are whole images: where a crop lies is decided by whoever makes one,
by the dataset's `CROP` or otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Protocol

from auxhand.data.crops import CropRule
from auxhand.sample import HandSample


class Reader(Protocol):
    """A dataset on disk: `READER(root, split)` has a length and `HandSample`s.

    The constructor reads the annotations and finds what is missing of the layout; an image is read
    when its sample is asked for.

    Attributes:
        NAME: the name by which the commands know the dataset.
        LAYOUT: the tree below `root`, for messages and documentation.
        COUNTS: published number of samples of each split.
        CROP: crop rule of the protocol.

    Raises:
        FileNotFoundError: (constructor) a folder or annotation file that is missing; says what the
            layout should be. (samples) an image that is missing.
        ValueError: (constructor) no such split, annotations that cannot be read. (samples) an image
            or annotation that is damaged; names the file.
    """

    NAME: ClassVar[str]
    LAYOUT: ClassVar[str]
    COUNTS: ClassVar[Mapping[str, int]]
    CROP: ClassVar[CropRule]

    def __init__(self, root: Path, split: str) -> None: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> HandSample: ...
