"""FreiHAND (Zimmermann et al., ICCV 2019), release FreiHAND_pub_v2.

Facts are from the release and the authors' freihand code. There are 32,560 annotated frames; the
130,240 training images show each before four backgrounds, the first 32,560 before the green screen.
Joints are in our order, metres, in the frame of the camera K; uv is not published: it is projected,
as the authors' code does. MANO parameters are pose (48 axis-angles, relative to MANO's mean pose),
shape (10), and the root's place in the image and scale (3), of which the last three are left out.
All hands are right ones (left ones are mirrored by the authors).

The evaluation split has K and the scale; joints and MANO parameters where the release has them (the
first releases kept them back).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from auxhand.data.readers.files import (
    numbers,
    one_of,
    read_image,
    read_json,
    read_pixels,
    require,
)
from auxhand.data.readers.reader import CropRule
from auxhand.geometry.camera import project
from auxhand.hand.skeleton import NUM_JOINTS
from auxhand.sample import MANO_PARAMETERS, RIGHT, HandSample


class FreiHAND:
    """FreiHAND (see `Reader`).

    Attributes:
        scale: metres from the middle finger's MCP to its PIP of each annotated frame, as published;
            empty where the release has no such file.
    """

    NAME: ClassVar[str] = "freihand"
    LAYOUT: ClassVar[str] = """FreiHAND_pub_v2/
  training_K.json, training_xyz.json, training_mano.json, training_scale.json
  training/    rgb/00000000.jpg, ...  mask/00000000.jpg, ...
  evaluation_K.json, evaluation_scale.json (and evaluation_xyz.json, evaluation_mano.json)
  evaluation/  rgb/00000000.jpg, ..."""
    COUNTS: ClassVar[Mapping[str, int]] = {"training": 130240, "evaluation": 3960}
    CROP: ClassVar[CropRule] = CropRule("joints", 0.8)

    def __init__(self, root: Path, split: str) -> None:
        self.split = one_of(split, self.COUNTS, self.NAME)
        self.folder = root / split
        training = split == "training"
        files = ["K", "xyz", "mano"] if training else ["K"]
        needed = [f"{split}/rgb", *(f"{split}_{name}.json" for name in files)]
        require(root, [*needed, *(["training/mask"] if training else [])], self.LAYOUT)
        self._K = _read_list(root / f"{split}_K.json")
        lists = {}
        for name in ("xyz", "mano", "scale"):
            path = root / f"{split}_{name}.json"
            lists[name] = _read_list(path) if path.is_file() else []
            if lists[name] and len(lists[name]) != len(self._K):
                raise ValueError(f"{path} has {len(lists[name])} entries, not {len(self._K)}")
        self._xyz, self._mano, self.scale = lists["xyz"], lists["mano"], lists["scale"]
        self._images = len(self._K) * (self._backgrounds() if training else 1)

    def _backgrounds(self) -> int:
        """How many images there are of each frame: whole sets of them, up to four."""
        last = (n for n in (4, 3, 2) if self._path(n * len(self._K) - 1).is_file())
        return next(last, 1)

    def _path(self, index: int) -> Path:
        return self.folder / "rgb" / f"{index:08d}.jpg"

    def __len__(self) -> int:
        return self._images

    def __getitem__(self, index: int) -> HandSample:
        frame = index % len(self._K)
        where = f"{self.folder.parent}/{self.split}_*.json, entry {frame}"
        K = numbers(self._K[frame], (3, 3), where)
        xyz = numbers(self._xyz[frame], (NUM_JOINTS, 3), where) if self._xyz else None
        mask = self.folder / "mask" / f"{frame:08d}.jpg"
        return HandSample(
            image=read_image(self._path(index)),
            K=K,
            side=RIGHT,
            joints_uv=None if xyz is None else project(K, xyz),
            joints_xyz=xyz,
            joint_valid=None if xyz is None else torch.ones(NUM_JOINTS, dtype=torch.bool),
            mask=_read_mask(mask) if self.split == "training" else None,
            mano=self._parameters(frame, where) if self._mano else None,
            source=f"freihand/{self.split}/{index:08d}",
        )

    def _parameters(self, frame: int, where: str) -> torch.Tensor:
        (parameters,) = self._mano[frame] if len(self._mano[frame]) == 1 else [self._mano[frame]]
        return numbers(parameters, (61,), where)[:MANO_PARAMETERS]


def _read_list(path: Path) -> list[Any]:
    content = read_json(path)
    if not isinstance(content, list) or not content:
        raise ValueError(f"{path} is no list of annotations")
    return content


def _read_mask(path: Path) -> torch.Tensor:
    """Masks are stored as JPEG, so they are thresholded."""
    pixels = read_pixels(path)
    grey = pixels if pixels.ndim == 2 else pixels[..., 0]
    return torch.from_numpy(grey > 127).to(torch.float32)
