"""A training from its configuration to its bundle: assemble, start from weights, resume, ship.

A run lies in one folder, `trainer.default_root_dir`: its settings (`config.yaml`), logs,
`checkpoints/last.ckpt` and the bundle of what was learnt.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger

from auxhand.checkpoint import changes, damaged, other_kind, read_checkpoint, restoring, unlike
from auxhand.data.augment import Contents
from auxhand.data.loader import Positions, in_own_words
from auxhand.evaluation.report import commit
from auxhand.files import locked, sweep, writing
from auxhand.inference.bundle import DESCRIPTION, bundle_folder, load_bundle, save_bundle
from auxhand.monitor import Monitor
from auxhand.pose_module import PoseModule

CONFIG = "config.yaml"
"""The settings of a run, in its folder."""

LAST, EARLIER = Path("checkpoints") / "last.ckpt", "earlier.ckpt"


class Run(LightningCLI):
    """Trainer, model and data of a configuration, as `trainer`, `model` and `datamodule`."""

    model: Any  # a LightningModule with `needs` and `estimator()`
    datamodule: Any  # a LightningDataModule with what HandDataModule says of its data
    trainer: Trainer

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """What a configuration may say beside trainer, model and data."""
        parser.add_argument(
            "--start_from",
            type=str | None,
            default=None,
            help="a run's folder, a checkpoint or a bundle whose weights training starts from; "
            "`default`: the shipped one",
        )

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Logs and checkpoints lie in the run's folder."""
        settings = self.config.trainer
        if settings.default_root_dir is None:
            raise ValueError(
                f"{self.config.config[0]} names no folder: set trainer.default_root_dir"
            )
        logger = TensorBoardLogger(settings.default_root_dir, name="", version="")
        plugins = self.config_init.trainer.plugins or []
        plugins = [*(plugins if isinstance(plugins, list) else [plugins]), WholeCheckpoints()]
        trainer = super().instantiate_trainer(logger=logger, plugins=plugins, **kwargs)
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint):
                # Of a run whose folder was moved, or is spelled otherwise, Lightning does not know
                # `last.ckpt` as its own: it would leave it as it is and write `last-v1.ckpt`.
                callback._enable_version_counter = False
        return trainer

    def _add_instantiators(self) -> None:
        """None: they write the settings out for `save_hyperparameters`, which no method calls."""

    @property
    def folder(self) -> Path:
        """The run's."""
        return Path(self.trainer.default_root_dir)


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints are written beside their place and renamed: what is there is whole."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with writing(path) as unfinished:
            torch.save(checkpoint, unfinished)


class SaveSettings(SaveConfigCallback):
    """The settings of a run, whole and in its folder, as soon as it begins."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write them."""
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        with writing(folder / CONFIG) as unfinished:
            unfinished.write_text(as_yaml(self.parser, self.config))


def as_yaml(parser: LightningArgumentParser, config: Any) -> str:
    """All settings. Parsing has validated them, which takes longer than writing them."""
    return str(parser.dump(config, skip_none=False, skip_validation=True))


# ---- assemble ----


def assemble(configs: Sequence[Path], settings: Sequence[str] = (), save: bool = False) -> Run:
    """Trainer, model and data of a configuration; nothing is run.

    Args:
        configs: YAML files; where two name the same entry, the later one counts.
        settings: KEY=VALUE that override their entries.
        save: write the settings into the run's folder when it is fitted.

    Raises:
        ValueError: a configuration that does not fit the classes it names, or data that contradict
            what the method needs.
    """
    _quieten()
    files = [argument for config in configs for argument in ("--config", str(config))]
    try:
        run = Run(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            run=False,
            auto_configure_optimizers=False,
            trainer_defaults={
                "callbacks": [Positions(), Monitor()],
                "enable_model_summary": False,
            },
            save_config_callback=SaveSettings if save else None,
            save_config_kwargs={"save_to_log_dir": False},
            args=[*files, *(f"--{entry}" for entry in settings)],
            parser_kwargs={"exit_on_error": False},
        )
    except OSError:
        raise
    except Exception as error:  # the constructors that a configuration names fail in any way
        raise ValueError(plainly(error) or type(error).__name__) from error
    provide(run.model.needs, run.datamodule)
    return run


def _quieten() -> None:
    """Leave out of the output what says nothing of this training."""
    # Advertisement, the devices that are not there, what `compare` and `train` say themselves.
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        "LightningCLI's args parameter",  # our own command line is no accident
        ".*is deprecated",  # PyTorch's notes to Lightning
        ".*does not have many workers",  # a worker a core: see `leave_cores`
        ".*is smaller than the logging interval",
        "Checkpoint directory .* exists and is not empty",  # a run is resumed
        "The dirpath has changed",  # and its folder was moved
    ):
        warnings.filterwarnings("ignore", message=message)


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
    said = str(error) if cause is error else where + str(cause)
    if choice := _CHOICE.search(said):
        name, among, got = choice.groups()
        return f"{name} is one of {among.replace(chr(39), '')}; not {got}"
    return said


_CHOICE = re.compile(
    r"Parser key [\"']([\w.]+)[\"']:\s+Expected a typing\.Literal\[(.+?)\]\.?\s+Got value:\s+(\S+)"
)
"""How jsonargparse says that a value is none of several."""


def provide(needs: Contents, data: Any) -> None:
    """Have the data give what a method needs.

    Raises:
        ValueError: the data are set to give another number of points.
    """
    told = data.contents
    if needs.cloud_points and told.cloud_points not in (0, needs.cloud_points):
        raise ValueError(
            f"clouds of {needs.cloud_points} points are wanted (networks.points), but the data "
            f"are set to give {told.cloud_points}: leave data.init_args.cloud_points out"
        )
    data.contents = replace(
        told,
        depth=told.depth or needs.depth,
        cloud_points=told.cloud_points or needs.cloud_points,
        content=told.content or needs.content,
        picture=told.picture and needs.picture,
    )


def leave_cores(workers: int) -> None:
    """Leave a core to each worker that makes batches.

    The network's threads wait for each other at every layer, so a worker that takes a core from one
    of them holds up all.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch.set_num_threads(max(1, min(torch.get_num_threads(), (cores or 1) - workers)))


# ---- start from other weights ----


def start_from(source: Path, model: Any) -> None:
    """Take over weights by name, and say which are missing or left over.

    Args:
        source: a run's folder or a checkpoint, whose names are those of the method; or a bundle,
            whose names are those of the method's estimator.
        model: the method.

    Raises:
        FileNotFoundError: nothing of that kind.
        ValueError: a damaged file, or weights none of which fits.
    """
    if (source / DESCRIPTION).is_file():
        weights, target = load_bundle(source).network.state_dict(), model.estimator()
    else:
        file = source / LAST if source.is_dir() else source
        if not file.is_file():
            raise FileNotFoundError(f"no run, checkpoint or bundle to start from at {source}")
        weights, target = read_checkpoint(file)["state_dict"], model
    own = target.state_dict()
    fitting = {
        name: value
        for name, value in weights.items()
        if name in own and own[name].shape == value.shape
    }
    if not fitting:
        raise ValueError(f"no weights of {source} fit this network: compare the names and sizes")
    target.load_state_dict(fitting, strict=False)
    if target is not model and isinstance(model, PoseModule):
        model.on_estimator_loaded()
    print(f"starting from {source}: {len(fitting)} of {len(own)} tensors")
    for what, names in (
        ("not there, as initialised", own.keys() - fitting.keys()),
        ("left over", weights.keys() - fitting.keys()),
    ):
        if names:
            first = ", ".join(sorted(names)[:5])
            print(f"{what}: {first}" + (f" and {len(names) - 5} more" if len(names) > 5 else ""))


# ---- resume ----


def compare(run: Run, last: Path) -> int:
    """Say what a run is resumed from, and which of its settings have changed; its steps so far.

    Raises:
        ValueError: a damaged file, or a checkpoint of another network.
    """
    earlier = read_checkpoint(last)
    print(f"resuming from {last}")
    again = "--restart begins anew, another trainer.default_root_dir is another run"
    if other := unlike(earlier["state_dict"], run.model.state_dict()):
        raise ValueError(f"{last} is of another network ({other}): {again}")
    if wrong := other_kind(
        earlier["loops"].get("fit_loop"), run.trainer.fit_loop.state_dict(), "loops"
    ):
        raise damaged(last, f"{last} is damaged ({wrong})")
    file = run.folder / CONFIG
    if file.is_file():
        new = yaml.safe_load(as_yaml(run.parser, run.config))
        if changed := changes(read_settings(file, last), new):
            print(f"settings are not those of before: {'; '.join(changed)}\n({again})")
    return int(earlier["global_step"])


def read_settings(file: Path, last: Path) -> dict[str, Any]:
    """The settings that a run was made with.

    Raises:
        ValueError: the file is damaged; says what is good.
    """
    try:
        settings = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError):
        settings = None
    if not (isinstance(settings, dict) and {"trainer", "model", "data"} <= settings.keys()):
        raise ValueError(
            f"{file} is damaged; the newest good checkpoint is {last}: remove {file.name} to "
            "resume from it with the settings of now"
        )
    return settings


# ---- train and ship ----


def train(run: Run, restart: bool, provenance: Mapping[str, Any]) -> Path | None:
    """Train, resuming from the run's last checkpoint, and write the bundle of the result.

    A run that was finished before says so and keeps its bundle; one that is resumed with other
    settings says which.

    Args:
        run: what to train.
        restart: begin anew; the last checkpoint becomes `EARLIER`.
        provenance: what the bundle is to say of where it comes from.

    Returns:
        The bundle's folder; None in a process that does not speak for all.

    Raises:
        ValueError: see `compare`, `start_from` and `locked`; or data that do not suit the method.
        FloatingPointError: a loss or weights that are not finite; says where good ones are.
        KeyboardInterrupt: interrupted; says how to resume.
    """
    if not run.trainer.is_global_zero:  # one process speaks for all
        _fit(run, run.folder / LAST)
        return None
    run.folder.mkdir(parents=True, exist_ok=True)
    with locked(run.folder):
        sweep(run.folder)
        sweep(run.folder / LAST.parent)
        last = run.folder / LAST
        if restart and last.is_file():  # Lightning would leave it there as the last one
            last.replace(last.with_name(EARLIER))
        steps_before = compare(run, last) if last.is_file() else None
        _fit(run, last)
        bundle = run.folder / "bundle"
        if run.trainer.global_step == steps_before:
            print("the run was finished before")
            if is_newer(bundle / DESCRIPTION, last):
                return bundle
            # Lightning skipped the training and its end, where the average takes the weights'
            # place; a checkpoint has what is to be shipped as its `state_dict`.
            run.model.load_state_dict(read_checkpoint(last)["state_dict"])
        metrics = {name: float(value) for name, value in run.trainer.callback_metrics.items()}
        batches = run.trainer.fit_loop.epoch_loop.batch_progress.total.processed  # type: ignore[attr-defined]
        epoch = run.datamodule.schedule.phases[-1].epoch
        ship(run, bundle, epoch, batches, {**provenance, "metrics": metrics})
        return bundle


def _fit(run: Run, last: Path) -> None:
    if run.trainer.accelerator.name() == "cpu":
        leave_cores(run.datamodule.workers)
    resumed = last if last.is_file() else None
    if resumed is None and run.config.start_from:
        start_from(bundle_folder(run.config.start_from), run.model)
    try:
        run.trainer.fit(run.model, run.datamodule, ckpt_path=resumed, weights_only=True)
    except FloatingPointError as error:
        good = f"; the weights before are in {last}" if last.is_file() else ""
        raise FloatingPointError(f"{error}{good}") from error
    except MisconfigurationException as error:
        raise ValueError(str(error)) from error
    except Exception as error:
        if resumed and restoring(error):
            raise damaged(last, f"{last} is damaged ({type(error).__name__}: {error})") from error
        if (plain := in_own_words(error)) is error:
            raise
        raise plain from error
    except SystemExit as ended:  # what Lightning makes of an interruption
        interruption = ended.__context__
        if not isinstance(interruption, KeyboardInterrupt):
            raise
        kept = f"the same command resumes from {last}"
        if not last.is_file():
            kept = "before the first checkpoint; the same command begins anew"
        raise type(interruption)(kept) from None


def ship(run: Run, folder: Path, epoch: int, batches: int, metadata: Mapping[str, Any]) -> None:
    """Write the bundle of a run's network.

    Args:
        run: whose model has the weights to be shipped.
        folder: the bundle's.
        epoch: whose crops the network saw last.
        batches: that were seen, by each process.
        metadata: see `Bundle`; commit and the number of images seen are added.
    """
    data = run.datamodule
    save_bundle(
        folder,
        run.model.estimator(),
        data.schedule.size(epoch),
        {
            "commit": commit(),
            "images_seen": batches * data.images_per_batch * run.trainer.world_size,
            **metadata,
        },
        data.contents.crop,
    )


def is_newer(file: Path, other: Path) -> bool:
    """Is a file there that was written after another one."""
    return file.is_file() and file.stat().st_mtime_ns >= other.stat().st_mtime_ns
