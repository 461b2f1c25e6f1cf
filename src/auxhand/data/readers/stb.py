"""Stereo Hand Pose Tracking Benchmark (Zhang et al., ICIP 2017), as published.

Facts are from the release's readme: cameras, `depth = r + 256 g` millimetres, `handPara` of (3, 21,
1500) millimetres (palm centre, then pinky to thumb, each from base to tip). Labels of the stereo
pair ("BB") are in the left camera's frame, and the right camera is `base line` = 120.054 mm to its
right (data/stb/create_db.m of Zimmermann and Brox's hand3d). Labels of the colour-depth pair ("SK")
are in the depth camera's frame (the loaders of hand-graph-cnn and bihand): by the readme's words
x_depth = R x_colour + T, and by its script x_colour = R^-1 (x_depth - T).

The palm centre is moved to the wrist, as the chapters do after Zimmermann and Brox and Cai et al.:
wrist = middle MCP + 2 (palm - middle MCP). (bihand has 2.2; hand-graph-cnn starts from the ring
finger.) uv is not published: it is projected, so that the invariant is exact. All hands are one
person's left hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, get_args

import cv2
import numpy as np
import torch

from auxhand.data.crops import CropRule
from auxhand.data.readers.depth import read_red_green, register
from auxhand.data.readers.files import numbers, one_of, read_image, require
from auxhand.geometry.camera import project
from auxhand.hand.skeleton import NUM_JOINTS, ROOT, WRIST, reorder
from auxhand.sample import LEFT, HandSample

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
BASE_LINE = 120.054 * _MILLIMETRE
"""The right camera of the stereo pair sees x - (BASE_LINE, 0, 0)."""

Camera = Literal["SK", "BB_left", "BB_right"]


class STB:
    """STB (see `Reader`): B1 is the test split, the other ten sequences the training split.

    Args:
        root: holds images/ and labels/.
        split: "training" or "test".
        camera: "SK", the colour-depth pairs of Ch. 5 (with depth in the colour image); "BB_left" or
            "BB_right", the images of the stereo pairs (without depth).
    """

    NAME: ClassVar[str] = "stb"
    LAYOUT: ClassVar[str] = """STB/
  labels/  B1Counting_SK.mat, B1Counting_BB.mat, B1Random_SK.mat, ... B6Random_BB.mat
  images/  B1Counting/SK_color_0.png, SK_depth_0.png, BB_left_0.png, BB_right_0.png, ...
           B1Random/, ... B6Random/"""
    COUNTS: ClassVar[Mapping[str, int]] = {"training": 15000, "test": 3000}
    CROP: ClassVar[CropRule] = CropRule("joints", 0.8)
    """The fraction is our choice."""

    def __init__(self, root: Path, split: str, camera: Camera = "SK") -> None:
        self.split = one_of(split, self.COUNTS, self.NAME)
        if camera not in get_args(Camera):
            raise ValueError(f"stb has no camera {camera!r}; it has: {', '.join(get_args(Camera))}")
        self.camera = camera
        self.images = Path(root) / "images"
        sequences = _TEST if split == "test" else _TRAINING
        labels = [f"labels/{name}_{camera[:2]}.mat" for name in sequences]
        require(Path(root), [*labels, *(f"images/{name}" for name in sequences)], self.LAYOUT)
        joints = [_seen(_read_labels(Path(root) / path), camera) for path in labels]
        self._joints = torch.cat(joints)
        self._frames = [
            (sequence, frame)
            for sequence, labelled in zip(sequences, joints, strict=True)
            for frame in range(len(labelled))
        ]

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> HandSample:
        sequence, frame = self._frames[index]
        folder = self.images / sequence
        paired = self.camera == "SK"
        name = "SK_color" if paired else self.camera
        image = read_image(folder / f"{name}_{frame}.png")
        K, depth = K_STEREO, None
        if paired:
            K = K_COLOUR
            size = (image.shape[1], image.shape[2])
            depth = torch.from_numpy(_read_depth(folder / f"SK_depth_{frame}.png", size))
        xyz = self._joints[index]
        return HandSample(
            image=image,
            K=K.clone(),
            side=LEFT,
            joints_uv=project(K, xyz),
            joints_xyz=xyz.clone(),
            joint_valid=torch.ones(NUM_JOINTS, dtype=torch.bool),
            depth=depth,
            source=f"stb/{self.split}/{sequence}/{frame}",
        )


def _read_labels(path: Path) -> torch.Tensor:
    """(N, 21, 3) metres in our order, the wrist extrapolated.

    Raises:
        ValueError: no MATLAB file with handPara of (3, 21, N).
    """
    try:
        from scipy.io import loadmat

        joints = loadmat(path)["handPara"]
        count = joints.shape[2]
    except Exception as error:  # a damaged file can fail in any way
        raise ValueError(
            f"{path} is no MATLAB file with handPara ({error}): copy it anew"
        ) from error
    joints = numbers(joints, (3, NUM_JOINTS, count), str(path), finite=False) * _MILLIMETRE
    xyz = reorder(joints.permute(2, 1, 0), "stb").contiguous()
    xyz[:, WRIST] = 2 * xyz[:, WRIST] - xyz[:, ROOT]
    return xyz


def _seen(xyz: torch.Tensor, camera: Camera) -> torch.Tensor:
    """(..., 3) metres in the frame of the labels -> in that of the camera whose images are read."""
    if camera == "SK":
        return xyz @ torch.from_numpy(R_COLOUR).mT + torch.from_numpy(T_COLOUR)
    return xyz - xyz.new_tensor([BASE_LINE if camera == "BB_right" else 0.0, 0.0, 0.0])


def _read_depth(path: Path, size: tuple[int, int]) -> np.ndarray:
    """(H, W) float32 metres in the colour image."""
    red, green = read_red_green(path)
    metres = (red + 256 * green) * _MILLIMETRE
    return register(metres, K_DEPTH.numpy(), K_COLOUR.numpy(), R_COLOUR, T_COLOUR, size)
