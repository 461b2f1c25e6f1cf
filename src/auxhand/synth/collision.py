"""Does a hand pass through itself: capsules about the bones, for many poses at once.

Skin is soft and capsules are coarse, so what is measured is how deep bones overlap beyond the
overlap that they have in the rest pose; the pose sampler rejects what is too deep.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from auxhand.arrays import Doubles
from auxhand.hand.skeleton import FINGERS, PARENTS, ROOT, TIPS, WRIST

JOINT_RADII: Doubles = np.array(
    [
        *(0.0, 0.0, 0.0130, 0.0098, 0.0081),  # wrist; thumb: carpal, metacarpal, phalanges
        *(0.0105, 0.0096, 0.0086, 0.0070),  # index: palm, proximal, middle, distal
        *(0.0105, 0.0100, 0.0084, 0.0069),
        *(0.0105, 0.0094, 0.0076, 0.0068),
        *(0.0105, 0.0085, 0.0065, 0.0052),
    ]
)
"""(21,) metres: half the thickness of the bone that ends in each joint, for the mean hand: the
median distance of the template's vertices to the bone (palm: less, where fingers sink in)."""


MEASURED_PALM = 0.090
"""Metres from wrist to middle MCP of the hand that `JOINT_RADII` are measured on."""


def radii(rest: Doubles, finger_width: Doubles) -> Doubles:
    """(21,) metres: `JOINT_RADII` for a hand with joints `rest` (21, 3) and finger widths (5,)."""
    size = float(np.linalg.norm(rest[ROOT] - rest[WRIST])) / MEASURED_PALM
    scaled: Doubles = size * JOINT_RADII * np.concatenate([[1.0], np.repeat(finger_width, 4)])
    return scaled


def _pairs() -> NDArray[np.int64]:
    """(P, 2) pairs of bones, named by the joint they end in, that can collide.

    Bones have a level: 0 in the palm, 1 proximal, 2 middle, 3 distal (for the thumb: metacarpal 0,
    proximal 2, distal 3). Bones of different fingers can collide unless both are near the palm
    (levels that sum to less than 2: they share its flesh); of one finger, only its outer bones and
    the palm.
    """
    level, finger = {}, {}
    for name, chain in FINGERS.items():
        for joint, k in zip(chain, (-1, 0, 2, 3) if name == "thumb" else range(4), strict=True):
            level[joint], finger[joint] = k, name
    return np.array(
        [
            (a, b)
            for a, b in combinations(range(2, 21), 2)
            if (level[a] + level[b] >= 2 and finger[a] != finger[b])
            or (finger[a] == finger[b] != "thumb" and level[a] == 0 and level[b] >= 2)
        ]
    )


PAIRS = _pairs()
_PARENTS = np.array(PARENTS)
_TIPS = np.array(TIPS)


def overlap(xyz: Doubles, radii: Doubles, pairs: NDArray[np.int64] = PAIRS) -> Doubles:
    """(n, P) metres by which the capsules of each pair overlap (negative: a gap).

    Args:
        xyz: (n, 21, 3) joints.
        radii: (21,) radius of the bone that ends in each joint.
        pairs: (P, 2) bones, named by the joint they end in.
    """
    start, end = xyz[:, _PARENTS], xyz.copy()
    bones = end[:, _TIPS] - start[:, _TIPS]
    length = np.sqrt((bones**2).sum(-1, keepdims=True))
    # A fingertip lies on the skin: its capsule's axis ends one radius before.
    end[:, _TIPS] -= radii[_TIPS, None] / length * bones
    result = np.empty((len(xyz), len(pairs)))
    _overlap(start, end, radii, pairs, result)
    return result


def penetration(xyz: Doubles, rest: Doubles, radii: Doubles) -> Doubles:
    """(n,) metres of the deepest overlap beyond what the same pair has in the rest pose.

    Args:
        xyz: (n, 21, 3) joints of posed hands.
        rest: (21, 3) joints of the same hand at rest.
        radii: (21,) as for `overlap`.
    """
    deepest: Doubles = (overlap(xyz, radii) - tolerated(rest, radii)).max(-1)
    return deepest


def tolerated(rest: Doubles, radii: Doubles, pairs: NDArray[np.int64] = PAIRS) -> Doubles:
    """(P,) metres by which each pair overlaps in the rest pose: no collision."""
    at_rest: Doubles = np.maximum(overlap(rest[None], radii, pairs)[0], 0)
    return at_rest


@njit(cache=True, inline="always", error_model="numpy")
def segment_distance(p0: Doubles, p1: Doubles, q0: Doubles, q1: Doubles) -> float:
    """Smallest distance between the segments p0-p1 and q0-q1 in space, each end (3,).

    The closest points of the lines, clamped to the segments (Ericson, "Real-Time Collision
    Detection", 2005, section 5.1.9). Segments must not be points.
    """
    a = b = c = e = f = 0.0
    for i in range(3):
        d1, d2, r = p1[i] - p0[i], q1[i] - q0[i], p0[i] - q0[i]
        a, b, c, e, f = a + d1 * d1, b + d1 * d2, c + d1 * r, e + d2 * d2, f + d2 * r
    determinant = a * e - b * b
    s = 0.0
    if determinant > 1e-9 * a * e:  # else parallel: any point of the first will do
        s = min(max((b * f - c * e) / determinant, 0.0), 1.0)
    t = min(max((b * s + f) / e, 0.0), 1.0)
    s = min(max((b * t - c) / a, 0.0), 1.0)
    square = 0.0
    for i in range(3):
        offset = p0[i] - q0[i] + s * (p1[i] - p0[i]) - t * (q1[i] - q0[i])
        square += offset * offset
    return float(np.sqrt(square))


@njit(cache=True, error_model="numpy")
def _overlap(
    start: Doubles, end: Doubles, radii: Doubles, pairs: NDArray[np.int64], result: Doubles
) -> None:
    for n in range(len(start)):
        for k in range(len(pairs)):
            a, b = pairs[k]
            distance = segment_distance(start[n, a], end[n, a], start[n, b], end[n, b])
            result[n, k] = radii[a] + radii[b] - distance
