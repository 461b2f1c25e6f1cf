"""A bundle: a folder with a trained network and all that is needed to use it.

`model.safetensors` holds the weights; `bundle.json` the network's class and arguments (only
classes of `auxhand.models`), the side of its input, how crops are made for it, the conventions it
was trained with, and where it comes from. Loading one runs no code of the bundle's.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from auxhand.data.geometric import FRACTION, View
from auxhand.hand.skeleton import JOINT_NAMES
from auxhand.models.spec import build, specification

VERSION = 1
WEIGHTS, DESCRIPTION = "model.safetensors", "bundle.json"
ONNX = "model.onnx"
"""The same network for ONNX Runtime, where somebody wrote it there; a new bundle is without."""
FORMAT = "auxhand bundle"

CONVENTIONS: dict[str, Any] = {
    "joints": list(JOINT_NAMES),
    "image": "(B, 3, input_size, input_size) RGB in [0, 1]; the network normalises it itself",
    "side": "right hands; a left hand is mirrored at the crop and its pose mirrored back",
    "pixels": "an integer coordinate is a pixel's centre",
    "uv": "pixels of the crop",
    "d, xyz": "relative to joint 9, in lengths of bone 9-10; OpenCV axes of the crop's camera",
    "crop": "square around the joints' box, whose longer side takes that fraction",
    "view": "corrected: the camera looks at the crop's centre; labels: only 3D is turned there; "
    "plain: it looks where the photo's does",
}


@dataclass(frozen=True)
class Bundle:
    """A network ready for use.

    Attributes:
        network: in evaluation mode, on the CPU; image (B, 3, S, S) -> HandPose.
        input_size: S, side of its input in pixels.
        fraction: share of a crop's side that the longer side of the joints' box takes.
        presence_threshold: presence from which a crop counts as a hand.
        view: what crops do to the viewpoint, see `data.geometric.View`.
        metadata: where the network comes from: command, commit, images seen, metrics.
    """

    network: nn.Module
    input_size: int
    fraction: float = FRACTION
    presence_threshold: float = 0.5
    view: View = "corrected"
    metadata: Mapping[str, Any] = field(default_factory=dict)


def save_bundle(
    folder: Path,
    network: nn.Module,
    input_size: int,
    metadata: Mapping[str, Any],
    fraction: float = FRACTION,
    presence_threshold: float = 0.5,
    view: View = "corrected",
) -> None:
    """Write a bundle; one that is already there is replaced only when the new one is complete.

    Args:
        folder: the bundle's; its parents are made.
        network: of a class recorded in `auxhand.models`.
        input_size, metadata, fraction, presence_threshold, view: see `Bundle`.

    Raises:
        ValueError: a network without specification, metadata that JSON cannot hold, or a folder
            that holds other things than a bundle.
    """
    folder = Path(folder)
    if folder.is_dir():
        others = sorted({p.name for p in folder.iterdir()} - {WEIGHTS, DESCRIPTION, ONNX})
        if others:
            raise ValueError(f"{folder} holds {others[0]!r}, which is no part of a bundle")
    description = {
        "format": FORMAT,
        "version": VERSION,
        "network": specification(network),
        "input_size": input_size,
        "fraction": fraction,
        "presence_threshold": presence_threshold,
        "view": view,
        "conventions": CONVENTIONS,
        "training": dict(metadata),
    }
    try:
        text = json.dumps(description, indent=2)
    except TypeError as error:
        raise ValueError(f"the bundle's metadata must be plain values: {error}") from error
    # Tensors that share memory (tied weights) are written one by one.
    weights = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        new, old = Path(scratch) / "new", Path(scratch) / "old"
        new.mkdir()
        # `save_file` would hide the file from everybody but its owner.
        (new / WEIGHTS).write_bytes(save(weights))
        (new / DESCRIPTION).write_text(text + "\n")
        if folder.exists():
            shutil.move(folder, old)
        shutil.move(new, folder)


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle.

    Raises:
        FileNotFoundError: no such folder, or one of its files is missing.
        ValueError: not a bundle, of another version or joint order, a network that is not from
            `auxhand.models`, or weights that do not fit it.
    """
    folder = Path(folder)
    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"no bundle at {folder}: {name} is missing (`auxhand train` writes one, as "
                "the folder `bundle` of its run)"
            )
    try:
        description = json.loads((folder / DESCRIPTION).read_text())
        bundle = _parse(description)
    except (ValueError, KeyError, TypeError) as error:
        what = f"no entry {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{folder / DESCRIPTION}: {what}") from error
    try:
        weights = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS} is damaged: {error}") from error
    problem = _mismatch(bundle.network.state_dict(), weights)
    if problem:
        raise ValueError(f"{folder / WEIGHTS} does not fit the network in {DESCRIPTION}: {problem}")
    bundle.network.load_state_dict(weights)
    bundle.network.eval().requires_grad_(False)
    return bundle


def _parse(description: Any) -> Bundle:
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ValueError("not the description of a bundle")
    if description["version"] != VERSION:
        raise ValueError(
            f"version {description['version']} of the format; this AuxHand reads {VERSION}"
        )
    if description["conventions"]["joints"] != list(JOINT_NAMES):
        raise ValueError("the network's joints are not AuxHand's 21 in their order")
    input_size = description["input_size"]
    if not isinstance(input_size, int) or input_size < 1:
        raise ValueError(f"input_size {input_size!r} is not a number of pixels")
    view = description.get("view", "corrected")  # what all were before there was a choice
    if view not in get_args(View):
        raise ValueError(f"view {view!r} is none of {', '.join(get_args(View))}")
    return Bundle(
        build(description["network"]),
        input_size,
        float(description["fraction"]),
        float(description["presence_threshold"]),
        view,
        description["training"],
    )


def _mismatch(
    expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]
) -> str | None:
    """The first difference in names or shapes, in words."""
    for name in sorted(expected.keys() - found.keys()):
        return f"{name} is missing"
    for name in sorted(found.keys() - expected.keys()):
        return f"{name} is unknown"
    for name, tensor in expected.items():
        if tensor.shape != found[name].shape:
            return f"{name} is {tuple(found[name].shape)}, not {tuple(tensor.shape)}"
    return None
