"""Point clouds of stored hands (Ch. 5.4.1): the depth of the hand's region, as points."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from auxhand.data.columns import (
    PARTS,
    Row,
    decode_column,
    decode_depth,
    decode_labels,
    decode_mask,
    decode_parts,
)
from auxhand.geometry.cloud import depth_to_cloud, random_points


def surface(row: Row, where: str = "") -> Tensor | None:
    """All points of the visible hand: (N, 3) metres, in the camera frame of the stored K.

    The hand is what `parts` says, the arm left out, or else what `mask` says. None where depth, K
    or the region is not known, or no pixel of the hand has a depth.

    Args:
        row: columns of a prepared dataset.
        where: name of the dataset, for messages.

    Raises:
        ValueError: bytes that cannot be decoded.
    """
    depth = decode_column(row, "depth", decode_depth, where)
    parts = decode_column(row, "parts", decode_parts, where)
    region = decode_column(row, "mask", decode_mask, where)
    if parts is not None:
        region = ((parts > 0) & (parts != PARTS.index("arm"))).astype(np.float32)
    K = decode_labels(row, where).K
    if depth is None or region is None or K is None:
        return None
    cloud = depth_to_cloud(torch.from_numpy(depth).double(), K, torch.from_numpy(region))
    return cloud if len(cloud) else None


def random_surface(
    row: Row, points: int, rng: np.random.Generator, where: str = ""
) -> Tensor | None:
    """`points` random ones of `surface`: another choice at every step of a training."""
    cloud = surface(row, where)
    if cloud is None:
        return None
    generator = torch.Generator().manual_seed(int(rng.integers(2**63 - 1)))
    return random_points(cloud, points, generator)
