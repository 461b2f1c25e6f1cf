"""What the test path of the dual-modality network costs beside a plain network (Ch. 7.3.3).

    OMP_NUM_THREADS=1 python benchmarks/speed/dual_modality.py

Parameters, operations and milliseconds per image of its RGB branch, batch 1, and of a plain network
of the same encoder and decoder that supervised training makes; and beside them what all three
branches take. The two are timed by turns, image by image, in one run; a time is the median of
processor time, which what else runs on the machine disturbs least.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from auxhand.models.dual_branch import DualBranch
from auxhand.models.heads import Latent25D
from auxhand.models.pose_net import PoseNet
from auxhand.models.pose_resnet import PoseResNet

sys.path.append(str(Path(__file__).parents[1]))
from frame import arguments, measured

WARM_UP = 5


def parameters(module: nn.Module) -> int:
    """Numbers that are learnt, shared ones once."""
    return sum(p.numel() for p in module.parameters())


def flops(module: nn.Module, *inputs: Tensor) -> int:
    """Of one pass, two for a multiplication and an addition."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        module(*inputs)
    return int(counter.get_total_flops())


def milliseconds(modules: dict[str, nn.Module], image: Tensor, rounds: int) -> dict[str, float]:
    """Median of a pass of each, by turns, in processor time."""
    spent: dict[str, list[float]] = {name: [] for name in modules}
    with torch.inference_mode():
        for turn in range(WARM_UP + rounds):
            for name in sorted(modules, reverse=bool(turn % 2)):
                begun = time.process_time()
                modules[name](image)
                if turn >= WARM_UP:
                    spent[name].append(time.process_time() - begun)
    return {name: 1000 * statistics.median(times) for name, times in spent.items()}


def main() -> None:
    parser = arguments(__doc__, "speed")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    begun = time.monotonic()
    dual = DualBranch(options.backbone, options.width).eval()
    plain = PoseNet(PoseResNet(options.backbone, options.width), Latent25D(), presence=False)
    ours, plain = dual.estimator(), plain.eval()
    image = torch.rand(1, 3, options.size, options.size)
    times = milliseconds({"ours": ours, "plain": plain}, image, options.rounds)
    values = {
        "ours_ms": times["ours"],
        "plain_ms": times["plain"],
        "ours_over_plain": times["ours"] / times["plain"],
        "parameters_over_plain": parameters(ours) / parameters(plain),
        "flops_over_plain": flops(ours, image) / flops(plain, image),
        "megaparameters": parameters(ours) / 1e6,
        "gigaflops": flops(ours, image) / 1e9,
        "megaparameters_of_all_branches": parameters(dual) / 1e6,
        "gigaflops_of_all_branches": flops(dual, image, image[:, 0]) / 1e9,
        "threads": torch.get_num_threads(),
    }
    row = f"dual modality, {options.backbone} at {options.size} px"
    measured(options.out, row, values, begun)


if __name__ == "__main__":
    main()
