"""What the factors of variation are drawn from: one dataclass a group, `FactorConfig` for all.

Every number can be set from YAML (configs/synth/default.yaml) and from Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from auxhand.synth.limits import LIMITS, SEED, SHARE, WEIGHT, Limits, check_fixed, check_number
from auxhand.synth.pose_sampler import PoseConfig

Range = tuple[float, float]
"""The least and the most; what is drawn is uniform between them."""

_WEIGHTS = ("view.sides", "light.count", "background.kinds")
"""Weights of what is chosen between: none negative, not all zero."""
_INTEGERS = ("people", "background.seeds")
"""Numbers from the first to an end that is left out."""
_BONES: Limits = (0.0, 0.1)
"""Of deviations that are cut off at 2.2 of them and added up: no bone is turned inside out."""
_DEGREES: Limits = (0.0, 180.0)
_TURN: Limits = (-360.0, 360.0)
_LIMITS: Mapping[str, Limits] = {
    **dict.fromkeys(_WEIGHTS, WEIGHT),
    **dict.fromkeys(_INTEGERS, SEED),
    "left": SHARE,
    "shape.coefficients": (0.0, 3.0),
    **dict.fromkeys(("shape.finger_length", "shape.bone_length", "shape.palm_length"), _BONES),
    "shape.finger_width": (0.0, 0.14),
    **dict.fromkeys(("shape.length", "shape.width"), (0.5, 2.0)),
    **dict.fromkeys(("wrist.flexion", "wrist.deviation"), (0.0, 45.0)),
    "view.upright": SHARE,
    **dict.fromkeys(("view.upright_roll", "view.upright_pitch", "view.upright_yaw"), _DEGREES),
    **dict.fromkeys(("view.roll", "view.yaw"), _TURN),
    "view.pitch": (-90.0, 90.0),  # beyond a pole it is another roll and yaw
    **dict.fromkeys(("camera.near", "camera.far"), LIMITS["camera.distance"]),
    "camera.far_share": SHARE,
    "camera.fill": LIMITS["camera.fill"],
    "camera.place": (0.0, LIMITS["camera.place"][1]),
    "light.exposure": (0.0, 10.0),
    **dict.fromkeys(("light.ambient", "light.back", "light.shadow", "light.tint"), SHARE),
    "light.occlusion": LIMITS["light.occlusion"],
    **{name: limits for name, limits in LIMITS.items() if name.startswith("skin.")},
    "sleeve.share": SHARE,
    "sleeve.start": LIMITS["sleeve.start"],
    "sleeve.thickness": LIMITS["sleeve.thickness"],
    "sleeve.vivid": SHARE,
    "background.distractors": SHARE,
    **dict.fromkeys(("sensor.blur_share", "sensor.noise_share", "sensor.jpeg_share"), SHARE),
    "sensor.blur": LIMITS["sensor.blur"],
    "sensor.exposure": (0.0, 4.0),
    "sensor.balance": SHARE,
    "sensor.noise": SHARE,
    "sensor.quality": LIMITS["sensor.quality"],
    **dict.fromkeys(("occluders.held", "occluders.front"), SHARE),
    "occluders.radii": (0.001, 0.3),
    "occluders.room": (0.1, 3.0),
    "occluders.nearness": (0.0, 0.9),
}
"""What the numbers of each entry may be; `PoseConfig` checks its own."""


@dataclass(frozen=True)
class ShapeConfig:
    """Normal distributions of the hand's shape.

    Attributes:
        coefficients: standard deviation of the shape components, cut off at 2.2 of them.
        finger_length: of the factor on a whole finger's length.
        bone_length: of the factor on each of its bones.
        palm_length: of the factor on the bones from the wrist.
        finger_width: of the factor on the thickness of all fingers and, by half, of each.
        length, width: means of the factors on the fingers' length and thickness.
    """

    coefficients: float = 0.9
    finger_length: float = 0.035
    bone_length: float = 0.025
    palm_length: float = 0.015
    finger_width: float = 0.07
    length: float = 1.0
    width: float = 1.0


@dataclass(frozen=True)
class WristConfig:
    """Standard deviations of the wrist's angles in degrees, cut off at two of them."""

    flexion: float = 24.0
    deviation: float = 10.0


@dataclass(frozen=True)
class ViewConfig:
    """A mixture of upright hands and hands turned any way; degrees.

    Attributes:
        upright: share of upright hands: normal distributions about the palm, the back and the edges
            of a raised hand.
        sides: weights of palm, back and either edge among those.
        upright_roll, upright_pitch, upright_yaw: standard deviations of the upright views.
        roll: in-plane range of the others; they are uniform over rotations where all ranges are
            full.
        pitch, yaw: their out-of-plane ranges.
    """

    upright: float = 0.55
    sides: tuple[float, float, float] = (0.5, 0.33, 0.17)
    upright_roll: float = 28.0
    upright_pitch: float = 26.0
    upright_yaw: float = 28.0
    roll: Range = (-180.0, 180.0)
    pitch: Range = (-90.0, 90.0)
    yaw: Range = (-180.0, 180.0)


@dataclass(frozen=True)
class CameraConfig:
    """Distances in metres (uniform) and how much of the frame the hand's box takes.

    Attributes:
        near, far: ranges of the distance; `far_share` is the probability of the latter.
        fill: range of `CameraFactors.fill`.
        place: how far from the image's middle that of the hand's box may lie, each way, in sides.
    """

    near: Range = (0.28, 0.9)
    far: Range = (0.9, 2.0)
    far_share: float = 0.3
    fill: Range = (0.6, 0.64)
    place: float = 0.0


@dataclass(frozen=True)
class LightConfig:
    """A key light, often weaker ones, and ambient light from above and below.

    Attributes:
        exposure: range of the light's sum, 1 shows a white surface as white.
        ambient: range of the ambient part of it.
        back: probability that the key light comes from anywhere, behind the hand included.
        count: weights of one to four lights.
        shadow: probability that the key light casts shadows.
        tint: largest deviation of a light's red and blue from white.
        occlusion: range of the ambient occlusion.
    """

    exposure: Range = (0.6, 1.25)
    ambient: Range = (0.25, 0.8)
    back: float = 0.2
    count: tuple[float, float, float, float] = (0.6, 0.25, 0.1, 0.05)
    shadow: float = 0.75
    tint: float = 0.15
    occlusion: Range = (0.3, 0.9)


@dataclass(frozen=True)
class SkinConfig:
    """Ranges of the numbers of `skin.Skin`; `polish` is the probability of painted nails.

    `detail` is the range of the strength of the fine relief: without it none is drawn.
    """

    tone: Range = (0.0, 1.0)
    warmth: Range = (-1.0, 1.0)
    palm: Range = (0.0, 1.0)
    creases: Range = (0.15, 1.0)
    knuckles: Range = (0.0, 1.0)
    flush: Range = (0.0, 1.0)
    veins: Range = (0.0, 0.8)
    blotches: Range = (0.0, 1.0)
    roughness: Range = (0.4, 0.65)
    relief: Range = (0.2, 1.0)
    polish: float = 0.06
    detail: Range = (0.0, 0.0)


@dataclass(frozen=True)
class SleeveConfig:
    """Sleeves.

    Attributes:
        share: probability of a sleeve.
        start: range of where it begins, metres behind the wrist.
        thickness: range of the metres by which it stands off the arm.
        vivid: factor on how colourful it is; 0 is grey.
    """

    share: float = 0.45
    start: Range = (0.02, 0.14)
    thickness: Range = (0.001, 0.012)
    vivid: float = 1.0


@dataclass(frozen=True)
class BackgroundConfig:
    """What is behind the hand in pictures that are stored; training may put another there.

    Attributes:
        kinds: weights of plain walls, noise, stripes and checks, clutter.
        distractors: probability of skin-coloured things.
        seeds: range of the backgrounds' numbers, its end left out: sets with ranges that do not
            overlap share no background.
    """

    kinds: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    distractors: float = 0.3
    seeds: tuple[int, int] = (0, 2**31)


@dataclass(frozen=True)
class SensorConfig:
    """Cameras; "..._share" is a probability.

    Attributes:
        blur_share, blur: out of focus, and by how much at most (`SensorFactors.blur`).
        exposure: standard deviation in stops.
        balance: standard deviation of the logarithm of the gains.
        noise_share, noise: noisy, and the deviation at most, of read and shot noise each.
        jpeg_share, quality: compressed, and the range of the quality.
    """

    blur_share: float = 0.3
    blur: float = 1.2
    exposure: float = 0.3
    balance: float = 0.05
    noise_share: float = 0.5
    noise: float = 0.03
    jpeg_share: float = 0.3
    quality: tuple[int, int] = (40, 90)


@dataclass(frozen=True)
class OccluderConfig:
    """Things that hide parts of the hand.

    Attributes:
        held: probability of a thing in the hand.
        front: probability of things before it, one or two.
        radii: range of their half axes in metres.
        room: range of a held thing's half axes in units of the room in the hand.
        nearness: range of the share of the way from the hand to the camera.
    """

    held: float = 0.06
    front: float = 0.08
    radii: Range = (0.006, 0.035)
    room: Range = (0.7, 1.15)
    nearness: Range = (0.12, 0.5)


@dataclass(frozen=True)
class FactorConfig:
    """What factors are drawn from.

    Attributes:
        left: share of left hands.
        people: numbers of the people, the end left out, whose hands these are: each has one shape
            and one skin, whatever the seed, so that sets with ranges that do not overlap share
            nobody; None: a new person for every sample.
        fixed: factors that are not drawn but given, nested as in `Factors.to_dict`, for example
            {"side": "right", "camera": {"distance": 0.5}}.
    """

    left: float = 0.5
    people: tuple[int, int] | None = None
    shape: ShapeConfig = field(default_factory=ShapeConfig)
    pose: PoseConfig = field(default_factory=PoseConfig)
    wrist: WristConfig = field(default_factory=WristConfig)
    view: ViewConfig = field(default_factory=ViewConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)
    light: LightConfig = field(default_factory=LightConfig)
    skin: SkinConfig = field(default_factory=SkinConfig)
    sleeve: SleeveConfig = field(default_factory=SleeveConfig)
    background: BackgroundConfig = field(default_factory=BackgroundConfig)
    sensor: SensorConfig = field(default_factory=SensorConfig)
    occluders: OccluderConfig = field(default_factory=OccluderConfig)
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every number, and the fixed factors.

        Raises:
            ValueError: names the entry whose number is out of its limits, whose range ends before
                it starts or whose weights are all zero, or the fixed factor that cannot be.
        """
        check_fixed(self.fixed)
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name in _LIMITS:
                _check(entry.name, value)
            elif entry.name not in ("pose", "fixed"):
                for name, number in vars(value).items():
                    _check(f"{entry.name}.{name}", number)


def _check(name: str, value: Any) -> None:
    """Check the numbers of one entry."""
    if value is None:
        return
    for number in value if isinstance(value, tuple) else (value,):
        check_number(name, number, _LIMITS[name], whole=name in (*_INTEGERS, "sensor.quality"))
    if name in _WEIGHTS:
        if not sum(value) > 0:
            raise ValueError(f"{name} are weights, which cannot all be zero")
    elif name in _INTEGERS:
        if not value[0] < value[1]:
            raise ValueError(f"{name} must be (first, end) with first < end, got {value}")
    elif isinstance(value, tuple) and not value[0] <= value[1]:
        raise ValueError(f"{name} must be (least, most), got {value}")
