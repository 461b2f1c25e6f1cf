"""`auxhand synth OUT --count N --seed S`: a labelled, multi-modal dataset of rendered hands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentError, ArgumentParser, Namespace

if TYPE_CHECKING:
    from auxhand.synth.distributions import FactorConfig


def parser() -> ArgumentParser:
    """Arguments of `auxhand synth`."""
    parser = ArgumentParser(
        description="Render hands with all their labels into a prepared dataset (docs/data.md). "
        "The same command again goes on where a run was interrupted.",
        epilog="example: auxhand synth hands --count 2000 --seed 0",
    )
    parser.add_argument("out", type=Path, help="folder of the dataset")
    parser.add_argument("--count", type=int, required=True, help="number of samples")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other hands")
    parser.add_argument("--size", type=int, default=128, help="side of the images in pixels")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--config", type=Path, help="YAML of the factors (configs/synth/)")
    parser.add_argument("--backgrounds", type=Path, help="folder of photos to put hands before")
    return parser


def run(args: Namespace) -> None:
    """Make the dataset and say where it is.

    Raises:
        FileNotFoundError: no such configuration, no such folder of backgrounds.
        ValueError: a configuration that does not fit, or a folder with another dataset.
        OSError: the folder cannot be written to.
    """
    from auxhand.synth.distributions import FactorConfig
    from auxhand.synth.factory import Job, generate

    config = FactorConfig() if args.config is None else load_config(args.config)
    job = Job(args.count, args.seed, args.size, config, args.backgrounds)
    out = generate(args.out, job, args.workers)
    print(f"{args.count} hands of {args.size} x {args.size} pixels: {out}")


def load_config(path: Path) -> FactorConfig:
    """The `FactorConfig` in a YAML file; what the file does not say keeps its default.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown factor, or a value of the wrong kind.
    """
    from auxhand.synth.distributions import FactorConfig

    if not path.is_file():
        raise FileNotFoundError(f"no configuration {path}: name a YAML file, see configs/synth/")
    factors = ArgumentParser(exit_on_error=False)
    factors.add_class_arguments(FactorConfig)
    try:
        return FactorConfig(**factors.instantiate_classes(factors.parse_path(path)).as_dict())
    except (ArgumentError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
