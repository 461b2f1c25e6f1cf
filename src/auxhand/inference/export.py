"""Bundles' networks in the forms that other runtimes take, checked against PyTorch."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

import numpy as np
import torch
from torch import nn

from auxhand.files import writing
from auxhand.hand.skeleton import JOINT_NAMES
from auxhand.inference.bundle import CONVENTIONS, Bundle
from auxhand.inference.runtime import (
    OPSET,
    Run,
    run_with_onnx,
    run_with_torch,
    said,
    write_onnx,
)

Format = Literal["onnx", "openvino"]

SUFFIX: Final[dict[Format, str]] = {"onnx": ".onnx", "openvino": ".xml"}
"""Of each format's file; OpenVINO's weights are in a second one, of suffix .bin."""

TOLERANCE: Final = 1e-4
"""How far an exported network may be from PyTorch: of an output's largest value, or of one."""

_NEEDS: Final[dict[Format, tuple[str, ...]]] = {
    "onnx": ("onnxscript", "onnxruntime"),
    "openvino": ("onnxscript", "onnxruntime", "openvino"),
}
_EXTRA: Final[dict[Format, str]] = {"onnx": "export", "openvino": "export,openvino"}

_OUTPUTS: Final = {
    "uv": "(B, 21, 2) pixels of the crop, an integer being a pixel's centre",
    "d": "(B, 21) depth from joint 9, in lengths of bone 9-10",
    "xyz": "(B, 21, 3) from joint 9, in lengths of bone 9-10: x right, y down, z away",
    "confidence": "(B, 21) in [0, 1]",
    "presence": "(B,) in [0, 1]: a hand is in the crop",
    "left": "(B,) in [0, 1]: it looks like a left hand",
    "mask": "(B, h, w) in [0, 1], over the crop",
    "depth": "(B, h, w) from joint 9, in lengths of bone 9-10, over the crop",
    "cloud": "(B, N, 3) metres, about its centroid",
    "model": "(B, P) parameters of a hand surface model",
    "canonical": "(B, 21, 3) pose seen from the palm, in lengths of bone 9-10",
    "viewpoint": "(B, 3, 3) rotation from the canonical pose to the crop camera's axes",
}
"""What each output of an estimator is."""


def export(
    bundle: Bundle,
    format: Format,
    file: Path,
    batch: int | None = None,
    beside: Path | None = None,
) -> float:
    """Write a bundle's network, with what must be known to use it, and compare it with PyTorch.

    The file appears when it is complete and has passed. Its input `image` is RGB in [0, 1]; the
    network's own normalisation is inside.

    Args:
        bundle: of any method's estimator, or of the finder.
        format: "onnx" (opset `OPSET`), or "openvino", which is made from it, in single precision.
        file: where; it ends as `SUFFIX` says.
        batch: how many pictures it takes at a time; None: any number.
        beside: the ONNX file that the bundle has already, for any number of pictures: to make one
            takes ten seconds and more.

    Returns:
        the largest difference from PyTorch, relative to an output's largest value or one.

    Raises:
        ModuleNotFoundError: an extra that is needed is not installed.
        ValueError: a file of another suffix, or a network that the format changes by more than
            `TOLERANCE`.
    """
    check_suffix(file, format)
    for module in _NEEDS[format]:
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(
                f"{module} is not installed: pip install 'auxhand[{_EXTRA[format]}]'"
            )
    network, size = bundle.network.eval(), bundle.input_size
    told = description(bundle)
    if format == "onnx":
        with writing(file) as unfinished:
            _write_onnx(network, size, unfinished, batch, told, beside)
            return _compare(network, run_with_onnx(unfinished), size, batch)
    with TemporaryDirectory() as folder:
        onnx = Path(folder) / "network.onnx"
        _write_onnx(network, size, onnx, batch, told, beside)
        return _write_openvino(network, onnx, file, size, batch, told)


def check_suffix(file: Path, format: Format) -> None:
    """Check that a file ends as those of its format do.

    Raises:
        ValueError: it does not.
    """
    if file.suffix != SUFFIX[format]:
        raise ValueError(f"a file of {format} ends in {SUFFIX[format]}, which {file.name} does not")


def description(bundle: Bundle) -> dict[str, str]:
    """What must be known to use the network, as text by name; lists and tables are JSON."""
    with torch.inference_mode():
        blank = torch.zeros(1, 3, bundle.input_size, bundle.input_size)
        names = list(said(bundle.network(blank)))
    return {
        "input_size": str(bundle.input_size),
        "image": "(B, 3, input_size, input_size) float32 RGB in [0, 1]; normalised inside",
        "side": str(CONVENTIONS["side"]),
        "joint_names": json.dumps(JOINT_NAMES),
        "outputs": json.dumps({name: _OUTPUTS[name] for name in names if name in _OUTPUTS}),
        "crop_by": bundle.crop.by,
        "crop_fraction": str(bundle.crop.fraction),
        "presence_threshold": str(bundle.presence_threshold),
        "opset": str(OPSET),
    }


def _write_onnx(
    network: nn.Module,
    size: int,
    file: Path,
    batch: int | None,
    told: dict[str, str],
    beside: Path | None,
) -> None:
    """Write the network's ONNX file, or a copy of the one that is there; see `export`."""
    if batch is not None or beside is None:
        write_onnx(network, size, file, batch, told)
        return
    import onnx

    model = onnx.load(beside)
    onnx.helper.set_model_props(model, told)
    onnx.save(model, file)


def _compare(network: nn.Module, run: Run, size: int, batch: int | None) -> float:
    """Largest relative difference from PyTorch on noise.

    Raises:
        ValueError: it is more than `TOLERANCE`, or an output is missing.
    """
    worst = 0.0
    for count in (batch,) if batch else (1, 3):
        images = np.random.default_rng(count).random((count, 3, size, size), np.float32)
        ours, theirs = run_with_torch(network)(images), run(images)
        for name, value in ours.items():
            difference = float(np.abs(theirs[name] - value).max())
            worst = max(worst, difference / max(1.0, float(np.abs(value).max())))
    if not worst <= TOLERANCE:
        raise ValueError(f"the exported network differs from PyTorch's by {worst:.1e}")
    return worst


def _write_openvino(
    network: nn.Module, onnx: Path, file: Path, size: int, batch: int | None, told: dict[str, str]
) -> float:
    """Convert an ONNX file to OpenVINO's pair of files; see `export`."""
    import openvino

    model = openvino.convert_model(str(onnx))
    for name, text in told.items():
        model.set_rt_info(text, ["auxhand", name])
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(model, "CPU", exact)

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        said = compiled(images)
        return {name: value for out, value in said.items() for name in out.get_names()}

    worst = _compare(network, run, size, batch)
    with writing(file) as unfinished, writing(file.with_suffix(".bin")) as weights:
        openvino.save_model(model, str(unfinished), compress_to_fp16=False)
        unfinished.with_suffix(".bin").replace(weights)
    return worst
