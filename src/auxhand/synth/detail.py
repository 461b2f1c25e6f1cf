"""Fine relief of skin, pixel by pixel: nails, wrinkles, creases, veins, tendons; rings, watches.

Vertices are millimetres apart and show none of it. So each vertex carries smooth coordinates
(`Coordinates`: where along a finger, how far across it, where about the nail), which do not change
with pose or shape; they are interpolated at every pixel, and what lies there is a function of them
and of a person (`Detail.pattern`). Features that are finer than a pixel are drawn as wide as one
and weaker by as much, so that they fade instead of flickering.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from auxhand.hand.skeleton import FINGERS, ROOT
from auxhand.hand.surface import HandSurface
from auxhand.synth.scene import Array, Detail
from auxhand.synth.skin import (
    PALM_LINES,
    PROXIMAL_CREASE,
    TENDONS,
    VEINS,
    Bone,
    SkinMaps,
    distance,
    palm_directions,
)

CHANNELS = 7
"""Of `detail_maps`: factors on red, green, blue; slope (3,); roughness (0: the surface's own)."""
NAIL_ROUGHNESS = 0.22
_MAP_CELL, _MAP_SIDE = 0.012, 256
"""Of the distance maps of the palm's plane, in lengths of the middle metacarpal bone."""
_STEEPEST = 0.8
"""Largest slope, and below it the step in depth (metres) beyond which pixels are no neighbours."""
_JUMP = 0.004


class Coordinates(NamedTuple):
    """Where a point lies on the hand; each (V,) at vertices, or (N,) at pixels.

    Attributes:
        bare: 1 on skin, 0 on cloth and on other things.
        bone: along its finger: 0 at the first joint, 1 at the second, 3 at the tip.
        across: metres from the finger's axis toward one side.
        finger: weight of the fingers against the palm.
        palmar: 1 on the side of the palm, 0 on the back.
        nail_along, nail_across: -1 to 1 from the nail's root to its end, and across it.
        dorsal: how much the surface at a fingertip faces backwards.
        x, y: in the plane of the palm, in lengths of the middle metacarpal bone.
        arm: metres behind the wrist.
        number: 1 thumb to 5 pinky, 0 palm.
    """

    bare: Array
    bone: Array
    across: Array
    finger: Array
    palmar: Array
    nail_along: Array
    nail_across: Array
    dorsal: Array
    x: Array
    y: Array
    arm: Array
    number: Array

    @classmethod
    def of(cls, surface: HandSurface, maps: SkinMaps) -> Self:
        """Of the template of a right hand."""
        rest = maps.rest.astype(np.float64)
        joints = surface.rest_joints.double().numpy()
        weights = surface.weights.double().numpy()
        directions = palm_directions(joints)
        on_fingers = np.stack([weights[:, chain[:3]].sum(1) for chain in FINGERS.values()], 1)
        mine = on_fingers.argmax(1)
        bone, across, nail_along, nail_across, dorsal = np.zeros((5, len(rest)))
        nail_along -= 9
        for finger, chain in enumerate(FINGERS.values()):
            of_finger = mine == finger
            bones = [Bone.of(rest, joints[j], joints[j + 1], directions[j]) for j in chain[:3]]
            length = [b.along / b.length for b in bones]
            past = [length[1] > 0, length[2] > 0]
            position = np.where(past[1], 2 + length[2], np.where(past[0], 1 + length[1], length[0]))
            lateral = np.where(past[1], bones[2].across, bones[1].across)
            last = bones[2]
            tip = of_finger & (on_fingers[:, finger] > 0.6) & (last.along > 0.2 * last.length)
            end = last.along[tip].max()
            middle = np.abs(last.along - 0.6 * last.length) < 0.004
            width = np.ptp(last.across[tip & middle]) / 2
            bone[of_finger] = np.clip(position, -1, 4)[of_finger]
            across[of_finger] = lateral[of_finger]
            nail_along[of_finger] = ((last.along - (end - 0.85 * width)) / (0.72 * width))[
                of_finger
            ]
            nail_across[of_finger] = (last.across / (0.78 * width))[of_finger]
            dorsal[of_finger] = (-last.height / (0.5 * width))[of_finger]
        finger_weight = on_fingers.max(1)
        unit = float(np.linalg.norm(joints[ROOT]))
        values = (
            np.ones(len(rest)),
            *(bone, across, finger_weight, maps.palmar, nail_along, nail_across, dorsal),
            *(rest[:, 0] / unit, rest[:, 1] / unit, maps.forearm_distance),
            np.where(finger_weight > 0.3, mine + 1, 0),
        )
        return cls(*(np.asarray(each, np.float32) for each in values))


@dataclass(frozen=True)
class Person:
    """What differs from person to person, drawn from a seed.

    Attributes:
        crease, wrinkle, vein, tendon: depth of these features, 1 about the mean.
        shift: (5, 3) where the creases of each finger lie, off the joint, in bones.
        nail: (along, across) factors on the nail's size; `edge`: share of white at its end;
            `lunula`: how far the pale half moon reaches from the root; `shine`: brightness.
        ring: (finger, bone) of a ring; None: none. `watch`: (start, end) metres behind the wrist.
        metal: (3,) factor of its colour.
    """

    crease: float
    wrinkle: float
    vein: float
    tendon: float
    shift: NDArray[np.float64]
    nail: tuple[float, float]
    edge: float
    lunula: float
    shine: float
    ring: tuple[int, float] | None
    watch: tuple[float, float] | None
    metal: NDArray[np.float64]
    strap: NDArray[np.float64]

    @classmethod
    def of(cls, pattern: int) -> Self:
        """The person of a seed: a pure function."""
        rng = np.random.default_rng([pattern, 23])
        crease, wrinkle, vein, tendon = rng.uniform(0.6, 1.4, 4)
        gold = np.array([1.5, 1.15, 0.5]) if rng.random() < 0.5 else np.array([1.15, 1.2, 1.3])
        return cls(
            *(crease, wrinkle, vein * (rng.random() < 0.7), tendon),
            rng.normal(0, 0.03, (5, 3)),
            (rng.uniform(0.85, 1.2), rng.uniform(0.88, 1.08)),
            rng.uniform(0.0, 0.22) ** 1.2,
            rng.uniform(0.0, 0.5),
            rng.uniform(0.92, 1.15),
            (int(rng.integers(2, 6)), rng.uniform(0.38, 0.6)) if rng.random() < 0.1 else None,
            (start := rng.uniform(0.012, 0.03), start + rng.uniform(0.008, 0.03))
            if rng.random() < 0.07
            else None,
            gold,
            rng.random(3) ** 2 * 0.8 + 0.02,
        )


def _palm_maps() -> tuple[Array, Array, Array]:
    """Distances to palm lines, veins and tendons in the palm's plane, in metacarpal lengths."""
    ticks = (np.arange(_MAP_SIDE) - _MAP_SIDE / 2) * _MAP_CELL
    plane = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)
    lines, veins, tendons = (
        np.minimum.reduce([distance(plane, curve) for curve in curves])
        .reshape(_MAP_SIDE, _MAP_SIDE)
        .astype(np.float32)
        for curves in (PALM_LINES, VEINS, TENDONS)
    )
    return lines, veins, tendons


_MAPS = _palm_maps()


def _look_up(grid: Array, x: Array, y: Array) -> Array:
    """Bilinear look-up of a distance map at (N,) places."""
    places = np.stack([y, x]) / _MAP_CELL + _MAP_SIDE / 2
    found: Array = map_coordinates(grid, places, order=1, mode="nearest")
    return found


def nail_distance(at: Coordinates, person: Person) -> Array:
    """How far outside a nail a point is: below 1 inside it, 1 on its border, 9 where none is."""
    along, across = at.nail_along / person.nail[0], at.nail_across / person.nail[1]
    # Square at the root, rounder at the end.
    outside = (np.abs(along) ** 3 + np.abs(across) ** 3) ** (1 / 3)
    near: Array = np.where((at.dorsal > 0.15) & (at.finger > 0.5) & (at.bare > 0.5), outside, 9)
    return near.astype(np.float32)


def _line(offset: Array, width: float, pixel: Array) -> Array:
    """A line of that half width (same unit as `offset` and `pixel`), as strong as a pixel shows."""
    shown = np.maximum(width, 0.5 * pixel)
    line: Array = (width / shown) ** 0.6 * np.exp(-((offset / shown) ** 2))
    return line


def relief(at: Coordinates, person: Person, pixel: Array) -> tuple[Array, Array, Array]:
    """What lies at points of the skin.

    Args:
        at: the points, (N,) each.
        person: whose skin.
        pixel: (N,) metres that a pixel covers there.

    Returns:
        Factors on the albedo (N, 3), height in metres (N,), roughness (N,), 0 = the surface's own.
    """
    count = len(at.bone)
    height = np.zeros(count, np.float32)
    dark = np.zeros(count, np.float32)
    red = np.zeros(count, np.float32)
    palmar = np.clip((at.palmar - 0.35) / 0.3, 0, 1)
    dorsal = 1 - np.clip((at.palmar - 0.2) / 0.4, 0, 1)
    on_finger = np.clip((at.finger - 0.3) / 0.3, 0, 1)
    number = np.clip(at.number.astype(np.int64) - 1, 0, 4)
    bone_metres = 0.03  # a finger's bone, about: turns `bone` into metres
    thumb = at.number == 1
    for joint, first in enumerate((PROXIMAL_CREASE, 1.0, 2.0)):
        where = first + person.shift[number, joint]
        offset = (at.bone - where) * bone_metres
        if joint == 0:
            offset = np.where(thumb, 1.0, offset)
        for side in (-0.0012, 0.0012) if joint == 1 else (0.0,):
            # Creases run a little slanted and end before the edges of the finger.
            slanted = offset + side + 0.08 * at.across
            line = _line(slanted, 0.0007, pixel) * palmar * on_finger
            dark += 0.42 * person.crease * line
            height -= 0.0005 * person.crease * line
        # Wrinkles of the knuckle: bows across the back, in a patch about the joint.
        if joint == 0:
            continue
        bow = offset + 18 * at.across**2 * np.sign(offset)
        patch = np.exp(-((offset / 0.0045) ** 2) - (at.across / 0.007) ** 2) * dorsal * on_finger
        waves = 0.5 + 0.5 * np.cos(2 * np.pi * bow / 0.0024)
        seen = np.clip(0.0024 / (1.6 * pixel) - 0.5, 0, 1)
        dark += person.wrinkle * patch * (0.08 + 0.28 * seen * waves**2)
        red += 0.10 * person.wrinkle * patch
        height += patch * (0.0009 - 0.0004 * person.wrinkle * seen * waves)
    # The big knuckles, where fingers meet the back of the hand.
    knuckle = np.exp(-(((at.bone + 0.02) * 0.04 / 0.006) ** 2) - (at.across / 0.006) ** 2)
    knuckle *= dorsal * (at.number > 1)
    height += 0.0014 * knuckle
    red += 0.12 * knuckle
    metacarpal = 0.065
    palm_line, vein, tendon = (_look_up(grid, at.x, at.y) * metacarpal for grid in _MAPS)
    on_palm = (1 - on_finger) * (at.arm < 0.006)
    line = _line(palm_line, 0.0009, pixel) * palmar * on_palm
    dark += 0.45 * person.crease * line
    height -= 0.0006 * person.crease * line
    back = dorsal * (1 - on_finger)
    blue = 0.09 * person.vein * _line(vein, 0.0014, pixel) * back
    height += 0.0004 * person.vein * _line(vein, 0.0018, pixel) * back
    height += 0.0010 * person.tendon * _line(tendon, 0.0026, pixel) * back * (at.arm < 0)
    for place in (0.003, 0.010):
        line = _line(at.arm - place, 0.0008, pixel) * palmar * (1 - on_finger)
        dark += 0.30 * person.crease * line
        height -= 0.0004 * line
    dark, red = dark * at.bare, red * at.bare
    factor = np.stack([1 - 0.75 * dark, 1 - dark - red, 1 - dark - 0.9 * red], 1)
    factor -= np.stack([blue, 0.55 * blue, 0.2 * blue], 1) * at.bare[:, None]
    factor = np.clip(factor, 0.25, 1.5)
    height *= at.bare
    roughness = np.zeros(count, np.float32)
    _add_nails(at, person, pixel, factor, height, roughness)
    _add_jewels(at, person, factor, height, roughness)
    return factor, height, roughness


def _add_nails(
    at: Coordinates, person: Person, pixel: Array, factor: Array, height: Array, roughness: Array
) -> None:
    """Nails, in place: a smooth, brighter plate with half moon and white end, dark at its folds."""
    outside = nail_distance(at, person)
    if not (outside < 2).any():
        return
    soft = np.clip(pixel / 0.006, 0.08, 0.5)
    inside = np.clip((1 + soft / 2 - outside) / soft, 0, 1)
    fold = np.exp(-(((outside - 1.08) / np.maximum(0.12, 0.6 * soft)) ** 2)) * (outside < 8)
    along = at.nail_along / person.nail[0]
    moon = np.clip((person.lunula - 1 - along + 0.5 * (1 - at.nail_across**2)) / 0.3, 0, 1) * (
        along < 0
    )
    end = np.clip((along - (1 - 2.2 * person.edge)) / 0.15, 0, 1) * (person.edge > 0.03)
    plate = person.shine * np.array([1.02, 1.0, 0.99]) + moon[:, None] * [0.10, 0.15, 0.15]
    plate += end[:, None] * np.array([0.12, 0.22, 0.22])
    factor *= 1 - 0.42 * (fold * (1 - inside))[:, None]
    factor += inside[:, None] * (plate - factor)
    # The plate is arched across, a step above its bed at the end and below the folds at the sides.
    height += inside * 0.0006 - 0.0005 * fold * (1 - inside)
    roughness[:] = np.where(inside > 0.5, NAIL_ROUGHNESS, roughness)


def _add_jewels(
    at: Coordinates, person: Person, factor: Array, height: Array, roughness: Array
) -> None:
    """A ring and a watch strap, in place."""
    if person.ring is not None:
        finger, bone = person.ring
        band = (at.number == finger) & (np.abs(at.bone - bone) * 0.04 < 0.0022) & (at.bare > 0.5)
        factor[band] = person.metal
        height[band] += 0.0012
        roughness[band] = 0.18
    if person.watch is not None:
        start, end = person.watch
        band = (at.arm > start) & (at.arm < end) & (at.bare > 0.5)
        factor[band] = person.strap
        height[band] += 0.0015
        roughness[band] = 0.6


def detail_maps(
    nearness: Array,
    face: NDArray[np.int32],
    vertices: NDArray[np.float64],
    faces: NDArray[np.int32],
    K: NDArray[np.float64],
    detail: Detail,
) -> Array:
    """The detail that each pixel sees.

    Args:
        nearness, face: (h, w) z-buffer at the pixels' centres.
        vertices: (V, 3) camera frame, metres.
        faces: (F, 3).
        K: (3, 3) camera.
        detail: coordinates of the vertices, person and strength.

    Returns:
        (h, w, 7) float32, see `CHANNELS`; factors of 1, no slope, roughness 0 where nothing is.
    """
    h, w = face.shape
    maps = np.zeros((h, w, CHANNELS), np.float32)
    maps[..., :3] = 1
    rows, columns = np.nonzero(face >= 0)
    points, values = _seen(
        *(rows, columns, nearness, face, vertices, faces),
        np.asarray(np.linalg.inv(K), np.float64),
        detail.coordinates,
    )
    on_skin = values[:, 0] > 0.01
    if not on_skin.any():
        return maps
    rows, columns, values = rows[on_skin], columns[on_skin], values[on_skin]
    points = points[on_skin]
    pixel = (points[:, 2] / K[0, 0]).astype(np.float32)
    at = Coordinates(*np.ascontiguousarray(values.T))
    factor, height, roughness = relief(at, Person.of(detail.pattern), pixel)
    maps[rows, columns, :3] = 1 + detail.strength * (factor - 1)
    maps[rows, columns, 6] = roughness
    grid = np.full((h, w, 4), np.nan)
    grid[rows, columns, :3] = points
    grid[rows, columns, 3] = detail.strength * height
    _add_slopes(grid, maps)
    return maps


@njit(cache=True, error_model="numpy")
def _seen(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    nearness: Array,
    face: NDArray[np.int32],
    vertices: NDArray[np.float64],
    faces: NDArray[np.int32],
    K_inverse: NDArray[np.float64],
    coordinates: Array,
) -> tuple[NDArray[np.float64], Array]:
    """The points (N, 3) that pixels see, and `Coordinates` there, (N, 12); the last column, a
    number, is that of the nearest corner."""
    points = np.empty((len(rows), 3))
    values = np.empty((len(rows), coordinates.shape[1]), np.float32)
    share = np.empty(3)
    for n in range(len(rows)):
        y, x = rows[n], columns[n]
        z = 1.0 / nearness[y, x]
        for c in range(3):
            points[n, c] = (K_inverse[c, 0] * x + K_inverse[c, 1] * y + K_inverse[c, 2]) * z
        f = face[y, x]
        total = 0.0
        for corner in range(3):
            p = vertices[faces[f, (corner + 1) % 3]]
            q = vertices[faces[f, (corner + 2) % 3]]
            share[corner] = (
                (p[1] * q[2] - p[2] * q[1]) * points[n, 0]
                + (p[2] * q[0] - p[0] * q[2]) * points[n, 1]
                + (p[0] * q[1] - p[1] * q[0]) * points[n, 2]
            )
            total += share[corner]
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        a, b, last = share[0] / total, share[1] / total, share[2] / total
        for column in range(values.shape[1]):
            values[n, column] = (
                a * coordinates[i, column]
                + b * coordinates[j, column]
                + last * coordinates[k, column]
            )
        nearest = i if a >= max(b, last) else (j if b >= last else k)
        values[n, -1] = coordinates[nearest, -1]
    return points, values


@njit(cache=True, error_model="numpy")
def _add_slopes(grid: NDArray[np.float64], maps: Array) -> None:
    """Gradient of the height along the surface, camera frame, into channels 3 to 5 of the maps.

    With P_u, P_v the steps to the neighbours and n = P_u x P_v:
    grad h = (h_u P_v x n + h_v n x P_u) / |n|^2 (Mikkelsen 2010). None across an outline.

    Args:
        grid: (h, w, 4) point and height of each pixel, not a number where there is none.
        maps: (h, w, 7), see `CHANNELS`.
    """
    for y in range(1, grid.shape[0] - 1):
        for x in range(1, grid.shape[1] - 1):
            u = 0.5 * (grid[y, x + 1] - grid[y, x - 1])
            v = 0.5 * (grid[y + 1, x] - grid[y - 1, x])
            if not (abs(u[2]) < _JUMP and abs(v[2]) < _JUMP):
                continue
            n0, n1, n2 = (
                u[1] * v[2] - u[2] * v[1],
                u[2] * v[0] - u[0] * v[2],
                u[0] * v[1] - u[1] * v[0],
            )
            scale = 1.0 / (n0 * n0 + n1 * n1 + n2 * n2 + 1e-30)
            s0 = scale * (u[3] * (v[1] * n2 - v[2] * n1) + v[3] * (n1 * u[2] - n2 * u[1]))
            s1 = scale * (u[3] * (v[2] * n0 - v[0] * n2) + v[3] * (n2 * u[0] - n0 * u[2]))
            s2 = scale * (u[3] * (v[0] * n1 - v[1] * n0) + v[3] * (n0 * u[1] - n1 * u[0]))
            steep = np.sqrt(s0 * s0 + s1 * s1 + s2 * s2)
            limit = min(1.0, _STEEPEST / max(steep, 1e-9))
            maps[y, x, 3], maps[y, x, 4], maps[y, x, 5] = limit * s0, limit * s1, limit * s2
