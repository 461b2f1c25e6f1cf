"""A bundle: a folder with a trained network and all that is needed to use it.

`model.safetensors` holds the weights; `bundle.json` the network's class and arguments (only
classes of `auxhand.models`), the side of its input, how crops are made for it, which weights are
its own, the conventions it was trained with, and where it comes from. Loading one runs no code of
the bundle's.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from auxhand.data.crops import CropBy, CropRule, View
from auxhand.files import sweep, writing_folder
from auxhand.hand.skeleton import JOINT_NAMES
from auxhand.inference.placement import with_pixels
from auxhand.inference.runtime import has_onnx_runtime
from auxhand.models.spec import Bounded, build, specification
from auxhand.sample import HandBatch, HandPose

VERSION = 2
"""Version 1 had `fraction` and `view` instead of `crop`, and did not name its weights."""

WEIGHTS, DESCRIPTION = "model.safetensors", "bundle.json"
ONNX = "model.onnx"
"""The same network for ONNX Runtime, where somebody wrote it there; a new bundle is without."""
DEFAULT = "default"
"""Name of the model that AuxHand ships; a folder of that name is ./default."""

FINDER = "finder"
"""The shipped bundle that finds hands, beside the model's."""

FORMAT = "auxhand bundle"
LARGEST_INPUT = 4096
"""Pixels of the largest input that a description may ask for."""
_BESIDE = 200_000_000
"""Numbers that a network may be made of beside those that are kept, such as a backbone's classifier
and layers above those wanted (VGG: 120 million); without values they take no memory."""

CONVENTIONS: dict[str, Any] = {
    "joints": list(JOINT_NAMES),
    "image": "(B, 3, input_size, input_size) RGB in [0, 1]; the network normalises it itself",
    "side": "right hands, a left hand is mirrored and its pose mirrored back; the output "
    "`left` tells which of the two a crop shows",
    "pixels": "an integer coordinate is a pixel's centre",
    "uv": "pixels of the crop",
    "d, xyz": "relative to joint 9, in lengths of bone 9-10; OpenCV axes of the crop's camera",
    "crop.by": "a square about the box of the hand's joints, or of its mask",
    "crop.fraction": "share of its side that the longer side of that box takes",
    "crop.view": "corrected: the camera looks at the crop's centre; labels: only 3D is turned "
    "there; plain: it looks where the photo's does",
}


@dataclass(frozen=True)
class Bundle:
    """A network ready for use.

    Attributes:
        source: the network, or where it is stored.
        input_size: S, side of its input in pixels.
        crop: how its crops are made.
        presence_threshold: presence from which a crop counts as a hand.
        metadata: where the network comes from: command, commit, images seen, metrics.
    """

    source: nn.Module | _Stored
    input_size: int
    crop: CropRule = field(default_factory=CropRule)
    presence_threshold: float = 0.5
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def network(self) -> nn.Module:
        """In evaluation mode, on the CPU; image (B, 3, S, S) -> HandPose.

        Raises:
            ValueError: a stored one that cannot be read (`load_bundle`).
        """
        return self.source.read() if isinstance(self.source, _Stored) else self.source

    @property
    def network_class(self) -> str:
        """Name of the network's class, for which the network is not read."""
        if isinstance(self.source, _Stored):
            return self.source.network_class
        return type(self.source).__name__

    @property
    def fraction(self) -> float:
        """Share of a crop's side that the longer side of the joints' box takes."""
        return self.crop.joints_fraction

    @property
    def view(self) -> View:
        """What its crops do to the viewpoint, see `data.crops.View`."""
        return self.crop.view

    def predict(self, batch: HandBatch, crop: CropRule | None = None) -> HandPose:
        """What the network says of a batch of crops, with pixels also where it gives 3D alone
        (`with_pixels`).

        Args:
            batch: of crops of `input_size`.
            crop: how they were made; None: as the network's crops are.
        """
        fraction = (crop or self.crop).joints_fraction
        return with_pixels(self.network(batch.image), batch, fraction)


def save_bundle(
    folder: Path,
    network: nn.Module,
    input_size: int,
    metadata: Mapping[str, Any],
    crop: CropRule | None = None,
    presence_threshold: float = 0.5,
    half: bool = False,
) -> None:
    """Write a bundle; one that is already there is replaced only when the new one is complete.

    Args:
        folder: the bundle's; its parents are made.
        network: of a class recorded in `auxhand.models`.
        input_size, metadata, crop, presence_threshold: see `Bundle`.
        half: round weights to half precision, in half the space; they are used in single precision.

    Raises:
        FloatingPointError: a weight that is not finite.
        ValueError: a network without specification, metadata that JSON cannot hold, or a folder
            that holds other things than a bundle.
    """
    folder = Path(folder)
    if folder.is_dir():
        others = sorted({p.name for p in folder.iterdir()} - {WEIGHTS, DESCRIPTION, ONNX})
        if others:
            raise ValueError(f"{folder} holds {others[0]!r}, which is no part of a bundle")
    # Tensors that share memory (tied weights) are written one by one.
    weights = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
    if half:
        weights = {name: w.half() if w.is_floating_point() else w for name, w in weights.items()}
    if broken := _not_finite(weights):
        raise FloatingPointError(f"{broken} is not finite: such a network is not saved")
    data = save(weights)
    description = {
        "format": FORMAT,
        "version": VERSION,
        "network": specification(network),
        "input_size": input_size,
        "crop": asdict(crop or CropRule()),
        "presence_threshold": presence_threshold,
        "weights": {"sha256": hashlib.sha256(data).hexdigest()},
        "conventions": CONVENTIONS,
        "training": dict(metadata),
    }
    try:
        text = json.dumps(description, indent=2)
    except TypeError as error:
        raise ValueError(f"the bundle's metadata must be plain values: {error}") from error
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder.parent, {folder.name})
    with writing_folder(folder) as new:
        # `save_file` would hide the file from everybody but its owner.
        (new / WEIGHTS).write_bytes(data)
        (new / DESCRIPTION).write_text(text + "\n")


def shipped(name: str) -> Path:
    """The folder of a bundle that AuxHand ships, which need not be installed."""
    return Path(str(files("auxhand") / "assets" / name))


def bundle_folder(model: str | PathLike[str] = DEFAULT) -> Path:
    """The folder of a model: of a shipped one by its name ("default", "finder"), else itself.

    Raises:
        FileNotFoundError: the shipped one is not installed.
    """
    if model not in (DEFAULT, FINDER):
        return Path(model)
    if not (folder := shipped(str(model))).is_dir():
        raise FileNotFoundError(
            f"the {model} weights are not installed ({folder}); name a bundle, as `auxhand train` "
            "writes it (for `auxhand predict`: --model FOLDER)"
        )
    return folder


def onnx_of(folder: Path) -> Path | None:
    """The ONNX file of a bundle's folder, where there is one and ONNX Runtime to run it."""
    file = folder / ONNX
    return file if has_onnx_runtime() and file.is_file() else None


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle.

    Raises:
        FileNotFoundError: no such folder, or one of its files is missing.
        ValueError: not a bundle, of a later version or another joint order, a network that is not
            from `auxhand.models`, weights that do not fit it, that are those of another bundle, or
            that are not finite.
    """
    bundle = open_bundle(folder)
    _ = bundle.network
    return bundle


def open_bundle(folder: Path) -> Bundle:
    """A bundle whose network is read when it is first asked for, which it need not be where its
    ONNX file is run: that saves a second.

    Raises:
        FileNotFoundError, ValueError: see `load_bundle`; of the network's own nothing is known yet.
    """
    folder = Path(folder)
    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"no bundle at {folder}: {name} is missing (`auxhand train` writes one, as "
                "the folder `bundle` of its run)"
            )
    with _plain_errors(folder):
        description = json.loads((folder / DESCRIPTION).read_text())
        _check_format(description)
        return _parse(folder, description)


@dataclass(frozen=True)
class _Stored:
    """A bundle's network on disk."""

    folder: Path
    description: Mapping[str, Any]

    @property
    def network_class(self) -> str:
        """Without its module."""
        return str(self.description["network"].get("class")).rpartition(".")[2]

    def read(self) -> nn.Module:
        """Build the network and load its weights; see `load_bundle`."""
        file = self.folder / WEIGHTS
        with _plain_errors(self.folder):
            shapes = _shapes(file)
            with Bounded(sum(map(math.prod, shapes.values())) + _BESIDE):
                network = build(self.description["network"])
            expected = {name: tuple(t.shape) for name, t in network.state_dict().items()}
            if problem := _mismatch(expected, shapes):
                raise ValueError(f"{WEIGHTS} does not fit the network: {problem}")
        weights = load_file(file)
        written = self.description.get("weights", {}).get("sha256")
        if written and written != hashlib.sha256(file.read_bytes()).hexdigest():
            raise ValueError(f"{file} is not the file that {DESCRIPTION} was written with")
        if broken := _not_finite(weights):
            raise ValueError(f"{file}: {broken} is not finite; train the model again")
        network.load_state_dict(weights)
        return network.eval().requires_grad_(False)


@contextmanager
def _plain_errors(folder: Path) -> Iterator[None]:
    """Name the description of a network that cannot be: its constructor fails in any way."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        what = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"{folder / DESCRIPTION}: {what}") from error


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the weights in a file, which are not loaded.

    Raises:
        ValueError: no file of weights.
    """
    try:
        with safe_open(file, "pt") as stored:
            return {name: tuple(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged: {error}") from error


def _entry(description: Any, name: str, kind: type | tuple[type, ...]) -> Any:
    """An entry of a description, of its type.

    Raises:
        ValueError: no description, no such entry, or one of another type.
    """
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ValueError("not the description of a bundle")
    if name not in description:
        raise ValueError(f"no entry {name!r}")
    if not isinstance(value := description[name], kind) or isinstance(value, bool):
        raise ValueError(f"{name} {str(value)[:80]!r} is of the wrong type")
    return value


def _share(description: Any, name: str) -> float:
    """A number between 0 and 1."""
    value = float(_entry(description, name, (int, float)))
    if not 0 <= value <= 1:
        raise ValueError(f"{name} {value} must lie between 0 and 1")
    return value


def _check_format(description: Any) -> None:
    if (version := _entry(description, "version", int)) not in range(1, VERSION + 1):
        raise ValueError(f"version {version} of the format; this AuxHand reads 1 to {VERSION}")
    if _entry(description, "conventions", dict).get("joints") != list(JOINT_NAMES):
        raise ValueError("the network's joints are not AuxHand's 21 in their order")


def _parse(folder: Path, description: Any) -> Bundle:
    input_size = _entry(description, "input_size", int)
    if not 1 <= input_size <= LARGEST_INPUT:
        raise ValueError(f"input_size {input_size} must lie between 1 and {LARGEST_INPUT} pixels")
    _entry(description, "network", dict)
    if "weights" in description:  # which version 1 does not name
        _entry(description, "weights", dict)
    return Bundle(
        _Stored(folder, description),
        input_size,
        _crop(description),
        _share(description, "presence_threshold"),
        _entry(description, "training", dict),
    )


def _crop(description: Mapping[str, Any]) -> CropRule:
    crop = _entry(description, "crop", dict) if description["version"] > 1 else description
    by, view = crop.get("by", "joints"), crop.get("view", "corrected")
    for name, value, known in (("by", by, get_args(CropBy)), ("view", view, get_args(View))):
        if value not in known:
            raise ValueError(f"{name} {value!r} of its crops is none of {', '.join(known)}")
    return CropRule(by, float(_entry({"format": FORMAT, **crop}, "fraction", (int, float))), view)


def _not_finite(weights: Mapping[str, torch.Tensor]) -> str | None:
    """Name of a tensor that is not finite."""
    return next((name for name, value in weights.items() if not value.isfinite().all()), None)


def _mismatch(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> str | None:
    """The first difference in names or shapes, in words."""
    for name in sorted(expected.keys() - found.keys()):
        return f"{name} is missing"
    for name in sorted(found.keys() - expected.keys()):
        return f"{name} is unknown"
    for name, shape in expected.items():
        if shape != found[name]:
            return f"{name} is {found[name]}, not {shape}"
    return None
