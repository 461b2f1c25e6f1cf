"""The evaluation protocols: what a method is told, and what is compared with what.

Every protocol compares 3D poses in metres in the frame of the crop's camera. They differ in what
the method is told about the true hand and in what is forgiven (`docs/evaluation.md`):

known_root_scale   the dissertation's (Ch. 5.5.1, 6.4.2). uv and d are lifted through K with the
                   true root depth and the true reference length; xyz is multiplied by the true
                   reference length. Then the predicted root is translated onto the true one. The
                   root counts in the mean (with an error of 0).
closed_form_root   as above, but the root depth is solved from the reference length (Iqbal et al.
                   2018). Poses for which that has no solution are not in the means; the share that
                   has one is reported beside them.
scale_fitted       lifted as in known_root_scale, then the scale and translation with the least
                   squared distance to the true pose, each pose by itself.
procrustes         the same with rotation.
centroid           the root depth is solved from the reference length, as in closed_form_root; then
                   the translation with the least squared distance to the true joints. For datasets
                   without a labelled root.

`auxhand.metrics.lift_pose` says which poses count.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from auxhand.data.crops import USUAL, CropRule, evaluation_crop
from auxhand.data.store import PreparedDataset
from auxhand.hand.skeleton import REFERENCE_BONE, ROOT
from auxhand.metrics import AUC, EPE, PCK, AlignBy, PCKCurve, lift_pose, torchmetrics
from auxhand.sample import HandBatch, HandPose, HandSample

Protocol = Literal["known_root_scale", "closed_form_root", "scale_fitted", "procrustes", "centroid"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

ALIGNMENT: dict[Protocol, AlignBy] = {
    "known_root_scale": "root",
    "closed_form_root": "root",
    "scale_fitted": "scale",
    "procrustes": "procrustes",
    "centroid": "centroid",
}
_CLOSED_FORM: tuple[Protocol, ...] = ("closed_form_root", "centroid")

Samples = PreparedDataset | Subset[HandSample] | Sequence[HandSample]

AUC_RANGES = ((20.0, 50.0), (0.0, 50.0))
"""Millimetres over which the 3D AUC is taken, as is usual; the chapters give no thresholds."""

Predictor = Callable[[HandBatch], HandPose]
"""Whatever makes poses: a network looks at `batch.image` alone, a baseline at what it may know."""


class EvaluationCrops(Dataset[HandSample]):
    """The crops of a dataset that every method is judged on (`data.crops.evaluation_crop`).

    Args:
        samples: with images.
        size: side of the crops in pixels, the method's input.
        rule: what places them, how large hands are, and what is done to the viewpoint.
    """

    def __init__(self, samples: Samples, size: int, rule: CropRule = USUAL["joints"]) -> None:
        self.samples = samples
        self.size = size
        self.rule = rule

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> HandSample:
        return evaluation_crop(self.samples[index], self.size, self.rule)

    def batches(self, batch_size: int = 64) -> DataLoader[HandSample]:
        """All of them in their order, collated to `HandBatch`."""
        return DataLoader(self, batch_size, collate_fn=HandSample.collate)


class PoseMetrics(nn.Module):
    """The columns of a results table, accumulated over batches (right under DDP).

    Args:
        protocol: see the module.
        root, bone, length: see `lift_pose`; the root is also the joint brought onto the true one.
        auc_ranges: (low, high) in mm of each AUC.
    """

    def __init__(
        self,
        protocol: Protocol = "known_root_scale",
        root: int = ROOT,
        bone: tuple[int, int] = REFERENCE_BONE,
        length: float | None = None,
        auc_ranges: Sequence[tuple[float, float]] = AUC_RANGES,
    ) -> None:
        super().__init__()
        if protocol not in PROTOCOLS:
            raise ValueError(f"no protocol {protocol!r}; there are: {', '.join(PROTOCOLS)}")
        self.protocol = protocol
        self.root = root
        self.bone = bone
        self.length = length
        how = ALIGNMENT[protocol]
        self.in_3d = torchmetrics.MetricCollection(
            {
                "epe_mm": EPE(how, root),
                "pa_epe_mm": EPE("procrustes", root),
                **{
                    f"auc_{low:g}_{high:g}": AUC(low, high, align=how, root=root)
                    for low, high in auc_ranges
                },
            },
            compute_groups=False,
        )
        self.pck_05 = PCK(0.05)
        highest = max(high for _, high in auc_ranges)
        self.curve = PCKCurve(high=highest, align=how, root=root)
        self.solved = torchmetrics.MeanMetric()

    def update(self, pose: HandPose, batch: HandBatch) -> None:
        """Add the predictions for a batch of crops."""
        if pose.uv is not None:
            size = float(max(batch.image.shape[-2:]))
            self.pck_05.update(pose.uv, batch.joints_uv, size, batch.joint_mask("joints_uv"))
        closed_form = self.protocol in _CLOSED_FORM
        lifted = lift_pose(pose, batch, closed_form, self.root, self.bone, self.length)
        if lifted is None:
            return
        self.solved.update(lifted.solved[lifted.known].float())
        counted = batch.joint_mask("joints_xyz") & (lifted.known & lifted.solved)[:, None]
        self.in_3d.update(lifted.xyz, batch.joints_xyz, counted)
        self.curve.update(lifted.xyz, batch.joints_xyz, counted)

    def compute(self) -> dict[str, float]:
        """Values under the keys of the results' schema, less those the method has nothing for.

        epe_mm, pa_epe_mm (Procrustes on the same lifted poses), auc_LOW_HIGH for each range, pck_05
        (2D, 0.05 of the crop's size); where the root depth is solved for also `solved`, the share
        of poses with a solution.
        """
        values = {**_computed(self.in_3d), "pck_05": _computed(self.pck_05)}
        if self.protocol in _CLOSED_FORM:
            values["solved"] = _computed(self.solved)
        return {name: float(value) for name, value in values.items() if not value.isnan()}

    def pck_curve(self) -> tuple[Tensor, Tensor]:
        """Thresholds in mm and 3D PCK at them, both (T,), under the protocol; NaN without 3D."""
        return self.curve.thresholds, _computed(self.curve)


def _computed(metric: torchmetrics.Metric | torchmetrics.MetricCollection) -> Any:
    """What the metric computes: NaN, and no warning, where nothing has updated it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*called before the ``update`` method")
        return metric.compute()


@torch.inference_mode()
def evaluate(
    predict: Predictor,
    batches: Iterable[HandBatch],
    metrics: PoseMetrics,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """Predict every batch, update `metrics` with it and return its values."""
    metrics.to(device)
    for batch in batches:
        batch = batch.to(device)
        metrics.update(predict(batch), batch)
    return metrics.compute()
