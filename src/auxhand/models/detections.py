"""What a hand detector says of a picture, and the hands that follow from it.

Apart from the network (`models.detector`), which ONNX Runtime may stand for.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import nms

DETECTOR = "HandDetector"
"""Name of the detector's class, for those who do not import it."""

STRIDE = 8
"""Pixels of the picture per cell."""


class DetectionMaps(NamedTuple):
    """What each of h x w cells says, `STRIDE` pixels of the picture wide.

    Attributes:
        presence: (B, h, w) logit that a hand's centre lies in the cell.
        boxes: (B, h, w, 4) left, top, right, bottom of that hand in pixels of the picture.
        side: (B, h, w) logit that it is a right hand.
    """

    presence: Tensor
    boxes: Tensor
    side: Tensor


class Detections(NamedTuple):
    """The hands of one picture, the most certain first.

    Attributes:
        boxes: (N, 4) left, top, right, bottom in pixels of the picture.
        presence: (N,) probability that it is a hand.
        side: (N,) probability that it is a right hand.
    """

    boxes: Tensor
    presence: Tensor
    side: Tensor


def decode(
    maps: DetectionMaps, least: float = 0.05, count: int = 8, overlap: float = 0.4
) -> list[Detections]:
    """The hands of each picture: peaks of presence, overlapping ones only once.

    Args:
        maps: of B pictures.
        least: presence of a hand at least.
        count: hands a picture at most.
        overlap: intersection over union from which two boxes are one hand's.

    Returns:
        B detections.
    """
    presence = maps.presence.sigmoid()
    neighbourhood = functional.max_pool2d(presence[:, None], 3, stride=1, padding=1)[:, 0]
    peaks = torch.where(presence == neighbourhood, presence, 0.0).flatten(1)
    boxes, sides = maps.boxes.flatten(1, 2), maps.side.sigmoid().flatten(1)
    found = []
    for i in range(len(peaks)):
        score, cell = peaks[i].topk(min(4 * count, peaks.shape[1]))
        cell = cell[score >= least]
        kept = cell[nms(boxes[i, cell], peaks[i, cell], overlap)[:count]]
        found.append(Detections(boxes[i, kept], peaks[i, kept], sides[i, kept]))
    return found
