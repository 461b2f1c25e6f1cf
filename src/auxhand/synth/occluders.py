"""Things in front of the hand and in it: superellipsoids, from boxes over rods to balls.

A superellipsoid (Barr 1981) with half axes r and exponents (e, f) is the surface

    x = r_0 S(eta, e),  y = r_1 C(eta, e) C(omega, f),  z = r_2 C(eta, e) S(omega, f)

with C(t, e) = sign(cos t) |cos t|^e and S alike: (1, 1) is an ellipsoid, (0.15, 1) a rod along x
with flat ends, (0.15, 0.15) a box.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from auxhand.arrays import Doubles
from auxhand.hand.skeleton import BONES, FINGERS, TIPS
from auxhand.synth.factors import OccluderFactors

_RINGS, _SEGMENTS = 15, 24
_SMALLEST_ROOM = 0.004
"""Metres: a hand that leaves less room between its bones holds nothing."""
_FIRST, _SECOND = np.array(BONES).T
_FINGERS = list(FINGERS)[1:]
_KNUCKLES = [FINGERS[name][0] for name in _FINGERS]
_MIDDLES = [FINGERS[name][2] for name in _FINGERS]


class Mesh(NamedTuple):
    """A closed mesh: vertices (V, 3) and faces (F, 3), counter-clockwise from outside."""

    vertices: Doubles
    faces: NDArray[np.int32]


def superellipsoid(radii: tuple[float, float, float], roundness: tuple[float, float]) -> Mesh:
    """The surface of the module's docstring, about the origin."""
    e, f = roundness
    eta = np.linspace(-np.pi / 2, np.pi / 2, _RINGS + 2)[1:-1, None]
    omega = np.linspace(-np.pi, np.pi, _SEGMENTS, endpoint=False)
    ring = [
        _power(np.sin(eta), e) * np.ones_like(omega),
        _power(np.cos(eta), e) * _power(np.cos(omega), f),
        _power(np.cos(eta), e) * _power(np.sin(omega), f),
    ]
    poles = np.array([[-1.0, 0, 0], [1.0, 0, 0]])
    vertices = np.concatenate([np.stack(ring, -1).reshape(-1, 3), poles]) * radii

    first = np.arange(_SEGMENTS)
    following = np.roll(first, -1)
    faces = []
    for start in range(0, (_RINGS - 1) * _SEGMENTS, _SEGMENTS):
        a, b = start + first, start + following
        faces += [
            np.stack([a, b, b + _SEGMENTS], -1),
            np.stack([a, b + _SEGMENTS, a + _SEGMENTS], -1),
        ]
    low, high = len(vertices) - 2, len(vertices) - 1
    last = (_RINGS - 1) * _SEGMENTS
    faces.append(np.stack([np.full(_SEGMENTS, low), following, first], -1))
    faces.append(np.stack([np.full(_SEGMENTS, high), last + first, last + following], -1))
    return Mesh(vertices, np.concatenate(faces).astype(np.int32))


def _power(value: Doubles, exponent: float) -> Doubles:
    return np.sign(value) * np.abs(value) ** exponent


def held(factors: OccluderFactors, joints: Doubles, radii: Doubles) -> Mesh | None:
    """The thing in a hand, in the hand's frame; None where the hand leaves no room for one.

    Args:
        factors: of kind "held".
        joints: (21, 3) metres, hand frame.
        radii: (21,) metres, half the thickness of the bone that ends in each joint.
    """
    center, room = hollow(joints, radii)
    if room < _SMALLEST_ROOM:
        return None
    thing = superellipsoid(factors.radii, factors.roundness)
    turn = Rotation.from_rotvec(factors.turn).as_matrix()
    return Mesh(center + factors.place + room * thing.vertices @ turn.T, thing.faces)


def hollow(joints: Doubles, radii: Doubles) -> tuple[Doubles, float]:
    """Middle (3,) and radius of the largest ball, of some that are tried, that fits into the hand.

    Balls are tried between the knuckles and the middles and tips of the fingers. The radius is 0
    or less where none fits.
    """
    palm = joints[_KNUCKLES].mean(0)
    ends = joints[_MIDDLES].mean(0), joints[list(TIPS)].mean(0)
    shares = np.linspace(0.2, 0.9, 8)[:, None]
    centers = np.concatenate([palm + shares * (end - palm) for end in ends])
    start, along = joints[_FIRST], joints[_SECOND] - joints[_FIRST]
    offset = centers[:, None] - start
    share = np.clip((offset * along).sum(-1) / (along**2).sum(-1), 0, 1)
    distance = np.linalg.norm(offset - share[..., None] * along, axis=-1)
    rooms = (distance - radii[_SECOND]).min(1)
    best = int(np.argmax(rooms))
    return centers[best], float(rooms[best])


def in_front(factors: OccluderFactors, joints: Doubles) -> Mesh:
    """The thing before a hand, in the camera's frame.

    Args:
        factors: of kind "front".
        joints: (21, 3) metres, camera frame.
    """
    rays = joints / joints[:, 2:]
    low, high = rays.min(0), rays.max(0)
    u, v, nearness = factors.place
    x, y = ((low + high) / 2 + np.array([u, v, 0]) * (high - low).max() / 2)[:2]
    center = (1 - nearness) * joints[:, 2].mean() * np.array([x, y, 1.0])
    thing = superellipsoid(factors.radii, factors.roundness)
    turn = Rotation.from_rotvec(factors.turn).as_matrix()
    return Mesh(center + thing.vertices @ turn.T, thing.faces)
