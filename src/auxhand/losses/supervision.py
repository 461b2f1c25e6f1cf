"""The weighted terms by which a predicted pose learns from labels (Ch. 2.3, 3.1.1, 6.3.1, 7.3.2):

L = sum_k lambda_k L_k(predicted pose, labels of the batch)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor

from auxhand.geometry.canonical import MIDDLE_MCP, PINKY_MCP, WRIST, canonical_pose, rotate
from auxhand.geometry.heatmap import pixels_to_cells
from auxhand.geometry.pose25d import reference_length, relative
from auxhand.hand.skeleton import REFERENCE_BONE, ROOT
from auxhand.losses.consistency import DEPTH_WEIGHT, OUTPUT_CELLS, MultiModal, joint_distance
from auxhand.losses.model_fit import model_regulariser
from auxhand.losses.pose import (
    coordinate_loss,
    heatmap_cross_entropy,
    heatmap_loss,
    mask_cross_entropy,
    mask_loss,
    masked_mean,
    pose25d_loss,
    presence_loss,
    side_loss,
)
from auxhand.sample import HandBatch, HandPose

Term = Callable[[HandPose, HandBatch], Tensor]

_FRAME = 0.5  # least determinant of a viewpoint: 1, but that of a palm on a line is 0


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; a term with weight 0 is not computed.

    Each term is a mean over what is labelled. uv is in widths of the crop, d and xyz in reference
    lengths.

    Attributes:
        pose_25d: absolute differences of 2.5D poses (Eq. 3.2).
        depth: lambda_2 of Eq. 3.2, the weight of d beside uv within `pose_25d`.
        uv_squared: squared distance in the image (Eq. 2.2, 2.3).
        d_squared: squared difference of depths, the third coordinate of Eq. 2.2 in 2.5D.
        xyz_squared: squared distance of root-relative 3D poses (Eq. 2.2 in 3D).
        canonical_squared: squared distance of canonical poses, and
        viewpoint_squared: squared difference of the entries of viewpoints: the two losses of
            Zimmermann & Brox (2017), of either network its own (Ch. 4.4.4).
        heatmap: plain heatmaps (Eq. 2.1), Gaussian of 1 cell.
        heatmap_cross_entropy: latent heatmaps against a normalised Gaussian, beside uv.
        mask: absolute difference of masks (Eq. 6.3).
        mask_cross_entropy: binary cross-entropy of masks.
        presence: binary cross-entropy of the presence of a hand.
        side: binary cross-entropy of the side of the hand, as the crop shows it.
        model: regulariser R(h) of a hand surface model (Eq. 2.4).
    """

    pose_25d: float = 0.0
    depth: float = 0.1
    uv_squared: float = 0.0
    d_squared: float = 0.0
    xyz_squared: float = 0.0
    canonical_squared: float = 0.0
    viewpoint_squared: float = 0.0
    heatmap: float = 0.0
    heatmap_cross_entropy: float = 0.0
    mask: float = 0.0
    mask_cross_entropy: float = 0.0
    presence: float = 0.0
    side: float = 0.0
    model: float = 0.0


class Supervision:
    """The terms of a method that learns from labels.

    Args:
        weights: lambda_k; a term whose field the network does not predict is refused when asked
            for.

    Raises:
        ValueError: every weight is 0.
    """

    def __init__(self, weights: LossWeights) -> None:
        self.weights = {k: v for k, v in asdict(weights).items() if k != "depth" and v > 0}
        if not self.weights:
            raise ValueError("every loss weight is 0: nothing to train")
        self._terms = TERMS | {"pose_25d": partial(_pose_25d, depth_weight=weights.depth)}

    def terms(self, pose: HandPose, batch: HandBatch) -> dict[str, Tensor]:
        """L_k of the terms whose weight is not 0, unweighted, each a scalar.

        Raises:
            ValueError: a term needs a field that the network does not predict.
        """
        return {name: self._terms[name](pose, batch) for name in self.weights}

    def mean_terms(self, poses: Sequence[HandPose], batch: HandBatch) -> dict[str, Tensor]:
        """The terms' means over several predictions, as of a network's stages (intermediate
        supervision)."""
        losses = [self.terms(pose, batch) for pose in poses]
        return {name: torch.stack([loss[name] for loss in losses]).mean() for name in losses[0]}

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """L = sum_k lambda_k L_k."""
        return torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()

    def labelled(self, batch: HandBatch) -> Tensor:
        """(B,) bool, samples with a label that one of the terms compares with. That a hand is
        there counts only where nothing else is learnt."""
        compared = self.weights.keys() - {"model"}
        fields = {name for term in compared - {"presence"} or compared for name in LABELS[term]}
        told = torch.zeros_like(batch.valid["image"])
        for name in fields:
            told = told | (
                batch.joint_mask(name).any(dim=1) if "joints" in name else batch.valid[name]
            )
        return told


def relative_pose(batch: HandBatch) -> tuple[Tensor, Tensor]:
    """(B, 21, 3) true pose relative to the root in reference lengths, and (B, 21) its validity:
    without the root and the reference bone none of it is known."""
    valid = batch.joint_mask("joints_xyz")
    told = valid[:, [ROOT, *REFERENCE_BONE]].all(dim=1, keepdim=True)
    return relative(batch.joints_xyz), valid & told


def labelled_joints(batch: HandBatch) -> Tensor:
    """(B, 21) bool: joints whose 2.5D pose is known."""
    return batch.joint_mask("joints_uv") & relative_pose(batch)[1]


def relative_depth(batch: HandBatch) -> tuple[Tensor, Tensor]:
    """(B, H, W) depth maps of the hands relative to the root, in reference lengths, 0 outside, and
    (B,) bool: samples whose depth, mask, root and reference bone are known (d of Ch. 7.3.1).

    Where an obstacle covers the hand, the mask says that it is outside.
    """
    ends = [ROOT, *REFERENCE_BONE]
    known = batch.valid["depth"] & batch.valid["mask"]
    known = known & batch.joint_mask("joints_xyz")[:, ends].all(dim=1)
    unit = reference_length(batch.joints_xyz).clamp_min(torch.finfo(batch.depth.dtype).tiny)
    root = batch.joints_xyz[:, ROOT, 2]
    shown = (batch.mask > 0.5) & (batch.depth > 0) & known[:, None, None]
    depth = (batch.depth - root[:, None, None]) / unit[:, None, None]
    return torch.where(shown, depth, 0.0), known


def multimodal_loss(
    y: MultiModal,
    batch: HandBatch,
    mask_weight: float = 100.0,
    map_weight: float = 50.0,
    depth_weight: float = DEPTH_WEIGHT,
) -> Tensor:
    """M(y_gt, y) of Eq. 7.1, each of its terms a mean over what is labelled.

    As `consistency.multimodal_distance`, of which it is the mean where all is labelled. Labels
    larger than the maps are averaged down.

    Args:
        y: what a branch says of the batch's crops.
        batch: the labels.
        mask_weight, map_weight, depth_weight: of `consistency.multimodal_distance`.
    """
    truth = batch.joints_uv, relative_pose(batch)[0][..., 2]
    unit = batch.image.shape[-1] / OUTPUT_CELLS
    distance = joint_distance((y.uv, y.d), truth, unit, depth_weight)
    mask = mask_loss(y.mask, batch.mask, batch.valid["mask"])
    # What is a mean over cells and samples for masks is one for depths too.
    depth = mask_loss(y.depth, *relative_depth(batch))
    return masked_mean(distance, labelled_joints(batch)) + mask_weight * mask + map_weight * depth


def true_canonical(batch: HandBatch) -> tuple[Tensor, Tensor]:
    """(B, 21, 3) true canonical pose relative to the root in reference lengths (Ch. 4.3.3), and
    (B, 21) its validity."""
    R, known = true_viewpoint(batch)
    pose, valid = relative_pose(batch)
    return rotate(R.mT, pose), valid & known[:, None]


def true_viewpoint(batch: HandBatch) -> tuple[Tensor, Tensor]:
    """(B, 3, 3) true R of 3DPose = R CPose (Ch. 4.3.3), and (B,) its validity: it takes the palm
    alone."""
    joints = batch.joint_mask("joints_xyz")
    R = canonical_pose(torch.where(joints[..., None], batch.joints_xyz, 0.0))[1]
    palm = joints[:, [WRIST, MIDDLE_MCP, PINKY_MCP]].all(dim=1)
    known = palm & (torch.linalg.det(R) > _FRAME)
    return torch.where(known[:, None, None], R, 0.0), known


def _field(pose: HandPose, name: str) -> Tensor:
    value: Tensor | None = getattr(pose, name)
    if value is None:
        raise ValueError(
            f"a loss with a weight needs {name}, which the network does not predict: set that "
            "weight to 0 or choose another head"
        )
    return value


def _cells(pose: HandPose, batch: HandBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Predicted maps, true joints in their cells, and the joints' validity."""
    maps = _field(pose, "heatmaps")
    target = pixels_to_cells(batch.joints_uv, batch.image.shape[-1] / maps.shape[-1])
    return maps, target, batch.joint_mask("joints_uv")


def _pose_25d(pose: HandPose, batch: HandBatch, depth_weight: float) -> Tensor:
    xyz, valid = relative_pose(batch)
    return pose25d_loss(
        (_field(pose, "uv"), _field(pose, "d")),
        (batch.joints_uv, xyz[..., 2]),
        (batch.joint_mask("joints_uv"), valid),
        unit=batch.image.shape[-1],
        depth_weight=depth_weight,
    )


def _uv_squared(pose: HandPose, batch: HandBatch) -> Tensor:
    width = batch.image.shape[-1]
    target = batch.joints_uv / width
    return coordinate_loss(_field(pose, "uv") / width, target, batch.joint_mask("joints_uv"))


def _d_squared(pose: HandPose, batch: HandBatch) -> Tensor:
    xyz, valid = relative_pose(batch)
    return coordinate_loss(_field(pose, "d")[..., None], xyz[..., 2:], valid)


def _xyz_squared(pose: HandPose, batch: HandBatch) -> Tensor:
    return coordinate_loss(_field(pose, "xyz"), *relative_pose(batch))


def _canonical_squared(pose: HandPose, batch: HandBatch) -> Tensor:
    return coordinate_loss(_field(pose, "canonical"), *true_canonical(batch))


def _viewpoint_squared(pose: HandPose, batch: HandBatch) -> Tensor:
    R, known = true_viewpoint(batch)
    difference = (_field(pose, "viewpoint") - R).square().sum(dim=(1, 2))
    return masked_mean(difference, known)


def _mask(loss: Callable[..., Tensor]) -> Term:
    return lambda pose, batch: loss(_field(pose, "mask"), batch.mask, batch.valid["mask"])


def _presence(pose: HandPose, batch: HandBatch) -> Tensor:
    return presence_loss(_field(pose, "presence"), batch.presence, batch.valid["presence"])


def _side(pose: HandPose, batch: HandBatch) -> Tensor:
    shown = batch.valid["side"] & (batch.presence > 0) & batch.valid["presence"]
    return side_loss(_field(pose, "left"), batch.shown_left, shown)


TERMS: dict[str, Term] = {
    "uv_squared": _uv_squared,
    "d_squared": _d_squared,
    "xyz_squared": _xyz_squared,
    "canonical_squared": _canonical_squared,
    "viewpoint_squared": _viewpoint_squared,
    "heatmap": lambda pose, batch: heatmap_loss(*_cells(pose, batch)),
    "heatmap_cross_entropy": lambda pose, batch: heatmap_cross_entropy(*_cells(pose, batch)),
    "mask": _mask(mask_loss),
    "mask_cross_entropy": _mask(mask_cross_entropy),
    "presence": _presence,
    "side": _side,
    "model": lambda pose, batch: model_regulariser(_field(pose, "model")),
}
"""The terms of `LossWeights` that need nothing but a pose and its labels."""

LABELS: dict[str, tuple[str, ...]] = {
    "pose_25d": ("joints_uv", "joints_xyz"),
    "uv_squared": ("joints_uv",),
    "d_squared": ("joints_xyz",),
    "xyz_squared": ("joints_xyz",),
    "canonical_squared": ("joints_xyz",),
    "viewpoint_squared": ("joints_xyz",),
    "heatmap": ("joints_uv",),
    "heatmap_cross_entropy": ("joints_uv",),
    "mask": ("mask",),
    "mask_cross_entropy": ("mask",),
    "presence": ("presence",),
    "side": ("side",),
    "model": (),
}
"""The fields of a sample that each term compares with."""
