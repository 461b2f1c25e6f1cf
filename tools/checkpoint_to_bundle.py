"""Bundles of a run's checkpoints, to follow accuracy along a training.

    python tools/checkpoint_to_bundle.py runs/default/checkpoints/*.ckpt --out runs/default/bundles

Each CHECKPOINT.ckpt becomes OUT/CHECKPOINT, with the averaged weights; the run's `config.yaml` lies
two folders above the checkpoint, where `auxhand train` leaves it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from auxhand.training import CONFIG, assemble, read_checkpoint, ship


def bundle(checkpoint: Path, folder: Path) -> None:
    """Write the bundle of a run's checkpoint.

    Raises:
        ValueError: a damaged checkpoint, or settings that no longer fit their classes.
    """
    config = checkpoint.parents[1] / CONFIG
    run = assemble([config])
    saved = read_checkpoint(checkpoint)
    run.model.load_state_dict(saved["state_dict"])
    batches = saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["processed"]
    provenance = {"configuration": str(config), "checkpoint": str(checkpoint)}
    ship(run, folder, saved["epoch"], batches, provenance)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    for path in options.checkpoints:
        bundle(path, options.out / path.stem)
        print(options.out / path.stem)


if __name__ == "__main__":
    main()
