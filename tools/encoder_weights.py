"""An image encoder that a run has trained, as a file that another training begins with.

    python tools/encoder_weights.py runs/alignment/S1_R2P_0 data/resnet18.safetensors

Where ImageNet weights of a backbone are out of reach, one that has learnt from rendered hands is
the next best: `Backbone(pretrained="data/resnet18.safetensors")` takes the file. Tensors are those
of the only timm network in the run's last checkpoint, under timm's names; where there are several,
`--of` names one by the beginning of its tensors' names.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from auxhand.files import writing
from auxhand.training import LAST, read_checkpoint

INSIDE = "backbone.network."
"""Where `auxhand.models.backbone.Backbone` has its timm network."""


def encoder(state: Mapping[str, Tensor], of: str = "") -> dict[str, Tensor]:
    """Tensors of the timm network in a module's state.

    Args:
        state: of a module that holds a `Backbone`.
        of: beginning of the names of its tensors, where there are several.

    Raises:
        ValueError: no such network, or several.
    """
    prefixes = {key.partition(INSIDE)[0] for key in state if INSIDE in key}
    chosen = sorted(prefix for prefix in prefixes if prefix.startswith(of))
    if len(chosen) != 1:
        found = ", ".join(sorted(prefixes)) or "none"
        raise ValueError(f"one backbone is wanted; there are: {found}; name it with --of")
    whole = chosen[0] + INSIDE
    return {
        key.removeprefix(whole): value.contiguous()
        for key, value in state.items()
        if key.startswith(whole)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a training")
    parser.add_argument("out", type=Path)
    parser.add_argument("--of", default="", help="beginning of the names of the encoder's tensors")
    options = parser.parse_args()
    tensors = encoder(read_checkpoint(options.run / LAST)["state_dict"], options.of)
    with writing(options.out) as temporary:
        save_file(tensors, temporary)
    print(f"{options.out}: {len(tensors)} tensors")


if __name__ == "__main__":
    main()
