"""The parameters h of a skinned hand under a weak-perspective camera (Eq. 2.4), as one vector."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional

from auxhand.hand.anatomy import ARTICULATED
from auxhand.imports import roma

_SCALE, _TRANSLATION, _ROTATION, _ANGLES = 1, 2, 6, 2 * len(ARTICULATED)
_POSE = _SCALE + _TRANSLATION + _ROTATION + _ANGLES

SCALE = 4.0
"""Image widths per metre at log scale 0: an open hand of 0.18 m fills 0.7 of the crop."""


class HandParameters(NamedTuple):
    """h, taken apart.

    Attributes:
        scale: (B,) image widths per metre.
        translation: (B, 2) where the root joint is, in image sides from the image's centre.
        rotation: (B, 3, 3) of the whole hand, from the frame of `HandSurface` to the camera's.
        angles: (B, 15, 3) flexion, abduction, twist (0) in radians, see `auxhand.hand.anatomy`.
        shape: (B, S) coefficients of the shape components of `HandSurface`.
    """

    scale: Tensor
    translation: Tensor
    rotation: Tensor
    angles: Tensor
    shape: Tensor

    @staticmethod
    def count(shapes: int) -> int:
        """Entries of h for a surface of `shapes` shape components."""
        return _POSE + shapes

    @classmethod
    def of(cls, h: Tensor) -> Self:
        """(B, 39 + S) -> its parts; zeros are a mean hand, open, its palm to the camera.

        In order: log of scale / `SCALE`; translation; two columns (3 x 2, row by row) that, added
        to those of the identity, are orthonormalised to the rotation's first two (Zhou et al.
        2019); flexion and abduction of each joint; shape.

        Raises:
            ValueError: not a matrix, or too few columns.
        """
        if h.ndim != 2 or h.shape[1] < _POSE:
            raise ValueError(f"hand parameters are (B, {_POSE} + S), not {tuple(h.shape)}")
        sizes = [_SCALE, _TRANSLATION, _ROTATION, _ANGLES, h.shape[1] - _POSE]
        log_scale, translation, columns, angles, shape = torch.split(h, sizes, dim=1)
        identity = torch.eye(3, 2, dtype=h.dtype, device=h.device)
        return cls(
            scale=SCALE * log_scale.squeeze(1).exp(),
            translation=translation,
            rotation=roma.special_gramschmidt(columns.reshape(-1, 3, 2) + identity),
            angles=functional.pad(angles.reshape(-1, len(ARTICULATED), 2), (0, 1)),
            shape=shape,
        )
