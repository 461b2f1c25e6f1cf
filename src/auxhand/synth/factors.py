"""The factors of variation of a rendered hand (Ch. 1.3.1, Fig. 1.5): plain numbers, JSON and back.

`Factors` says everything about one picture of a hand; `distributions.py` draws them and `build.py`
makes a scene of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from auxhand.arrays import Doubles
from auxhand.synth.skin import Skin

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class ShapeFactors:
    """Shape of the hand: arguments of `HandSurface`.

    Attributes:
        coefficients: shape components, standard deviations; the first is size.
        bone_scale: (20,) factors on the bones' lengths.
        finger_width: (5,) factors on the fingers' thickness, thumb first.
    """

    coefficients: tuple[float, ...]
    bone_scale: tuple[float, ...]
    finger_width: tuple[float, ...]


@dataclass(frozen=True)
class PoseFactors:
    """Pose of the fingers.

    Attributes:
        kind: kind of pose, see `PoseConfig`.
        name: name of the gesture, or what else describes the pose.
        angles: (45,) flexion, abduction, twist of the joints of `anatomy.ARTICULATED`, radians.
    """

    kind: str
    name: str
    angles: tuple[float, ...]


@dataclass(frozen=True)
class WristFactors:
    """How the hand is bent against the forearm, radians.

    Attributes:
        flexion: positive: the palm turns toward the inside of the forearm.
        deviation: positive: the hand turns toward the side of the thumb.
    """

    flexion: float
    deviation: float


@dataclass(frozen=True)
class ViewFactors:
    """How the hand is turned before the camera: Rz(roll) Rx(pitch) Ry(yaw) of the hand frame.

    At zero the camera looks at the palm of a raised right hand; a left hand is the mirror image of
    the right hand that the factors describe.

    Attributes:
        kind: "upright" or "any", the part of the mixture that the view was drawn from.
        roll: in the image plane, positive from +x toward +y, radians.
        pitch: about the camera's x axis, radians.
        yaw: about the hand's long axis, radians; pi shows the back of the hand.
    """

    kind: str
    roll: float
    pitch: float
    yaw: float

    def rotation(self) -> Doubles:
        """(3, 3) from the hand frame to the camera's."""
        (cz, cx, cy), (sz, sx, sy) = (
            [f(angle) for angle in (self.roll, self.pitch, self.yaw)] for f in (np.cos, np.sin)
        )
        roll = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
        pitch = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
        yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        rotation: Doubles = roll @ pitch @ yaw
        return rotation


@dataclass(frozen=True)
class CameraFactors:
    """The camera.

    Attributes:
        distance: metres from the camera to the middle of the hand along the axis; in effect more
            where the arm would else reach the camera.
        fill: longer side of the hand's box (joints, and flesh about them) over the image's side;
            with the distance it decides the field of view.
        place: where the middle of the hand's box lies, to the right of and below the image's, in
            sides of the image.
    """

    distance: float
    fill: float
    place: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class LightFactors:
    """Light.

    Attributes:
        directions: unit vectors toward lights at infinity, camera frame.
        colours: linear RGB of each.
        shadows: whether each casts shadows.
        sky, ground: linear RGB of the ambient light from above and below.
        occlusion: strength of ambient occlusion in [0, 1].
    """

    directions: tuple[Colour, ...]
    colours: tuple[Colour, ...]
    shadows: tuple[bool, ...]
    sky: Colour
    ground: Colour
    occlusion: float


@dataclass(frozen=True)
class SleeveFactors:
    """Cloth over the forearm.

    Attributes:
        start: metres behind the wrist.
        thickness: metres by which it stands off the skin.
        colour: linear RGB.
    """

    start: float
    thickness: float
    colour: Colour


@dataclass(frozen=True)
class SensorFactors:
    """What the camera makes of the light that reaches it (`sensor.photograph`).

    Attributes:
        blur: deviation of the Gaussian that is out of focus, in 128ths of the image's side.
        exposure: stops by which it is too bright (too dark below 0).
        balance: gains of red and blue against green, linear light.
        read, shot: noise; its variance is read^2 + shot^2 x at the encoded value x.
        quality: of JPEG, 1 to 100; None = not compressed before it is stored.
        seed: of the noise.
    """

    blur: float
    exposure: float
    balance: tuple[float, float]
    read: float
    shot: float
    quality: int | None
    seed: int


@dataclass(frozen=True)
class OccluderFactors:
    """A thing in front of the hand or held by it: a superellipsoid (`occluders.py`).

    Attributes:
        kind: "held": in the hollow of the hand, scaled to the room that the fingers leave there;
            "front": between the camera and the hand.
        radii: half axes; of a held thing in units of that room, else in metres.
        roundness: exponents of its profile and of its cross-section: 1 is round, 0.1 nearly square.
        turn: rotation vector, radians; a held thing is turned with the hand.
        place: of a thing in front: where its middle is, (x, y) from the middle of the hand's box in
            units of half the box, and which share of the way from the hand to the camera. A held
            thing is moved by place metres within the hand's frame.
        colour: linear RGB.
        roughness: of its highlights.
    """

    kind: str
    radii: tuple[float, float, float]
    roundness: tuple[float, float]
    turn: tuple[float, float, float]
    place: tuple[float, float, float]
    colour: Colour
    roughness: float


@dataclass(frozen=True)
class Factors:
    """Everything that one picture of a hand is made of.

    Attributes:
        side: "right" or "left".
        skin: the person's skin and nails.
        sleeve: None is a bare arm.
        background: seed of what is behind the hand.
        occluders: things before the hand or in it.
    """

    side: str
    shape: ShapeFactors
    pose: PoseFactors
    wrist: WristFactors
    view: ViewFactors
    camera: CameraFactors
    light: LightFactors
    skin: Skin
    sleeve: SleeveFactors | None
    background: int
    sensor: SensorFactors
    occluders: tuple[OccluderFactors, ...]

    def to_dict(self) -> dict[str, Any]:
        """As nested dictionaries, for JSON; without `skin.detail` where there is none, so that
        sets made before there was any can be made again."""
        values = dataclasses.asdict(self)
        if not self.skin.detail:
            del values["skin"]["detail"]
        return values

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Factors:
        """The factors that `to_dict` gave, also after JSON.

        Raises:
            ValueError: a factor that is missing or unknown.
        """
        factors: Factors = _build(Factors, values, "factors")
        return factors

    def fixed(self, values: Mapping[str, Any]) -> Factors:
        """These factors with some replaced: {"side": "left", "camera": {"distance": 0.5}}.

        Raises:
            ValueError: an unknown factor.
        """
        if not values:
            return self
        merged = self.to_dict()
        for name, value in values.items():
            old = merged.get(name)
            if isinstance(old, dict) and value is not None:
                value = {**old, **value}
            merged[name] = value
        return Factors.from_dict(merged)


def _build(hint: Any, values: Any, where: str) -> Any:
    """`values` as the dataclass of a type hint, lists as tuples; anything else as it is."""
    if get_origin(hint) is tuple and dataclasses.is_dataclass(get_args(hint)[0]):
        if not isinstance(values, (list, tuple)):
            raise ValueError(f"{where} must be a list, got {values!r}")
        kind = get_args(hint)[0]
        return tuple(_build(kind, value, f"{where}[{i}]") for i, value in enumerate(values))
    group = group_of(hint)
    if values is None or group is None:
        return _tuples(values)
    types = types_of(group)
    # What has a default is younger than the others: files of earlier versions lack it.
    needed = {f.name for f in dataclasses.fields(group) if f.default is dataclasses.MISSING}
    if not isinstance(values, Mapping) or not needed <= set(values) <= set(types):
        got = sorted(values) if isinstance(values, Mapping) else repr(values)
        raise ValueError(f"{where} must have {sorted(types)}, got {got}")
    return group(**{n: _build(types[n], v, f"{where}.{n}") for n, v in values.items()})


def group_of(hint: Any) -> Any:
    """The dataclass in a type hint, also in "X | None"; None where there is none, or a tuple."""
    if get_origin(hint) is tuple:
        return None
    return next((k for k in (hint, *get_args(hint)) if dataclasses.is_dataclass(k)), None)


@cache
def types_of(kind: Any) -> dict[str, Any]:
    """Type hints of the entries of a dataclass."""
    return get_type_hints(kind)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value
