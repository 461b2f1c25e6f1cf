"""The regulariser of a hand model's parameters, R(h) of Eq. 2.4."""

from __future__ import annotations

from torch import Tensor

from auxhand.hand.anatomy import ANGLE_LIMITS
from auxhand.hand.parameters import HandParameters


def model_regulariser(model: Tensor, shape_weight: float = 1.0) -> Tensor:
    """How unlikely hands are: shape_weight |shape|^2 + |angles beyond their limits|^2.

    Sums over the entries of one hand, mean over hands. The equation leaves R open; these are a
    Gaussian prior on the shape, and joint limits that cost nothing inside.

    Args:
        model: (B, P), h of `auxhand.hand.parameters` (`HandPose.model`).
        shape_weight: of the first term, in radians squared per standard deviation squared.

    Raises:
        ValueError: another shape.
    """
    hand = HandParameters.of(model)
    least, most = ANGLE_LIMITS.to(hand.angles).unbind(dim=-1)
    beyond = (hand.angles - most).clamp(min=0) + (least - hand.angles).clamp(min=0)
    shape = hand.shape.square().sum(dim=-1).mean()
    return shape_weight * shape + beyond.square().sum(dim=(-2, -1)).mean()
