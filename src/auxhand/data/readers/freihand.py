"""FreiHAND (Zimmermann et al., ICCV 2019), release FreiHAND_pub_v2.

Facts are from the release and the authors' code (github.com/lmb-freiburg/freihand: README,
utils/fh_utils.py, utils/model.py). There are 32,560 annotated frames; the 130,240 training images
show each before four backgrounds, the first 32,560 before the green screen, and there is one mask
for the four. Joints are in our order, metres, in the frame of the camera K; uv is not published: it
is projected, as the authors' code does, so that the invariant is exact. MANO parameters are pose
(48 axis-angles, relative to MANO's mean pose), shape (10), and the root's place in the image and
scale (3), of which the last three are left out. "The dataset exclusively contains right hands"
(issue 7 there).

The evaluation split has K and the scale; joints and MANO parameters where the release has them (the
first releases kept them back).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import cv2
import torch

from auxhand.data.crops import CropRule
from auxhand.data.readers.files import (
    numbers,
    one_of,
    read_image,
    read_json,
    read_pixels,
    require,
    same_size,
)
from auxhand.geometry.camera import project
from auxhand.hand.skeleton import NUM_JOINTS
from auxhand.sample import MANO_PARAMETERS, RIGHT, HandSample


class FreiHAND:
    """FreiHAND (see `Reader`).

    Attributes:
        scale: (N,) metres from the middle finger's MCP to its PIP of each annotated frame, as
            published; None where the release has no such file.
    """

    NAME: ClassVar[str] = "freihand"
    LAYOUT: ClassVar[str] = """FreiHAND_pub_v2/
  training_K.json, training_xyz.json, training_mano.json, training_scale.json
  training/    rgb/00000000.jpg, ...  mask/00000000.jpg, ...
  evaluation_K.json, evaluation_scale.json (and evaluation_xyz.json, evaluation_mano.json)
  evaluation/  rgb/00000000.jpg, ..."""
    COUNTS: ClassVar[Mapping[str, int]] = {"training": 130240, "evaluation": 3960}
    CROP: ClassVar[CropRule] = CropRule("joints", 0.8)
    """The fraction is our choice."""

    def __init__(self, root: Path, split: str) -> None:
        self.split = one_of(split, self.COUNTS, self.NAME)
        root = Path(root)
        self.folder = root / split
        training = split == "training"
        files = ["K", "xyz", "mano"] if training else ["K"]
        needed = [f"{split}/rgb", *(f"{split}_{name}.json" for name in files)]
        require(root, [*needed, *(["training/mask"] if training else [])], self.LAYOUT)
        self._K = _read_list(root / f"{split}_K.json", (3, 3))
        found = {
            name: _read_list(path, shape, len(self._K)) if path.is_file() else None
            for name, shape in (("xyz", (NUM_JOINTS, 3)), ("mano", (1, 61)), ("scale", ()))
            for path in [root / f"{split}_{name}.json"]
        }
        self._xyz, self._mano, self.scale = found["xyz"], found["mano"], found["scale"]
        self._images = range(len(self._K) * (self._backgrounds() if training else 1))

    def _backgrounds(self) -> int:
        """How many of the four sets of images there are, known by their first one."""
        last = (n for n in (4, 3, 2) if self._path((n - 1) * len(self._K)).is_file())
        return next(last, 1)

    def _path(self, index: int) -> Path:
        return self.folder / "rgb" / f"{index:08d}.jpg"

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> HandSample:
        number = self._images[index]
        frame = number % len(self._K)
        K = self._K[frame].clone()
        xyz = None if self._xyz is None else self._xyz[frame].clone()
        image = read_image(self._path(number))
        mask = self.folder / "mask" / f"{frame:08d}.jpg"
        return HandSample(
            image=image,
            K=K,
            side=RIGHT,
            joints_uv=None if xyz is None else project(K, xyz),
            joints_xyz=xyz,
            joint_valid=None if xyz is None else torch.ones(NUM_JOINTS, dtype=torch.bool),
            mask=_read_mask(mask, image) if self.split == "training" else None,
            mano=None if self._mano is None else self._mano[frame, 0, :MANO_PARAMETERS].clone(),
            source=f"freihand/{self.split}/{number:08d}",
        )


def _read_list(path: Path, shape: tuple[int, ...], count: int | None = None) -> torch.Tensor:
    """(N, *shape) float64: one entry of that shape for each frame, null as NaN.

    Raises:
        ValueError: no list of such entries, or not `count` of them.
    """
    content = read_json(path)
    if not isinstance(content, list) or not content:
        raise ValueError(f"{path} is no list of annotations")
    if count is not None and len(content) != count:
        raise ValueError(f"{path} has {len(content)} entries, not {count}")
    return torch.stack(
        [numbers(e, shape, f"{path}, entry {i}", finite=False) for i, e in enumerate(content)]
    )


def _read_mask(path: Path, image: torch.Tensor) -> torch.Tensor:
    """Masks are stored as JPEG, so they are thresholded."""
    grey = same_size(image, read_pixels(path, cv2.IMREAD_GRAYSCALE), path)
    return torch.from_numpy(grey > 127).to(torch.float32)
