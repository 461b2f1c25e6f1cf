"""Stereo Hand Pose Tracking Benchmark (Zhang et al., ICIP 2017), as published.

Facts are from the release's readme: cameras, `depth = r + 256 g` millimetres, `handPara` of (3, 21,
1500) millimetres (palm centre, then pinky to thumb, each from base to tip). For the colour-depth
pairs ("SK") labels are in the depth camera's frame, and the readme's own script takes them to the
colour camera by R^-1 (x - T), the other way round than its prose says.

The palm centre is moved to the wrist, as the chapters do after Zimmermann and Brox and Cai et al.:
wrist = middle MCP + 2 (palm - middle MCP). uv is not published: it is projected. All hands are one
person's left hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import cv2
import numpy as np
import torch
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from auxhand.data.readers.depth import register
from auxhand.data.readers.files import numbers, one_of, read_image, read_pixels, require
from auxhand.data.readers.reader import CropRule
from auxhand.geometry.camera import project
from auxhand.hand.skeleton import NUM_JOINTS, ROOT, WRIST, reorder
from auxhand.sample import LEFT, HandSample

FRAMES = 1500
_TEST = ("B1Counting", "B1Random")
_TRAINING = tuple(f"B{b}{kind}" for b in range(2, 7) for kind in ("Counting", "Random"))
_MILLIMETRE = 1e-3


def _K(fx: float, fy: float, cx: float, cy: float) -> torch.Tensor:
    return torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=torch.float64)


K_STEREO = _K(822.79041, 822.79041, 318.47345, 250.31296)
K_COLOUR = _K(607.92271, 607.88192, 314.78337, 236.42484)
K_DEPTH = _K(475.62768, 474.77709, 336.41179, 238.77962)
_ROTATION = np.array([0.00531, -0.01196, 0.00301])
_TRANSLATION = np.array([-24.0381, -0.4563, -1.2326]) * _MILLIMETRE
R_COLOUR = cv2.Rodrigues(_ROTATION)[0].T
"""x_colour = R_COLOUR x_depth + T_COLOUR, metres."""
T_COLOUR = -R_COLOUR @ _TRANSLATION

Camera = Literal["SK", "BB"]


class STB:
    """STB (see `Reader`): B1 is the test split, the other ten sequences the training split.

    Args:
        root: holds images/ and labels/.
        split: "training" or "test".
        camera: "SK", the colour-depth pairs of Ch. 5 (with depth in the colour image), or "BB", the
            left images of the stereo pairs (without depth).
    """

    NAME: ClassVar[str] = "stb"
    LAYOUT: ClassVar[str] = """STB/
  labels/  B1Counting_SK.mat, B1Counting_BB.mat, B1Random_SK.mat, ... B6Random_BB.mat
  images/  B1Counting/SK_color_0.png, SK_depth_0.png, BB_left_0.png, ... B6Random/"""
    COUNTS: ClassVar[Mapping[str, int]] = {"training": 15000, "test": 3000}
    CROP: ClassVar[CropRule] = CropRule("joints", 0.8)

    def __init__(self, root: Path, split: str, camera: Camera = "SK") -> None:
        self.split = one_of(split, self.COUNTS, self.NAME)
        self.camera = camera
        self.images = root / "images"
        self.sequences = _TEST if split == "test" else _TRAINING
        labels = [f"labels/{name}_{camera}.mat" for name in self.sequences]
        require(root, [*labels, *(f"images/{name}" for name in self.sequences)], self.LAYOUT)
        self._joints = [_read_labels(root / path) for path in labels]

    def __len__(self) -> int:
        return sum(len(joints) for joints in self._joints)

    def __getitem__(self, index: int) -> HandSample:
        sequence = 0
        while index >= len(self._joints[sequence]):
            index -= len(self._joints[sequence])
            sequence += 1
        folder = self.images / self.sequences[sequence]
        xyz = self._joints[sequence][index]
        K, depth, name = K_STEREO, None, "BB_left"
        if self.camera == "SK":
            K, name = K_COLOUR, "SK_color"
            xyz = xyz @ torch.from_numpy(R_COLOUR).mT + torch.from_numpy(T_COLOUR)
        image = read_image(folder / f"{name}_{index}.png")
        if self.camera == "SK":
            size = (image.shape[1], image.shape[2])
            depth = torch.from_numpy(_read_depth(folder / f"SK_depth_{index}.png", size))
        return HandSample(
            image=image,
            K=K.clone(),
            side=LEFT,
            joints_uv=project(K, xyz),
            joints_xyz=xyz,
            joint_valid=torch.ones(NUM_JOINTS, dtype=torch.bool),
            depth=depth,
            source=f"stb/{self.split}/{self.sequences[sequence]}/{index}",
        )


def _read_labels(path: Path) -> torch.Tensor:
    """(N, 21, 3) metres in our order, the wrist extrapolated.

    Raises:
        ValueError: no MATLAB file with handPara of (3, 21, N).
    """
    try:
        joints = loadmat(path)["handPara"]
    except (KeyError, ValueError, TypeError, NotImplementedError, OSError, MatReadError) as error:
        raise ValueError(
            f"{path} is no MATLAB file with handPara ({error}): copy it anew"
        ) from error
    joints = numbers(joints, (3, NUM_JOINTS, joints.shape[-1]), str(path)) * _MILLIMETRE
    xyz = reorder(joints.permute(2, 1, 0), "stb").contiguous()
    xyz[:, WRIST] = 2 * xyz[:, WRIST] - xyz[:, ROOT]
    return xyz


def _read_depth(path: Path, size: tuple[int, int]) -> np.ndarray:
    """(H, W) float32 metres in the colour image."""
    stored = read_pixels(path)
    if stored.ndim != 3:
        raise ValueError(f"{path}: expected depth in three channels, got {stored.shape}")
    millimetres = stored[..., 2].astype(np.float64) + 256.0 * stored[..., 1]
    return register(
        millimetres * _MILLIMETRE, K_DEPTH.numpy(), K_COLOUR.numpy(), R_COLOUR, T_COLOUR, size
    )
