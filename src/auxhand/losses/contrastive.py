"""Contrastive losses between projections of samples (Ch. 3.4.2, 7.3.4.1).

Every loss is a MEAN over the samples that are compared, in nats, where Eq. 7.3 prints a sum over
the batch, whose weight would change with the size of the batch. Who wants what the paper's
lambda_c = 0.1 weighs multiplies by the paper's batch of 140 (`Objective.contrastive_batch`): where
nothing is learnt yet and all projections are alike, the printed loss of a sample is log(2 B - 2)
for a batch of B (5.6 for 140), and it stays within 2 / temperature of that; the four pairs of L_c
begin near 22 a sample, and 0.1 L_c near 300. As means 0.1 L_c would be near 2, beside an L_s of
hundreds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import torch
from torch import Tensor, distributed
from torch.distributed.nn.functional import all_gather
from torch.nn.functional import normalize

from auxhand.geometry.precision import full_precision

TEMPERATURE = 0.5
"""tau of Eq. 7.3."""

Form = Literal["printed", "simclr"]
Negatives = Callable[[Tensor], Tensor]


@full_precision
def nt_xent(
    z: Tensor,
    positive: Tensor,
    temperature: float = TEMPERATURE,
    form: Form = "printed",
    others: Negatives | None = None,
) -> Tensor:
    """eta(z, z+), normalised temperature-scaled cross-entropy, a mean over samples, in nats.

    Each sample's positive against negatives: the z and z+ of all other samples.

    * "printed" is Eq. 7.3. It leaves the positive out of the denominator, so that the loss has no
      lower bound of 0, and it compares the z alone with the rest, not the z+.
    * "simclr" is Eq. 3.14 (Chen et al. 2020) for z and z+ alike: the positive is in the
      denominator, and the mean is over 2 B terms.

    Args:
        z, positive: (B, D) projections of the same B samples; similarity is the cosine.
        temperature: tau.
        form: which of the two.
        others: from the (2 B, D) unit vectors of this process, z then z+, to (M, D) more negatives
            for each of its samples, for instance `of_other_processes`.

    Raises:
        ValueError: sizes differ, or no negative is there (one sample without others).
    """
    if z.ndim != 2 or z.shape != positive.shape:
        raise ValueError(
            f"projections must both be (B, D), not {tuple(z.shape)} and {tuple(positive.shape)}"
        )
    both = normalize(torch.cat([z, positive]), dim=-1)
    count = len(z)
    pool = both if others is None else torch.cat([both, others(both)])
    if len(pool) == 2:
        raise ValueError("a contrastive loss needs at least 2 samples: one alone has no negatives")
    anchors = both if form == "simclr" else both[:count]
    similarity = anchors @ pool.T / temperature
    row = torch.arange(len(anchors), device=z.device)
    partner = (row + count) % (2 * count)
    attraction = similarity[row, partner]
    left_out = torch.zeros_like(similarity, dtype=torch.bool)
    left_out[row, row] = True
    if form == "printed":
        left_out[row, partner] = True
    return (similarity.masked_fill(left_out, -torch.inf).logsumexp(dim=-1) - attraction).mean()


def of_other_processes(vectors: Tensor) -> Tensor:
    """(N, D) vectors of this process -> (M, D) of all other processes, for `nt_xent`'s `others`.

    Gradients reach the other processes' vectors, so that the mean of the processes' gradients is
    the gradient of the mean loss over all samples. Every process must bring equally many vectors.
    Without distributed training there are none: (0, D).
    """
    if not distributed.is_available() or not distributed.is_initialized():
        return vectors[:0]
    gathered = all_gather(vectors.contiguous())  # type: ignore[no-untyped-call]
    here = distributed.get_rank()
    return torch.cat([vectors[:0], *(g for rank, g in enumerate(gathered) if rank != here)])


class Projections(NamedTuple):
    """Projections (B, D) of the three branches, and `_plus` of their positive views.

    What the chosen variant does not compare may be None.
    """

    rgb: Tensor
    rgb_plus: Tensor
    depth: Tensor | None = None
    depth_plus: Tensor | None = None
    fusion: Tensor | None = None
    fusion_plus: Tensor | None = None


class Variant(NamedTuple):
    """A row of Table 7.2 (b).

    Attributes:
        pairs: fields of `Projections`, each pair a term eta(first, second) of L_c.
        stop_gradient: keep gradients of the fusion branch out of the attention; see
            `auxhand.models.attention.attend`. It matters to all losses of the fusion branch.
    """

    pairs: tuple[tuple[str, str], ...]
    stop_gradient: bool = True


VariantName = Literal["none", "RGB only", "RGB & DM", "RGB & DM*", "w/out SG", "w/ SG"]

_RGB = (("rgb", "rgb_plus"),)
_DEPTH = (("depth", "depth_plus"),)
_FUSION = (("rgb", "fusion"), ("rgb_plus", "fusion_plus"))

VARIANTS: Final[dict[VariantName, Variant]] = {
    "none": Variant(()),
    "RGB only": Variant(_RGB),
    "RGB & DM": Variant(_RGB + _DEPTH),
    "RGB & DM*": Variant((*_RGB, *_DEPTH, ("rgb", "depth"))),
    "w/out SG": Variant(_RGB + _DEPTH + _FUSION, stop_gradient=False),
    "w/ SG": Variant(_RGB + _DEPTH + _FUSION),
}
"""The rows of Table 7.2 (b) by name; "w/ SG" is the method's (Eq. 7.4, 7.5)."""


def multimodal_contrastive(
    z: Projections,
    variant: VariantName = "w/ SG",
    temperature: float = TEMPERATURE,
    form: Form = "printed",
    others: Negatives | None = None,
) -> Tensor:
    """L_c = L_c^RGB + L_c^DM + L_c^Fusion (Eq. 7.4, 7.5) or what a row of Table 7.2 (b) has of it.

    Args:
        z: projections of the branches and their positive views.
        variant: the row; "none" gives 0.
        temperature, form, others: of `nt_xent`.

    Raises:
        ValueError: a projection that the variant compares is None.
    """
    loss = z.rgb.new_zeros(())
    for first, second in VARIANTS[variant].pairs:
        anchor, positive = getattr(z, first), getattr(z, second)
        if anchor is None or positive is None:
            raise ValueError(f"{variant!r} compares {first} with {second}: a projection is missing")
        loss = loss + nt_xent(anchor, positive, temperature, form, others)
    return loss
