"""Rendered Handpose Dataset (Zimmermann and Brox, ICCV 2017), release RHD_published_v2.

Facts are from the release's README and view_samples.py and from the authors' hand3d code. The
annotations hold 42 joints: the left hand's, then the right hand's, each the wrist and then thumb to
pinky from TIP to base. Masks name the parts of both hands: 2 to 17 the left one's, 18 to 33 the
right one's. A sample is the hand of which more pixels are seen, as in the authors' code. Depth is
stored in two bytes, the upper one in the red channel, in 65,535ths of 5 m.

`uv_vis` and `xyz` are published with four digits (245.8 px, 0.4895 m), so that projecting xyz gives
uv to 0.1 px (0.075 px at most in three real samples). Both are kept: neither is the truer one.
The training split has 41,258 images by the authors' code (data/BinaryDbReader.py); the 41,238 of
Ch. 5.5.1 is taken for a misprint.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch

from auxhand.data.crops import CropRule
from auxhand.data.readers.depth import read_red_green
from auxhand.data.readers.files import (
    numbers,
    one_of,
    read_image,
    read_pixels,
    require,
    same_size,
)
from auxhand.hand.skeleton import NUM_JOINTS, reorder
from auxhand.hand.unpickle import load_arrays
from auxhand.sample import LEFT, RIGHT, HandSample

_FARTHEST = 5.0
_PARTS = {LEFT: (2, 17), RIGHT: (18, 33)}
_FIRST = {LEFT: 0, RIGHT: NUM_JOINTS}


class RHD:
    """RHD; a sample has everything but MANO parameters (see `Reader`).

    Its joints are all labelled; `joint_visible` is the dataset's own flag. The mask is the hand's
    without the arm.
    """

    NAME: ClassVar[str] = "rhd"
    LAYOUT: ClassVar[str] = """RHD_published_v2/
  training/    anno_training.pickle, color/00000.png, depth/00000.png, mask/00000.png, ...
  evaluation/  anno_evaluation.pickle, color/, depth/, mask/"""
    COUNTS: ClassVar[Mapping[str, int]] = {"training": 41258, "evaluation": 2728}
    CROP: ClassVar[CropRule] = CropRule("mask", 0.9)
    """By the mask as in Ch. 5.4.1, which gives no margin; the fraction is our choice."""

    def __init__(self, root: Path, split: str) -> None:
        self.split = one_of(split, self.COUNTS, self.NAME)
        self.folder = Path(root) / split
        annotations = f"anno_{split}.pickle"
        needed = [split, f"{split}/{annotations}", *(f"{split}/{n}" for n in _IMAGES)]
        require(Path(root), needed, self.LAYOUT)
        self._file = self.folder / annotations
        loaded = load_arrays(self._file)
        if not isinstance(loaded, dict) or not all(isinstance(key, int) for key in loaded):
            raise ValueError(f"{self._file} holds no numbered samples; expected:\n{self.LAYOUT}")
        self._annotations: dict[int, Any] = loaded
        self._numbers = sorted(loaded)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> HandSample:
        number = self._numbers[index]
        image = read_image(self.folder / "color" / f"{number:05d}.png")
        mask = self.folder / "mask" / f"{number:05d}.png"
        parts = same_size(image, read_pixels(mask, cv2.IMREAD_GRAYSCALE), mask)
        seen = {s: (parts >= first) & (parts <= last) for s, (first, last) in _PARTS.items()}
        side = LEFT if seen[LEFT].sum() > seen[RIGHT].sum() else RIGHT
        where = f"{self._file}, sample {number}"
        annotation = self._annotations[number]
        if not isinstance(annotation, dict) or not {"uv_vis", "xyz", "K"} <= annotation.keys():
            raise ValueError(f"{where}: expected uv_vis, xyz and K")
        hand = slice(_FIRST[side], _FIRST[side] + NUM_JOINTS)
        uv_vis = reorder(numbers(annotation["uv_vis"], (42, 3), where, finite=False)[hand], "rhd")
        depth = self.folder / "depth" / f"{number:05d}.png"
        red, green = read_red_green(depth)
        metres = same_size(image, (256 * red + green) * (_FARTHEST / 65535), depth)
        return HandSample(
            image=image,
            K=numbers(annotation["K"], (3, 3), where, finite=False),
            side=side,
            joints_uv=uv_vis[:, :2].contiguous(),
            joints_xyz=reorder(
                numbers(annotation["xyz"], (42, 3), where, finite=False)[hand], "rhd"
            ),
            joint_valid=torch.ones(NUM_JOINTS, dtype=torch.bool),
            joint_visible=uv_vis[:, 2] > 0.5,
            depth=torch.from_numpy(metres.astype(np.float32)),
            mask=torch.from_numpy(seen[side].astype(np.float32)),
            source=f"rhd/{self.split}/{number:05d}",
        )


_IMAGES = ("color", "depth", "mask")
