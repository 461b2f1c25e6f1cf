"""Dexter+Object (Sridhar et al., ECCV 2016): fingertips of hands that hold a cuboid.

Six sequences of colour (640x480) and depth images (320x240) with five fingertips each; for
evaluation alone. Facts are from public loaders of the dataset (HaoMeng's and Chernytska's, on
GitHub): the annotation files (five fingertips, then corners of the cuboid, which are not read),
the calibration, 32001 for "no value", left hands throughout. Points are millimetres in the depth
camera with the axes x left and y up, so that x and y change sign here: one loader does so, the
other mirrors the projected pixels and shifts them by a constant, which at 40 cm is the same to
5 px. Loaders differ in whether colour images are PNG or BMP: both are found. No released file was
at hand.

uv is projected into the colour image (the published 2D annotations are pixels of the depth image),
so that the invariant is exact. The other 16 joints are invalid.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from auxhand.data.crops import CropRule
from auxhand.data.image import pictures_in
from auxhand.data.readers.depth import register
from auxhand.data.readers.files import one_of, read_bytes, read_image, read_pixels, require
from auxhand.geometry.camera import project
from auxhand.hand.skeleton import NUM_JOINTS, TIPS
from auxhand.sample import LEFT, HandSample

SEQUENCES = ("Grasp1", "Grasp2", "Occlusion", "Pinch", "Rigid", "Rotate")
K_COLOUR = torch.tensor([[587.45209, 0, 325], [0, 600.67456, 249], [0, 0, 1]], dtype=torch.float64)
K_DEPTH = np.array([[224.502, 0, 160], [0, 230.494, 120], [0, 0, 1]])
R_COLOUR = np.array(
    [[0.9999, 0.0034, 0.0161], [-0.0033, 1.0000, -0.0079], [-0.0162, 0.0079, 0.9998]]
)
"""x_colour = R_COLOUR x_depth + T_COLOUR, metres; published with four decimals."""
T_COLOUR = np.array([19.0473, -1.8514, -4.7501]) * 1e-3
_NONE = 32001
_IMAGES = (".png", ".bmp")
_MILLIMETRE = 1e-3


class DexterObject:
    """Dexter+Object (see `Reader`)."""

    NAME: ClassVar[str] = "do"
    LAYOUT: ClassVar[str] = """dexter+object/
  data/  Grasp1/  color/*.png (or *.bmp), depth/*.png, annotations/Grasp13D.txt
         Grasp2/, Occlusion/, Pinch/, Rigid/, Rotate/ alike"""
    COUNTS: ClassVar[Mapping[str, int]] = {"test": 3014}
    CROP: ClassVar[CropRule] = CropRule("joints", 0.4)
    """Our choice. Fingertips alone: on STB's test poses a square of 1 / 0.4 times their box holds
    99% of all joints, and the median hand takes 0.58 of it."""

    def __init__(self, root: Path, split: str) -> None:
        one_of(split, self.COUNTS, self.NAME)
        root = Path(root)
        files = [f"data/{name}/annotations/{name}3D.txt" for name in SEQUENCES]
        folders = [f"data/{name}/{kind}" for name in SEQUENCES for kind in ("color", "depth")]
        require(root, [*files, *folders], self.LAYOUT)
        self._frames: list[tuple[Path, Path, np.ndarray, str]] = []
        for name, path in zip(SEQUENCES, files, strict=True):
            tips = _read_tips(root / path)
            colour, depth = (
                pictures_in(root / "data" / name / kind, _IMAGES) for kind in ("color", "depth")
            )
            if not len(tips) == len(colour) == len(depth):
                raise ValueError(
                    f"{root / 'data' / name} has {len(colour)} colour images, {len(depth)} depth "
                    f"images and {len(tips)} annotations; there should be as many of each"
                )
            for i, frame in enumerate(zip(colour, depth, tips, strict=True)):
                self._frames.append((*frame, f"do/test/{name}/{i}"))

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> HandSample:
        colour, depth, tips, source = self._frames[index]
        image = read_image(colour)
        valid = torch.zeros(NUM_JOINTS, dtype=torch.bool)
        valid[list(TIPS)] = torch.from_numpy(np.isfinite(tips).all(-1))
        # An invalid joint lies where it disturbs no computation: before the camera.
        xyz = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).repeat(NUM_JOINTS, 1)
        xyz[list(TIPS)] = torch.from_numpy(tips @ R_COLOUR.T + T_COLOUR)
        xyz[~valid] = xyz.new_tensor([0.0, 0.0, 1.0])
        stored = read_pixels(depth)
        if stored.ndim != 2 or stored.dtype != np.uint16:
            raise ValueError(f"{depth}: expected one 16-bit channel, got {stored.shape}")
        metres = np.where(stored < _NONE, stored, 0) * _MILLIMETRE
        size = (image.shape[1], image.shape[2])
        seen = register(metres, K_DEPTH, K_COLOUR.numpy(), R_COLOUR, T_COLOUR, size)
        return HandSample(
            image=image,
            K=K_COLOUR.clone(),
            side=LEFT,
            joints_uv=project(K_COLOUR, xyz),
            joints_xyz=xyz,
            joint_valid=valid,
            depth=torch.from_numpy(seen),
            source=source,
        )


def _read_tips(path: Path) -> np.ndarray:
    """(N, 5, 3) metres in the depth camera's frame, thumb to pinky; NaN = no value.

    A line has five points "x, y, z" with semicolons between.

    Raises:
        ValueError: a line of another form.
    """
    tips = []
    for number, line in enumerate(read_bytes(path).decode("ascii", "replace").splitlines(), 1):
        if not line.strip():
            continue
        points = [point for point in line.split(";") if point.strip()]
        try:
            tip = np.array([[float(x) for x in point.split(",")] for point in points[:5]])
        except ValueError:
            tip = np.empty(0)
        if tip.shape != (5, 3):
            raise ValueError(f"{path}, line {number}: expected five points x, y, z")
        tip[tip[:, 2] >= _NONE] = np.nan
        tips.append(tip * [-1, -1, 1] * _MILLIMETRE)
    return np.array(tips).reshape(-1, 5, 3)
