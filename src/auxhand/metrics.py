"""How far a predicted hand is from the true one: EPE, PCK and AUC (Ch. 2.5), lifting, alignment.

The functions take any unit and return that unit. The `Metric` classes take metres and speak
millimetres (EPE and AUC), the only place besides reports that does; `PCK` is for 2D and takes
pixels. Their states are sums and counts, so splitting the poses over batches or over processes
(DDP) changes nothing. A joint that is not valid counts nowhere; where nothing counts the value is
NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from auxhand.geometry.canonical import fit_scale_translation, procrustes
from auxhand.geometry.pose25d import lift, lift_closed_form, reference_length
from auxhand.hand.skeleton import NUM_JOINTS, REFERENCE_BONE, ROOT
from auxhand.sample import HandBatch, HandPose

MILLIMETRES = 1000.0
"""Millimetres in a metre."""

AUC_STEPS = 100
"""Intervals between the thresholds of a PCK curve: 0.5 mm on 0-50 mm, 0.3 mm on 20-50 mm."""

Alignment = Literal["none", "root", "centroid", "scale", "procrustes"]
"""What is forgiven before distances are taken; see `align`."""


def distances(predicted: Tensor, true: Tensor, valid: Tensor | None = None) -> Tensor:
    """Euclidean distances of the valid joints.

    Args:
        predicted: (..., J, D).
        true: (..., J, D), same unit.
        valid: (..., J) bool; all joints if None.

    Returns:
        (M,) distances of the M valid joints, in the order of the joints.

    Raises:
        ValueError: `predicted` and `true` differ in shape.
    """
    if predicted.shape != true.shape:
        raise ValueError(
            f"predicted joints have shape {tuple(predicted.shape)}, true ones {tuple(true.shape)}"
        )
    distance: Tensor = torch.linalg.vector_norm(predicted - true, dim=-1)
    return distance.flatten() if valid is None else distance[valid]


def epe(predicted: Tensor, true: Tensor, valid: Tensor | None = None) -> Tensor:
    """() mean end-point error (Eq. 2.7) over the valid joints of all poses (see `distances`)."""
    return distances(predicted, true, valid).mean()


def pck(
    predicted: Tensor, true: Tensor, threshold: float | Tensor, valid: Tensor | None = None
) -> Tensor:
    """() share of the valid joints nearer than `threshold` (Eq. 2.8: strictly nearer).

    `threshold` has the unit of the joints: a number, or a tensor that broadcasts to (..., J), such
    as a (B, 1) fraction of each hand's size.
    """
    limit = torch.as_tensor(threshold, dtype=predicted.dtype, device=predicted.device)
    limit = limit.expand(predicted.shape[:-1])
    limit = limit.flatten() if valid is None else limit[valid]
    return (distances(predicted, true, valid) < limit).to(predicted.dtype).mean()


def pck_curve(
    predicted: Tensor, true: Tensor, thresholds: Tensor, valid: Tensor | None = None
) -> Tensor:
    """(T,) PCK at each of the (T,) thresholds, which have the unit of the joints."""
    near = distances(predicted, true, valid)[:, None] < thresholds
    return near.to(predicted.dtype).mean(dim=0)


def auc(thresholds: Tensor, pck: Tensor) -> Tensor:
    """() area under a PCK curve by the trapezoid rule, divided by the range of its thresholds.

    Args:
        thresholds: (T,) ascending, T >= 2.
        pck: (T,) in [0, 1].

    Returns:
        A number in [0, 1]: 1 where every joint is nearer than the lowest threshold.
    """
    return torch.trapezoid(pck, thresholds) / (thresholds[-1] - thresholds[0])


@dataclass(frozen=True)
class Lifted:
    """Predicted 3D poses of a batch in metres, before alignment.

    Attributes:
        xyz: (B, J, 3) metres, axes of the crop's camera.
        known: (B,) bool, the true hand says what the method is told.
        solved: (B,) bool, the pose could be lifted; False only with the closed form.
    """

    xyz: Tensor
    known: Tensor
    solved: Tensor


def lift_pose(
    pose: HandPose,
    batch: HandBatch,
    closed_form: bool = False,
    root: int = ROOT,
    bone: tuple[int, int] = REFERENCE_BONE,
    length: float | None = None,
) -> Lifted | None:
    """Bring predictions into metres with the true root depth and reference length.

    A pose with `xyz` is that times the reference length; any other is `uv` and `d` lifted through
    K. A pose is known if what is told of it is labelled: its root and both ends of its reference
    bone, less those that `closed_form` and `length` make needless (and, for uv and d, K).

    Args:
        pose: the prediction, `xyz` and `d` in lengths of `bone`.
        batch: the labels of the same B crops.
        closed_form: solve the root depth from the reference length (Iqbal et al. 2018) in place of
            the true one; `xyz` needs no depth and is not concerned.
        root: the joint whose true depth is told.
        bone: the (parent, child) whose true length is told.
        length: metres that the bone is taken to have, whatever is true.

    Returns:
        None where the method predicts no 3D pose.
    """
    true = batch.joints_xyz
    told = [*([] if closed_form and length else [root]), *([] if length else bone)]
    labelled = batch.joint_mask("joints_xyz")
    known = labelled[:, told].all(dim=1) & labelled.any(dim=1)
    lengths = reference_length(true, bone)
    if length is not None:
        lengths = torch.full_like(lengths, length)
    if pose.xyz is not None:
        return Lifted(pose.xyz * lengths[:, None, None], known, torch.ones_like(known))
    if pose.uv is None or pose.d is None:
        return None
    known = known & batch.valid["K"]
    # Absent fields are zeros; an identity lets those samples pass through, uncounted.
    identity = torch.eye(3, dtype=batch.K.dtype, device=batch.K.device)
    K = torch.where(known[:, None, None], batch.K, identity)
    d = pose.d - pose.d[:, root, None]
    if closed_form:
        xyz, _, solved = lift_closed_form(pose.uv, d, K, bone)
        return Lifted(xyz * lengths[:, None, None], known, solved)
    xyz = lift(pose.uv, d, K, true[:, root, 2], lengths)
    return Lifted(xyz, known, torch.ones_like(known))


def align(
    predicted: Tensor, true: Tensor, valid: Tensor, how: Alignment, root: int = ROOT
) -> tuple[Tensor, Tensor]:
    """Move predicted poses onto the true ones as far as the alignment allows.

    - "none": nothing is moved.
    - "root": translation that brings joint `root` onto the true one, which stays in the mean.
    - "centroid": translation with the least squared distance.
    - "scale": scale and translation with the least squared distance.
    - "procrustes": rotation, scale and translation with the least squared distance.

    The last three fit the valid joints alone.

    Args:
        predicted, true: (B, J, 3), same unit.
        valid: (B, J) bool.
        how: the alignment.
        root: the joint of "root".

    Returns:
        The aligned poses (B, J, 3) and the (B, J) joints to be counted: the valid ones, less those
        of poses whose alignment is not determined (no valid root; fewer than 2 valid joints for
        "centroid" and "scale", 3 for "procrustes").
    """
    if how == "none":
        return predicted, valid
    if how == "root":
        shift = true[:, root] - predicted[:, root]
        return predicted + shift[:, None], valid & valid[:, root, None]
    if how == "centroid":
        count = valid.sum(dim=1, keepdim=True)
        weight = valid / count.clamp(min=1)
        shift = torch.einsum(
            "bj,bjd->bd", weight.to(true), torch.where(valid[..., None], true - predicted, 0.0)
        )
        return predicted + shift[:, None], valid & (count >= 2)
    fit: Callable[[Tensor, Tensor], Tensor]
    if how == "scale":
        fit, needed = fit_scale_translation, 2
    else:
        fit, needed = _procrustes, 3
    counted = valid & (valid.sum(dim=1, keepdim=True) >= needed)
    aligned = predicted.clone()
    # Poses with the same valid joints are fitted together: usually one group, all joints valid.
    patterns, group = torch.unique(counted, dim=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        if pattern.any():
            rows = torch.nonzero(group == number)
            joints = torch.nonzero(pattern)[:, 0]
            aligned[rows, joints] = fit(predicted[rows, joints], true[rows, joints])
    return aligned, counted


def _procrustes(source: Tensor, target: Tensor) -> Tensor:
    aligned: Tensor = procrustes(source, target)[0]
    return aligned


class _AlignedMetric(Metric):
    """A metric of 3D poses in metres after an alignment."""

    full_state_update = False

    def __init__(self, align: Alignment = "root", root: int = ROOT) -> None:
        super().__init__()
        self.align: Alignment = align
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

    def __init__(self, align: Alignment = "root", root: int = ROOT) -> None:
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
        align: Alignment = "root",
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
