"""Losses of supervised pose estimation (Ch. 2.3, 3.1.1, 6.3.1), as functions of tensors.

Most are means over what is valid, so that a weight means the same for any batch and any number of
labels, and 0 (with a gradient of 0) where nothing is. Their equations write sums over the joints of
one hand; the constant factor between the two is left to the weight. Those of Ch. 5, `*_norm`, are
one number for each sample.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from auxhand.geometry.heatmap import gaussian_heatmap


def masked_mean(value: Tensor, valid: Tensor) -> Tensor:
    """Mean of `value` where `valid` (bool, same shape); 0 where nothing is. What is invalid may
    hold anything, infinities included."""
    return torch.where(valid, value, 0.0).sum() / valid.sum().clamp(min=1)


def heatmap_loss(prediction: Tensor, target: Tensor, valid: Tensor, sigma: float = 1.0) -> Tensor:
    """Plain heatmaps against Gaussians of peak 1 (Eq. 2.1).

    Squared differences, summed over the cells of a map as in the equation, averaged over joints.

    Args:
        prediction: (..., h, w).
        target: (..., 2), the joints in cells of the map; one outside of it leaves what of its
            Gaussian reaches in.
        valid: (...) bool.
        sigma: of the Gaussian, in cells.
    """
    gaussian = gaussian_heatmap(target, _size(prediction), sigma)
    return masked_mean((prediction - gaussian).square().sum(dim=(-2, -1)), valid)


def heatmap_cross_entropy(
    prediction: Tensor, target: Tensor, valid: Tensor, sigma: float = 1.2
) -> Tensor:
    """Cross-entropy of softmax heatmaps against normalised Gaussians, in nats, mean over joints.

    The expectation of Eq. 2.3 and 3.1 is the same for many distributions; this term beside the
    coordinate loss asks for one peak, at the joint, and makes training faster. Joints outside the
    map are left out: no cell of it is the right one.

    Args:
        prediction: (..., h, w) probabilities, summing to one over each map.
        target: (..., 2), the joints in cells of the map.
        valid: (...) bool.
        sigma: of the Gaussian, in cells.
    """
    height, width = _size(prediction)
    limits = target.new_tensor([width, height]) - 0.5
    inside = ((target >= -0.5) & (target <= limits)).all(dim=-1)
    # A joint that does not count may be anywhere: bring it in, so that its Gaussian has a sum.
    centre = torch.where((valid & inside)[..., None], target, 0.0)
    gaussian = gaussian_heatmap(centre, (height, width), sigma)
    gaussian = gaussian / gaussian.sum(dim=(-2, -1), keepdim=True)
    log_probability = prediction.clamp_min(torch.finfo(prediction.dtype).tiny).log()
    return masked_mean(-(gaussian * log_probability).sum(dim=(-2, -1)), valid & inside)


def coordinate_loss(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Squared Euclidean distance of joints, mean over joints (Eq. 2.2, 2.3).

    Args:
        prediction, target: (..., D), in one unit, whose square is the loss's.
        valid: (...) bool.
    """
    return masked_mean((prediction - target).square().sum(dim=-1), valid)


def pose25d_loss(
    prediction: tuple[Tensor, Tensor],
    target: tuple[Tensor, Tensor],
    valid: tuple[Tensor, Tensor],
    unit: float,
    depth_weight: float = 1.0,
) -> Tensor:
    """Absolute differences of 2.5D poses, mean over joints (Eq. 3.2).

    |u - u'| / unit + |v - v'| / unit + depth_weight |d - d'|. Norms of single numbers are absolute
    values. The equation weighs y by lambda_1 and x by nothing, a misprint: both are pixels, and the
    loss must not change when a crop is turned by 90 degrees. The one weight that is left between
    pixels and depths is lambda_2; what it means depends on the unit of uv, so this is stated.

    Args:
        prediction, target: each a 2.5D pose: uv (..., 2) in pixels of the crop and d (...) in
            reference lengths.
        valid: of uv and of d, each (...) bool; each term is averaged over its own.
        unit: pixels of the crop that count as 1: its width makes uv fractions of the crop, a 64th
            of it the 64x64 output pixels of Ch. 6 and 7.
        depth_weight: lambda_2.
    """
    in_image = (prediction[0] - target[0]).abs().sum(dim=-1) / unit
    in_depth = (prediction[1] - target[1]).abs()
    return masked_mean(in_image, valid[0]) + depth_weight * masked_mean(in_depth, valid[1])


def mask_loss(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Absolute difference of masks, mean over cells and samples (the L1 term of Eq. 6.3, 7.1).

    Args:
        prediction: (B, h, w) in [0, 1].
        target: (B, H, W) in [0, 1]; where it is larger, each cell's share of hand counts.
        valid: (B,) bool.
    """
    difference = (prediction - resized(target, prediction)).abs()
    return masked_mean(difference.mean(dim=(-2, -1)), valid)


def mask_cross_entropy(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """As `mask_loss`, with the binary cross-entropy in nats; it also moves confident mistakes,
    where the absolute difference of a sigmoid has no gradient left."""
    entropy = _binary_cross_entropy(prediction, resized(target, prediction))
    return masked_mean(entropy.mean(dim=(-2, -1)), valid)


def presence_loss(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Binary cross-entropy in nats, mean over samples.

    Args:
        prediction: (B,) probability that a hand is there.
        target: (B,) in [0, 1].
        valid: (B,) bool.
    """
    return masked_mean(_binary_cross_entropy(prediction, target), valid)


def side_loss(prediction: Tensor, left: Tensor, valid: Tensor) -> Tensor:
    """Binary cross-entropy of a hand's side in nats, mean over samples.

    Args:
        prediction: (B,) probability that the hand is a left one.
        left: (B,) bool.
        valid: (B,) bool, samples that show a hand whose side is known.
    """
    return masked_mean(_binary_cross_entropy(prediction, left.to(prediction)), valid)


def pose_norm(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """|y - y'|, the norm of all coordinates of a pose together, not squared (Eq. 5.9).

    Args:
        prediction, target: (B, J, 3) in one unit, which is the loss's.
        valid: (B, J) bool, joints that are in the norm.

    Returns:
        (B,); 0 where no joint counts.
    """
    difference = torch.where(valid[..., None], prediction - target, 0.0)
    norm: Tensor = torch.linalg.vector_norm(difference.flatten(1), dim=1)
    return norm


def heatmap_norm(prediction: Tensor, target: Tensor, valid: Tensor, sigma: float) -> Tensor:
    """sum_j |H_j - H_j'|, norms over a map's cells, not squared (Eq. 5.6).

    H is the Gaussian of Eq. 2.1, of peak 1, so |H_j| is sigma sqrt(pi): what a weight of this loss
    means depends on sigma in cells, and on nothing else.

    Args:
        prediction: (B, J, h, w).
        target: (B, J, 2), the joints in cells of the map.
        valid: (B, J) bool, joints that are in the sum.
        sigma: of the Gaussian, in cells.

    Returns:
        (B,).
    """
    gaussian = gaussian_heatmap(target, _size(prediction), sigma)
    norms: Tensor = torch.linalg.vector_norm(prediction - gaussian, dim=(-2, -1))
    return torch.where(valid, norms, 0.0).sum(dim=1)


def map_norm(prediction: Tensor, target: Tensor) -> Tensor:
    """|x - x'| over all cells and channels, not squared: as Eq. 5.6, for other maps and images.

    Args:
        prediction: (B, C, h, w).
        target: (B, C, H, W); where it is larger, each cell's mean counts.

    Returns:
        (B,).
    """
    difference = prediction - resized(target, prediction)
    norm: Tensor = torch.linalg.vector_norm(difference.flatten(1), dim=1)
    return norm


def _binary_cross_entropy(prediction: Tensor, target: Tensor) -> Tensor:
    if prediction.isnan().any():  # PyTorch would raise, and not say that a training diverges
        return prediction * torch.nan
    # PyTorch refuses this function under autocast, for the sake of half-precision probabilities.
    with torch.autocast(prediction.device.type, enabled=False):
        return functional.binary_cross_entropy(prediction, target, reduction="none")


def resized(mask: Tensor, like: Tensor) -> Tensor:
    """(B, H, W) averaged down to the size of `like`."""
    return functional.adaptive_avg_pool2d(mask, _size(like))


def _size(maps: Tensor) -> tuple[int, int]:
    return maps.shape[-2], maps.shape[-1]
