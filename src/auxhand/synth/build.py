"""From factors to a scene that can be rendered, and to its labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from auxhand.arrays import Doubles, Singles
from auxhand.data.columns import PARTS
from auxhand.hand.skeleton import FINGERS, WRIST
from auxhand.hand.surface import FOREARM
from auxhand.sample import LEFT
from auxhand.synth.collision import radii
from auxhand.synth.coordinates import Coordinates
from auxhand.synth.distributions import hand_surface, kinematics_of
from auxhand.synth.factors import CameraFactors, Factors, ShapeFactors, WristFactors
from auxhand.synth.occluders import held, in_front
from auxhand.synth.raster import joint_thickness
from auxhand.synth.scene import Detail, Light, Scene
from auxhand.synth.skin import SkinMaps, coat, dress, join, paint

_FLESH = 0.01
"""Metres of flesh about the joints that the hand's box takes in."""
_ROOM = 0.05
"""Metres between the camera and whatever of hand and arm is nearest to it, at least."""
_SLEEVE_EDGE = 0.006
"""Metres over which cloth rises from the skin to its full thickness."""


@dataclass(frozen=True)
class SceneLabels:
    """What is known about a scene without rendering it.

    Attributes:
        K: (3, 3) camera of the image.
        joints_xyz: (21, 3) camera frame, metres.
        joints_uv: (21, 2) pixels.
        thickness: (21,) metres of flesh at each joint, for `raster.visible_joints`.
        side: "right" or "left".
    """

    K: Doubles
    joints_xyz: Doubles
    joints_uv: Doubles
    thickness: Singles
    side: str


@cache
def skin_maps() -> SkinMaps:
    """Where skin features are on the mesh, computed once per process."""
    return SkinMaps.of(hand_surface())


@cache
def skin_coordinates() -> Singles:
    """(V, 12) columns of `Coordinates` on the mesh, computed once per process."""
    return np.stack(Coordinates.of(hand_surface(), skin_maps()), 1)


@cache
def face_parts() -> NDArray[np.uint8]:
    """(F,) part of the hand that each face of the mesh belongs to, an index into `PARTS`.

    A vertex belongs to the part whose bones move it most, and behind the wrist to the arm; a face
    to the part of two of its corners.
    """
    surface = hand_surface()
    weights = surface.weights.double().numpy()
    fingers = [weights[:, chain[:3]].sum(1) for chain in FINGERS.values()]
    palm = weights[:, [WRIST, FOREARM]].sum(1)
    part = 1 + np.argmax([palm, *fingers], axis=0)
    part[skin_maps().forearm_distance > 0] = PARTS.index("arm")
    middle: NDArray[np.uint8] = np.median(part[surface.faces.numpy()], axis=1).astype(np.uint8)
    return middle


@cache
def _thickness() -> Singles:
    """(21,) metres of flesh at each joint of the mean hand."""
    surface = hand_surface()
    return joint_thickness(surface.template.numpy(), surface.rest_joints.numpy())


def build_scene(factors: Factors, size: int) -> tuple[Scene, SceneLabels]:
    """The scene of `factors` in a square image of `size` pixels, and its labels.

    Left hands are mirror images of right ones, with what they hold and what hides them; the light
    is not mirrored. The hand's faces come first, those of other things after them.

    Raises:
        ValueError: factors that are not the right number of numbers.
    """
    surface = hand_surface()
    vertices, joints = _posed(factors)
    skin = paint(skin_maps(), factors.skin)
    if factors.sleeve is not None:
        behind = skin_maps().forearm_distance - factors.sleeve.start
        arm = _forearm_rotation(factors.wrist)[:, 1]
        rise = np.clip(behind / _SLEEVE_EDGE, 0, 1) * factors.sleeve.thickness
        vertices = _moved_off(vertices, arm, rise)
        skin = dress(skin, (behind > 0).astype(np.float64), factors.sleeve.colour)
    in_hand = joints
    rotation = factors.view.rotation()
    vertices, joints = vertices @ rotation.T, joints @ rotation.T
    mirror = np.array([-1.0 if factors.side == LEFT else 1.0, 1.0, 1.0])
    place = np.array(factors.camera.place) * mirror[:2]
    K, shift = _frame(joints, float(vertices[:, 2].min()), factors.camera, place, size)
    vertices, joints = vertices + shift, joints + shift
    faces = surface.faces.numpy().astype(np.int32)
    rest = skin_maps().rest
    for occluder in factors.occluders:
        if occluder.kind == "held":
            thing = held(occluder, in_hand, _bone_radii(factors.shape))
            thing = thing and thing._replace(vertices=thing.vertices @ rotation.T + shift)
        else:
            thing = in_front(occluder, joints)
        if thing is None:
            continue
        faces = np.concatenate([faces, thing.faces + np.int32(len(vertices))])
        vertices = np.concatenate([vertices, thing.vertices])
        rest = np.concatenate([rest, thing.vertices.astype(np.float32)])
        skin = join(skin, coat(len(thing.vertices), occluder.colour, occluder.roughness))
    vertices, joints = vertices * mirror, joints * mirror
    if factors.side == LEFT:
        faces = faces[:, ::-1]
    light = factors.light
    scene = Scene(
        vertices=vertices.astype(np.float32),
        faces=np.ascontiguousarray(faces),
        rest=rest,
        albedo=skin.albedo,
        bump=skin.bump,
        roughness=skin.roughness,
        K=K,
        size=(size, size),
        lights=tuple(
            Light(np.array(direction, np.float32), np.array(colour, np.float32), shadow)
            for direction, colour, shadow in zip(
                light.directions, light.colours, light.shadows, strict=True
            )
        ),
        sky=np.array(light.sky, np.float32),
        ground=np.array(light.ground, np.float32),
        occlusion=light.occlusion,
        noise_seed=factors.skin.pattern,
        detail=_detail(factors, len(vertices)),
    )
    uv = joints[:, :2] / joints[:, 2:] * K[0, 0] + K[:2, 2]
    return scene, SceneLabels(K, joints, uv, _thickness(), factors.side)


def _detail(factors: Factors, count: int) -> Detail | None:
    """Fine relief of bare skin, for a mesh of `count` vertices; None: its strength is 0."""
    if factors.skin.detail == 0:
        return None
    skin = skin_coordinates()
    coordinates = np.zeros((count, skin.shape[1]), np.float32)
    coordinates[: len(skin)] = skin
    if factors.sleeve is not None:
        coordinates[: len(skin), 0] = skin_maps().forearm_distance < factors.sleeve.start
    return Detail(coordinates, factors.skin.pattern, factors.skin.detail)


def _posed(factors: Factors) -> tuple[Doubles, Doubles]:
    """Vertices (V, 3) and joints (21, 3) of a right hand, hand frame."""
    surface = hand_surface()
    shape = shape_tensors(factors.shape)
    if len(factors.pose.angles) != 45:
        raise ValueError(f"pose.angles must be 45 numbers, got {len(factors.pose.angles)}")
    angles = np.array(factors.pose.angles).reshape(15, 3)
    rotations = torch.from_numpy(kinematics_of(factors.shape).rotations(angles)).float()[None]
    forearm = torch.from_numpy(_forearm_rotation(factors.wrist)).float()[None]
    with torch.no_grad():
        vertices, joints = surface(rotations, *shape, forearm)
    return vertices[0].double().numpy(), joints[0].double().numpy()


def _bone_radii(shape: ShapeFactors) -> Doubles:
    """(21,) metres: half the thickness of each bone of a hand of that shape."""
    return radii(kinematics_of(shape).rest, np.array(shape.finger_width))


def shape_tensors(shape: ShapeFactors) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The three shape arguments of `HandSurface`, for a batch of one.

    Raises:
        ValueError: too many or too few numbers.
    """
    components = len(hand_surface().shape_vertices)
    for name, count in (("coefficients", components), ("bone_scale", 20), ("finger_width", 5)):
        if len(getattr(shape, name)) != count:
            raise ValueError(
                f"shape.{name} must be {count} numbers, got {len(getattr(shape, name))}"
            )
    return (
        torch.tensor([shape.coefficients]),
        torch.tensor([shape.bone_scale]),
        torch.tensor([shape.finger_width]),
    )


def _forearm_rotation(wrist: WristFactors) -> Doubles:
    """(3, 3) rotation of the forearm against the hand, about the wrist.

    The hand keeps its frame, so the forearm turns the other way: a flexed wrist (Rx(flexion) takes
    the fingers, -y, to the palm's side, -z) is a forearm turned by the inverse.
    """
    (cx, cz), (sx, sz) = (
        [f(a) for a in (wrist.flexion, wrist.deviation)] for f in (np.cos, np.sin)
    )
    flexion = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    deviation = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    forearm: Doubles = (deviation @ flexion).T
    return forearm


def _moved_off(vertices: Doubles, axis: Doubles, offset: Doubles) -> Doubles:
    """Vertices (V, 3) moved away from the forearm's axis (3,) through the wrist by offset (V,)."""
    radial = vertices - np.outer(vertices @ axis, axis)
    radial /= np.maximum(np.linalg.norm(radial, axis=1, keepdims=True), 1e-6)
    moved: Doubles = vertices + offset[:, None] * radial
    return moved


def _frame(
    joints: Doubles, nearest: float, camera: CameraFactors, place: Doubles, size: int
) -> tuple[Doubles, Doubles]:
    """K (3, 3) and the translation (3,) that put the hand's box at `place` (2,) in the image.

    The principal point is the image's centre. The box is that of the projected joints, grown by the
    flesh about them; it fills `camera.fill` of the image's side. `nearest` is the depth of the
    nearest vertex of hand and arm before they are moved: a camera inside an arm would be no camera.
    """
    depths = joints[:, 2]
    middle = (depths.min() + depths.max()) / 2
    distance = max(camera.distance, middle - nearest + _ROOM)
    shift = np.array([0.0, 0.0, distance - middle])

    def seen() -> tuple[Doubles, float]:
        """Middle and extent of the box, in focal lengths."""
        xy = (joints + shift)[:, :2] / (depths + shift[2])[:, None]
        return (xy.min(0) + xy.max(0)) / 2, np.ptp(xy, axis=0).max() + 2 * _FLESH / distance

    for _ in range(4):  # perspective: where the box's middle lies depends on where it is
        at, extent = seen()
        shift[:2] += (place * extent / camera.fill - at) * distance
    _, extent = seen()
    focal = camera.fill * size / extent
    centre = (size - 1) / 2
    return np.array([[focal, 0, centre], [0, focal, centre], [0, 0, 1.0]]), shift
