"""The 21 joints of a hand: their names, their order, the bones between them.

Order (DESIGN section 3): wrist; then thumb, index, middle, ring, pinky, each from base to tip.
Everything in AuxHand that has 21 of something has it in this order.
"""

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
