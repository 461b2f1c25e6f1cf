"""A method trained on one's own crops, within a time; the best network so far is kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from auxhand.adaptation.judge import Measures, Verdict, decide, measure
from auxhand.adaptation.kept import ADAPTED, adapted_epochs, ship
from auxhand.adaptation.plan import BATCH, Plan, suitable
from auxhand.adaptation.start import branches_of
from auxhand.data.store import PreparedDataset
from auxhand.files import writing
from auxhand.inference.bundle import Bundle
from auxhand.models.spec import specification
from auxhand.pose_module import SOURCE, TARGET
from auxhand.sample import HandBatch
from auxhand.training import Run, assemble, train

LEARNING_RATE = 1e-4
"""Of Ch. 6.4.1; of chapter 7 the one of `configs/laptop/dual_modality.yaml`."""

TOLERANCE = 0.1
"""By which the bones of people's hands may differ from the usual proportions (`corrected`)."""

CROSS_ENTROPY = 10.0
"""Weight of `Objective.heatmap_cross_entropy`."""

DUAL = {
    "objective": {"heatmap_cross_entropy": 30.0, "kept_share": 0.5},
    "weak": {"shift": 2.0, "quarters": False, "together": True},
}
"""Of chapter 7's objective and weak augmentation, as in `configs/laptop/dual_modality.yaml`."""

KNOWN = 160
"""Rendered hands that are kept from training."""


class Method(NamedTuple):
    """What of a training's configuration is a method's own.

    Attributes:
        module: its class.
        arguments: of its constructor, learning rate and seed apart.
        streams: the labelled and the unlabelled one.
    """

    module: str
    arguments: dict[str, Any]
    streams: dict[str, Any]


def configuration(
    bundle: Bundle, folders: dict[str, Path], plan: Plan, method: Method, workers: int, seed: int
) -> dict[str, Any]:
    """A training as `training.assemble` reads it.

    Args:
        bundle: whose network is trained, and whose crops are made.
        folders: "start" (a bundle or a checkpoint), "run", "source" (labelled hands), "target"
            (unlabelled).
        plan: its length.
        method: what trains.
        workers: processes that make the batches of either stream.
        seed: of all randomness.
    """
    return {
        "seed_everything": seed,
        "start_from": str(folders["start"]),
        "trainer": {
            "default_root_dir": str(folders["run"]),
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": plan.epochs,
            "precision": plan.precision,
            "gradient_clip_val": 5.0,
            "log_every_n_steps": 5,
            "num_sanity_val_steps": 0,
            "enable_model_summary": False,
            "callbacks": [
                {
                    "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                    "init_args": {"save_last": True, "save_top_k": 1},
                }
            ],
        },
        "model": {
            "class_path": method.module,
            "init_args": {
                "stage": "finetune",
                **method.arguments,
                "learning_rate": LEARNING_RATE,
                "seed": seed,
            },
        },
        "data": {
            "class_path": "auxhand.data.module.HandDataModule",
            "init_args": {
                "train": method.streams,
                "val_count": min(KNOWN, max(1, len(PreparedDataset(folders["source"])) // 5)),
                "batch_size": BATCH,
                "images_per_epoch": 2 * BATCH * plan.steps,
                "room_share": 0.4,
                "workers": workers,
                "crop": bundle.crop.to_dict(),
                "sides": suitable(bundle.network).side is not None,
                "seed": seed,
            },
        },
    }


def semihand(
    bundle: Bundle, folders: dict[str, Path], template: Tensor, labelled: Sequence[Path] = ()
) -> Method:
    """SemiHand (Ch. 6.3): labelled hands as the shipped network saw them, and one's own with
    diversity augmentation; a tenth of the learning rate from 40% on, as in Ch. 6.4.1.

    Args:
        bundle, folders: of `configuration`.
        template: (20,) lengths of bones.
        labelled: folders of one's own hands of which the model has labelled joints in 2D itself
            (`crops.agreed`). L_sup learns from them too, which the chapter's does not.
    """
    network, fraction = suitable(bundle.network), bundle.fraction
    arguments = {
        "network": _settings(specification(network)),
        "objective": {
            "tolerance": TOLERANCE,
            "heatmap_cross_entropy": CROSS_ENTROPY,
            "presence": 0.0 if network.presence is None else 1.0,
            "side": 0.0 if network.side is None else 1.0,
        },
        "template": template.tolist(),
        "schedule": {"drops": [0.4]},
    }
    diverse = {
        "rotation": 20.0,
        "smallest": 0.85 * fraction,
        "largest": 1.1 * fraction,
        "translation": 0.04,
        "photometric": _DIVERSE,
    }
    streams = _streams(bundle, folders, {"difficulty": 0.5, "natural": True}, diverse)
    # Rendered hands come first: what is held out is of the first folder.
    streams[SOURCE]["roots"] = [str(folders["source"]), *map(str, labelled)]
    return Method("auxhand.methods.semihand.SemiHand", arguments, streams)


def dual_modality(bundle: Bundle, folders: dict[str, Path]) -> Method:
    """The dual-modality network's fine-tuning (Ch. 7.3.5): labelled hands and one's own with G and
    T_RGB (Ch. 7.4.3); pseudo-labels are corrected into the ranges of all hands.

    Args:
        bundle: of the RGB branch.
        folders: of `configuration`.
    """
    network = {
        "class_path": "auxhand.models.dual_branch.DualBranch",
        "init_args": branches_of(suitable(bundle.network)),
    }
    known = {"augmentation": _strong(bundle.crop.fraction)}
    streams = _streams(bundle, folders, known, _strong(bundle.fraction))
    arguments = {"network": network, **DUAL}
    return Method("auxhand.methods.dual_modality.DualModality", arguments, streams)


def _strong(fraction: float) -> dict[str, Any]:
    """G and T_RGB of crops in which a hand usually takes that share, as in
    `configs/laptop/dual_modality.yaml`."""
    return {
        "rotation": 20.0,
        "any_rotation_share": 0.25,
        "smallest": 0.9 * fraction,
        "largest": 1.125 * fraction,
        "translation": 0.078,  # 20 of 256 pixels
        "photometric": _TEXTURES,
    }


_TEXTURES = {
    "occluder_share": 0.5,  # random erasure
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.36,  # deviation of a uniform +-0.1 turns
    "grey_share": 0.2,
}


def _streams(
    bundle: Bundle, folders: dict[str, Path], known: dict[str, Any], second: dict[str, Any]
) -> dict[str, Any]:
    """Labelled hands, and one's own in two views, of which the first is the plain crop.

    Args:
        bundle, folders: of `configuration`.
        known: how the labelled hands vary.
        second: augmentation of the second view.
    """
    size = bundle.input_size
    plain = {"smallest": bundle.fraction, "largest": bundle.fraction}
    return {
        SOURCE: {
            "roots": str(folders["source"]),
            "batch_size": BATCH,
            "phases": [{"epoch": 0, "size": size, **known}],
        },
        TARGET: {
            "roots": str(folders["target"]),
            "use": "weak",
            "told": ["side"],  # as the network that is adapted sees it
            "batch_size": BATCH,
            "views": 2,
            "phases": [{"epoch": 0, "size": size, "augmentation": plain, "second": second}],
        },
    }


_DIVERSE = {
    "occluder_share": 0.3,
    "brightness": 0.3,
    "contrast": 0.3,
    "saturation": 0.4,
    "hue": 0.1,
    "grey_share": 0.1,
    "noise_share": 0.3,
    "noise": 0.03,
    "blur_share": 0.2,
    "blur": 1.0,
}


def _settings(value: Any) -> Any:
    """A specification as jsonargparse reads it."""
    if isinstance(value, dict) and value.keys() == {"class", "arguments"}:
        return {"class_path": value["class"], "init_args": _settings(value["arguments"])}
    if isinstance(value, dict):
        return {name: _settings(inner) for name, inner in value.items()}
    return value


class KeepBest(Callback):
    """Judges the network after each epoch on held-out crops, and writes the best bundle so far.

    Args:
        bundle: the one that training starts from.
        images: (N, 3, S, S) held-out crops.
        template: (20,) lengths of bones.
        known: batches of labelled crops.
        before: what the first network says of them.
        out: where bundles are written.
        deadline: `time.monotonic()` after which no epoch begins that would not end by then.
    """

    def __init__(
        self,
        bundle: Bundle,
        images: Tensor,
        template: Tensor,
        known: list[HandBatch],
        before: Measures,
        out: Path,
        deadline: float,
    ) -> None:
        self.bundle, self.images, self.template, self.known = bundle, images, template, known
        self.before, self.out, self.deadline = before, out, deadline
        self.history: list[dict[str, Any]] = []
        self.best: float | None = None
        self.started = time.monotonic()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Where the bundle that is there is not the best one that a resumed run knows of (somebody
        deleted it, or the run was killed before its checkpoint), begin again with the original."""
        kept = [line["epoch"] for line in self.history if line["kept"]]
        if adapted_epochs(self.out) == (kept[-1] if kept else None):
            return
        self.best = None
        self.history = [{**line, "kept": False} for line in self.history]
        ship(self.bundle, self.bundle.network, self.out, {})

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Epochs are timed."""
        self.started = time.monotonic()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge, and keep what is better than all before."""
        network: Any = pl_module.estimator()  # type: ignore[operator]
        after = measure(network.eval(), self.images, self.template, self.known)
        verdict = decide(self.before, after)
        best = verdict.better and (self.best is None or verdict.score < self.best)
        self.history.append(self._line(trainer, verdict, after, best))
        if best:
            self.best = verdict.score
            ship(self.bundle, network, self.out, {ADAPTED: trainer.current_epoch + 1})
        now = time.monotonic()
        if now + (now - self.started) > self.deadline:
            trainer.should_stop = True

    def _line(
        self, trainer: Trainer, verdict: Verdict, after: Measures, kept: bool
    ) -> dict[str, Any]:
        said = trainer.callback_metrics
        shares = [said[name] for name in ("train/trusted", "train/kept") if name in said]
        learnt = float(shares[0]) if shares else 0.0
        line = {"epoch": trainer.current_epoch + 1, "score": verdict.score, "kept": kept}
        return {**line, **after.summary(), "trusted_in_training": learnt}

    def state_dict(self) -> dict[str, Any]:
        """What has been found so far, for a resumed run."""
        return {"history": self.history, "best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from it."""
        self.history, self.best = state_dict["history"], state_dict["best"]


def known_batches(run: Run) -> list[HandBatch]:
    """The labelled crops that training does not see."""
    return list(run.datamodule.val_dataloader())


def trained(run: Run, keep: KeepBest, provenance: dict[str, Any]) -> None:
    """Train, or go on.

    Raises:
        KeyboardInterrupt: interrupted; the best so far is kept.
        FloatingPointError: the loss is no longer finite.
    """
    run.trainer.callbacks.insert(0, keep)  # type: ignore[attr-defined]
    train(run, restart=False, provenance=provenance)


def prepared(settings: dict[str, Any], file: Path) -> Run:
    """Write a configuration and assemble what it says."""
    with writing(file) as temporary:
        temporary.write_text(yaml.safe_dump(settings, sort_keys=False))
    return assemble([file], save=True)
