"""ObMan (Hasson et al., CVPR 2019; Ch. 2.1): rendered right hands that grasp ShapeNet objects.

Facts of the layout, from the authors' loader and renderer (github.com/hassony2/obman: obman.py;
github.com/hassony2/obman_render: blender_grasps.py, coordutils.py, camutils.py, grasputils.py):

- Every sample is one file in each of rgb, depth, segm and meta; numbers have gaps, since renderings
  that hide too much were thrown away. The folders rgb_hand and rgb_obj, where there are some, are
  not read.
- `coords_3d` (21, 3) are metres in Blender's camera (x right, y up, z backward), so the camera's
  extrinsic is diag(1, -1, -1). Joints are in our order already. `coords_2d` is their projection by
  K = 480, 480, 128, 128, so that the invariant holds to the rounding of single precision (1e-3 px).
  Blender's optical axis meets the image's centre, 127.5 in our pixels; K and `coords_2d` count from
  the image's edge. They are kept as published: labels lie half a pixel to the right and below.
- `depth` has the scene in its first channel as OpenCV reads it (then hand and object alone): 0 is
  the background, 1..255 run from `depth_max` to `depth_min` along z in the authors' loader, which
  others follow. (Their published renderer writes the opposite; if depths of the hand do not lie at
  its joints, this is where to look.) One step is 1/254 of the range, the error half of that.
- `segm` likewise: 22 and 24 are palm and fingers of the right hand (21 and 23 of the left), what of
  them the object leaves visible; 100 is the object.
- `pca_pose` (45,) are coefficients of all 45 principal components about the flat hand: axis-angles
  of the fingers = pca_pose @ hands_components (`hand_pose` of the released files is the same, not
  axis-angles). The hand is one of an SMPL+H body, so that there is no global rotation of a MANO
  hand, and `shape`, `pose` and `trans` are the body's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import cv2
import numpy as np
import torch
from torch import Tensor

from auxhand.arrays import Array
from auxhand.data.crops import CropRule
from auxhand.data.readers.files import (
    entry,
    numbers,
    one_of,
    read_image,
    read_pixels,
    require,
    same_size,
)
from auxhand.hand.mano import ManoModel, load_mano
from auxhand.hand.skeleton import ORDERS
from auxhand.hand.unpickle import load_arrays
from auxhand.sample import LEFT, RIGHT, HandSample

INTRINSICS: Final = ((480.0, 0.0, 128.0), (0.0, 480.0, 128.0), (0.0, 0.0, 1.0))
EXTRINSIC: Final = (1.0, -1.0, -1.0)
"""Diagonal of the rotation from Blender's camera to ours."""

_HAND_VALUES: Final = {RIGHT: (22, 24), LEFT: (21, 23)}
_RIGID: Final = (0, 1, 4, 7, 10, 13)
"""MANO's wrist and the bases of its fingers: the joints that turn with the whole hand."""


class ObMan:
    """Samples of ObMan (`auxhand.data.readers.reader.Reader`): image, K, side, joints, depth, mask.

    The released folders are listed at construction; a sample's pickle is read with its image, since
    141,550 of them would take minutes.

    Args:
        root: the folder that holds train, val and test.
        split: "train", "val" or "test".
        mano: MANO_RIGHT.pkl. With it samples have `mano` too: the fingers as published, the global
            rotation by which MANO's wrist and finger bases fit `coords_3d` best (in the camera, so
            with EXTRINSIC), zero shape (the body's mean hand). Without it `mano` is None: the
            dataset has neither axis-angles nor that rotation.
    """

    NAME: ClassVar[str] = "obman"
    LAYOUT: ClassVar[str] = """\
obman/
  train/  (val/ and test/ alike)
    rgb/00000000.jpg     256 x 256
    depth/00000000.png
    segm/00000000.png
    meta/00000000.pkl"""
    COUNTS: ClassVar[Mapping[str, int]] = {"train": 141_550, "val": 6_463, "test": 6_285}
    CROP: ClassVar[CropRule] = CropRule(by="joints", fraction=0.8)
    """Our choice. The mask would be one of the visible part, which objects cut at random."""

    def __init__(self, root: Path, split: str, mano: Path | None = None) -> None:
        self._split = one_of(split, self.COUNTS, self.NAME)
        self._folder = Path(root) / split
        folders = [f"{split}/{kind}" for kind in ("rgb", "depth", "segm", "meta")]
        require(Path(root), folders, self.LAYOUT)
        self._names = sorted(path.stem for path in (self._folder / "meta").glob("[!.]*.pkl"))
        if not self._names:
            raise FileNotFoundError(f"{self._folder / 'meta'} is empty; expected:\n{self.LAYOUT}")
        self._mano = None if mano is None else load_mano(mano, "right")

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> HandSample:
        name = self._names[index]
        path = self._folder / "meta" / f"{name}.pkl"
        meta, where = load_arrays(path), str(path)
        xyz = numbers(entry(meta, "coords_3d", where), (21, 3), where, finite=False)
        xyz = xyz * torch.tensor(EXTRINSIC, dtype=torch.float64)
        uv = numbers(entry(meta, "coords_2d", where), (21, 2), where, finite=False)
        side = entry(meta, "side", where)
        if not isinstance(side, str) or side not in _HAND_VALUES:
            raise ValueError(f"{where}: side is {side!r}, expected 'right' or 'left'")
        image = read_image(self._folder / "rgb" / f"{name}.jpg")
        segments = self._channel("segm", name, image)
        return HandSample(
            image=image,
            K=torch.tensor(INTRINSICS),
            side=side,
            joints_uv=uv.float(),
            joints_xyz=xyz.float(),
            joint_valid=torch.ones(21, dtype=torch.bool),
            depth=_depth(self._channel("depth", name, image), meta, where),
            mask=torch.from_numpy(np.isin(segments, _HAND_VALUES[side])).float(),
            mano=None if self._mano is None else _mano(self._mano, meta, xyz, where),
            source=f"{self.NAME}/{self._split}/{name}",
        )

    def _channel(self, kind: str, name: str, image: Tensor) -> Array:
        """(H, W) first channel, that of the whole scene."""
        path = self._folder / kind / f"{name}.png"
        return same_size(image, read_pixels(path, cv2.IMREAD_COLOR), path)[..., 0]


def _depth(values: Array, meta: Any, where: str) -> Tensor:
    """(H, W) metres from the 8-bit image and the range in the meta."""
    near, far = (
        numbers(entry(meta, key, where), (), where).item() for key in ("depth_min", "depth_max")
    )
    metres = far + (values.astype(np.float64) - 1) / 254 * (near - far)
    return torch.from_numpy(np.where(values > 0, metres, 0).astype(np.float32))


def _mano(model: ManoModel, meta: Any, xyz: Tensor, where: str) -> Tensor:
    """(58,) pose and shape; angles are about MANO's mean pose, as in MANO's own code.

    Args:
        xyz: (21, 3) joints in the camera.
    """
    coefficients = numbers(entry(meta, "pca_pose", where), (45,), where).float()
    fingers = coefficients @ model.hands_components - model.hands_mean
    rest = (model.joint_regressor @ model.template)[list(_RIGID)].double().numpy()
    ours = [ORDERS["mano"].index(joint) for joint in _RIGID]
    seen = xyz[ours].numpy()
    from scipy.spatial.transform import Rotation  # nearly a second to import

    turn, _ = Rotation.align_vectors(seen[1:] - seen[0], rest[1:] - rest[0])
    whole = torch.from_numpy(turn.as_rotvec()).float()
    return torch.cat([whole, fingers, torch.zeros(10)])
