"""`auxhand train BASE OVERRIDE...`: any method, any stage, resumable."""

from __future__ import annotations

import shlex
from argparse import Namespace
from pathlib import Path

from auxhand.cli.arguments import Parser
from auxhand.cli.main import complain

DIVERGED = 1


def parser() -> Parser:
    """Arguments of `auxhand train`."""
    parser = Parser(
        description="Train a method from YAML files; run the same command again to resume.",
        epilog="example: auxhand train configs/laptop/supervised.yaml --set trainer.max_epochs=2",
    )
    parser.add_argument(
        "config",
        type=Path,
        nargs="+",
        help="YAML with the sections trainer, model and data, and files of what differs from it: "
        "a later one counts",
    )
    parser.add_argument(
        "--set",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="override entries of the files, e.g. data.init_args.batch_size=16",
    )
    parser.add_argument(
        "--restart",
        action="store_true",
        help="begin anew; the last checkpoint of an earlier run becomes checkpoints/earlier.ckpt",
    )
    return parser


def run(args: Namespace) -> int:
    """Train, resuming from the run's last checkpoint, and write the bundle of the result.

    Returns:
        0, or `DIVERGED` where the loss or the weights were no longer finite.

    Raises:
        FileNotFoundError: no such configuration.
        ValueError: see `training.assemble` and `training.train`.
    """
    from auxhand.yaml_file import check_yaml

    for config in args.config:
        if not config.is_file():
            raise FileNotFoundError(f"no configuration {config}: name YAML files of configs/")
        check_yaml(config)
    malformed = [entry for entry in args.set if "=" not in entry]
    if malformed:
        raise ValueError(f"--set takes KEY=VALUE, got {malformed[0]!r}")

    from auxhand.training import assemble, train

    configs = [str(config) for config in args.config]
    options = ["--set", *args.set] if args.set else []
    provenance = {
        "configuration": " ".join(configs),
        "command": shlex.join(["auxhand", "train", *configs, *options]),
    }
    trained = assemble(args.config, args.set, save=True)
    try:
        bundle = train(trained, args.restart, provenance)
    except FloatingPointError as error:
        complain("auxhand train", str(error))
        return DIVERGED
    if bundle is not None:
        print(f"checkpoints and logs: {trained.folder}\nmodel: {bundle}")
    return 0
