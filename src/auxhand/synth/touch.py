"""Inverse kinematics of contacts: bring the pad of the thumb to points on other fingers.

Damped least squares from a batch of starting poses (Levenberg 1944; Buss 2009 for its use in
inverse kinematics). The starting pose is the prior, so that every solution stays close to the
gesture it began with; overlaps of the thumb with other bones count as errors. Thumb and touched
fingers move, and fingers that follow these.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auxhand.arrays import Doubles
from auxhand.hand.skeleton import FINGERS
from auxhand.synth import collision
from auxhand.synth.gestures import Touch
from auxhand.synth.kinematics import Kinematics, Posed

_NAMES = tuple(FINGERS)
_BONES = ("proximal", "middle", "distal")
_SIDES = {"radial": (0, 1), "dorsal": (1, 1), "palmar": (1, -1)}
"""Axis of a bone's frame that a side faces, and its sign."""
_PAD = Touch("thumb", "distal", "palmar", 0.6)
_THUMB_TIP = FINGERS["thumb"][3]
_PAIRS = collision.PAIRS[collision.PAIRS[:, 0] <= _THUMB_TIP]
"""Pairs of bones of which one is the thumb's."""

_DIP_PER_PIP = 2 / 3
_THUMB = ((0, 0), (0, 1), (1, 0), (2, 0))
"""Angles of the thumb that move: (joint, flexion or abduction)."""
_FINGER = ((0, 0), (0, 1), (1, 0))
"""Angles of a touched finger that move; its DIP follows its PIP."""
_FOLLOWING = 0.9
"""How far followers bend per bend of the finger that they follow."""
_THUMB_PRIOR = np.deg2rad([20, 20, 20, 25])
_FINGER_PRIOR = np.deg2rad([20, 5, 20])
"""Standard deviations of the moving angles about the starting pose."""
_FACING = 0.5
"""Standard deviation of the direction of a contact off the normals of both skins, radians."""
_PRESSED = 0.0015
"""Metres by which two pads flatten each other."""
_CLEARANCE = 0.0015
"""Standard deviation of an overlap that is no contact, metres."""
_DIFFERENCE = 1e-4
_LARGEST_STEP = 0.3
"""Radians that an angle may change in one iteration: contacts are far from linear."""
_ITERATIONS = 6


def solve(
    kinematics: Kinematics,
    start: Doubles,
    touches: Sequence[Touch],
    radii: Doubles,
    limits: Doubles,
) -> tuple[Doubles, Doubles]:
    """Poses near `start` in which the thumb's pad touches.

    Args:
        kinematics: of the hand.
        start: (n, 15, 3) joint angles, radians.
        touches: what is touched, all at once.
        radii: (21,) radius of the bone that ends in each joint, metres.
        limits: (15, 3, 2) smallest and largest angles.

    Returns:
        (n, 15, 3) angles within the limits, and (n,) by how many of its tolerances the worst of the
        contacts is missed.
    """
    low, high = limits[..., 0], limits[..., 1]
    steps = _unit_steps(touches)
    prior = np.concatenate([_THUMB_PRIOR, *[_FINGER_PRIOR] * len(touches)])
    tolerated = collision.tolerated(kinematics.rest, radii, _PAIRS)

    def residuals(angles: Doubles) -> Doubles:
        return _residuals(kinematics(angles), touches, radii, tolerated)

    angles = np.clip(start, low, high)
    n, columns = len(angles), len(steps)
    moved = np.zeros((n, columns))
    for _ in range(_ITERATIONS):
        varied = np.concatenate([angles[None], angles + _DIFFERENCE * steps[:, None]])
        values = residuals(varied.reshape(-1, 15, 3)).reshape(columns + 1, n, -1)
        jacobian = np.moveaxis(values[1:] - values[0], 0, -1) / _DIFFERENCE
        normal = jacobian.transpose(0, 2, 1) @ jacobian
        normal[:, range(columns), range(columns)] += prior**-2
        gradient = np.einsum("nrc,nr->nc", jacobian, values[0]) + moved / prior**2
        step = -np.linalg.solve(normal, gradient[..., None])[..., 0]
        step *= np.minimum(1, _LARGEST_STEP / np.abs(step).max(-1, keepdims=True))
        angles = np.clip(angles + np.tensordot(step, steps, 1), low, high)
        moved += step
    return angles, np.abs(residuals(angles)[:, : len(touches)]).max(-1)


def _unit_steps(touches: Sequence[Touch]) -> Doubles:
    """(columns, 15, 3) change of the angles per radian of each moving angle."""
    steps = np.zeros((len(_THUMB) + len(_FINGER) * len(touches), 15, 3))
    for column, (joint, kind) in enumerate(_THUMB):
        steps[column, joint, kind] = 1
    column = len(_THUMB)
    for touch in touches:
        for joint, kind in _FINGER:
            shares = {touch.finger: 1.0}
            if kind == 0:
                shares |= dict.fromkeys(touch.followers, _FOLLOWING)
            for name, share in shares.items():
                moved = 3 * _NAMES.index(name) + joint
                steps[column, moved, kind] = share
                if joint == 1:
                    steps[column, moved + 1, kind] = _DIP_PER_PIP * share
            column += 1
    return steps


def _residuals(
    posed: Posed, touches: Sequence[Touch], radii: Doubles, tolerated: Doubles
) -> Doubles:
    """(n, R) errors in standard deviations: first by how much each of the touches is missed.

    Then, for each touch, the way from the thumb's bone to the finger's should leave the thumb by
    its pad and enter the finger by the side that is touched; and no other bones should overlap.
    """
    overlap = collision.overlap(posed.xyz, radii, _PAIRS)
    excess = np.maximum(overlap - tolerated, 0) / _CLEARANCE
    thumb, pad_normal = _place(posed, _PAD)
    facing = _FACING * len(touches)  # a pad cannot face several fingers at once
    gaps, directions = [], []
    for touch in touches:
        bone = FINGERS[touch.finger][_BONES.index(touch.bone) + 1]
        pair = _PAIRS.tolist().index([_THUMB_TIP, bone])
        gaps.append((overlap[:, pair] - _PRESSED) / touch.tolerance)
        excess[:, pair] = 0
        finger, normal = _place(posed, touch)
        way = finger - thumb
        way /= np.sqrt((way**2).sum(-1, keepdims=True))
        directions += [(way - pad_normal) / facing, (way + normal) / facing]
    return np.concatenate([np.stack(gaps, -1), *directions, excess], -1)


def _place(posed: Posed, touch: Touch) -> tuple[Doubles, Doubles]:
    """Point (n, 3) on the bone's axis under the skin that `touch` names, and that skin's normal."""
    finger, bone = _NAMES.index(touch.finger), _BONES.index(touch.bone)
    base = FINGERS[touch.finger][bone]
    axis, sign = _SIDES[touch.side]
    start, end = posed.xyz[:, base], posed.xyz[:, base + 1]
    return start + touch.along * (end - start), sign * posed.frames[:, finger, bone, :, axis]
