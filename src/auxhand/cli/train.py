"""`auxhand train CONFIG`: any method, any stage, resumable."""

from __future__ import annotations

import os
import shlex
import warnings
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jsonargparse import ArgumentParser, Namespace

from auxhand.cli.main import complain

if TYPE_CHECKING:
    from lightning.pytorch.cli import LightningCLI
    from torch import Tensor

CONFIG = "config.yaml"
"""What Lightning calls the settings of a run, in its folder."""

EARLIER = "earlier.ckpt"

DIVERGED = 1


def parser() -> ArgumentParser:
    """Arguments of `auxhand train`."""
    parser = ArgumentParser(
        description="Train a method from a YAML file; run the same command again to resume.",
        epilog="example: auxhand train configs/laptop/supervised.yaml --set trainer.max_epochs=2",
    )
    parser.add_argument("config", type=Path, help="YAML with the sections trainer, model and data")
    parser.add_argument(
        "--set",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="override entries of the file, e.g. data.init_args.batch_size=16",
    )
    parser.add_argument(
        "--restart",
        action="store_true",
        help=f"begin anew; the last checkpoint of an earlier run becomes checkpoints/{EARLIER}",
    )
    return parser


def run(args: Namespace) -> int:
    """Train, resuming from the run's last checkpoint, and write the bundle of the result.

    A run that was finished before says so and keeps its bundle; one that is resumed with other
    settings says which.

    Returns:
        0, or `DIVERGED` where the loss was no longer finite.

    Raises:
        FileNotFoundError: no such configuration.
        ValueError: a configuration that does not fit the classes it names, or names another network
            than that of the run to be resumed.
    """
    if not args.config.is_file():
        raise FileNotFoundError(f"no configuration {args.config}: name a YAML file of configs/")
    malformed = [entry for entry in args.set if "=" not in entry]
    if malformed:
        raise ValueError(f"--set takes KEY=VALUE, got {malformed[0]!r}")

    import torch
    from lightning import Trainer
    from lightning.pytorch.cli import LightningCLI
    from lightning.pytorch.loggers import TensorBoardLogger

    from auxhand.evaluation.report import commit
    from auxhand.inference.bundle import DESCRIPTION, save_bundle

    class CLI(LightningCLI):
        """Logs and checkpoints lie in the run's folder, `trainer.default_root_dir`."""

        def instantiate_trainer(self, **kwargs: Any) -> Trainer:
            folder = self.config.trainer.default_root_dir
            if folder is None:
                raise ValueError(f"{args.config} names no folder: set trainer.default_root_dir")
            logger = TensorBoardLogger(folder, name="", version="")
            return super().instantiate_trainer(logger=logger, **kwargs)

    cli = assemble(args.config, args.set, CLI, save_config_kwargs={"overwrite": True})
    if cli.trainer.accelerator.name() == "cpu":
        leave_cores(getattr(cli.datamodule, "workers", 0))
    folder = Path(cli.trainer.default_root_dir)
    last = folder / "checkpoints" / "last.ckpt"
    if args.restart and last.is_file():  # Lightning would leave it there as the last one
        last.replace(last.with_name(EARLIER))
    steps_before = compare(cli, last) if last.is_file() else None
    checkpoint = last if last.is_file() else None
    try:
        cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=checkpoint, weights_only=True)
    except FloatingPointError as error:
        before = f"; the weights before are in {last.parent}" if last.is_file() else ""
        complain("auxhand train", f"{error}{before}")
        return DIVERGED
    except SystemExit:  # what Lightning makes of Ctrl-C
        print(f"interrupted; the same command resumes from {last}")
        raise KeyboardInterrupt from None
    if not cli.trainer.is_global_zero:  # one process speaks for all
        return 0
    bundle = folder / "bundle"
    if cli.trainer.global_step == steps_before:
        print("the run was finished before")
        if is_newer(bundle / DESCRIPTION, last):
            print(f"model: {bundle}")
            return 0
        # Lightning skipped the training and its end, where the average takes the weights' place; a
        # checkpoint has what is to be shipped as its `state_dict`.
        cli.model.load_state_dict(torch.load(last, "cpu", weights_only=True)["state_dict"])
    save_bundle(
        bundle,
        cli.model.estimator(),
        cli.datamodule.schedule.phases[-1].size,
        {
            "configuration": str(args.config),
            "command": shlex.join(
                ["auxhand", "train", str(args.config), *(["--set", *args.set] if args.set else [])]
            ),
            "commit": commit(),
            "images_seen": cli.trainer.global_step
            * cli.datamodule.batch_size
            * cli.trainer.world_size,
            "metrics": {k: float(v) for k, v in cli.trainer.callback_metrics.items()},
        },
        view=cli.datamodule.contents.crop.view,
    )
    print(f"checkpoints and logs: {folder}\nmodel: {bundle}")
    return 0


def assemble(
    config: Path,
    settings: Sequence[str] = (),
    kind: type[LightningCLI] | None = None,
    **options: Any,
) -> LightningCLI:
    """Trainer, model and data of a configuration, as `trainer`, `model` and `datamodule`; nothing
    is run.

    Args:
        config: YAML.
        settings: KEY=VALUE that override its entries.
        kind: a LightningCLI of one's own.
        options: further arguments of its constructor; by default it saves no configuration.

    Raises:
        ValueError: a configuration that does not fit the classes it names.
    """
    from lightning import LightningDataModule, LightningModule
    from lightning.pytorch.cli import LightningCLI

    # Our own command line is no accident that Lightning should warn of.
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
    options = options or {"save_config_callback": None}
    try:
        return (kind or LightningCLI)(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            run=False,
            auto_configure_optimizers=False,
            args=["--config", str(config), *(f"--{entry}" for entry in settings)],
            parser_kwargs={"exit_on_error": False},
            **options,
        )
    except (ValueError, ArgumentError) as error:
        raise ValueError(plainly(error)) from error


def plainly(error: Exception) -> str:
    """What is wrong with a configuration, without the types that jsonargparse tried for a value.

    It says that none of them fits, and names as the cause what the first one has to say, which may
    be such a report itself.
    """
    tried = "Does not validate against any of the Union subtypes"
    where, _, _ = str(error).partition(tried)
    cause: BaseException = error
    while tried in str(cause) and cause.__cause__ is not None:
        cause = cause.__cause__
    return str(error) if cause is error else where + str(cause)


def leave_cores(workers: int) -> None:
    """Leave a core to each worker that makes batches.

    The network's threads wait for each other at every layer, so a worker that takes a core from one
    of them holds up all.
    """
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch.set_num_threads(max(1, min(torch.get_num_threads(), (cores or 1) - workers)))


def compare(cli: LightningCLI, last: Path) -> int:
    """Say what a run is resumed from, and which of its settings have changed; its steps so far.

    Raises:
        ValueError: the checkpoint is of another network.
    """
    import torch

    print(f"resuming from {last}")
    earlier = torch.load(last, "cpu", weights_only=True)
    again = "--restart begins anew, another trainer.default_root_dir is another run"
    if other := unlike(earlier["state_dict"], cli.model.state_dict()):
        raise ValueError(f"{last} is of another network ({other}): {again}")
    file = last.parents[1] / CONFIG
    if file.is_file():
        new = cli.parser.dump(cli.config, skip_none=False)
        if changed := changes(settings(file.read_text()), settings(new)):
            print(f"settings are not those of before: {'; '.join(changed)}\n({again})")
    return int(earlier["global_step"])


def unlike(old: Mapping[str, Tensor], new: Mapping[str, Tensor]) -> str:
    """The first tensor that two states do not share, in words; "" where they fit."""
    for name in [*old, *new]:
        shapes = [tuple(state[name].shape) if name in state else None for state in (old, new)]
        if shapes[0] != shapes[1]:
            was, now = ("not there" if shape is None else shape for shape in shapes)
            return f"{name} was {was}, is {now}"
    return ""


def settings(text: str) -> dict[str, Any]:
    """A run's YAML."""
    from omegaconf import OmegaConf

    return cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.create(text)))


def changes(old: Any, new: Any, name: str = "") -> list[str]:
    """Entries of two configurations that differ, as "name: new (was old)"."""
    if old == new:
        return []
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [f"{name}: {new} (was {old})"]
    keys = dict.fromkeys([*old, *new])
    inner = [changes(old.get(key), new.get(key), f"{name}.{key}".lstrip(".")) for key in keys]
    return [line for lines in inner for line in lines]


def is_newer(file: Path, other: Path) -> bool:
    """Is a file there that was written after another one."""
    return file.is_file() and file.stat().st_mtime_ns >= other.stat().st_mtime_ns
