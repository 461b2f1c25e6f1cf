"""The numbers of Eq. 7.1 to 7.10, and which of their parts are there (Ch. 7.4.2, Table 7.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from auxhand.losses.consistency import DEPTH_WEIGHT, DetachedBranch
from auxhand.losses.contrastive import TEMPERATURE, VARIANTS, Form, VariantName

_NOT_NEGATIVE = (
    "depth",
    "mask",
    "depth_map",
    "contrastive",
    "distillation",
    "pseudo_labels",
    "epsilon",
    "heatmap_cross_entropy",
)


@dataclass(frozen=True)
class Objective:
    """Pixels of thresholds and distances are of an output of 64 x 64, whatever the maps' size.

    Attributes:
        depth: of depths within l, the lambda_d of Eq. 6.2.
        mask: lambda_m of Eq. 7.1.
        depth_map: lambda_d of Eq. 7.1.
        true_depth: probability that a labelled sample's depth branch is fed the true depth, not
            the one that the RGB branch predicts (Ch. 7.3.3).
        contrastive: lambda_c of Eq. 7.7.
        contrastive_batch: samples that L_c, a sum in Eq. 7.3, is meant of: the chapter's batch,
            however large a batch is here.
        variant: row of Table 7.2 (b), which pairs are contrasted.
        temperature: tau of Eq. 7.3.
        form: Eq. 7.3 as it is printed, or Eq. 3.14; see `contrastive.nt_xent`.
        distillation: lambda_f of Eq. 7.10; 0: without L_f.
        detached: the side of L_f (Eq. 7.9) without a gradient.
        pseudo_labels: lambda_l of Eq. 7.10; 0: without L_l.
        epsilon: most C(r) of a pseudo-label that is learnt from (Eq. 7.8).
        kept_share: instead of an epsilon that is given: the one that this share of the labels of
            each batch passes, for networks whose branches differ more than the chapter's.
        heatmap_cross_entropy: weight of a term that the chapter does not have, beside L_s: with few
            images a small network learns several times faster where each joint is.

    Raises:
        ValueError: a variant that Table 7.2 (b) does not have or another word that is none of
            those, a temperature or batch that is not positive, a negative weight, a share outside
            [0, 1].
    """

    depth: float = DEPTH_WEIGHT
    mask: float = 100.0
    depth_map: float = 50.0
    true_depth: float = 0.5
    contrastive: float = 0.1
    contrastive_batch: int = 140
    variant: VariantName = "w/ SG"
    temperature: float = TEMPERATURE
    form: Form = "printed"
    distillation: float = 0.2
    detached: DetachedBranch = "neither"
    pseudo_labels: float = 1.0
    epsilon: float = 1.5
    kept_share: float | None = None
    heatmap_cross_entropy: float = 0.0

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            names = ", ".join(map(repr, VARIANTS))
            raise ValueError(f"objective.variant is one of {names}; got {self.variant!r}")
        for name, words in (("form", get_args(Form)), ("detached", get_args(DetachedBranch))):
            if (word := getattr(self, name)) not in words:
                raise ValueError(f"objective.{name} is one of {', '.join(words)}; got {word!r}")
        for name in ("temperature", "contrastive_batch"):
            if not getattr(self, name) > 0:
                raise ValueError(f"objective.{name} must be positive, got {getattr(self, name)}")
        for name in _NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise ValueError(f"objective.{name} is at least 0, got {getattr(self, name)}")
        for name in ("true_depth", "kept_share"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"objective.{name} lies in [0, 1]; got {share}")
