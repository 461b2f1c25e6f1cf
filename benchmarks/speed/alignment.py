"""What S4 costs over S1 (Ch. 5), and the earth mover's distance in it.

    OMP_NUM_THREADS=1 python benchmarks/speed/alignment.py --runs runs/alignment

Milliseconds per RGB image of 64 px, pictures included and without, on as many threads as PyTorch
has, of the weights that benchmarks/accuracy/alignment.py has trained, and of fresh ones (at first,
when a decoded cloud is a heap of points, assignments take longer).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from auxhand.methods.alignment import Alignment, modalities
from auxhand.training import assemble

sys.path.append(str(Path(__file__).parents[1]))
from frame import arguments, measured

CONFIG = Path("configs/laptop/alignment.yaml")
STRATEGIES = {"S1": "R2P", "S4": "RC2CHP"}
WARM_UP = 5


class Fixed(Alignment):
    """A method at the middle of its training, without a trainer."""

    global_step, steps = 2500, 5000

    def log(self, *args: object, **kwargs: object) -> None:
        """Nowhere."""

    log_dict = log


def milliseconds(strategy: str, checkpoint: Path | None, steps: int) -> dict[str, float]:
    """Of a step, of its pictures, and of the earth mover's distance, each per image."""
    settings = [
        f"model.init_args.strategy={strategy}",
        f"model.init_args.pairs={STRATEGIES[strategy]}",
        f"data.init_args.cloud_points={256 if strategy == 'S4' else 0}",
        "data.init_args.workers=0",
    ]
    cli = assemble([CONFIG], settings)
    model = cli.model
    model.__class__ = Fixed
    if checkpoint is not None:
        model.load_state_dict(torch.load(checkpoint, "cpu", weights_only=True)["state_dict"])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-5)
    spent = {"pictures": 0.0, "step": 0.0, "emd": 0.0}
    distance = modalities.earth_movers

    def timed(*args: torch.Tensor) -> torch.Tensor:
        begun = time.perf_counter()
        value = distance(*args)
        spent["emd"] += time.perf_counter() - begun
        return value

    modalities.earth_movers = timed
    batches = iter(cli.datamodule.train_dataloader())
    images = 0
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            spent, images = dict.fromkeys(spent, 0.0), 0
        begun = time.perf_counter()
        batch = next(batches)
        spent["pictures"] += time.perf_counter() - begun
        begun = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            loss = model.training_step(batch, step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        spent["step"] += time.perf_counter() - begun
        images += len(batch)
    modalities.earth_movers = distance
    return {name: 1000 * seconds / images for name, seconds in spent.items()}


def main() -> None:
    parser = arguments(__doc__, "speed")
    parser.add_argument("--runs", type=Path, default=Path("runs/alignment"))
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    trained = {
        strategy: options.runs / f"{strategy}_{pairs}_0" / "checkpoints" / "last.ckpt"
        for strategy, pairs in STRATEGIES.items()
    }
    for file in trained.values():
        if not file.is_file():
            parser.error(f"no {file}: make it with benchmarks/accuracy/alignment.py")
    for kind in ("trained", "fresh"):
        begun = time.monotonic()
        spent = {
            strategy: milliseconds(strategy, file if kind == "trained" else None, options.steps)
            for strategy, file in trained.items()
        }
        s1, s4 = spent["S1"], spent["S4"]
        values = {
            "s1_ms": s1["step"] + s1["pictures"],
            "s4_ms": s4["step"] + s4["pictures"],
            "s4_over_s1": (s4["step"] + s4["pictures"]) / (s1["step"] + s1["pictures"]),
            "networks_s4_over_s1": s4["step"] / s1["step"],
            "emd_share_of_s4": s4["emd"] / (s4["step"] + s4["pictures"]),
            "threads": torch.get_num_threads(),
        }
        measured(options.out, f"alignment 64 px, {kind}", values, begun)


if __name__ == "__main__":
    main()
