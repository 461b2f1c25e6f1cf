"""What lies where on the skin of a person: wrinkles, creases, veins, tendons, nails, jewels.

Features that are finer than a pixel are drawn as wide as one and weaker by as much, so that they
fade instead of flickering.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from scipy.ndimage import map_coordinates

from auxhand.arrays import Doubles, Singles
from auxhand.synth.coordinates import Coordinates
from auxhand.synth.skin import PALM_LINES, PROXIMAL_CREASE, TENDONS, VEINS, distance

NAIL_ROUGHNESS = 0.22
_MAP_CELL, _MAP_SIDE = 0.012, 256
"""Of the distance maps of the palm's plane, in lengths of the middle metacarpal bone."""


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
    shift: Doubles
    nail: tuple[float, float]
    edge: float
    lunula: float
    shine: float
    ring: tuple[int, float] | None
    watch: tuple[float, float] | None
    metal: Doubles
    strap: Doubles

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


def _palm_maps() -> tuple[Singles, Singles, Singles]:
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


def _look_up(grid: Singles, x: Singles, y: Singles) -> Singles:
    """Bilinear look-up of a distance map at (N,) places."""
    places = np.stack([y, x]) / _MAP_CELL + _MAP_SIDE / 2
    found: Singles = map_coordinates(grid, places, order=1, mode="nearest")
    return found


def nail_distance(at: Coordinates, person: Person) -> Singles:
    """How far outside a nail a point is: below 1 inside it, 1 on its border, 9 where none is."""
    along, across = at.nail_along / person.nail[0], at.nail_across / person.nail[1]
    # Square at the root, rounder at the end.
    outside = (np.abs(along) ** 3 + np.abs(across) ** 3) ** (1 / 3)
    near: Singles = np.where((at.dorsal > 0.15) & (at.finger > 0.5) & (at.bare > 0.5), outside, 9)
    return near.astype(np.float32)


def _line(offset: Singles, width: float, pixel: Singles) -> Singles:
    """A line of that half width (same unit as `offset` and `pixel`), as strong as a pixel shows."""
    shown = np.maximum(width, 0.5 * pixel)
    line: Singles = (width / shown) ** 0.6 * np.exp(-((offset / shown) ** 2))
    return line


class _Sides(NamedTuple):
    """(N,) each: how much a point is on the palm's side, on the back's, and on a finger."""

    palmar: Singles
    dorsal: Singles
    on_finger: Singles


class _Layers(NamedTuple):
    """(N,) each: how much darker and redder a point is, and its height in metres."""

    dark: Singles
    red: Singles
    height: Singles


def relief(at: Coordinates, person: Person, pixel: Singles) -> tuple[Singles, Singles, Singles]:
    """What lies at points of the skin.

    Args:
        at: the points, (N,) each.
        person: whose skin.
        pixel: (N,) metres that a pixel covers there.

    Returns:
        Factors on the albedo (N, 3), height in metres (N,), roughness (N,), 0 = the surface's own.
    """
    count = len(at.bone)
    dark, red, height = layers = _Layers(*(np.zeros(count, np.float32) for _ in range(3)))
    sides = _Sides(
        np.clip((at.palmar - 0.35) / 0.3, 0, 1),
        1 - np.clip((at.palmar - 0.2) / 0.4, 0, 1),
        np.clip((at.finger - 0.3) / 0.3, 0, 1),
    )
    _add_fingers(at, person, pixel, sides, layers)
    blue = _add_palm_and_back(at, person, pixel, sides, layers)
    dark, red = dark * at.bare, red * at.bare
    factor = np.stack([1 - 0.75 * dark, 1 - dark - red, 1 - dark - 0.9 * red], 1)
    factor -= np.stack([blue, 0.55 * blue, 0.2 * blue], 1) * at.bare[:, None]
    factor = np.clip(factor, 0.25, 1.5)
    height *= at.bare
    roughness = np.zeros(count, np.float32)
    _add_nails(at, person, pixel, factor, height, roughness)
    _add_jewels(at, person, factor, height, roughness)
    return factor, height, roughness


def _add_fingers(
    at: Coordinates, person: Person, pixel: Singles, sides: _Sides, layers: _Layers
) -> None:
    """Creases and wrinkles at the joints of the fingers, in place."""
    dark, red, height = layers
    palmar, dorsal, on_finger = sides
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


def _add_palm_and_back(
    at: Coordinates, person: Person, pixel: Singles, sides: _Sides, layers: _Layers
) -> Singles:
    """Knuckles, palm lines, veins, tendons and the creases of the wrist, in place.

    Returns:
        (N,) how blue a vein makes the skin.
    """
    dark, red, height = layers
    palmar, dorsal, on_finger = sides
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
    return blue


def _add_nails(
    at: Coordinates,
    person: Person,
    pixel: Singles,
    factor: Singles,
    height: Singles,
    roughness: Singles,
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
    at: Coordinates, person: Person, factor: Singles, height: Singles, roughness: Singles
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
