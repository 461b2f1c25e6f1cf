"""The bundle in an adaptation's folder: the original weights, then the best network so far."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import nn

from auxhand.inference.bundle import DESCRIPTION, WEIGHTS, Bundle, load_bundle, save_bundle

ADAPTED = "adapted_epochs"
"""What a bundle says of its training where its network is adapted: after how many epochs."""


def adapted_epochs(out: Path) -> int | None:
    """Of the network in a folder; None of the original one, -1 where there is none."""
    try:
        bundle = load_bundle(out)
        _ = bundle.network  # the weights too are whole
    except (OSError, ValueError):
        return -1
    epochs: int | None = bundle.metadata.get(ADAPTED)
    return epochs


def ship(bundle: Bundle, network: nn.Module, out: Path, told: dict[str, Any]) -> None:
    """Write a network as the bundle of a folder that holds other things too.

    Args:
        bundle: what the network was before: its input, crops and origin are taken over.
        network: of the same class.
        out: the folder; at no time does it hold a bundle that is half of one and half of another.
        told: added to what the bundle says of its training.
    """
    new = out / "work" / "bundle"
    metadata = {**bundle.metadata, **told}
    save_bundle(new, network, bundle.input_size, metadata, bundle.crop, bundle.presence_threshold)
    (out / DESCRIPTION).unlink(missing_ok=True)
    os.replace(new / WEIGHTS, out / WEIGHTS)
    os.replace(new / DESCRIPTION, out / DESCRIPTION)
    new.rmdir()
