"""How many poses a second are registered to a template (Ch. 6.3.2), and corrected to lengths and
angles in their limits (Ch. 7.3.5.1).

    OMP_NUM_THREADS=1 python benchmarks/speed/registration.py

Poses are a bent hand, each joint moved by 5 mm in each direction, in batches as of a training (32)
and as of a renewal of all pseudo-labels. A rate is that of the fastest of `--rounds` calls.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from auxhand.hand.anatomy import bone_lengths, rotations_from_angles
from auxhand.hand.registration import correct, register
from auxhand.hand.surface import HandSurface

sys.path.append(str(Path(__file__).parents[1]))
from frame import arguments, measured

NOISE = 0.005


def poses(count: int) -> tuple[Tensor, Tensor]:
    """(count, 21, 3) joints in metres, and (20,) the lengths that their bones had."""
    surface, generator = HandSurface("right"), torch.Generator().manual_seed(0)
    bent = torch.zeros(1, 15, 3)
    bent[..., 0] = 0.4
    joints = surface(rotations_from_angles(bent, surface.rest_joints))[1]
    moved = joints + NOISE * torch.randn(count, 21, 3, generator=generator)
    return moved, bone_lengths(joints[0])


def rate(call: Callable[[Tensor], Tensor], xyz: Tensor, rounds: int) -> float:
    """Poses a second."""
    taken = []
    with torch.inference_mode():
        for _ in range(rounds):
            begun = time.perf_counter()
            call(xyz)
            taken.append(time.perf_counter() - begun)
    return len(xyz) / min(taken)


def main() -> None:
    parser = arguments(__doc__, "speed")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 20_000])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    for count in options.batches:
        begun = time.monotonic()
        xyz, lengths = poses(count)
        values = {
            "registered_poses_s": rate(partial(register, lengths=lengths), xyz, options.rounds),
            "corrected_poses_s": rate(correct, xyz, options.rounds),
            "threads": torch.get_num_threads(),
        }
        measured(options.out, f"registration, batches of {count}", values, begun)


if __name__ == "__main__":
    main()
