"""How well hands are found in photos.

Boxes are left, top, right, bottom in pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import box_iou

OVERLAP = 0.5
"""Intersection over union from which a hand counts as found."""


class Matches(NamedTuple):
    """What was found of M hands and in N detections.

    Attributes:
        hand: (M,) number of the detection that is this hand's, -1 where none is.
        detected: (N,) bool, whether the detection is a hand's.
    """

    hand: Tensor
    detected: Tensor


def match(found: Tensor, true: Tensor, overlap: float = OVERLAP) -> Matches:
    """Give each detection, the most certain first, to the free hand that it overlaps the most.

    Args:
        found: (N, 4) detected boxes, the most certain first.
        true: (M, 4) boxes of the hands.
        overlap: least intersection over union.
    """
    hand = torch.full((len(true),), -1, dtype=torch.long)
    detected = torch.zeros(len(found), dtype=torch.bool)
    iou = box_iou(found.double(), true.double()) if len(found) and len(true) else None
    for i in range(len(found) if iou is not None else 0):
        assert iou is not None
        free = torch.where(hand < 0, iou[i], -1.0)
        best = int(free.argmax())
        if free[best] >= overlap:
            hand[best], detected[i] = i, True
    return Matches(hand, detected)


def threshold_at(highest: Tensor, false_share: float) -> float:
    """The least threshold that at most that share of photos without hands reaches.

    Args:
        highest: (P,) the highest presence in each photo without a hand, 0 where there is none.
        false_share: share of photos in which something may be found.

    Returns:
        a presence; something is found where the presence is higher.

    Raises:
        ValueError: no photos, or a share outside [0, 1].
    """
    if not len(highest) or not 0 <= false_share <= 1:
        raise ValueError(f"{len(highest)} photos without hands, false share {false_share}")
    allowed = int(false_share * len(highest) + 1e-9)
    order = highest.sort(descending=True).values
    return float(order[allowed]) if allowed < len(order) else 0.0


def missed_share(presence: Tensor, threshold: float) -> float:
    """Share of hands whose presence is not above the threshold; NaN without hands.

    Args:
        presence: (M,) of the detection matched to each hand, 0 where none is.
        threshold: see `threshold_at`.
    """
    return float((presence <= threshold).double().mean())
