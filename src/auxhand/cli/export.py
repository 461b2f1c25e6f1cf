"""`auxhand export MODEL`: a bundle's network for ONNX Runtime or OpenVINO."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from pathlib import Path

from auxhand.cli.arguments import Parser


def parser() -> Parser:
    """Arguments of `auxhand export`."""
    parser = Parser(
        description="Write a model's network for other runtimes, with its input size, joint names "
        "and units in the file, and compare it with PyTorch (docs/export.md).",
        epilog="example: auxhand export default --format onnx --out hand.onnx",
    )
    parser.add_argument(
        "model", help="a bundle's folder, or `default` or `finder` of the shipped ones"
    )
    parser.add_argument("--format", choices=["onnx", "openvino"], default="onnx")
    parser.add_argument(
        "--out", type=Path, required=True, help="file to write: .onnx, or .xml with a .bin beside"
    )
    parser.add_argument(
        "--batch",
        type=_batch,
        metavar="N",
        help="pictures that the network takes at a time; default: any number",
    )
    return parser


def _batch(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"a positive number of pictures, not {text!r}")
    return int(text)


def run(args: Namespace) -> None:
    """Write the network.

    Raises:
        FileNotFoundError: no bundle.
        ModuleNotFoundError: an extra that the format needs is not installed.
        ValueError: no readable bundle, a file of another suffix, or a network that the format
            changes.
        OSError: the file cannot be written.
    """
    from auxhand.inference.bundle import bundle_folder, load_bundle, onnx_of
    from auxhand.inference.export import TOLERANCE, check_suffix, export

    check_suffix(args.out, args.format)
    folder = bundle_folder(args.model)
    bundle = load_bundle(folder)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    worst = export(bundle, args.format, args.out, args.batch, onnx_of(folder))
    count = "any number of" if args.batch is None else args.batch
    print(
        f"{args.out}: {count} pictures of {bundle.input_size} x {bundle.input_size}; differs from "
        f"PyTorch by {worst:.0e} at most ({TOLERANCE:.0e} is allowed)"
    )
