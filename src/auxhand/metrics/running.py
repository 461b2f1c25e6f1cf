"""Metrics over batches and processes (DDP): sums and counts, of which torchmetrics takes care."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from auxhand.hand.skeleton import NUM_JOINTS, ROOT
from auxhand.metrics.distance import AlignBy, align, auc, distances
from auxhand.metrics.lifting import lift_pose
from auxhand.sample import HandBatch, HandPose

MILLIMETRES = 1000.0
"""Millimetres in a metre."""

AUC_STEPS = 100
"""Intervals between the thresholds of a PCK curve: 0.5 mm on 0-50 mm, 0.3 mm on 20-50 mm."""


class _AlignedMetric(Metric):
    """A metric of 3D poses in metres after an alignment."""

    full_state_update = False

    def __init__(self, align: AlignBy = "root", root: int = ROOT) -> None:
        super().__init__()
        self.align: AlignBy = align
        self.root = root

    def _millimetres(self, predicted: Tensor, true: Tensor, valid: Tensor | None) -> Tensor:
        """(M,) distances in mm of the joints that count."""
        if valid is None:
            valid = torch.ones(true.shape[:-1], dtype=torch.bool, device=true.device)
        predicted, counted = align(predicted, true, valid, self.align, self.root)
        return distances(predicted, true, counted) * MILLIMETRES


class EPE(_AlignedMetric):
    """Mean end-point error in mm (Eq. 2.7); update with poses (B, J, 3) in metres."""

    higher_is_better = False
    total: Tensor
    count: Tensor

    def __init__(self, align: AlignBy = "root", root: int = ROOT) -> None:
        super().__init__(align, root)
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, true: Tensor, valid: Tensor | None = None) -> None:
        """Add poses (B, J, 3) in metres; `valid` is (B, J) bool, all joints if None."""
        millimetres = self._millimetres(predicted, true, valid)
        self.total += millimetres.sum()
        self.count += millimetres.numel()

    def compute(self) -> Tensor:
        """() mm."""
        return self.total / self.count


class PCKCurve(_AlignedMetric):
    """PCK (Eq. 2.8) over thresholds in mm; update with poses (B, J, 3) in metres.

    Args:
        low, high: first and last threshold in mm.
        steps: intervals between them; there are steps + 1 thresholds.
        align, root: see `align`.
    """

    higher_is_better = True
    near: Tensor
    count: Tensor
    thresholds: Tensor

    def __init__(
        self,
        low: float = 0.0,
        high: float = 50.0,
        steps: int = AUC_STEPS,
        align: AlignBy = "root",
        root: int = ROOT,
    ) -> None:
        super().__init__(align, root)
        if not low < high or steps < 1:
            raise ValueError(f"thresholds from {low} to {high} mm in {steps} steps are no range")
        self.register_buffer("thresholds", torch.linspace(low, high, steps + 1), persistent=False)
        self.add_state("near", torch.zeros(steps + 1, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, true: Tensor, valid: Tensor | None = None) -> None:
        """Add poses (B, J, 3) in metres; `valid` is (B, J) bool, all joints if None."""
        millimetres = self._millimetres(predicted, true, valid)
        self.near += (millimetres[:, None] < self.thresholds).sum(dim=0)
        self.count += millimetres.numel()

    def compute(self) -> Tensor:
        """(steps + 1,) PCK in [0, 1] at `thresholds`."""
        return self.near / self.count


class AUC(PCKCurve):
    """Area under the PCK curve from `low` to `high` mm, in [0, 1] (Ch. 2.5; see `auc`)."""

    def compute(self) -> Tensor:
        """() in [0, 1]."""
        return auc(self.thresholds, super().compute())


class PCK(Metric):
    """2D PCK: share of joints nearer than a fraction of the image's or hand's size (Ch. 7.4.1).

    Args:
        fraction: the threshold as a fraction of the size given to `update`.
    """

    full_state_update = False
    higher_is_better = True
    near: Tensor
    count: Tensor

    def __init__(self, fraction: float = 0.05) -> None:
        super().__init__()
        self.fraction = fraction
        self.add_state("near", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(
        self, predicted: Tensor, true: Tensor, size: float | Tensor, valid: Tensor | None = None
    ) -> None:
        """Add joints (B, J, 2) and their size, one number or (B,), in pixels; `valid` is (B, J)."""
        limit = torch.as_tensor(size, dtype=true.dtype, device=true.device) * self.fraction
        limit = limit.expand(len(true))[:, None].expand(true.shape[:-1])
        limit = limit.flatten() if valid is None else limit[valid]
        self.near += (distances(predicted, true, valid) < limit).sum()
        self.count += limit.numel()

    def compute(self) -> Tensor:
        """() in [0, 1]."""
        return self.near / self.count


class Spread(Metric):
    """How far predicted poses differ from each other, as a share of how far true ones do.

    The deviation of root-relative joints over the samples, over all joints and coordinates: about 1
    for good predictions, 0 for a pose that is the same for all hands.

    Args:
        root: the joint that poses are relative to.
    """

    full_state_update = False
    moments: Tensor
    count: Tensor

    def __init__(self, root: int = ROOT) -> None:
        super().__init__()
        self.root = root
        # Sums of x and of its square, of predicted and true joints.
        self.add_state(
            "moments",
            torch.zeros(2, 2, NUM_JOINTS, 3, dtype=torch.float64),
            dist_reduce_fx="sum",
        )
        self.add_state(
            "count", torch.zeros(NUM_JOINTS, 1, dtype=torch.float64), dist_reduce_fx="sum"
        )

    def update(self, predicted: Tensor, true: Tensor, valid: Tensor) -> None:
        """Add poses (B, 21, 3) in metres; `valid` is (B, 21) bool."""
        poses = torch.stack([predicted, true]).double()
        valid = (valid & valid[:, self.root, None])[..., None]
        poses = torch.where(valid, poses - poses[:, :, self.root, None], 0.0)
        self.moments += torch.stack([poses, poses.square()]).sum(dim=2)
        self.count += valid.sum(dim=0)

    def compute(self) -> Tensor:
        """(); NaN where there are no true poses that differ."""
        mean, square = self.moments / self.count.clamp(min=1)
        predicted, true = (square - mean.square()).clamp(min=0).sum(dim=(-2, -1)).sqrt()
        ratio: Tensor = (predicted / true).float()
        return ratio


class ValidationMetrics(nn.Module):
    """What a training is validated by: EPE with known root and scale, and 2D PCK at 0.05 of the
    crop, each where the method predicts what it compares; and the spread of what it predicts."""

    def __init__(self) -> None:
        super().__init__()
        self.epe_mm, self.pck_05, self.spread = EPE("root"), PCK(0.05), Spread()

    def forward(self, pose: HandPose, batch: HandBatch) -> dict[str, Metric]:
        """Add a batch; "val/epe_mm", "val/spread" and "val/pck_05", as far as there are such, to be
        logged."""
        measured: dict[str, Metric] = {}
        lifted = lift_pose(pose, batch)
        if lifted is not None:
            valid = batch.joint_mask("joints_xyz") & lifted.known[:, None]
            self.epe_mm.update(lifted.xyz, batch.joints_xyz, valid)
            self.spread.update(lifted.xyz, batch.joints_xyz, valid)
            measured["val/epe_mm"], measured["val/spread"] = self.epe_mm, self.spread
        if pose.uv is not None:
            size = max(batch.image.shape[-2:])
            self.pck_05.update(pose.uv, batch.joints_uv, size, batch.joint_mask("joints_uv"))
            measured["val/pck_05"] = self.pck_05
        return measured
