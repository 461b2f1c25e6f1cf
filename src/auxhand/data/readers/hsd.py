"""HSD, the hand sequence dataset of Ch. 6.4.2 and 7.4.1 (Yang, Chen & Yao, ICCV 2021).

Four sequences, each of one actor before four cameras; sequences 1 and 2 are for training, 3 and 4
for testing, 42,000 images each (Ch. 7.4.1); 3D poses annotated half by hand, in the fashion of
FreiHAND (Ch. 6.4.2). Neither the papers nor any public loader say in which files it comes, so the
layout below is ours, FreiHAND's per sequence and camera; anything else is refused. Left or right,
the texts do not say.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from auxhand.data.crops import CropRule
from auxhand.data.readers.files import numbers, one_of, read_image, read_json, require
from auxhand.geometry.camera import project
from auxhand.sample import HandSample

SEQUENCES: Mapping[str, tuple[int, ...]] = {"train": (1, 2), "test": (3, 4)}
CAMERAS = (1, 2, 3, 4)


class Hsd:
    """Samples of HSD (`auxhand.data.readers.reader.Reader`): image, K, joints.

    joints_uv is the projection of joints_xyz.
    """

    NAME: ClassVar[str] = "hsd"
    LAYOUT: ClassVar[str] = """\
HSD/
  sequence1/ ... sequence4/     one actor each
    camera1/ ... camera4/
      rgb/00000000.jpg ...
      K.json                    3 x 3 intrinsics of the camera
      xyz.json                  of each image 21 x 3 metres in the camera's frame, wrist then thumb
                                to pinky, each from base to tip"""
    COUNTS: ClassVar[Mapping[str, int]] = {"train": 42_000, "test": 42_000}
    """In thousands, as Ch. 7.4.1 has them."""
    CROP: ClassVar[CropRule] = CropRule(by="joints", fraction=0.8)
    """Our choice."""

    def __init__(self, root: Path, split: str) -> None:
        self._split, self._root = one_of(split, self.COUNTS, self.NAME), Path(root)
        parts = [f"sequence{s}/camera{c}" for s in SEQUENCES[split] for c in CAMERAS]
        needed = [f"{part}/{name}" for part in parts for name in ("rgb", "K.json", "xyz.json")]
        require(self._root, needed, self.LAYOUT)
        self._frames: list[tuple[str, int]] = []
        self._K: dict[str, Tensor] = {}
        self._xyz: dict[str, Tensor] = {}
        for part in parts:
            files = self._root / part / "K.json", self._root / part / "xyz.json"
            self._K[part] = numbers(read_json(files[0]), (3, 3), str(files[0]), finite=False)
            poses = read_json(files[1])
            if not isinstance(poses, list):
                raise ValueError(f"{files[1]} is no list of poses; expected:\n{self.LAYOUT}")
            self._xyz[part] = numbers(poses, (len(poses), 21, 3), str(files[1]), finite=False)
            self._frames += [(part, frame) for frame in range(len(poses))]

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> HandSample:
        part, frame = self._frames[index]
        K, xyz = self._K[part], self._xyz[part][frame]
        return HandSample(
            image=read_image(self._root / part / "rgb" / f"{frame:08d}.jpg"),
            K=K.float(),
            joints_uv=project(K, xyz).float(),
            joints_xyz=xyz.float(),
            joint_valid=torch.ones(21, dtype=torch.bool),
            source=f"{self.NAME}/{self._split}/{part}/{frame:08d}",
        )
