"""How each public dataset is evaluated (Ch. 5.5.1, 6.4.2, 7.4.1): plain data.

Where the chapters say nothing, the choice is ours and said so in docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from auxhand.data.crops import CropRule
from auxhand.data.readers import READERS
from auxhand.evaluation.protocol import AUC_RANGES, PROTOCOLS, PoseMetrics, Protocol
from auxhand.hand.skeleton import REFERENCE_BONE, ROOT

REFERENCE_LENGTH = 0.04
"""Metres: the reference bone of STB, which Ch. 6.4.2 takes for datasets without a scale."""


@dataclass(frozen=True)
class DatasetProtocol:
    """A dataset's protocol: arguments of `PoseMetrics`, and its crops.

    Attributes:
        protocol: what is told and what is forgiven.
        crop: how hands are cropped; None: as for the model that is evaluated.
        root, bone, length, auc_ranges: see `PoseMetrics`.
    """

    protocol: Protocol = "known_root_scale"
    crop: CropRule | None = None
    root: int = ROOT
    bone: tuple[int, int] = REFERENCE_BONE
    length: float | None = None
    auc_ranges: Sequence[tuple[float, float]] = AUC_RANGES

    def metrics(self) -> PoseMetrics:
        """The metrics under this protocol, empty."""
        return PoseMetrics(self.protocol, self.root, self.bone, self.length, self.auc_ranges)


DATASETS: dict[str, DatasetProtocol] = {
    **{
        name: DatasetProtocol(crop=READERS[name].CROP)
        # FreiHAND's published scale is the length of the reference bone, so the true one is told.
        for name in ("rhd", "stb", "freihand", "obman", "hsd")
    },
    **{
        name: DatasetProtocol(crop=READERS[name].CROP, length=REFERENCE_LENGTH)
        for name in ("h3d", "yt3d")
    },
    # Fingertips alone: no root whose depth could be told, no bone whose length.
    "do": DatasetProtocol(
        "centroid",
        READERS["do"].CROP,
        length=REFERENCE_LENGTH,
        auc_ranges=(*AUC_RANGES, (0.0, 100.0)),
    ),
}
"""Name of a dataset, as the commands know it -> its protocol."""


def protocol_named(name: str) -> DatasetProtocol:
    """The protocol of a dataset, or one of `PROTOCOLS` with everything else as usual.

    Raises:
        ValueError: neither.
    """
    if name in DATASETS:
        return DATASETS[name]
    if name in PROTOCOLS:
        return DatasetProtocol(name)
    raise ValueError(f"no protocol {name!r}; there are: {', '.join([*PROTOCOLS, *DATASETS])}")
