"""One row of a prepared dataset, each of its columns decoded once."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cached_property

import cv2
import numpy as np
import torch
from torch import Tensor

from auxhand.arrays import Array
from auxhand.data.columns import (
    PARTS,
    Record,
    decode_depth,
    decode_image,
    decode_labels,
    decode_mask,
    decode_parts,
)
from auxhand.data.crops import hand_box
from auxhand.sample import HandSample

ARM = PARTS.index("arm")

TELLING: dict[str, tuple[str, ...]] = {
    "K": ("K",),
    "side": ("side",),
    "joints_uv": ("joints_uv", "joint_valid", "joint_visible"),
    "joints_xyz": ("joints_xyz", "joint_valid", "joint_visible"),
    "mano": ("mano",),
    "presence": ("presence",),
    "mask": ("mask", "parts", "rgba"),  # where a cut-out is opaque there is a hand
    "depth": ("depth",),
    "cloud": ("depth", "mask", "parts", "K"),
    "content": ("content",),
}
"""What can be told of a picture, by the names of `HandSample`, and the columns that say it."""

_OPEN = ("index", "image", "source")


class Stored:
    """A row whose columns are decoded when they are first asked for, and then kept.

    Every property is None where the row has no such column.

    Args:
        row: columns of a prepared dataset (`columns.SCHEMA`); absent ones count as null.
        where: name of the dataset, for messages.

    Raises:
        ValueError: (of every property) bytes that cannot be decoded; says which dataset, row and
            column.
    """

    def __init__(self, row: Record, where: str = "") -> None:
        self.row = row
        self.where = where

    def telling(self, fields: Collection[str]) -> Stored:
        """The image and the hand's box, and besides them these fields alone: nothing else is in
        the row that is returned."""
        kept = {*_OPEN, *(column for name in fields for column in TELLING[name])}
        told = Stored({k: v for k, v in self.row.items() if k in kept}, self.where)
        told.__dict__["box"] = self.box
        return told

    def as_taken(self) -> Stored:
        """The same without cut-out, so that its picture keeps its background."""
        return Stored(self.row | {"rgba": None}, self.where)

    def without_picture(self) -> Stored:
        """The same without image and cut-out."""
        return Stored(self.row | {"image": None, "rgba": None}, self.where)

    @cached_property
    def image(self) -> Array | None:
        """(H, W, 3) uint8 RGB."""
        return self._decoded("image", decode_image)

    @cached_property
    def pixels(self) -> Array | None:
        """The cut-out hand (H, W, 4), or else the image (H, W, 3), uint8."""
        cut_out = self._decoded("rgba", lambda data: decode_image(data, channels=4))
        return self.image if cut_out is None else cut_out

    @cached_property
    def depth(self) -> Array | None:
        """(H, W) float32 metres, 0 = no value."""
        return self._decoded("depth", decode_depth)

    @cached_property
    def hand(self) -> Array | None:
        """(H, W) float32 in {0, 1}, where the hand is: by `parts`, which tell the arm from it, or
        else by `mask`."""
        parts = self._decoded("parts", decode_parts)
        if parts is None:
            return self._decoded("mask", decode_mask)
        return np.asarray((parts > 0) & (parts != ARM), np.float32)

    @cached_property
    def hand_depth(self) -> Array | None:
        """(H, W) float32 metres of the hand alone; None too where the row does not tell where it
        is."""
        if self.depth is None or self.hand is None:
            return None
        return np.where(self.hand > 0.5, self.depth, np.float32(0))

    @cached_property
    def labels(self) -> HandSample:
        """What the row holds besides pictures, see `columns.decode_labels`."""
        return decode_labels(self.row, self.where)

    @cached_property
    def box(self) -> Tensor | None:
        """(4,) the hand's box (x, y, w, h): the stored one, or else that of mask or joints."""
        values = self.row.get("box")
        if values is not None:
            return torch.tensor(values, dtype=torch.float64)
        hand = self.hand
        mask = None if hand is None else torch.from_numpy(hand)
        return hand_box(replace(self.labels, mask=mask))

    @cached_property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of what the row has a picture of."""
        for name in ("pixels", "hand", "depth"):
            picture = getattr(self, name)  # decoded where it is asked for
            if picture is not None:
                return picture.shape[0], picture.shape[1]
        return None

    @cached_property
    def sample(self) -> HandSample:
        """The row as it is stored: image, mask and depth as float32 tensors, labels as float64.

        Labels keep the stored precision, so that what is computed from them stays within the
        invariant's 1e-3 px; a batch makes them float32.
        """
        image, mask, depth = (
            None if picture is None else torch.from_numpy(picture)
            for picture in (self.image, self.hand, self.depth)
        )
        if image is not None:
            image = image.permute(2, 0, 1).to(torch.float32).div_(255)
        return replace(self.labels, image=image, mask=mask, depth=depth)

    def _decoded(self, name: str, decode: Callable[[bytes], Array]) -> Array | None:
        data = self.row.get(name)
        if data is None:
            return None
        try:
            return decode(data)
        except (ValueError, cv2.error) as error:
            raise ValueError(
                f"{self.where or 'dataset'}, row {self.row.get('index')}, column {name!r}: "
                f"{error}; make this shard anew"
            ) from error
