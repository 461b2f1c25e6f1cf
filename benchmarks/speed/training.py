"""What the training loop costs over the bare network, as ratios in one run.

Seconds per step of `auxhand train` (loader, augmentation, logs, weight average, schedule) over
those of forward, loss, backward and optimiser step alone on one batch. On a CPU `auxhand train`
keeps a core for each worker; the bare network is timed with the threads that this leaves
("over_same", what the loop itself costs) and with those of all cores ("over_all", which also holds
what the network loses with the workers' cores).

    python benchmarks/speed/training.py configs/laptop/supervised.yaml --steps 150
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from auxhand.training import assemble, leave_cores

sys.path.append(str(Path(__file__).parents[1]))
from frame import arguments, measured

WARM_UP = 30
IMAGES = 10**6


class Clock(Callback):
    """When training steps ended, and the last batch."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.batch: Any = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.ends.append(time.perf_counter())
        self.batch = batch


def bare_seconds(method: Any, batch: Any, steps: int, bfloat16: bool) -> float:
    """Seconds per step of forward, loss, backward and optimiser step on one batch."""
    optimizer = torch.optim.AdamW(method.parameters(), 1e-4, fused=True)
    method.train()
    method.log = method.log_dict = lambda *args, **kwargs: None
    start = 0.0
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            start = time.perf_counter()
        with torch.autocast(batch.image.device.type, torch.bfloat16, enabled=bfloat16):
            loss = method.training_step(batch, step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - start) / steps


def main() -> None:
    """Time both, print the table, add the row to the results."""
    parser = arguments(__doc__, "speed")
    parser.add_argument("config", type=Path)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--size", type=int, default=96, help="side of the crops in pixels")
    parser.add_argument("--set", nargs="*", default=[], help="override entries of the file")
    parser.add_argument("--name", default="training", help="of the row, before the size")
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        settings = [
            f"trainer.default_root_dir={folder}",
            f"trainer.max_steps={WARM_UP + options.steps}",
            "trainer.max_epochs=-1",
            "trainer.limit_val_batches=0",
            # One epoch without an end: its checkpoint would count as part of some step.
            f"data.init_args.images_per_epoch={IMAGES}",
            f"data.init_args.phases=[{{epoch: 0, size: {options.size}, difficulty: 0.5}}]",
        ]
        cli = assemble([options.config], [*settings, *options.set])
        all_cores = torch.get_num_threads()
        leave_cores(cli.datamodule.workers)
        clock = Clock()
        cli.trainer.callbacks.append(clock)
        cli.trainer.fit(cli.model, cli.datamodule)
    loop = (clock.ends[-1] - clock.ends[WARM_UP - 1]) / options.steps
    bfloat16 = "bf16" in str(cli.trainer.precision)
    same = bare_seconds(cli.model, clock.batch, options.steps, bfloat16)
    torch.set_num_threads(all_cores)
    bare = bare_seconds(cli.model, clock.batch, options.steps, bfloat16)
    images = len(clock.batch)
    values = {
        "loop_img_s": images / loop,
        "same_threads_img_s": images / same,
        "over_same": loop / same,
        "all_cores_img_s": images / bare,
        "over_all": loop / bare,
    }
    measured(options.out, f"{options.name} {options.size} px", values, begun)


if __name__ == "__main__":
    main()
