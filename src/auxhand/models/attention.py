"""Attention of one feature map on itself and on another one (Ch. 7.3.3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from auxhand.geometry.precision import full_precision


@full_precision
def attention(features: Tensor) -> Tensor:
    """Att(f), how much each cell looks like the mean of all cells (Eq. 7.2).

    w_ij = <mean(f), f_ij> / sum_ij <mean(f), f_ij> * h w, so that the weights of a map average 1.
    After a ReLU the inner products are not negative. Where their sum is 0, as in a map of zeros,
    all weights are 1.

    Args:
        features: (B, C, h, w), in any unit: the weights are the same for any multiple of it.

    Returns:
        (B, 1, h, w), differentiable, in float32 under autocast.
    """
    # Squares of the largest floats overflow, those of the smallest vanish: of about 1 neither does.
    scale = features.detach().abs().amax(dim=(1, 2, 3), keepdim=True)
    features = features / torch.where(scale > 0, scale, 1.0)
    mean = features.mean(dim=(-2, -1), keepdim=True)
    products = (mean * features).sum(dim=1, keepdim=True)
    # The mean of the inner products with the mean is the mean's square: a sum of squares, >= 0.
    total = mean.square().sum(dim=1, keepdim=True)
    known = total > torch.finfo(total.dtype).eps ** 2
    return torch.where(known, products / torch.where(known, total, 1.0), 1.0)


def attend(rgb: Tensor, depth: Tensor, stop_gradient: bool = True) -> tuple[Tensor, Tensor]:
    """Att(f_DM) * f_RGB and Att(f_DM) * f_DM, the attention of the depth map on both (Fig. 7.2 c).

    Args:
        rgb: (B, C, h, w) features of the fusion branch, f_RGB.
        depth: (B, C, h, w) features of the depth branch, f_DM.
        stop_gradient: let no gradient of the fused features into the attention, so that inaccurate
            RGB features cannot spoil it (Ch. 7.3.4.2). The self-attended features train it always.

    Returns:
        The fused and the self-attended features, each (B, C, h, w).
    """
    weights = attention(depth).to(depth.dtype)
    return (weights.detach() if stop_gradient else weights) * rgb, weights * depth
