"""Drawing the factors of variation from their distributions (`config.py`).

Sample `index` of a seed is a pure function of (seed, index, config). Every group of factors has its
own random stream, so that fixing or changing one group leaves the others as they were.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

import numpy as np

from auxhand.arrays import Doubles
from auxhand.hand.skeleton import BONES
from auxhand.hand.surface import HandSurface
from auxhand.sample import LEFT, RIGHT
from auxhand.synth.config import (
    CameraConfig,
    FactorConfig,
    LightConfig,
    OccluderConfig,
    Range,
    SensorConfig,
    ShapeConfig,
    SkinConfig,
    SleeveConfig,
    ViewConfig,
    WristConfig,
)
from auxhand.synth.factors import (
    CameraFactors,
    Colour,
    Factors,
    LightFactors,
    OccluderFactors,
    PoseFactors,
    SensorFactors,
    ShapeFactors,
    SleeveFactors,
    ViewFactors,
    WristFactors,
)
from auxhand.synth.kinematics import Kinematics
from auxhand.synth.pose_sampler import PoseConfig, sample_pose
from auxhand.synth.skin import Skin

GROUPS = (
    *("side", "shape", "pose", "wrist", "view", "camera", "light", "skin", "sleeve"),
    *("background", "sensor", "occluders"),
)
"""The groups of factors, which are drawn independently (a pose fits the shape that it is for)."""
_SKIN_NUMBERS = (
    *("tone", "warmth", "palm", "creases", "knuckles", "flush", "veins", "blotches"),
    *("roughness", "relief"),
)
_PEOPLE = 20171
"""Seed of all people, who are the same in every set."""
_DECIMALS = 5
"""Factors are rounded when they are drawn: what is written down is what is rendered."""


@cache
def hand_surface() -> HandSurface:
    """The right hand's surface, loaded once per process."""
    return HandSurface()


def sample_factors(config: FactorConfig, seed: int, index: int) -> Factors:
    """The factors of sample `index`: a pure function of the arguments.

    Raises:
        ValueError: `config.fixed` names a factor that does not exist.
    """
    shape = draw_shape(config, seed, index)
    drawn = {group: draw_group(group, config, seed, index, shape) for group in GROUPS}
    return Factors(**drawn).fixed(config.fixed)


def draw_shape(config: FactorConfig, seed: int, index: int) -> ShapeFactors:
    """The shape of sample `index`, with what is fixed of it: the hand that its pose is for."""
    drawn: ShapeFactors = draw_group("shape", config, seed, index)
    given = config.fixed.get("shape", {})
    return replace(drawn, **{name: tuple(numbers) for name, numbers in given.items()})


def draw_group(
    group: str, config: FactorConfig, seed: int, index: int, shape: ShapeFactors | None = None
) -> Any:
    """One group of the factors of sample `index`, as in `sample_factors`; what is fixed is not.

    Args:
        group: one of `GROUPS`.
        config: what it is drawn from.
        seed: of all randomness.
        index: number of the sample.
        shape: the hand that a pose is for; needed for that group alone.
    """
    stream = GROUPS.index(group)
    rng = np.random.default_rng([seed, index, stream])
    if config.people is not None and group in ("shape", "skin"):
        person = np.random.default_rng([seed, index, len(GROUPS)]).integers(*config.people)
        rng = np.random.default_rng([_PEOPLE, int(person), stream])
    match group:
        case "side":
            return LEFT if rng.random() < config.left else RIGHT
        case "pose":
            assert shape is not None
            return _pose(config.pose, rng, shape)
        case "background":
            return int(rng.integers(*config.background.seeds))
        case _:
            return _DRAW[group](getattr(config, group), rng)


@lru_cache(maxsize=1)
def kinematics_of(shape: ShapeFactors) -> Kinematics:
    """Kinematics of a right hand of that shape; its joints at rest are those of `HandSurface.rest`,
    which would compute thousands of vertices besides."""
    surface = hand_surface()
    coefficients = np.array(shape.coefficients)
    straight = surface.rest_joints.double().numpy() + np.tensordot(
        coefficients, surface.shape_joints.double().numpy(), 1
    )
    joints = straight.copy()
    for (parent, child), scale in zip(BONES, shape.bone_scale, strict=True):
        joints[child] = joints[parent] + scale * (straight[child] - straight[parent])
    return Kinematics(joints)


def _rounded(values: Any) -> tuple[float, ...]:
    return tuple(np.round(np.asarray(values, np.float64), _DECIMALS).ravel().tolist())


def _uniform(rng: np.random.Generator, limits: Range) -> float:
    return round(float(rng.uniform(*limits)), _DECIMALS)


def _normal(rng: np.random.Generator, size: int | tuple[int, ...] = ()) -> Doubles:
    """Standard normal numbers, cut off at 2.2."""
    return np.clip(rng.standard_normal(size), -2.2, 2.2)


def _shape(config: ShapeConfig, rng: np.random.Generator) -> ShapeFactors:
    components = len(hand_surface().shape_vertices)
    length = np.ones((5, 4))
    length[:, 1:] += config.length - 1
    length[:, 1:] += config.finger_length * _normal(rng, (5, 1))
    length[:, 1:] += config.bone_length * _normal(rng, (5, 3))
    length[:, 0] += config.palm_length * _normal(rng, 5)
    width = config.finger_width * (_normal(rng) + 0.5 * _normal(rng, 5))
    return ShapeFactors(
        coefficients=_rounded(config.coefficients * _normal(rng, components)),
        bone_scale=_rounded(length),
        finger_width=_rounded(config.width + width),
    )


def _pose(config: PoseConfig, rng: np.random.Generator, shape: ShapeFactors) -> PoseFactors:
    pose = sample_pose(config, rng, kinematics_of(shape), np.array(shape.finger_width))
    return PoseFactors(pose.kind, pose.name, _rounded(pose.angles))


def _wrist(config: WristConfig, rng: np.random.Generator) -> WristFactors:
    flexion, deviation = np.clip(rng.standard_normal(2), -2, 2)
    angles = np.deg2rad([config.flexion * flexion, config.deviation * deviation])
    return WristFactors(*_rounded(angles))


def _view(config: ViewConfig, rng: np.random.Generator) -> ViewFactors:
    if rng.random() < config.upright:
        share = np.array(config.sides) / sum(config.sides)
        side = int(rng.choice(3, p=share))
        middle = (0.0, 180.0, 90.0 * rng.choice([-1, 1]))[side]
        roll, pitch, yaw = rng.standard_normal(3)
        degrees = [
            config.upright_roll * roll,
            config.upright_pitch * pitch,
            middle + config.upright_yaw * yaw,
        ]
        return ViewFactors("upright", *_rounded(np.deg2rad(degrees)))
    # Uniform over rotations: uniform roll, yaw and sine of the pitch.
    sines = np.sin(np.deg2rad(config.pitch))
    roll, yaw = rng.uniform(*config.roll), rng.uniform(*config.yaw)
    pitch = np.arcsin(rng.uniform(*sines))
    return ViewFactors("any", *_rounded([np.deg2rad(roll), pitch, np.deg2rad(yaw)]))


def _camera(config: CameraConfig, rng: np.random.Generator) -> CameraFactors:
    far = rng.random() < config.far_share
    distance = _uniform(rng, config.far if far else config.near)
    fill = _uniform(rng, config.fill)
    across, down = _rounded(rng.uniform(-config.place, config.place, 2))
    return CameraFactors(distance, fill, (across, down))


def _light(config: LightConfig, rng: np.random.Generator) -> LightFactors:
    exposure = _uniform(rng, config.exposure)
    ambient = _uniform(rng, config.ambient)
    directions, colours, shadows = [], [], []
    count = np.array(config.count)
    others = int(rng.choice(4, p=count / count.sum()))
    # Other lights share the direct light with the key light.
    rest = rng.uniform(0.15, 0.45)
    shares = [1 - rest, *(rest * rng.dirichlet(np.ones(others)))] if others else [1.0]
    for number, share in enumerate(shares):
        direction = rng.standard_normal(3)
        if number > 0 or rng.random() >= config.back:
            direction[2] = -abs(direction[2]) - 0.25  # from the camera's side
            direction[1] -= 0.5  # and rather from above
        x, y, z = _rounded(direction / np.linalg.norm(direction))
        directions.append((x, y, z))
        # A surface seldom faces the light: 1.6 keeps the mean of lit skin.
        strength = 1.6 * exposure * (1 - ambient) * share
        colours.append(_tinted(rng, strength, config.tint))
        shadows.append(bool(number == 0 and rng.random() < config.shadow))
    sky = 1.3 * exposure * ambient
    return LightFactors(
        directions=tuple(directions),
        colours=tuple(colours),
        shadows=tuple(shadows),
        sky=_tinted(rng, sky, config.tint),
        ground=_tinted(rng, sky * rng.uniform(0.3, 1.0), config.tint),
        occlusion=_uniform(rng, config.occlusion),
    )


def _tinted(rng: np.random.Generator, strength: float, tint: float) -> Colour:
    """A colour of that strength between warm and cold."""
    warmth = rng.uniform(-tint, tint)
    red, green, blue = _rounded(strength * np.array([1 + warmth, 1.0, 1 - warmth]))
    return red, green, blue


def _skin(config: SkinConfig, rng: np.random.Generator) -> Skin:
    numbers = {name: _uniform(rng, getattr(config, name)) for name in _SKIN_NUMBERS}
    red, green, blue = _rounded(rng.random(3) ** 2)
    return Skin(
        **numbers,
        polish=(red, green, blue) if rng.random() < config.polish else None,
        pattern=int(rng.integers(2**31)),
        # Last, and only where it is wanted: sets without detail stay what they were.
        detail=_uniform(rng, config.detail) if config.detail[1] > 0 else 0.0,
    )


def _sleeve(config: SleeveConfig, rng: np.random.Generator) -> SleeveFactors | None:
    if rng.random() >= config.share:
        return None
    colour = rng.random(3) ** 2
    if config.vivid < 1:
        colour = colour.mean() + config.vivid * (colour - colour.mean())
    red, green, blue = _rounded(colour)
    return SleeveFactors(
        _uniform(rng, config.start), _uniform(rng, config.thickness), (red, green, blue)
    )


def _sensor(config: SensorConfig, rng: np.random.Generator) -> SensorFactors:
    blurred, noisy, compressed = rng.random(3) < [
        config.blur_share,
        config.noise_share,
        config.jpeg_share,
    ]
    blur = _uniform(rng, (0.0, config.blur))
    read, shot = _rounded(rng.uniform(0, config.noise, 2))
    red, blue = _rounded(np.exp(config.balance * _normal(rng, 2)))
    quality = int(rng.integers(config.quality[0], config.quality[1] + 1))
    return SensorFactors(
        blur=blur if blurred else 0.0,
        exposure=_rounded(config.exposure * _normal(rng))[0],
        balance=(red, blue),
        read=read if noisy else 0.0,
        shot=shot if noisy else 0.0,
        quality=quality if compressed else None,
        seed=int(rng.integers(2**31)),
    )


def _occluders(config: OccluderConfig, rng: np.random.Generator) -> tuple[OccluderFactors, ...]:
    held, front = rng.random(2) < [config.held, config.front]
    kinds = ["held"] * int(held) + ["front"] * (int(rng.integers(1, 3)) if front else 0)
    return tuple(_occluder(kind, config, rng) for kind in kinds)


def _occluder(kind: str, config: OccluderConfig, rng: np.random.Generator) -> OccluderFactors:
    low, high = config.room if kind == "held" else config.radii
    radii = np.exp(rng.uniform(np.log(low), np.log(high), 3))
    turn = rng.standard_normal(3)
    if kind == "held":  # a rod through the hand as often as a ball in it
        turn *= 0.15
        radii[0] *= rng.choice([1.0, rng.uniform(2, 6)])
        place = 0.003 * rng.standard_normal(3)
    else:
        turn *= rng.uniform(0, np.pi) / np.linalg.norm(turn)
        place = np.array([*rng.uniform(-1, 1, 2), rng.uniform(*config.nearness)])
    x, y, z = _rounded(radii)
    profile, section = _rounded(rng.choice([0.15, 0.4, 1.0], 2))
    red, green, blue = _rounded(rng.random(3) ** 2)
    a, b, c = _rounded(turn)
    u, v, w = _rounded(place)
    return OccluderFactors(
        kind=kind,
        radii=(x, y, z),
        roundness=(profile, section),
        turn=(a, b, c),
        place=(u, v, w),
        colour=(red, green, blue),
        roughness=_uniform(rng, (0.15, 0.9)),
    )


_DRAW: dict[str, Callable[[Any, np.random.Generator], Any]] = {
    "shape": _shape,
    "wrist": _wrist,
    "view": _view,
    "camera": _camera,
    "light": _light,
    "skin": _skin,
    "sleeve": _sleeve,
    "sensor": _sensor,
    "occluders": _occluders,
}
