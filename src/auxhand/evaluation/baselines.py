"""Two constant baselines, without which a figure in millimetres says little.

The mean pose knows nothing about the image. The true 2D joints with the mean depth vector know
everything but depth: only a method that beats them has learnt depth.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from auxhand.evaluation.protocol import Predictor
from auxhand.geometry.pose25d import relative
from auxhand.hand.skeleton import NUM_JOINTS, REFERENCE_BONE, ROOT
from auxhand.sample import HandBatch, HandPose


@dataclass(frozen=True)
class MeanHand:
    """The mean of a training set, in the frame of the crops (every hand a right hand).

    Attributes:
        xyz: (21, 3) relative to the root, in reference lengths; its z is the mean depth vector.
        uv: (21, 2) in fractions of the crop, 0 its left or upper edge, 1 the opposite one.
    """

    xyz: Tensor
    uv: Tensor


def mean_hand(
    batches: Iterable[HandBatch], root: int = ROOT, bone: tuple[int, int] = REFERENCE_BONE
) -> MeanHand:
    """Mean over all valid joints of the poses whose root and reference bone are labelled.

    Raises:
        ValueError: a joint is valid in no pose.
    """
    xyz = torch.zeros(NUM_JOINTS, 3, dtype=torch.float64)
    uv = torch.zeros(NUM_JOINTS, 2, dtype=torch.float64)
    xyz_count = torch.zeros(NUM_JOINTS, 1)
    uv_count = torch.zeros(NUM_JOINTS, 1)
    for batch in batches:
        valid = batch.joint_mask("joints_xyz")
        valid = (valid & valid[:, [root, *bone]].all(dim=1, keepdim=True))[..., None]
        pose = relative(batch.joints_xyz, root, bone)
        xyz += torch.where(valid, pose, 0).sum(dim=0)
        xyz_count += valid.sum(dim=0)
        valid = batch.joint_mask("joints_uv")[..., None]
        size = max(batch.image.shape[-2:])
        uv += torch.where(valid, (batch.joints_uv + 0.5) / size, 0).sum(dim=0)
        uv_count += valid.sum(dim=0)
    if not (xyz_count.all() and uv_count.all()):
        raise ValueError("no mean hand: some joint is labelled nowhere in the training set")
    return MeanHand((xyz / xyz_count).float(), (uv / uv_count).float())


def mean_pose(mean: MeanHand) -> Predictor:
    """The same pose for every image."""

    def predict(batch: HandBatch) -> HandPose:
        count, size = len(batch), max(batch.image.shape[-2:])
        uv = mean.uv.to(batch.image) * size - 0.5
        return HandPose(uv=uv.expand(count, -1, -1), xyz=mean.xyz.to(uv).expand(count, -1, -1))

    return predict


def true_uv_mean_depth(mean: MeanHand) -> Predictor:
    """The true 2D joints with the same depth vector for every image."""

    def predict(batch: HandBatch) -> HandPose:
        d = mean.xyz[:, 2].to(batch.joints_uv).expand(len(batch), -1)
        return HandPose(uv=batch.joints_uv, d=d)

    return predict
