"""Point clouds of stored hands (Ch. 5.4.1): the depth of the hand's region, as points."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from auxhand.data.stored import Stored
from auxhand.geometry.camera import unproject
from auxhand.geometry.cloud import random_points

REACH = 0.04
"""Metres: points that near to a joint are the hand's where no region is known (as in STB)."""


def surface(stored: Stored) -> Tensor | None:
    """All points of the visible hand: (N, 3) metres, in the camera frame of the stored K.

    The hand is that of `Stored.hand`, or else what is within `REACH` of a joint. None where depth
    or K is not known or nothing tells where the hand is, or no pixel of it has a depth.

    Raises:
        ValueError: bytes that cannot be decoded.
    """
    seen = _visible(stored)
    return None if seen is None else unproject(seen.K, seen.uv, seen.z)


def random_surface(stored: Stored, points: int, rng: np.random.Generator) -> Tensor | None:
    """`points` random ones of `surface`: another choice at every step of a training."""
    seen = _visible(stored)
    if seen is None:
        return None
    generator = torch.Generator().manual_seed(int(rng.integers(2**63 - 1)))
    pixels = random_points(torch.cat([seen.uv, seen.z[:, None]], dim=1), points, generator)
    return unproject(seen.K, pixels[:, :2], pixels[:, 2])


class _Visible(NamedTuple):
    """Pixels (N, 2) of the hand with their depths (N,), and the intrinsics they are seen by."""

    uv: Tensor
    z: Tensor
    K: Tensor


def _visible(stored: Stored) -> _Visible | None:
    depth, hand, labels = stored.depth, stored.hand, stored.labels
    if depth is None or labels.K is None or (hand is None and labels.joints_xyz is None):
        return None
    v, u = np.nonzero(depth > 0 if hand is None else (depth > 0) & (hand > 0.5))
    uv = torch.from_numpy(np.stack([u, v], 1).astype(np.float64))
    z = torch.from_numpy(depth[v, u].astype(np.float64))
    if hand is None:
        assert labels.joints_xyz is not None
        points = unproject(labels.K, uv, z)
        near = torch.cdist(points, labels.joints_xyz).amin(1) < REACH
        uv, z = uv[near], z[near]
    return _Visible(uv, z, labels.K) if len(z) else None
