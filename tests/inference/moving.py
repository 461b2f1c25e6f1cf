"""A hand of the surface model that opens and moves before a camera, as tracked predictions."""

import numpy as np
import torch

from auxhand.geometry.crop import Crop
from auxhand.hand.surface import HandSurface
from auxhand.inference.prediction import Prediction
from auxhand.inference.recording import parquet
from auxhand.inference.tracker import TrackedHand

K = np.array([[500.0, 0, 319.5], [0, 500, 239.5], [0, 0, 1]])
TIMES = np.array([0.0, 0.1, 0.25, 0.3])


def bend(angle):
    """(3, 3) rotation about x, which bends a finger at rest to the palm or from it."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def joints(step, side="right"):
    """(21, 3) metres from the camera."""
    surface = HandSurface(side).double()
    rotations = np.tile(np.eye(3), (21, 1, 1))
    for joint in (5, 6, 7, 9, 10, 13, 14, 17, 18):
        rotations[joint] = bend(0.15 * step)
    rotations[0] = bend(0.1 * step) @ np.diag([1.0, 1, 1])
    shape = torch.tensor([[0.5, -0.5, 0, 0, 0, 0]], dtype=torch.float64)
    posed = surface.joints(torch.from_numpy(rotations)[None], shape)[0].numpy()
    return posed + np.array([0.02 * step, 0.03, 0.5])


def hand(step, identity=0, side="right"):
    xyz = joints(step, side)
    pixels = xyz @ K.T
    uv = pixels[:, :2] / pixels[:, 2:]
    return TrackedHand(
        identity,
        Prediction(
            joints_uv=uv,
            joints_relative=xyz - xyz[9],
            joints_xyz=xyz,
            confidence=np.linspace(0.5, 1, 21) - 0.1 * step,
            presence=0.9 - 0.1 * step,
            side=side,
            side_scores=None,
            mask=None,
            box=(0.0, 0.0, 10.0, 10.0),
            K=K,
            hand_size=0.0448,
            crop=Crop(torch.eye(3).double(), (64, 64), torch.eye(3).double()),
            photo_size=(640, 480),
        ),
    )


def record(path):
    """A right hand in four frames, and a left one in the middle two."""
    with parquet(path) as table:
        for step, time in enumerate(TIMES):
            others = [hand(step, 1, "left")] if step in (1, 2) else []
            table.add(step, time, [hand(step), *others])
    return path
