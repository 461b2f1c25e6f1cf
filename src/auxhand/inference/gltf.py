"""Hands in motion as glTF 2.0 (.glb, extra `viewer`): skinned meshes whose joints turn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from auxhand.arrays import Array
from auxhand.files import writing
from auxhand.hand.fitting import fit_hand
from auxhand.hand.skeleton import BONES, JOINT_NAMES, NUM_JOINTS
from auxhand.hand.surface import FOREARM, HandSurface
from auxhand.inference.motion import SeenHand

INFLUENCES: Final = 4
"""Joints that move a vertex at most: what every reader of glTF takes."""

_FROM_CAMERA = [1.0, 0.0, 0.0, 0.0]
"""Quaternion x, y, z, w: half a turn about x, from the camera's axes (y down, z away) to those of
glTF (y up, z towards the viewer)."""

_FLOAT, _SHORT, _INT = 5126, 5123, 5125  # component types of glTF
_KINDS = {(): "SCALAR", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}


def write_glb(path: Path, hands: Iterable[SeenHand]) -> int:
    """Write hands as skinned meshes with an animation of their joints.

    Each hand is the surface of `hand.surface` in the mean of the shapes that `fit_hand` finds in
    its frames; what moves are the wrist's place and the joints' rotations. Where it is not seen its
    size is zero. Metres; the camera is at the origin and looks along -z.

    Args:
        path: of the .glb file, which appears when it is complete.
        hands: of one photo or recording.

    Returns:
        how many hands there are.

    Raises:
        ModuleNotFoundError: pygltflib is not installed.
        ValueError: no hand has 3D joints.
        OSError: the file cannot be written.
    """
    try:
        import pygltflib
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "pygltflib is not installed: pip install 'auxhand[viewer]'"
        ) from error
    tracks: dict[int, list[SeenHand]] = {}
    for hand in hands:
        if np.isfinite(hand.xyz).all():
            tracks.setdefault(hand.identity, []).append(hand)
    if not tracks:
        raise ValueError("no hand with 3D joints is in the result")
    scene = _Scene(pygltflib)
    times = [hand.time for track in tracks.values() for hand in track]
    for identity, track in sorted(tracks.items()):
        scene.add(identity, track, (min(times), max(times)))
    with writing(path) as unfinished:
        scene.finished().save_binary(str(unfinished))
    return len(tracks)


@dataclass
class _Scene:
    """A glTF file that is being made."""

    lib: Any
    gltf: Any = None
    data: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        lib = self.lib
        camera = lib.Node(name="camera", rotation=_FROM_CAMERA, children=[])
        skin = lib.Material(
            name="skin",
            pbrMetallicRoughness=lib.PbrMetallicRoughness(
                baseColorFactor=[0.75, 0.45, 0.33, 1.0], metallicFactor=0.0, roughnessFactor=0.6
            ),
        )
        self.gltf = lib.GLTF2(
            asset=lib.Asset(version="2.0", generator="auxhand"),
            scene=0,
            scenes=[lib.Scene(nodes=[0])],
            nodes=[camera],
            materials=[skin],
            animations=[lib.Animation(name="hands", channels=[], samplers=[])],
        )

    def add(self, identity: int, track: list[SeenHand], span: tuple[float, float]) -> None:
        """A hand of several frames; `span`: times of the first and the last frame of all hands."""
        side: Literal["left", "right"] = "left" if track[-1].side == "left" else "right"
        fits = [fit_hand(torch.from_numpy(hand.xyz), side) for hand in track]
        surface = HandSurface(side).double()
        shape = torch.stack([fit.shape for fit in fits]).mean(0, keepdim=True)
        vertices, joints = (value[0].numpy() for value in surface.rest(shape))
        rotations = torch.stack([fit.rotations for fit in fits])
        posed = surface.joints(rotations, shape.expand(len(fits), -1)).numpy()
        wrists = np.stack([h.xyz for h in track]).mean(1) - posed.mean(1)
        nodes = self._skeleton(f"{side} {identity}", joints)
        self._mesh(f"{side} {identity}", surface, vertices, joints, nodes)
        clock = self._accessor(np.array([hand.time for hand in track], np.float32))
        self._animate(nodes[0], "translation", clock, wrists)
        for joint in sorted({parent for parent, _ in BONES}):
            turns = _continuous(Rotation.from_matrix(rotations[:, joint].numpy()).as_quat())
            self._animate(nodes[joint], "rotation", clock, turns)
        self._show(nodes[0], track[0].time, track[-1].time, span)

    def _skeleton(self, name: str, joints: Array) -> list[int]:
        """A node for each joint, at rest, below the camera; their numbers."""
        first = len(self.gltf.nodes)
        for joint, called in enumerate(JOINT_NAMES):
            node = self.lib.Node(name=f"{name} {called}", children=[])
            self.gltf.nodes.append(node)
            node.translation = joints[joint].tolist()
        for parent, child in BONES:
            self.gltf.nodes[first + parent].children.append(first + child)
            self.gltf.nodes[first + child].translation = (joints[child] - joints[parent]).tolist()
        self.gltf.nodes[0].children.append(first)
        return list(range(first, first + NUM_JOINTS))

    def _mesh(
        self, name: str, surface: HandSurface, vertices: Array, joints: Array, nodes: list[int]
    ) -> None:
        """The surface at rest, and which joints move it."""
        lib, gltf = self.lib, self.gltf
        strongest, weights = _influences(surface.weights.numpy())
        attributes = lib.Attributes(
            POSITION=self._accessor(vertices.astype(np.float32), 34962),
            JOINTS_0=self._accessor(strongest.astype(np.uint16), 34962),
            WEIGHTS_0=self._accessor(weights.astype(np.float32), 34962),
        )
        faces = self._accessor(surface.faces.numpy().astype(np.uint32).flatten(), 34963)
        part = lib.Primitive(attributes=attributes, indices=faces, material=0)
        gltf.meshes.append(lib.Mesh(name=name, primitives=[part]))
        to_joint = np.tile(np.eye(4, dtype=np.float32), (NUM_JOINTS, 1, 1))
        to_joint[:, 3, :3] = -joints  # transposed: glTF's matrices are stored column by column
        gltf.skins.append(
            lib.Skin(inverseBindMatrices=self._accessor(to_joint), joints=nodes, skeleton=nodes[0])
        )
        node = lib.Node(name=f"{name} mesh", mesh=len(gltf.meshes) - 1, skin=len(gltf.skins) - 1)
        gltf.nodes.append(node)
        gltf.scenes[0].nodes.append(len(gltf.nodes) - 1)

    def _show(self, node: int, first: float, last: float, span: tuple[float, float]) -> None:
        """Zero size before the hand's first frame and after its last one."""
        times, sizes = [first], [1.0]
        if span[0] < first:
            times, sizes = [span[0], first], [0.0, 1.0]
        if last < span[1]:
            times, sizes = [*times, last + 1e-3], [*sizes, 0.0]
        if len(times) > 1:
            clock = self._accessor(np.array(times, np.float32))
            self._animate(node, "scale", clock, np.repeat(sizes, 3).reshape(-1, 3), "STEP")

    def _animate(
        self, node: int, what: str, clock: int, values: Array, how: str = "LINEAR"
    ) -> None:
        """Let what a node has (its translation, rotation or scale) follow values over time."""
        lib, animation = self.lib, self.gltf.animations[0]
        output = self._accessor(values.astype(np.float32))
        animation.samplers.append(
            lib.AnimationSampler(input=clock, output=output, interpolation=how)
        )
        target = lib.AnimationChannelTarget(node=node, path=what)
        sampler = len(animation.samplers) - 1
        animation.channels.append(lib.AnimationChannel(sampler=sampler, target=target))

    def _accessor(self, values: Array, target: int | None = None) -> int:
        """Numbers in the file's binary part; how glTF refers to them."""
        lib, gltf = self.lib, self.gltf
        start, data = len(self.data), np.ascontiguousarray(values).tobytes()
        self.data += data + bytes(-len(data) % 4)
        view = lib.BufferView(buffer=0, byteOffset=start, byteLength=len(data), target=target)
        gltf.bufferViews.append(view)
        kind = {"f": _FLOAT, "H": _SHORT, "I": _INT}[values.dtype.char]
        flat = values.reshape(len(values), -1)
        gltf.accessors.append(
            lib.Accessor(
                bufferView=len(gltf.bufferViews) - 1,
                componentType=kind,
                count=len(values),
                type=_KINDS[values.shape[1:]],
                min=flat.min(0).tolist(),
                max=flat.max(0).tolist(),
            )
        )
        return len(gltf.accessors) - 1

    def finished(self) -> Any:
        """The whole, to be saved."""
        self.gltf.buffers = [self.lib.Buffer(byteLength=len(self.data))]
        self.gltf.set_binary_blob(bytes(self.data))
        return self.gltf


def _influences(weights: Array) -> tuple[Array, Array]:
    """The `INFLUENCES` strongest joints of each vertex (V, 4) and their weights, which sum to one;
    the forearm moves as the wrist does."""
    of_joints = weights[:, :FOREARM].copy()
    of_joints[:, 0] += weights[:, FOREARM]
    strongest = np.argsort(-of_joints, axis=1, kind="stable")[:, :INFLUENCES]
    kept = np.take_along_axis(of_joints, strongest, 1)
    return strongest, kept / kept.sum(1, keepdims=True)


def _continuous(turns: Array) -> Array:
    """Quaternions (T, 4) of which none is far from the one before: q and -q are one rotation."""
    flips = np.sign(np.sum(turns[1:] * turns[:-1], axis=1))
    signs = np.cumprod(np.concatenate([[1.0], np.where(flips < 0, -1.0, 1.0)]))
    return np.asarray(turns * signs[:, None])
