"""A hand's joints in the forms that other software takes: MediaPipe, MANO, OpenPose, joint angles,
robots.

Joints are in the order of `hand.skeleton` and, in space, in an OpenCV camera's axes (x right, y
down, z forward), metres. A side is the person's true hand.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from auxhand.hand.anatomy import ARTICULATED, joint_angles
from auxhand.hand.skeleton import JOINT_NAMES, NUM_JOINTS, ORDERS, WRIST
from auxhand.sample import LEFT, SIDES

_INDEX_MCP, _MIDDLE_MCP = JOINT_NAMES.index("index_mcp"), JOINT_NAMES.index("middle_mcp")


class MediaPipeHand(NamedTuple):
    """A hand as MediaPipe's HandLandmarkerResult has it; its 21 landmarks have our order.

    Attributes:
        landmarks: (21, 3). x and y in widths and heights of the photo, from its upper left corner;
            z from the wrist, smaller nearer to the camera, in the scale of x at the wrist's depth.
        world_landmarks: (21, 3) metres about the hand's geometric centre (the joints' mean), axes
            as ours.
        handedness: "Left" or "Right", the person's true hand in a photo that is not mirrored. That
            is what HandLandmarker (tasks) documents; the older `mediapipe.solutions.hands` named
            the hand that a mirrored, front camera's picture shows: swap the two for software that
            was written for it.
        score: of the handedness, in [0, 1].
    """

    landmarks: np.ndarray
    world_landmarks: np.ndarray
    handedness: str
    score: float


class Angles(NamedTuple):
    """Degrees at a joint; what is positive says `hand.anatomy`."""

    flexion: float
    abduction: float


def to_mediapipe(
    uv: np.ndarray,
    xyz: np.ndarray,
    K: np.ndarray,
    photo_size: tuple[int, int],
    side: str,
    score: float = 1.0,
) -> MediaPipeHand:
    """The hand as MediaPipe gives it.

    Args:
        uv: (21, 2) pixels of the photo.
        xyz: (21, 3) before the camera.
        K: (3, 3) intrinsics.
        photo_size: (width, height) of the photo.
        side: "right" or "left".
        score: probability of the side.
    """
    size = np.array(photo_size, np.float64)
    depth = (xyz[:, 2] - xyz[WRIST, 2]) * K[0, 0] / (xyz[WRIST, 2] * size[0])
    landmarks = np.concatenate([(uv + 0.5) / size, depth[:, None]], 1)
    return MediaPipeHand(landmarks, xyz - xyz.mean(0), side.capitalize(), score)


def to_mano_order(joints: np.ndarray) -> np.ndarray:
    """Joints (21, D) in MANO's order: wrist, index, middle, pinky, ring, thumb, each from base to
    the joint before the tip, then the tips of thumb, index, middle, ring, pinky."""
    mano: np.ndarray = joints[np.argsort(ORDERS["mano"])]
    return mano


def to_openpose(uv: np.ndarray, confidence: np.ndarray | None, side: str) -> dict[str, list[float]]:
    """A hand's entries of a person in OpenPose's JSON.

    Args:
        uv: (21, 2) pixels of the photo.
        confidence: (21,) in [0, 1]; None counts as 1.
        side: "right" or "left".

    Returns:
        `hand_left_keypoints_2d` and `hand_right_keypoints_2d`: 63 numbers each, x, y and confidence
        of 21 joints; those of the other hand are zero, as of a hand that OpenPose did not find.
    """
    sure = np.ones(NUM_JOINTS) if confidence is None else confidence
    mine = np.concatenate([uv, sure[:, None]], 1).flatten().tolist()
    return {
        f"hand_{name}_keypoints_2d": mine if name == side else [0.0] * len(mine)
        for name in sorted(SIDES)
    }


def angles(xyz: np.ndarray, side: str) -> dict[str, Angles]:
    """Degrees of flexion and abduction at the 15 joints that bend, by their names.

    Args:
        xyz: (21, 3) joints in any camera or world frame and any unit.
        side: "right" or "left"; both hands' angles mean the same.
    """
    mirror = np.array([-1.0 if side == LEFT else 1.0, 1.0, 1.0])
    degrees = np.degrees(joint_angles(torch.from_numpy(xyz * mirror)).numpy())
    return {
        JOINT_NAMES[joint]: Angles(float(flexion), float(abduction))
        for joint, (flexion, abduction, _) in zip(ARTICULATED, degrees, strict=True)
    }


def retargeting(xyz: np.ndarray, side: str) -> np.ndarray:
    """Joints for dex-retargeting: what `SingleHandDetector.detect` of its example gives.

    Source: github.com/dexsuite/dex-retargeting, example/vector_retargeting/single_hand_detector.py
    (MIT): a frame of the palm as MANO's, then turned by the example's constant of either side.
    What results, for both sides: z points from the wrist to the middle finger's MCP, x out of the
    palm (the plane of these two and the index finger's MCP) to where the fingers bend, and
    y = z x x, to the thumb's side of a right hand and the little finger's side of a left one.

    Args:
        xyz: (21, 3) joints, metres, in any camera or world frame.
        side: "right" or "left".

    Returns:
        (21, 3) metres, the wrist at the origin.
    """
    relative = xyz - xyz[WRIST]
    ahead = relative[_MIDDLE_MCP] / np.linalg.norm(relative[_MIDDLE_MCP])
    across = relative[_INDEX_MCP] - relative[_MIDDLE_MCP]
    across = across - (across @ ahead) * ahead
    across = across / np.linalg.norm(across) * (-1 if side == LEFT else 1)
    axes = np.stack([np.cross(across, ahead), across, ahead], 1)
    joints: np.ndarray = relative @ axes
    return joints
