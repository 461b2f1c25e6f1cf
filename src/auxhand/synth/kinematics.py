"""Joints of one hand at many joint angles: small numpy arrays, fast enough to search in.

The same angles as `auxhand.hand.anatomy`, for a right hand in its hand frame; what it returns equals
`HandSurface.forward(rotations_from_angles(angles, rest))` (tests). Inverse kinematics and rejection
need hundreds of poses per sample, for which the differentiable path is too slow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from auxhand.hand.anatomy import rotations_from_angles
from auxhand.hand.skeleton import FINGERS, NUM_JOINTS

Array = NDArray[np.float64]

_CHAINS = np.array(list(FINGERS.values()))
_ABDUCTION_SIGN = np.array([1.0, 1.0, 1.0, -1.0, -1.0])


class Posed(NamedTuple):
    """Posed hands.

    Attributes:
        xyz: (n, 21, 3) joints, metres, hand frame.
        frames: (n, 5, 3, 3, 3) frame of each finger's three bones, base to tip; columns x (toward
            the thumb), y (out of the back of the finger), z (toward the fingertip).
    """

    xyz: Array
    frames: Array


class Kinematics:
    """Forward kinematics of one hand at rest.

    Args:
        rest: (21, 3) joints of a right hand at rest (`HandSurface.rest`), metres.

    Attributes:
        lengths: (5, 3) metres of each finger's bones, base to tip.
        palm: metres from wrist to middle MCP.
        metacarpals: (4,) degrees by which the lines from the wrist to the MCPs of index to pinky
            turn toward the thumb, off the hand frame's -y.
    """

    def __init__(self, rest: Array) -> None:
        self.rest = rest
        bones = rest[_CHAINS[:, 1:]] - rest[_CHAINS[:, :-1]]
        self.lengths = np.linalg.norm(bones, axis=-1)
        palm = rest[_CHAINS[1:, 0]] - rest[0]
        self.palm = float(np.linalg.norm(palm[1]))
        self.metacarpals = np.rad2deg(np.arctan2(palm[:, 0], -palm[:, 1]))
        self._base = self._base_frames(bones[:, 0])

    def _base_frames(self, first_bones: Array) -> Array:
        """(5, 3, 3) frames at angles zero: the first bones point along z, bent by 90 degrees to -y."""
        angles = torch.zeros(2, 15, 3, dtype=torch.float64)
        angles[1, ::3, 0] = torch.pi / 2
        turns = rotations_from_angles(angles, torch.from_numpy(self.rest))[:, _CHAINS[:, 0]].numpy()
        z, palmar = (turns @ first_bones[..., None])[..., 0] / self.lengths[:, :1]
        return np.stack([np.cross(-palmar, z), -palmar, z], -1)

    def __call__(self, angles: Array) -> Posed:
        """Joints and bone frames at angles (n, 15, 3) in radians: flexion, abduction, twist."""
        turns = _turn(angles.reshape(-1, 5, 3, 3))
        xyz = np.empty((len(turns), NUM_JOINTS, 3))
        xyz[:, 0] = self.rest[0]
        xyz[:, _CHAINS[:, 0]] = self.rest[_CHAINS[:, 0]]
        frames = np.empty((len(turns), 5, 3, 3, 3))
        frame = self._base
        for k in range(3):
            frame = frame @ turns[:, :, k]
            frames[:, :, k] = frame
            step = self.lengths[:, k, None] * frame[..., 2]
            xyz[:, _CHAINS[:, k + 1]] = xyz[:, _CHAINS[:, k]] + step
        return Posed(xyz, frames)


def _turn(angles: Array) -> Array:
    """Rx(flexion) Ry(abduction) Rz(twist) of angles (n, 5, 3, 3): (n, 5, 3, 3, 3)."""
    cos, sin = np.cos(angles), np.sin(angles)
    sign = _ABDUCTION_SIGN[:, None]
    (cf, ca, ct), (sf, sa, st) = np.moveaxis(cos, -1, 0), np.moveaxis(sin, -1, 0)
    sa = sa * sign
    turn = np.empty((*cf.shape, 3, 3))
    turn[..., 0, 0], turn[..., 0, 1], turn[..., 0, 2] = ca * ct, -ca * st, sa
    turn[..., 1, 0] = cf * st + sf * sa * ct
    turn[..., 1, 1] = cf * ct - sf * sa * st
    turn[..., 1, 2] = -sf * ca
    turn[..., 2, 0] = sf * st - cf * sa * ct
    turn[..., 2, 1] = sf * ct + cf * sa * st
    turn[..., 2, 2] = cf * ca
    return turn
