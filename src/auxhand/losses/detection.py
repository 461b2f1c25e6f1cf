"""Losses of a hand detector whose cells say where hands are, as functions of tensors.

Boxes are left, top, right, bottom in pixels of the picture. N is the most hands that a picture of
the batch has; `valid` says which of a picture's N there are.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import generalized_box_iou_loss

DEVIATION = 0.1
"""Standard deviation of a hand's Gaussian along an axis, in lengths of its box."""

NARROWEST = 0.5
"""Least standard deviation, in cells."""

LEAST_WEIGHT = 0.3
"""A cell learns a hand's box and side where that hand's Gaussian is at least this."""


class CellTargets(NamedTuple):
    """What cells should say.

    Attributes:
        presence: (B, h, w) in [0, 1]; exactly 1 in the cell of each hand's centre.
        shares: (B, N, h, w) how much each cell counts for a hand's box and side; sums to 1 over the
            cells of a hand, or to 0 where there is none.
    """

    presence: Tensor
    shares: Tensor


def cell_targets(boxes: Tensor, valid: Tensor, cells: tuple[int, int], stride: int) -> CellTargets:
    """Gaussians about the hands' centres (CenterNet), and the cells that answer for each hand.

    A Gaussian is centred on the cell that holds the centre of its hand's box; where Gaussians
    overlap, the cell belongs to the hand whose is the highest.

    Args:
        boxes: (B, N, 4).
        valid: (B, N) bool.
        cells: h, w.
        stride: pixels per cell.
    """
    height, width = cells
    corner, far = boxes[..., :2], boxes[..., 2:]
    limit = boxes.new_tensor([width - 1, height - 1])
    middle = ((corner + far) / 2 + 0.5) / stride
    middle = middle.floor().clamp(min=torch.zeros_like(limit), max=limit)
    sigma = (DEVIATION * (far - corner) / stride).clamp(min=NARROWEST)
    x = torch.arange(width, device=boxes.device, dtype=boxes.dtype)
    y = torch.arange(height, device=boxes.device, dtype=boxes.dtype)
    across = ((x - middle[..., :1]) / sigma[..., :1]).square()
    down = ((y - middle[..., 1:]) / sigma[..., 1:]).square()
    gaussian = torch.exp(-0.5 * (down[..., :, None] + across[..., None, :]))
    gaussian = torch.where(valid[..., None, None], gaussian, 0.0)
    presence, owner = gaussian.max(dim=1)
    numbers = torch.arange(boxes.shape[1], device=boxes.device)[:, None, None]
    mine = torch.where((owner[:, None] == numbers) & (gaussian >= LEAST_WEIGHT), gaussian, 0.0)
    total = mine.sum(dim=(-2, -1), keepdim=True)
    return CellTargets(presence, mine / total.clamp(min=torch.finfo(total.dtype).tiny))


def centre_focal_loss(
    logits: Tensor, target: Tensor, alpha: float = 2.0, beta: float = 4.0
) -> Tensor:
    """Penalty-reduced focal loss of centres (CenterNet, Eq. 1), in nats.

    -sum of (1 - p)^alpha log p where the target is 1 and of (1 - target)^beta p^alpha log(1 - p)
    elsewhere, divided by the number of centres, or by 1 where there is none.

    Args:
        logits: (B, h, w) of p.
        target: (B, h, w) in [0, 1].
        alpha: how little cells count that are right already.
        beta: how little cells near a centre count.
    """
    p = logits.sigmoid()
    centre = target == 1
    at_centre = (1 - p) ** alpha * functional.logsigmoid(logits)
    elsewhere = (1 - target) ** beta * p**alpha * functional.logsigmoid(-logits)
    return -torch.where(centre, at_centre, elsewhere).sum() / centre.sum().clamp(min=1)


def box_loss(prediction: Tensor, boxes: Tensor, shares: Tensor) -> Tensor:
    """1 - generalised intersection over union (Rezatofighi et al. 2019), mean over hands.

    Args:
        prediction: (B, h, w, 4).
        boxes: (B, N, 4).
        shares: (B, N, h, w), see `CellTargets`.
    """
    sample, hand, row, column = shares.nonzero(as_tuple=True)
    loss = generalized_box_iou_loss(prediction[sample, row, column], boxes[sample, hand])
    total: Tensor = (shares[sample, hand, row, column] * loss).sum() / shares.sum().clamp(min=1)
    return total


def side_map_loss(logits: Tensor, right: Tensor, known: Tensor, shares: Tensor) -> Tensor:
    """Binary cross-entropy of the side in nats, mean over hands whose side is known.

    Args:
        logits: (B, h, w) of a right hand.
        right: (B, N) 1 for right hands, 0 for left ones; anything where it is not known.
        known: (B, N) bool.
        shares: (B, N, h, w), see `CellTargets`.
    """
    shares = shares * known[..., None, None]
    truth = torch.where(known, right, 0.0)[..., None, None].expand_as(shares)
    loss = functional.binary_cross_entropy_with_logits(
        logits[:, None].expand_as(shares), truth, reduction="none"
    )
    return (shares * loss).sum() / shares.sum().clamp(min=1)
