"""What a hand's skin looks like: where its features are, and how one person's skin colours them.

`SkinMaps` says where palm, creases, knuckles, nails and so on are, once for the mesh; the maps
hold for every shape and pose, and for both sides. `Skin` is what differs from person to person, a
handful of numbers that can be sampled and written down; `paint` makes vertex colours of both.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from auxhand.arrays import Doubles, Singles
from auxhand.hand.anatomy import ARTICULATED, joint_angles, rotations_from_angles
from auxhand.hand.skeleton import FINGERS, ROOT
from auxhand.hand.surface import HandSurface
from auxhand.synth.shading import noise_at, vertex_normals

TONES_SRGB: tuple[tuple[int, int, int], ...] = (
    (238, 203, 184),
    (226, 184, 160),
    (210, 165, 142),
    (194, 150, 130),
    (180, 132, 104),
    (156, 110, 84),
    (135, 93, 72),
    (115, 82, 68),
    (88, 61, 50),
    (66, 46, 39),
)
"""Reflectance of the back of the hand from the palest skin to the darkest, sRGB encoded. The fourth
and the eighth are "light skin" and "dark skin" of the ColorChecker chart, the others are spread
around them over the range of the Fitzpatrick types I to VI."""

# Lines of the palm, veins and tendons of the back, as points (x, y) of curves in the plane of the
# rest pose, in lengths of the middle metacarpal bone.
PALM_LINES = (
    ((-0.56, -0.66), (-0.36, -0.72), (-0.14, -0.78), (0.04, -0.88), (0.11, -0.98)),
    ((0.42, -0.78), (0.20, -0.72), (-0.06, -0.60), (-0.30, -0.46), (-0.42, -0.36)),
    ((0.42, -0.78), (0.26, -0.68), (0.12, -0.50), (0.05, -0.30), (0.10, -0.08)),
)
VEINS = (
    ((0.02, 0.60), (-0.05, 0.20), (0.06, -0.20), (0.14, -0.55), (0.13, -0.95)),
    ((-0.10, 0.40), (-0.12, 0.00), (-0.04, -0.35), (-0.12, -0.65), (-0.09, -0.93)),
    ((-0.12, 0.00), (-0.24, -0.25), (-0.22, -0.50), (-0.32, -0.68), (-0.30, -0.88)),
    ((0.14, -0.55), (0.02, -0.68), (-0.12, -0.65), (-0.22, -0.50)),
    ((0.35, 0.30), (0.28, 0.05), (0.24, -0.25), (0.14, -0.55)),
)
TENDONS = (
    ((0.26, -0.92), (0.20, -0.55), (0.10, -0.20)),
    ((0.0, -0.95), (0.02, -0.55), (0.03, -0.20)),
    ((-0.22, -0.88), (-0.14, -0.50), (-0.04, -0.20)),
    ((-0.42, -0.78), (-0.28, -0.42), (-0.10, -0.18)),
)
_CUSHIONS = (
    *((0.34, -0.42, 0.22, 0.6), (-0.38, -0.38, 0.22, 0.6)),
    *((0.24, -0.90, 0.12, 0.7), (0.0, -0.92, 0.12, 0.7), (-0.22, -0.88, 0.12, 0.7)),
    (-0.44, -0.76, 0.12, 0.7),
)
"""Ball of the thumb, edge of the hand, and below the fingers: x, y, radius, strength."""
PROXIMAL_CREASE = 0.47
"""Where along the first phalanx the finger leaves the palm (the web)."""


class Paint(NamedTuple):
    """Vertex attributes of a `Scene`: albedo (V, 3) linear RGB, bump (V,), roughness (V,)."""

    albedo: Singles
    bump: Singles
    roughness: Singles


@dataclass(frozen=True)
class SkinMaps:
    """Where the features of the skin are, each (V,) float32 in [0, 1] unless said otherwise.

    Attributes:
        rest: (V, 3) rest positions of the right hand, metres.
        forearm_distance: metres behind the wrist along the forearm, negative on the hand.
        palmar: 1 on the palm and the pads of the fingers, 0 on the back.
        crease: flexion creases of the fingers, lines of the palm and of the wrist.
        knuckle: backs of the finger joints.
        nail: finger nails.
        nail_fold: skin around the nails.
        pad: fingertips, and the cushions of the palm, where blood shows.
        vein: veins of the back of the hand.
    """

    rest: Singles
    forearm_distance: Singles
    palmar: Singles
    crease: Singles
    knuckle: Singles
    nail: Singles
    nail_fold: Singles
    pad: Singles
    vein: Singles

    @classmethod
    def of(cls, surface: HandSurface) -> Self:
        """Find the features on a surface's template; a left hand is looked at in the mirror."""
        mirror = np.array([1.0 if surface.side == "right" else -1.0, 1.0, 1.0])
        rest = surface.template.double().numpy() * mirror
        joints = surface.rest_joints.double().numpy() * mirror
        faces = surface.faces.numpy()[:, :: int(mirror[0])]
        normals = vertex_normals(rest, np.ascontiguousarray(faces))
        weights = surface.weights.double().numpy()
        behind = rest[:, 1]

        on_fingers, facing = np.zeros(len(rest)), np.zeros(len(rest))
        crease, knuckle, nail, nail_fold, pad = np.zeros((5, len(rest)))
        directions = palm_directions(joints)
        for name, chain in FINGERS.items():
            on_finger = weights[:, chain[:3]].sum(1)
            on_fingers += on_finger
            for joint in chain[:3]:
                bone = Bone.of(rest, joints[joint], joints[joint + 1], directions[joint])
                facing += weights[:, joint] * (normals @ bone.palmar)
                if joint == chain[0] and name == "thumb":
                    continue
                base = joint == chain[0]
                where = PROXIMAL_CREASE * bone.length if base else 0.0
                width = 0.0032 if name == "thumb" else 0.0024
                line = _bell(bone.along - where, width) * (on_finger > 0.3)
                crease = np.maximum(crease, line * (bone.height > -0.003))
                dent = _bell(np.hypot(bone.along, 0.8 * bone.across), 0.008 if base else 0.0055)
                dent *= _step(0.002, -0.003, bone.height) * (weights[:, chain[:3]].sum(1) > 0.05)
                knuckle = np.maximum(knuckle, dent)
            tip = on_finger * (bone.along > 0.2 * bone.length)
            shape = _nail(bone, tip)
            dorsal = _step(0.1, -0.4, normals @ bone.palmar)
            nail = np.maximum(nail, dorsal * np.clip((1.15 - shape) / 0.3, 0, 1))
            nail_fold = np.maximum(nail_fold, _bell(shape - 1.4, 0.35))
            flesh = _step(0.35, 0.8, bone.along / bone.length) * _step(-0.003, 0.003, bone.height)
            pad = np.maximum(pad, tip * flesh)
        facing += (1 - on_fingers) * -normals[:, 2]
        palmar = _step(-0.35, 0.3, facing)
        palm = palmar * (1 - on_fingers)

        unit = float(np.linalg.norm(joints[ROOT]))
        plane = rest[:, :2] / unit
        lines = np.minimum.reduce([distance(plane, curve) for curve in PALM_LINES]) * unit
        on_palm = _step(0.6, 0.9, palm) * _step(0.004, -0.004, behind)
        crease = np.maximum(crease * _step(0.1, 0.7, palmar), 0.9 * on_palm * _bell(lines, 0.0026))
        for where in (0.004, 0.014):
            crease = np.maximum(crease, 0.6 * palm * _bell(behind - where, 0.0025))
        for x, y, radius, strength in _CUSHIONS:
            away = np.hypot(plane[:, 0] - x, plane[:, 1] - y)
            pad = np.maximum(pad, strength * palm * _bell(away, radius))
        veins = np.minimum.reduce([distance(plane, curve) for curve in VEINS]) * unit
        vein = _bell(veins, 0.0030) * _step(0.3, 0.0, palmar) * (1 - on_fingers)
        maps = (palmar, crease, knuckle, nail, nail_fold * (1 - nail), pad, vein)
        shares = (np.clip(each, 0, 1).astype(np.float32) for each in maps)
        return cls(rest.astype(np.float32), behind.astype(np.float32), *shares)


class Bone(NamedTuple):
    """The hand in the coordinates of one bone: vertices (V,) along it from its joint, across it,
    and above its axis on the side of the palm, all in metres."""

    length: float
    palmar: Doubles
    along: Doubles
    across: Doubles
    height: Doubles

    @classmethod
    def of(
        cls,
        vertices: Doubles,
        start: Doubles,
        end: Doubles,
        palm_direction: Doubles,
    ) -> Self:
        length = float(np.linalg.norm(end - start))
        axis = (end - start) / length
        palmar = palm_direction - axis * (palm_direction @ axis)
        palmar /= np.linalg.norm(palmar)
        offset = vertices - start
        return cls(length, palmar, offset @ axis, offset @ np.cross(axis, palmar), offset @ palmar)


def palm_directions(joints: Doubles) -> dict[int, Doubles]:
    """Where each articulated bone of a right hand at rest moves when it flexes."""
    rest = torch.from_numpy(joints)
    angles = joint_angles(rest)
    angles[:, 0] += 0.1
    rotations = rotations_from_angles(angles, rest).numpy()
    return {j: (rotations[j] - np.eye(3)) @ (joints[j + 1] - joints[j]) for j in ARTICULATED}


def _nail(bone: Bone, tip: Doubles) -> Doubles:
    """How far outside the nail a vertex is: below 1 inside it, 1 on its border."""
    on_tip = tip > 0.6
    end = bone.along[on_tip].max()
    width = np.ptp(bone.across[on_tip & (np.abs(bone.along - 0.6 * bone.length) < 0.004)]) / 2
    along = (bone.along - (end - 0.85 * width)) / (0.72 * width)
    across = bone.across / (0.78 * width)
    outside = (along**4 + across**4) ** 0.25
    return np.where(on_tip & (bone.height < 0), outside, 9.0)


def distance(points: Doubles, curve: tuple[tuple[float, float], ...]) -> Doubles:
    """Distance of (N, 2) points to a smooth curve through some points."""
    spline = CubicSpline(np.arange(len(curve)), np.array(curve))
    along = spline(np.linspace(0, len(curve) - 1, 80))
    nearest: Doubles = cKDTree(along).query(points)[0]
    return nearest


def _step(start: float, end: float, value: NDArray[np.floating]) -> NDArray[np.floating]:
    """0 before `start`, 1 after `end` (which may be the smaller), smooth between."""
    t = np.clip((value - start) / (end - start), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def _bell(value: Doubles, width: float) -> Doubles:
    return np.exp(-((value / width) ** 2))


@dataclass(frozen=True)
class Skin:
    """One person's skin and nails: plain numbers.

    Strengths are 0 for none and 1 for as much as is seen in life.

    Attributes:
        tone: 0 palest to 1 darkest, a position along `TONES_SRGB`.
        warmth: -1 pink to 1 yellow undertone.
        palm: how much lighter the palm is than the back (on dark skin much, on pale hardly).
        creases, knuckles, flush, veins, blotches: strength of these features.
        roughness: of the skin's highlights, about 0.4 moist to 0.65 dry.
        relief: strength of the skin's relief.
        polish: linear RGB of painted nails; None = bare.
        pattern: seed of the blotches, and of the person's detail.
        detail: strength of the fine relief (`detail.py`); 0: none is drawn.
    """

    tone: float = 0.35
    warmth: float = 0.0
    palm: float = 0.5
    creases: float = 0.5
    knuckles: float = 0.5
    flush: float = 0.5
    veins: float = 0.3
    blotches: float = 0.5
    roughness: float = 0.52
    relief: float = 0.5
    polish: tuple[float, float, float] | None = None
    pattern: int = 0
    detail: float = 0.0

    @classmethod
    def sample(cls, rng: np.random.Generator, tone: tuple[float, float] = (0.0, 1.0)) -> Self:
        """Someone at random, of a tone in the range given; one in sixteen with painted nails."""
        red, green, blue = (rng.random(3) ** 2).tolist()
        return cls(
            tone=float(rng.uniform(*tone)),
            warmth=float(rng.uniform(-1, 1)),
            palm=float(rng.random()),
            creases=float(rng.uniform(0.15, 1)),
            knuckles=float(rng.random()),
            flush=float(rng.random()),
            veins=float(rng.random() ** 2),
            blotches=float(rng.random()),
            roughness=float(rng.uniform(0.4, 0.65)),
            relief=float(rng.uniform(0.2, 1)),
            polish=(red, green, blue) if rng.random() < 1 / 16 else None,
            pattern=int(rng.integers(1 << 31)),
        )


def paint(maps: SkinMaps, skin: Skin) -> Paint:
    """Colour, relief and shine of every vertex for one person's skin. A pure function."""
    back = _reflectance(skin.tone, skin.warmth)
    palm = _reflectance(skin.tone * (1 - 0.6 * skin.palm), skin.warmth) * [1.05, 0.97, 0.95]
    nail = 0.75 * palm + 0.25 * _reflectance(0.1, 0.0) * [1.05, 0.95, 0.92]

    mottle = noise_at(maps.rest, 0.025, skin.pattern) + 0.6 * noise_at(
        maps.rest, 0.009, skin.pattern + 1
    )
    palmar = maps.palmar * _step(0.03, -0.01, maps.forearm_distance)
    albedo = back + np.outer(palmar, palm - back)
    albedo *= 1 + np.outer(skin.blotches * mottle, (0.16, 0.24, 0.22))
    # Blood takes away green and blue; on dark skin it shows less, pigment in folds shows more.
    albedo *= 1 - np.outer(skin.flush * maps.pad, (-0.06, 0.20, 0.14))
    albedo *= 1 - np.outer(skin.knuckles * maps.knuckle, (0.16, 0.28, 0.28))
    albedo *= 1 - np.outer(skin.creases * maps.crease, (0.34, 0.50, 0.52))
    albedo *= 1 - np.outer(skin.veins * maps.vein, (0.22, 0.10, 0.06))
    albedo *= 1 - np.outer(maps.nail_fold, (0.08, 0.16, 0.15))
    bump = skin.relief * np.ones(len(albedo))
    roughness = skin.roughness * np.ones(len(albedo))

    bare = skin.polish is None
    _cover(albedo, maps.nail, nail if bare else skin.polish)
    _cover(bump, maps.nail, 0.0)
    _cover(roughness, maps.nail, 0.32 if bare else 0.2)
    albedo = np.clip(albedo, 0.01, 0.95)
    return Paint(*(each.astype(np.float32) for each in (albedo, bump, roughness)))


def dress(paint: Paint, covered: NDArray[np.floating], colour: tuple[float, float, float]) -> Paint:
    """Cloth over part of the skin, such as a sleeve where `SkinMaps.forearm_distance` is large.

    Args:
        paint: of the skin.
        covered: (V,) share of cloth, 0 or 1, between them at its border.
        colour: linear RGB of the cloth.
    """
    albedo, bump, roughness = (each.astype(np.float64) for each in paint)
    _cover(albedo, covered, colour)
    _cover(bump, covered, 1.0)
    _cover(roughness, covered, 0.95)
    return Paint(*(each.astype(np.float32) for each in (albedo, bump, roughness)))


def coat(count: int, colour: tuple[float, float, float], roughness: float) -> Paint:
    """One colour (linear RGB) and roughness for `count` vertices of a smooth thing."""
    albedo = np.tile(np.clip(np.array(colour, np.float32), 0.01, 0.95), (count, 1))
    return Paint(albedo, np.zeros(count, np.float32), np.full(count, roughness, np.float32))


def join(first: Paint, second: Paint) -> Paint:
    """The paint of two meshes that become one."""
    return Paint(*(np.concatenate(pair) for pair in zip(first, second, strict=True)))


def _reflectance(tone: float, warmth: float) -> Doubles:
    """(3,) linear RGB of a skin tone."""
    encoded = np.array(TONES_SRGB, np.float64) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    steps = np.linspace(0, 1, len(linear))
    colour = np.array([np.interp(tone, steps, linear[:, c]) for c in range(3)])
    return colour * (1 + warmth * np.array([-0.03, 0.03, -0.10]))


def _cover(
    values: Doubles,
    share: NDArray[np.floating],
    value: float | tuple[float, float, float] | Doubles | None,
) -> None:
    """Lay a value over a vertex attribute, in place."""
    share = share[:, None] if values.ndim == 2 else share
    values += share * (np.asarray(value) - values)
