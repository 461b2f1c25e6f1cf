"""How fast scenes of the hand are drawn: image, depth and mask, in processes of one thread each.

Scenes are those of `auxhand synth` (default factors); making and encoding them is not counted. The
processes draw at the same time; the rate is that of all of them together. A machine that does other
work at the same time shows in images per second, not in images per second of CPU time.

    OMP_NUM_THREADS=1 python benchmarks/speed/raster.py --processes 2 --count 200
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

from auxhand.synth.build import build_scene
from auxhand.synth.config import FactorConfig
from auxhand.synth.distributions import sample_factors
from auxhand.synth.raster import render

sys.path.append(str(Path(__file__).parents[1]))
from frame import arguments, measured

_barrier: Barrier


def _start(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def draw(first: int, count: int, size: int, seed: int) -> tuple[float, float, float]:
    """Seconds of the first picture, and wall-clock and CPU seconds of all, once every process has
    made its scenes."""
    factors = [sample_factors(FactorConfig(), seed, first + i) for i in range(count)]
    scenes = [build_scene(each, size)[0] for each in factors]
    started = time.perf_counter()
    render(scenes[0])  # loads or compiles the kernels
    cold = time.perf_counter() - started
    _barrier.wait()
    wall, cpu = time.perf_counter(), time.process_time()
    for scene in scenes:
        render(scene)
    return cold, time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Time every size, print the table, add the rows to the results."""
    parser = arguments(__doc__, "speed")
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256], help="image sides")
    parser.add_argument("--count", type=int, default=100, help="scenes per size and process")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    n, count = options.processes, options.count
    context = multiprocessing.get_context("spawn")
    for size in options.sizes:
        begun = time.monotonic()
        with context.Pool(n, _start, (context.Barrier(n),)) as pool:
            jobs = [(count * k, count, size, options.seed) for k in range(n)]
            cold, wall, cpu = zip(*pool.starmap(draw, jobs, chunksize=1), strict=True)
        name = f"raster {size} px" + (f", {n} processes" if n > 1 else "")
        values = {
            "render_img_s": n * count / max(wall),
            "render_img_per_cpu_s": n * count / sum(cpu),
            "first_image_s": max(cold),
        }
        measured(options.out, name, values, begun)


if __name__ == "__main__":
    main()
