"""The 21 joints of a hand: their names, their order, the bones between them.

Order: wrist; then thumb, index, middle, ring, pinky, each from base to tip.
Everything in AuxHand that has 21 of something has it in this order.
"""

from typing import TypeVar

import numpy as np
from torch import Tensor

JOINT_NAMES: tuple[str, ...] = (
    "wrist",
    *("thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip"),
    *(
        f"{finger}_{joint}"
        for finger in ("index", "middle", "ring", "pinky")
        for joint in ("mcp", "pip", "dip", "tip")
    ),
)
NUM_JOINTS = len(JOINT_NAMES)

FINGERS: dict[str, tuple[int, int, int, int]] = {
    "thumb": (1, 2, 3, 4),
    "index": (5, 6, 7, 8),
    "middle": (9, 10, 11, 12),
    "ring": (13, 14, 15, 16),
    "pinky": (17, 18, 19, 20),
}
"""Joint indices of each finger, base to tip."""

PARENTS: tuple[int, ...] = (-1, *(0 if i % 4 == 1 else i - 1 for i in range(1, NUM_JOINTS)))
"""Parent of each joint in the kinematic chain; the wrist has none (-1)."""

BONES: tuple[tuple[int, int], ...] = tuple((PARENTS[i], i) for i in range(1, NUM_JOINTS))
"""The 20 bones as (parent, child); bone b ends in joint b + 1."""

WRIST = 0
ROOT = 9
"""Default root of relative poses: the middle finger's MCP (Ch. 5.5.1, 6.4.2)."""

REFERENCE_BONE: tuple[int, int] = (9, 10)
"""Default bone whose length is the unit of scale: middle MCP to PIP."""

TIPS: tuple[int, ...] = tuple(chain[-1] for chain in FINGERS.values())


def _chains(first: dict[str, int], step: int, wrist: int) -> tuple[int, ...]:
    """An order from each finger's base index, the step from base to tip and the wrist's index."""
    return (wrist, *(first[finger] + step * k for finger in FINGERS for k in range(4)))


_OURS = tuple(range(NUM_JOINTS))

ORDERS: dict[str, tuple[int, ...]] = {
    "freihand": _OURS,
    "mediapipe": _OURS,
    "openpose": _OURS,
    "onehand10k": _OURS,
    "panoptic": _OURS,
    # 16 joints wrist, index, middle, pinky, ring, thumb (base to tip), then the tips that are
    # appended as vertices: thumb, index, middle, ring, pinky.
    "mano": (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20),
    # Wrist, then thumb to pinky, each from TIP to base.
    "rhd": _chains({"thumb": 4, "index": 8, "middle": 12, "ring": 16, "pinky": 20}, -1, 0),
    # Palm centre (not the wrist), then pinky to thumb, each from base to tip.
    "stb": _chains({"thumb": 17, "index": 13, "middle": 9, "ring": 5, "pinky": 1}, 1, 0),
    # Thumb to pinky, each from TIP to base, then the wrist. The dataset's right hand is its joints
    # 0..20, the left hand its joints 21..41.
    "interhand": _chains({"thumb": 3, "index": 7, "middle": 11, "ring": 15, "pinky": 19}, -1, 20),
}
"""Named joint orders: ours = theirs[..., ORDERS[name], :].

Only the order: what a joint means (STB's palm, MANO's missing tips) is the reader's affair.
"""

Joints = TypeVar("Joints", Tensor, np.ndarray)


def reorder(joints: Joints, convention: str) -> Joints:
    """Joints (..., 21, D) of a named convention, in our order.

    Raises:
        ValueError: the convention is not one of `ORDERS`, or there are not 21 joints.
    """
    if convention not in ORDERS:
        raise ValueError(f"joint order {convention!r} is unknown; known are {sorted(ORDERS)}")
    if len(joints.shape) < 2 or joints.shape[-2] != NUM_JOINTS:
        raise ValueError(f"joints are {tuple(joints.shape)}, not (..., {NUM_JOINTS}, D)")
    return joints[..., list(ORDERS[convention]), :]
