"""Bundles of a run's checkpoints, to follow accuracy along a training.

    python tools/checkpoint_to_bundle.py runs/default/checkpoints/*.ckpt --out runs/default/bundles

Each CHECKPOINT.ckpt becomes OUT/CHECKPOINT, with the averaged weights; the run's `config.yaml` lies
two folders above the checkpoint, where `auxhand train` leaves it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import yaml
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser

from auxhand.evaluation.report import commit
from auxhand.inference.bundle import save_bundle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    for path in options.checkpoints:
        run = LightningArgumentParser()
        run.add_lightning_class_args(LightningModule, "model", subclass_mode=True)
        run.add_lightning_class_args(LightningDataModule, "data", subclass_mode=True)
        config = path.parents[1] / "config.yaml"
        trained = {
            key: value
            for key, value in yaml.safe_load(config.read_text()).items()
            if key in ("model", "data")
        }
        parts = run.instantiate_classes(run.parse_object(trained))
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        parts.model.load_state_dict(checkpoint["state_dict"])
        phases = parts.data.schedule
        save_bundle(
            options.out / path.stem,
            parts.model.estimator(),
            phases.phases[phases.number(checkpoint["epoch"])].size,
            {
                "configuration": str(config),
                "checkpoint": str(path),
                "commit": commit(),
                "images_seen": checkpoint["global_step"] * parts.data.batch_size,
            },
        )
        print(options.out / path.stem)


if __name__ == "__main__":
    main()
