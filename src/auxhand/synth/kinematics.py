"""Joints of one hand at many joint angles, fast enough to search in.

The same angles as `auxhand.hand.anatomy`, for a right hand in its hand frame: joints and rotations
equal those of `rotations_from_angles` and `HandSurface.forward` (tests). Rejection and inverse
kinematics need hundreds of poses per sample, for which the differentiable path is too slow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from auxhand.arrays import Doubles
from auxhand.hand.anatomy import THUMB_BASE
from auxhand.hand.skeleton import FINGERS, NUM_JOINTS, ROOT, WRIST

_CHAINS = np.array(list(FINGERS.values()))
_ABDUCTION_SIGN = np.array([1.0, 1.0, 1.0, -1.0, -1.0])


class Posed(NamedTuple):
    """Posed hands.

    Attributes:
        xyz: (n, 21, 3) joints, metres, hand frame.
        frames: (n, 5, 3, 3, 3) frame of each finger's three bones, base to tip; columns x (toward
            the thumb), y (out of the back of the finger), z (toward the fingertip).
    """

    xyz: Doubles
    frames: Doubles


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

    def __init__(self, rest: Doubles) -> None:
        self.rest = np.ascontiguousarray(rest, np.float64)
        bones = self.rest[_CHAINS[:, 1:]] - self.rest[_CHAINS[:, :-1]]
        self.lengths = np.linalg.norm(bones, axis=-1)
        palm = self.rest[_CHAINS[1:, 0]] - self.rest[WRIST]
        self.palm = float(np.linalg.norm(palm[1]))
        self.metacarpals = np.rad2deg(np.arctan2(palm[:, 0], -palm[:, 1]))
        self._base = _base_frames(self.rest)

    def __call__(self, angles: Doubles) -> Posed:
        """Joints and bone frames at angles (n, 15, 3) in radians: flexion, abduction, twist."""
        xyz = np.empty((len(angles), NUM_JOINTS, 3))
        frames = np.empty((len(angles), 5, 3, 3, 3))
        angles = np.ascontiguousarray(angles).reshape(-1, 5, 3, 3)
        _pose(angles, self.rest, self.lengths, self._base, xyz, frames)
        return Posed(xyz, frames)

    def rotations(self, angles: Doubles) -> Doubles:
        """(21, 3, 3) relative rotations for `HandSurface.forward` at angles (15, 3) in radians."""
        posed, rest = self(angles[None]).frames[0], self(self._rest_angles()[None]).frames[0]
        turned = posed @ rest.swapaxes(-1, -2)  # of each bone since the rest pose
        rotations = np.tile(np.eye(3), (NUM_JOINTS, 1, 1))
        rotations[_CHAINS[:, 0]] = turned[:, 0]
        rotations[_CHAINS[:, 1:3]] = turned[:, :2].swapaxes(-1, -2) @ turned[:, 1:]
        return rotations

    def _rest_angles(self) -> Doubles:
        """(15, 3) angles of the rest pose."""
        angles = np.zeros((5, 3, 3))
        for k in range(3):
            frames = self(angles.reshape(1, 15, 3)).frames[0, :, k - 1] if k else self._base
            bones = self.rest[_CHAINS[:, k + 1]] - self.rest[_CHAINS[:, k]]
            x, y, z = (frames.swapaxes(-1, -2) @ bones[..., None])[..., 0].T
            angles[:, k, 0] = np.arctan2(-y, z)
            angles[:, k, 1] = np.arctan2(x, np.hypot(y, z)) * _ABDUCTION_SIGN
        return angles.reshape(15, 3)


def _base_frames(rest: Doubles) -> Doubles:
    """(5, 3, 3) frames (columns x, y, z) of each finger's first bone at angles zero."""
    palm = rest[_CHAINS[1:, 0]] - rest[WRIST]
    dorsal = np.cross(palm[3], palm[0])
    z = np.concatenate([rest[ROOT : ROOT + 1] - rest[WRIST], palm])
    z /= np.linalg.norm(z, axis=-1, keepdims=True)
    x = np.cross(dorsal, z)
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    frames = np.stack([x, np.cross(z, x), z], -1)
    frames[0] = frames[0] @ THUMB_BASE.numpy()
    return frames


@njit(cache=True)
def _pose(
    angles: Doubles, rest: Doubles, lengths: Doubles, base: Doubles, xyz: Doubles, frames: Doubles
) -> None:
    """Fill xyz (n, 21, 3) and frames (n, 5, 3, 3, 3): each bone's frame is that of the bone before
    it times Rx(flexion) Ry(abduction) Rz(twist)."""
    turn = np.empty((3, 3))
    for n in range(angles.shape[0]):
        xyz[n, 0] = rest[0]
        for finger in range(5):
            joint = 1 + 4 * finger
            xyz[n, joint] = rest[joint]
            frame = base[finger]
            for k in range(3):
                flexion, abduction, twist = angles[n, finger, k]
                abduction *= _ABDUCTION_SIGN[finger]
                cf, ca, ct = np.cos(flexion), np.cos(abduction), np.cos(twist)
                sf, sa, st = np.sin(flexion), np.sin(abduction), np.sin(twist)
                turn[0, 0], turn[0, 1], turn[0, 2] = ca * ct, -ca * st, sa
                turn[1, 0] = cf * st + sf * sa * ct
                turn[1, 1] = cf * ct - sf * sa * st
                turn[1, 2] = -sf * ca
                turn[2, 0] = sf * st - cf * sa * ct
                turn[2, 1] = sf * ct + cf * sa * st
                turn[2, 2] = cf * ca
                turned = frames[n, finger, k]
                for i in range(3):
                    for j in range(3):
                        turned[i, j] = (
                            frame[i, 0] * turn[0, j]
                            + frame[i, 1] * turn[1, j]
                            + frame[i, 2] * turn[2, j]
                        )
                    xyz[n, joint + k + 1, i] = (
                        xyz[n, joint + k, i] + lengths[finger, k] * turned[i, 2]
                    )
                frame = turned
