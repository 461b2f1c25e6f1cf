"""MANO, the parametric hand mesh of Romero et al. (ToG 2017), from a file that the user brings.

Ch. 2.4.2: M(beta, theta) = W(T(beta, theta), J(beta), theta, weights) (Eq. 2.5) with
T(beta, theta) = template + B_S(beta) + B_P(theta) (Eq. 2.6). The model is not part of AuxHand:
MANO_RIGHT.pkl and MANO_LEFT.pkl come from https://mano.is.tue.mpg.de under their own licence.

The files are pickles of Python 2 with numpy, scipy and chumpy objects, read by `unpickle.py`, which
runs nothing of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor, nn

from auxhand.arrays import Array
from auxhand.hand.skeleton import reorder
from auxhand.hand.unpickle import Chumpy, load_arrays
from auxhand.imports import roma

FINGERTIPS: Final = (744, 320, 443, 555, 672)
"""Vertices at the tips of thumb, index, middle, ring and pinky. MANO has no such joints; these are
FreiHAND's (`kpId2vertices` in utils/mano_utils.py of github.com/lmb-freiburg/freihand), so that
joints of MANO and FreiHAND's labels mean the same. Others take neighbours: smplx 744, 320, 443,
554, 671, manopth 745, 317, 444 (left: 445), 556, 673."""

_PARENTS: Final = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
"""Joints of MANO: wrist, then index, middle, pinky, ring, thumb, each from base to tip."""

_JOINTS: Final = len(_PARENTS)
_SHAPES = 10
_WRIST, _INDEX, _PINKY = 0, 1, 7


class ManoModel(nn.Module):
    """MANO's hand as a differentiable layer.

    Buffers, V = 778 vertices (in the file's frame, metres):
        template: (V, 3).
        shape_components: (10, V, 3), B_S per unit of beta.
        pose_components: (135, V, 3), B_P per entry of the 15 fingers' joints' rotations - identity.
        joint_regressor: (16, V), J.
        weights: (V, 16) blend weights.
        faces: (F, 3) vertex indices.
        hands_components, hands_mean: (45, 45) and (45,) principal components (rows) and mean of the
            fingers' axis-angles.

    Attributes:
        side: whose hand it is, see `_side`.

    Args:
        arrays: the file's arrays under the file's names.
        tips: vertices at the fingertips, thumb to pinky.

    Raises:
        ValueError: an array is missing, of another shape or not finite; faces or tips are not
            vertices; another kinematic tree; a mean pose that bends no finger.
    """

    template: Tensor
    shape_components: Tensor
    pose_components: Tensor
    joint_regressor: Tensor
    weights: Tensor
    faces: Tensor
    hands_components: Tensor
    hands_mean: Tensor

    def __init__(
        self,
        arrays: Mapping[str, Array],
        tips: tuple[int, int, int, int, int] = FINGERTIPS,
    ) -> None:
        super().__init__()
        _check(arrays, tips)
        self.tips = tips
        for name, value in {
            "template": arrays["v_template"],
            "shape_components": arrays["shapedirs"].transpose(2, 0, 1),
            "pose_components": arrays["posedirs"].transpose(2, 0, 1),
            "joint_regressor": arrays["J_regressor"],
            "weights": arrays["weights"],
            "hands_components": arrays["hands_components"],
            "hands_mean": arrays["hands_mean"],
        }.items():
            self.register_buffer(name, torch.from_numpy(np.array(value, np.float32)))
        self.register_buffer("faces", torch.from_numpy(np.array(arrays["f"], np.int64)))
        self.side: Literal["right", "left"] = _side(self)

    def forward(
        self, pose: Tensor, betas: Tensor | None = None, translation: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Vertices (B, V, 3) and joints (B, 21, 3), Eq. 2.5-2.6.

        Args:
            pose: (B, 16, 3, 3) rotation of each joint relative to its parent, in MANO's order
                (wrist; index, middle, pinky, ring, thumb) and the axes of the file's frame; the
                identity is the flat hand. See `pose_from_axis_angles`, `pose_from_components`.
            betas: (B, 10) shape; None: the mean hand.
            translation: (B, 3) metres, added at the end. The wrist is where the file has it, not at
                the origin.

        Returns:
            Joints are in our order, fingertips being vertices (`tips`).

        Raises:
            ValueError: other shapes.
        """
        if pose.shape[1:] != (_JOINTS, 3, 3):
            raise ValueError(f"pose is {tuple(pose.shape)}, not (B, {_JOINTS}, 3, 3)")
        batch = len(pose)
        for name, value, width in (("betas", betas, _SHAPES), ("translation", translation, 3)):
            if value is not None and value.shape != (batch, width):
                raise ValueError(f"{name} are {tuple(value.shape)}, not ({batch}, {width})")

        shaped = self.template.expand(batch, -1, -1)
        if betas is not None:
            shaped = shaped + torch.tensordot(betas, self.shape_components, 1)
        rest = self.joint_regressor @ shaped
        bent = (pose[:, 1:] - torch.eye(3).to(pose)).flatten(1)
        shaped = shaped + torch.tensordot(bent, self.pose_components, 1)

        turns, places = [pose[:, 0]], [rest[:, 0]]
        for joint, parent in enumerate(_PARENTS[1:], 1):
            bone = rest[:, joint] - rest[:, parent]
            places.append(places[parent] + (turns[parent] @ bone[..., None])[..., 0])
            turns.append(turns[parent] @ pose[:, joint])
        turn, place = torch.stack(turns, 1), torch.stack(places, 1)
        shift = place - (turn @ rest[..., None])[..., 0]
        blended = self.weights @ torch.cat([turn.flatten(2), shift], 2)  # (B, V, 9 + 3)
        rotated = blended[..., :9].reshape(batch, -1, 3, 3) @ shaped[..., None]
        vertices = rotated[..., 0] + blended[..., 9:]
        if translation is not None:
            vertices, place = vertices + translation[:, None], place + translation[:, None]
        return vertices, reorder(torch.cat([place, vertices[:, list(self.tips)]], 1), "mano")

    def pose_from_axis_angles(self, axis_angles: Tensor, flat_hand_mean: bool = False) -> Tensor:
        """Rotations (B, 16, 3, 3) for `forward` from axis-angles (B, 16, 3), MANO's order, radians.

        Args:
            axis_angles: of wrist and fingers.
            flat_hand_mean: what zero means: the flat hand, or (as in MANO's own code, and in most
                parameters that datasets give) the mean pose `hands_mean`, half closed.
        """
        if not flat_hand_mean:
            mean = self.hands_mean.reshape(_JOINTS - 1, 3)
            axis_angles = torch.cat([axis_angles[:, :1], axis_angles[:, 1:] + mean], 1)
        return roma.rotvec_to_rotmat(axis_angles)

    def pose_from_components(
        self, wrist: Tensor, coefficients: Tensor, flat_hand_mean: bool = False
    ) -> Tensor:
        """Rotations (B, 16, 3, 3) from principal components of the fingers' pose.

        Args:
            wrist: (B, 3) axis-angle of the whole hand.
            coefficients: (B, N) of the first N <= 45 components.
            flat_hand_mean: see `pose_from_axis_angles`.
        """
        fingers = coefficients @ self.hands_components[: coefficients.shape[1]]
        axis_angles = torch.cat([wrist, fingers], 1).reshape(-1, _JOINTS, 3)
        return self.pose_from_axis_angles(axis_angles, flat_hand_mean)


def load_mano(
    path: str | Path,
    side: Literal["right", "left"] | None = None,
    tips: tuple[int, int, int, int, int] = FINGERTIPS,
) -> ManoModel:
    """Read MANO_RIGHT.pkl or MANO_LEFT.pkl without running anything that is in it.

    The x of the shape components of MANO_LEFT.pkl, as released, is that of the right hand's, not
    mirrored (github.com/vchoutas/smplx, issue 48). They are returned as they are in the file.

    Args:
        path: the file.
        side: the hand that is wanted; None: either.
        tips: vertices at the fingertips, thumb to pinky.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no MANO file; it holds classes other than arrays, numbers and chumpy's; it is
            the other hand.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no MANO file at {path}; MANO_RIGHT.pkl and MANO_LEFT.pkl are to be had, under their "
            "own licence, from https://mano.is.tue.mpg.de"
        )
    stored = load_arrays(path)
    try:
        if not isinstance(stored, dict):
            raise ValueError(f"it holds a {type(stored).__name__}, not a dictionary")
        model = ManoModel({k: _array(stored[k], k) for k in _shapes(0, 0) if k in stored}, tips)
    except ValueError as error:
        raise ValueError(f"{path} is not a MANO file: {error}") from error
    if side is not None and side != model.side:
        raise ValueError(f"{path} is MANO's {model.side} hand; the {side} one is wanted")
    return model


def _shapes(vertices: int, faces: int) -> dict[str, tuple[int, ...]]:
    """The arrays that are read and their shapes."""
    return {
        "v_template": (vertices, 3),
        "shapedirs": (vertices, 3, _SHAPES),
        "posedirs": (vertices, 3, 9 * (_JOINTS - 1)),
        "J_regressor": (_JOINTS, vertices),
        "weights": (vertices, _JOINTS),
        "f": (faces, 3),
        "kintree_table": (2, _JOINTS),
        "hands_components": (3 * (_JOINTS - 1), 3 * (_JOINTS - 1)),
        "hands_mean": (3 * (_JOINTS - 1),),
    }


def _check(arrays: Mapping[str, Array], tips: tuple[int, ...]) -> None:
    missing = sorted(_shapes(0, 0).keys() - arrays.keys())
    if missing:
        raise ValueError(f"there is no {', '.join(missing)}")
    vertices, faces = len(arrays["v_template"]), len(arrays["f"])
    for name, shape in _shapes(vertices, faces).items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} is {arrays[name].shape}, not {shape}")
        if arrays[name].dtype.kind not in "fiu":
            raise ValueError(f"{name} has entries that are no real numbers")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} has entries that are not finite")
    if tuple(arrays["kintree_table"][0, 1:]) != _PARENTS[1:]:
        raise ValueError("kintree_table is not the tree of MANO's 16 joints")
    for name, indices in (("f", arrays["f"]), ("tips", np.array(tips))):
        if indices.size and not 0 <= indices.min() <= indices.max() < vertices:
            raise ValueError(f"{name} holds numbers that are none of its {vertices} vertices")


def _side(model: ManoModel) -> Literal["right", "left"]:
    """Whose hand it is; the files do not say so.

    The mean pose bends the fingers to the palm. On a right hand (pinky - wrist) x (index - wrist)
    points out of its back, on a left one out of its palm.

    Raises:
        ValueError: the mean pose is the flat hand.
    """
    flat = torch.eye(3).expand(1, _JOINTS, 3, 3)
    with torch.no_grad():
        mean = model.pose_from_axis_angles(torch.zeros(1, _JOINTS, 3))
        bent = (model(mean)[0] - model(flat)[0])[0, list(model.tips[1:])].sum(dim=0)
        joints = model.joint_regressor @ model.template
    wrist = joints[_WRIST]
    normal = torch.linalg.cross(joints[_PINKY] - wrist, joints[_INDEX] - wrist)
    toward_back = float(bent @ normal)
    if toward_back == 0:
        raise ValueError("hands_mean bends no finger, so that the side cannot be told")
    return "right" if toward_back < 0 else "left"


def _array(value: Any, name: str) -> Array:
    """The array that the file holds, whatever it is wrapped in.

    Raises:
        ValueError: something else.
    """
    from scipy import sparse  # only here: who reads no MANO file need not wait for SciPy

    if isinstance(value, Chumpy):
        return value.array()
    if sparse.issparse(value):
        dense: Array = value.toarray()
        return dense
    if not isinstance(value, np.ndarray):
        raise ValueError(f"{name} is a {type(value).__name__}, not an array")
    return value
