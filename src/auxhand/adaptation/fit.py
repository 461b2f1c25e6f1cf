"""SemiHand from a bundle's weights on one's own crops, within a time; the best so far is kept."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from auxhand.adaptation.judge import Measures, Verdict, decide, measure
from auxhand.adaptation.plan import BATCH, Plan, suitable
from auxhand.data.store import PreparedDataset
from auxhand.files import writing
from auxhand.inference.bundle import DESCRIPTION, WEIGHTS, Bundle, save_bundle
from auxhand.methods.semihand.module import SOURCE, TARGET
from auxhand.models.spec import specification
from auxhand.sample import HandBatch
from auxhand.training import Run, assemble, train

LEARNING_RATE = 1e-4
"""Of Ch. 6.4.1; a tenth of it from 40% on, as there."""

KNOWN = 160
"""Rendered hands that are kept from training."""


def configuration(
    bundle: Bundle, folders: dict[str, Path], plan: Plan, template: Tensor, workers: int, seed: int
) -> dict[str, Any]:
    """A training of SemiHand as `training.assemble` reads it.

    Args:
        bundle: whose network is trained, and whose crops are made.
        folders: "start" (a bundle), "run", "source" (labelled hands), "target" (unlabelled).
        plan: its length.
        template: (20,) lengths of bones.
        workers: processes that make the batches of either stream.
        seed: of all randomness.
    """
    network = suitable(bundle.network)
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
            "class_path": "auxhand.methods.semihand.SemiHand",
            "init_args": {
                "stage": "finetune",
                "network": _settings(specification(network)),
                "objective": {
                    "presence": 0.0 if network.presence is None else 1.0,
                    "side": 0.0 if network.side is None else 1.0,
                },
                "template": template.tolist(),
                "learning_rate": LEARNING_RATE,
                "schedule": {"drops": [0.4]},
                "seed": seed,
            },
        },
        "data": {
            "class_path": "auxhand.data.module.HandDataModule",
            "init_args": {
                "train": _streams(folders, bundle.input_size, bundle.fraction),
                "val_count": min(KNOWN, max(1, len(PreparedDataset(folders["source"])) // 5)),
                "batch_size": BATCH,
                "images_per_epoch": 2 * BATCH * plan.steps,
                "room_share": 0.4,
                "workers": workers,
                "crop": bundle.crop.to_dict(),
                "sides": network.side is not None,
                "seed": seed,
            },
        },
    }


def _streams(folders: dict[str, Path], size: int, fraction: float) -> dict[str, Any]:
    """Labelled hands as the shipped network saw them, and one's own with diversity augmentation."""
    diverse = {
        "rotation": 20.0,
        "smallest": 0.85 * fraction,
        "largest": 1.1 * fraction,
        "translation": 0.04,
        "photometric": _DIVERSE,
    }
    plain = {"smallest": fraction, "largest": fraction}
    return {
        SOURCE: {
            "roots": str(folders["source"]),
            "batch_size": BATCH,
            "phases": [{"epoch": 0, "size": size, "difficulty": 0.5, "natural": True}],
        },
        TARGET: {
            "roots": str(folders["target"]),
            "use": "weak",
            "told": ["side"],  # as the network that is adapted sees it
            "batch_size": BATCH,
            "views": 2,
            "phases": [{"epoch": 0, "size": size, "augmentation": plain, "second": diverse}],
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
            ship(self.bundle, network, self.out, {"adapted_epochs": trainer.current_epoch + 1})
        now = time.monotonic()
        if now + (now - self.started) > self.deadline:
            trainer.should_stop = True

    def _line(
        self, trainer: Trainer, verdict: Verdict, after: Measures, kept: bool
    ) -> dict[str, Any]:
        learnt = float(trainer.callback_metrics.get("train/trusted", torch.tensor(0.0)))
        line = {"epoch": trainer.current_epoch + 1, "score": verdict.score, "kept": kept}
        return {**line, **after.summary(), "trusted_in_training": learnt}

    def state_dict(self) -> dict[str, Any]:
        """What has been found so far, for a resumed run."""
        return {"history": self.history, "best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from it."""
        self.history, self.best = state_dict["history"], state_dict["best"]


def ship(bundle: Bundle, network: nn.Module, out: Path, told: dict[str, Any]) -> None:
    """Write a network as the bundle of a folder that holds other things too.

    Args:
        bundle: what the network was before: its input, crops and origin are taken over.
        network: of the same class.
        out: the folder; at no time does it hold a bundle that is half of one and half of another.
        told: added to what the bundle says of its training.
    """
    new = out / "work" / "bundle"
    metadata = {**bundle.metadata, **told}
    save_bundle(new, network, bundle.input_size, metadata, bundle.crop, bundle.presence_threshold)
    (out / DESCRIPTION).unlink(missing_ok=True)
    os.replace(new / WEIGHTS, out / WEIGHTS)
    os.replace(new / DESCRIPTION, out / DESCRIPTION)
    new.rmdir()


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
