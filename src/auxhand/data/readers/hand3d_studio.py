"""Hand-3D-Studio (Zhao et al., FG 2020; Ch. 2.1, 7.4.1), as crops: the one-handed gestures.

The photos of 3840 x 2160 are mostly background. What is commonly used, and accepted here, are crops
1.5 times as large as the hand with one annotation file, made for RegDA (github.com/thuml/
Transfer-Learning-Library, common/vision/datasets/keypoint_detection/hand_3d_studio.py). Facts from
there: an entry is name, keypoint2d (21, 2) in the crop's pixels, keypoint3d (21, 3) in the camera,
intrinsic_matrix (3, 3) of the crop and without_object, 1 for the gestures without an object, which
are the ones that are read; joints in our order; split by shuffling these with random.seed(42), the
first fifth (at most 3,200) being the test set.

The unit of keypoint3d is stated nowhere: it is taken to be that of metres, centimetres and
millimetres in which hands have the size of hands. The side is not told either.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from auxhand.data.crops import CropRule
from auxhand.data.readers.files import entry, numbers, one_of, read_image, read_json, require
from auxhand.geometry.camera import project
from auxhand.hand.skeleton import ROOT, WRIST
from auxhand.sample import HandSample

ANNOTATIONS = "annotation.json"
PALM = 0.05, 0.15
"""Metres between which a hand's distance from wrist to middle MCP lies."""


class Hand3DStudio:
    """Samples of H3D (`auxhand.data.readers.reader.Reader`): image, K, joints; no side.

    keypoint3d projects onto keypoint2d as well as the labelling has it; a file in which the typical
    distance exceeds 5 % of the hand's size is refused, being another layout.
    """

    NAME: ClassVar[str] = "h3d"
    LAYOUT: ClassVar[str] = """\
H3D_crop/
  annotation.json      name, keypoint2d, keypoint3d, intrinsic_matrix, without_object of each
  part1/ ... part5/    the crops that `name` names"""
    COUNTS: ClassVar[Mapping[str, int]] = {"train": 11_000, "test": 2_000}
    """In thousands, as Ch. 7.4.1 has them."""
    CROP: ClassVar[CropRule] = CropRule(by="joints", fraction=0.8)
    """Our choice."""

    def __init__(self, root: Path, split: str) -> None:
        self._split, self._root = one_of(split, self.COUNTS, self.NAME), Path(root)
        require(self._root, [ANNOTATIONS], self.LAYOUT)
        where = str(self._root / ANNOTATIONS)
        entries = read_json(self._root / ANNOTATIONS)
        if not isinstance(entries, list):
            raise ValueError(f"{where} is no list of samples; expected:\n{self.LAYOUT}")
        gestures = [e for e in entries if _flag(e, "without_object", where)]
        if not gestures:
            raise ValueError(f"{where} has no sample without an object; expected:\n{self.LAYOUT}")
        random.Random(42).shuffle(gestures)
        held_out = min(int(0.2 * len(gestures)), 3200)
        chosen = gestures[:held_out] if split == "test" else gestures[held_out:]
        self._names = [str(entry(e, "name", where)) for e in chosen]
        self._uv = _stack(chosen, "keypoint2d", (21, 2), where)
        self._xyz = _stack(chosen, "keypoint3d", (21, 3), where)
        self._K = _stack(chosen, "intrinsic_matrix", (3, 3), where)
        if chosen:
            _check_projection(self._K, self._xyz, self._uv, where)
            self._xyz *= _metres(self._xyz, where)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> HandSample:
        name = self._names[index]
        return HandSample(
            image=read_image(self._root / name),
            K=self._K[index].float(),
            joints_uv=self._uv[index].float(),
            joints_xyz=self._xyz[index].float(),
            joint_valid=torch.ones(21, dtype=torch.bool),
            source=f"{self.NAME}/{self._split}/{Path(name).with_suffix('').as_posix()}",
        )


def _flag(sample: Any, key: str, where: str) -> bool:
    return numbers(entry(sample, key, where), (), where).item() == 1


def _stack(entries: list[Any], key: str, shape: tuple[int, ...], where: str) -> Tensor:
    """(N, *shape) of all entries."""
    values = [numbers(entry(e, key, where), shape, f"{where}, {e['name']}") for e in entries]
    return torch.stack(values) if values else torch.empty(0, *shape, dtype=torch.float64)


def _check_projection(K: Tensor, xyz: Tensor, uv: Tensor, where: str) -> None:
    size = (uv.amax(1) - uv.amin(1)).amax(-1)
    off = (project(K, xyz) - uv).norm(dim=-1).mean(-1) / size
    if (typical := off.median().item()) > 0.05:
        raise ValueError(
            f"{where}: keypoint3d projects {typical:.0%} of a hand's size beside keypoint2d, so "
            "that intrinsic_matrix is not that of the crops or keypoint3d not in the camera's frame"
        )


def _metres(xyz: Tensor, where: str) -> float:
    """Metres in the unit of `xyz` (N, 21, 3)."""
    palm = (xyz[:, ROOT] - xyz[:, WRIST]).norm(dim=-1).median().item()
    for unit in (1.0, 1e-2, 1e-3):
        if PALM[0] < palm * unit < PALM[1]:
            return unit
    raise ValueError(
        f"{where}: wrist and middle MCP are typically {palm:.4g} apart, in no unit the size of a "
        "hand (metres, centimetres or millimetres are understood)"
    )
