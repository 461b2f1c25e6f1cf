"""One way to run a network on pictures: ONNX Runtime where it and an ONNX file are, else PyTorch.

ONNX Runtime takes a quarter of PyTorch's time for a detector's picture, but making the file takes
many seconds, so it is made once and kept beside the weights. Both run on one thread: for pictures
this small more threads gain little, and those of either library spin while they wait, which takes
the cores from whatever else runs.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from auxhand.arrays import Array
from auxhand.files import writing
from auxhand.sample import HandPose

OPSET = 18
"""ONNX operator set of the files that are written; ONNX Runtime reads it from 1.14 on."""

Run = Callable[[Array], dict[str, Array]]
"""(B, 3, S, S) float32 RGB in [0, 1] -> the network's outputs by name."""


def run_with_torch(network: nn.Module, device: str = "cpu") -> Run:
    """Runs a network whose output is a NamedTuple of tensors or a `HandPose`.

    Args:
        network: in evaluation mode; it is moved to the device.
        device: where it runs.
    """
    network = network.to(device).to(memory_format=torch.channels_last)

    def run(images: Array) -> dict[str, Array]:
        with torch.inference_mode(), _one_thread():
            picture = torch.from_numpy(images).to(device)
            out = network(picture.contiguous(memory_format=torch.channels_last))
            return {name: value.cpu().numpy() for name, value in said(out).items()}

    return run


def said(output: Any) -> dict[str, Tensor]:
    """A network's outputs by name, without heatmaps, which are as large as all the rest."""
    named = output.items() if isinstance(output, HandPose) else output._asdict().items()
    return {name: value for name, value in named if name != "heatmaps"}


def run_with_onnx(file: Path) -> Run:
    """Runs a file that `write_onnx` wrote. ONNX Runtime's telemetry, which from 1.29 on is sent to
    its makers and keeps files in the user's cache, is off unless the environment's
    ORT_DISABLE_TELEMETRY says otherwise.

    Raises:
        ImportError: ONNX Runtime is not installed (`has_onnx_runtime`).
        ValueError: a file that is no such network.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when it is first used
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's own, which have no common class
        raise ValueError(f"{file} cannot be run: {str(error).splitlines()[0]}") from error
    names = [output.name for output in session.get_outputs()]
    taken = session.get_inputs()[0].name

    def run(images: Array) -> dict[str, Array]:
        return dict(zip(names, session.run(names, {taken: images}), strict=True))

    return run


def has_onnx_runtime() -> bool:
    """Is ONNX Runtime installed (extra auxhand[export])."""
    return importlib.util.find_spec("onnxruntime") is not None


def write_onnx(
    network: nn.Module,
    size: int,
    file: Path,
    batch: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a network in ONNX's opset `OPSET`; its input is `image`, its outputs have their names,
    see `said`.

    Args:
        network: in evaluation mode, on the CPU.
        size: side of its pictures.
        file: appears under its name when it is complete.
        batch: how many pictures it takes at a time; None: any number.
        metadata: goes into the file, for those who read it.

    Raises:
        ImportError: the extra auxhand[export] is not installed.
    """
    # For a batch of any size, two: the exporter would make a constant of a one.
    example = torch.zeros(batch or 2, 3, size, size)
    names = list(said(network(example)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about its own future
        program = torch.onnx.export(
            _Values(network).eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=names,
            dynamic_shapes=None if batch else ({0: torch.export.Dim("pictures")},),
            verbose=False,
        )
    assert program is not None
    # The exporter notes where in whose files each node comes from.
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    program.model.metadata_props.update(metadata or {})
    with writing(file) as unfinished:
        program.save(str(unfinished), external_data=False)


class _Values(nn.Module):
    """A network's outputs without their names, which the exporter takes for itself."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(said(self.network(image)).values())


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
