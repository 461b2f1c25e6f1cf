"""YouTube 3D Hands (Kulon et al., CVPR 2020; Ch. 2.1): MANO meshes over frames of videos.

Facts from github.com/snap-research/arielai_youtube_3d_hands (README.md, load_db.py): images have
name, width, height and id; annotations have vertices (778, 3), is_left, image_id and id. Vertices
are in MANO's order; x and y are pixels of the frame. z is in no camera and no unit, and there are
no intrinsics, so that samples have neither K nor joints_xyz. The frames are fetched by the user
from YouTube, today often in another resolution than was labelled (the repository's issue 3): labels
are scaled to the frame that is there.

Vertices become joints by the regressor of a MANO file and its fingertips' vertices, which the user
supplies; MANO_RIGHT.pkl serves both hands, whose vertices correspond.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from auxhand.data.crops import CropRule
from auxhand.data.readers.files import (
    entries,
    entry,
    numbers,
    one_of,
    read_image,
    read_json,
    require,
)
from auxhand.hand.mano import ManoModel, load_mano
from auxhand.hand.skeleton import reorder
from auxhand.sample import LEFT, RIGHT, HandSample

VERTICES = 778


@dataclass(frozen=True)
class _Hand:
    name: str
    size: tuple[int, int]  # width and height of the frame as labelled
    side: str
    identity: str
    uv: Tensor | None


class YouTubeHands:
    """Samples of YT3D (`auxhand.data.readers.reader.Reader`): image, side, with MANO joints_uv.

    Args:
        root: the folder that holds the JSON files and the folder youtube.
        split: "train", "val" or "test".
        mano: a MANO file; without one samples have no joints, of which the constructor warns.
    """

    NAME: ClassVar[str] = "yt3d"
    LAYOUT: ClassVar[str] = """\
data/
  youtube_train.json  youtube_val.json  youtube_test.json     images, annotations
  youtube/VIDEO_ID/video/frames/FRAME_ID.png                  frames, cut by the user"""
    COUNTS: ClassVar[Mapping[str, int]] = {"train": 47_125, "val": 1_525, "test": 1_525}
    CROP: ClassVar[CropRule] = CropRule(by="joints", fraction=0.8)
    """Our choice."""

    def __init__(self, root: Path, split: str, mano: Path | None = None) -> None:
        self._split, self._root = one_of(split, self.COUNTS, self.NAME), Path(root)
        file = f"youtube_{split}.json"
        require(self._root, [file], self.LAYOUT)
        if mano is None:
            warnings.warn(
                f"{self.NAME}: vertices become joints only with a MANO file (`mano`); samples have "
                "no joints",
                stacklevel=2,
            )
        model = None if mano is None else load_mano(mano)
        self._hands = _hands(read_json(self._root / file), model, str(self._root / file))

    def __len__(self) -> int:
        return len(self._hands)

    def __getitem__(self, index: int) -> HandSample:
        hand = self._hands[index]
        image = read_image(self._root / hand.name)
        height, width = image.shape[1:]
        across, down = width / hand.size[0], height / hand.size[1]
        if abs(across / down - 1) > 0.01:
            raise ValueError(
                f"{self._root / hand.name} is {width} x {height} pixels, but was labelled as "
                f"{hand.size[0]} x {hand.size[1]}: not the same frame"
            )
        uv = None if hand.uv is None else (hand.uv + 0.5) * torch.tensor([across, down]) - 0.5
        return HandSample(
            image=image,
            side=hand.side,
            joints_uv=None if uv is None else uv.float(),
            joint_valid=None if uv is None else torch.ones(21, dtype=torch.bool),
            source=f"{self.NAME}/{self._split}/{hand.identity}",
        )


def _hands(content: Any, model: ManoModel | None, where: str) -> list[_Hand]:
    images = {str(entry(i, "id", where)): i for i in entries(content, "images", where)}
    hands = []
    for annotation in entries(content, "annotations", where):
        image = images.get(str(entry(annotation, "image_id", where)))
        place = f"{where}, annotation {entry(annotation, 'id', where)}"
        if image is None:
            raise ValueError(f"{place}: there is no image {annotation['image_id']}")
        uv = None
        if model is not None:
            vertices = entry(annotation, "vertices", place)
            uv = _joints(numbers(vertices, (VERTICES, 3), place), model)
        hands.append(
            _Hand(
                name=str(entry(image, "name", where)),
                size=_size(image, where),
                side=LEFT if entry(annotation, "is_left", place) else RIGHT,
                identity=str(annotation["id"]),
                uv=uv,
            )
        )
    return hands


def _size(image: Any, where: str) -> tuple[int, int]:
    """Width and height of a frame as labelled."""
    width, height = (
        numbers(entry(image, name, where), (), f"{where}, {name}").item()
        for name in ("width", "height")
    )
    if not (width >= 1 and height >= 1):
        raise ValueError(f"{where}: a frame of {width:g} x {height:g} pixels")
    return round(width), round(height)


def _joints(vertices: Tensor, model: ManoModel) -> Tensor:
    """(21, 2) pixels of the joints in our order from (778, 3) vertices."""
    joints = model.joint_regressor.double() @ vertices
    return reorder(torch.cat([joints, vertices[list(model.tips)]]), "mano")[:, :2]
