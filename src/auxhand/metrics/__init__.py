"""How far a predicted hand is from the true one: EPE, PCK and AUC (Ch. 2.5), lifting, alignment.

The functions take any unit and return that unit. The `Metric` classes take metres and speak
millimetres (EPE and AUC), the only place besides reports that does; `PCK` is for 2D and takes
pixels. Their states are sums and counts, so splitting the poses over batches or over processes
(DDP) changes nothing. A joint that is not valid counts nowhere; where nothing counts the value is
NaN.
"""

from auxhand.imports import without_dynamo

with without_dynamo():
    import torchmetrics

from auxhand.metrics.distance import AlignBy, align, auc, distances, epe, pck, pck_curve
from auxhand.metrics.lifting import Lifted, lift_pose
from auxhand.metrics.running import AUC, EPE, PCK, PCKCurve, Spread, ValidationMetrics

__all__ = [
    "AUC",
    "EPE",
    "PCK",
    "AlignBy",
    "Lifted",
    "PCKCurve",
    "Spread",
    "ValidationMetrics",
    "align",
    "auc",
    "distances",
    "epe",
    "lift_pose",
    "pck",
    "pck_curve",
    "torchmetrics",
]
