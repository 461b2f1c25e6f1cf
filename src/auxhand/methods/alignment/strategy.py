"""What a strategy of Ch. 5 asks of its modalities, checked before anything is built."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from auxhand.methods.alignment.modalities import MODALITIES
from auxhand.sample import Seen

Strategy = Literal["S1", "S2", "S3", "S4", "Spurr"]
"""S1 to S4 are those of Table 5.1, "Spurr" the baseline of Eq. 3.6."""


@dataclass(frozen=True)
class Pairs:
    """From which modalities to which, by their letters: of "RC2CHP" those are RC and CHP."""

    encoded: str
    decoded: str


def parse_pairs(pairs: str, strategy: Strategy) -> Pairs:
    """Read `pairs` and check that the strategy can be carried out.

    Raises:
        ValueError: what is wrong, and what would do.
    """
    letters = "".join(MODALITIES)
    match = re.fullmatch(rf"([{letters}]+)2([{letters}]+)", pairs)
    if match is None:
        known = ", ".join(f"{letter} ({m.name})" for letter, m in MODALITIES.items())
        raise ValueError(f"pairs must be like RC2CHP, of the modalities {known}; not {pairs!r}")
    encoded, decoded = match[1], match[2]
    for side in (encoded, decoded):
        if len(set(side)) < len(side):
            raise ValueError(f"{pairs}: {side!r} names a modality twice")
    for letter in encoded:
        if MODALITIES[letter].encode is None:
            raise ValueError(f"{pairs}: no encoder for {letter} ({MODALITIES[letter].name})")
    for letter in decoded:
        if MODALITIES[letter].decode is None:
            raise ValueError(f"{pairs}: no decoder for {letter} ({MODALITIES[letter].name})")
    if "R" not in encoded or "P" not in decoded:
        raise ValueError(
            f"{pairs}: the result predicts poses from RGB images, so R must be among those before "
            "the 2 and P among those behind it"
        )
    problem = {
        "S1": "one modality to one (Eq. 5.1), like R2P" if len(encoded + decoded) != 2 else None,
        "S2": "one modality to others (Alg. 5.1), like R2CHP" if len(encoded) != 1 else None,
        "S3": _aligns(encoded, "5.2")
        or ("R first, which it aligns with all others" if encoded[0] != "R" else None),
        "S4": _aligns(encoded, "5.3"),
        "Spurr": "at least two modalities to at least two (Eq. 3.6), like RP2RP"
        if len(encoded) < 2 or len(decoded) < 2
        else None,
    }[strategy]
    if problem is not None:
        raise ValueError(f"strategy {strategy} takes {problem}; not {pairs}")
    return Pairs(encoded, decoded)


def lessons(strategy: Strategy, pairs: Pairs, seen: Seen) -> dict[str, Tensor]:
    """What the parts of the strategy learn from, in words, and which samples have it, (B,)."""
    samples = {}
    for letter in pairs.decoded:
        samples[f"{letter} ({MODALITIES[letter].name})"] = seen[letter].valid
    for letter in pairs.encoded:
        whole = "" if seen[letter].joints is None else " with all its joints"
        samples[f"{letter} ({MODALITIES[letter].name}){whole}"] = seen[letter].complete
    if strategy == "S3":
        complete = torch.stack([seen[letter].complete for letter in pairs.encoded])
        samples[f"{' and '.join(pairs.encoded)} together"] = complete.all(dim=0)
    return samples


def _aligns(encoded: str, algorithm: str) -> str | None:
    if len(encoded) < 2:
        return f"at least two modalities to others (Alg. {algorithm}), like RC2CHP"
    return None
