"""How fast scenes of the hand are drawn: image, depth and mask, one process on one core.

Scenes are those of `auxhand synth` (default factors); making and encoding them is not counted. A
machine that does other work at the same time shows in images per second, not in images per second
of CPU time.

    OMP_NUM_THREADS=1 python benchmarks/speed/raster.py --count 100
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from auxhand.evaluation.report import Row, commit, table, write_rows
from auxhand.synth.build import build_scene
from auxhand.synth.config import FactorConfig
from auxhand.synth.distributions import sample_factors
from auxhand.synth.raster import render


def main() -> None:
    """Time every size, print the table, add the rows to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256], help="image sides")
    parser.add_argument("--count", type=int, default=100, help="scenes per size")
    parser.add_argument("--supersample", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/speed.json"))
    options = parser.parse_args()
    rows = []
    for size in options.sizes:
        begun = time.perf_counter()
        factors = [sample_factors(FactorConfig(), options.seed, i) for i in range(options.count)]
        scenes = [build_scene(each, size)[0] for each in factors]
        started = time.perf_counter()
        render(scenes[0], options.supersample)  # loads or compiles the kernels
        first = time.perf_counter() - started
        wall, cpu = time.perf_counter(), time.process_time()
        for scene in scenes:
            render(scene, options.supersample)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        rows.append(
            Row(
                name=f"raster {size} px",
                metrics={
                    "render_img_s": [options.count / wall],
                    "render_img_per_cpu_s": [options.count / cpu],
                    "first_image_s": [first],
                },
                command=" ".join(["python", *sys.argv]),
                minutes=(time.perf_counter() - begun) / 60,
                commit=commit(),
            )
        )
    write_rows(options.out, rows)
    print(table(rows))


if __name__ == "__main__":
    main()
