"""Samples per second of `auxhand synth`, encoding and writing included.

`samples_s` is the rate once the processes run: samples of all shards but each process' first, over
the time between the first ones and the last (by the files' times). `start_s` is what comes before:
what the whole command took beyond that rate. `cpu_ms_sample` is the processor time of one sample in
one process, which a busy machine stretches less.

    python benchmarks/speed/synth.py --count 3000
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import cv2
import torch

from auxhand.synth.factory import Job, generate, make_sample

sys.path.append(str(Path(__file__).parents[1]))
from frame import arguments, measured

CPU_SAMPLES = 100
SHARDS_PER_WORKER = 10


def main() -> None:
    """Time it, print the table, add the row to the results."""
    parser = arguments(__doc__, "speed")
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    shard = max(1, options.count // (SHARDS_PER_WORKER * options.workers))
    job = Job(options.count, 1, options.size, shard_size=shard)
    make_sample(job, 0)  # compiles the kernels where that has not been done yet
    begun_cpu = time.process_time()
    for index in range(CPU_SAMPLES):
        make_sample(job, index)
    cpu = (time.process_time() - begun_cpu) / CPU_SAMPLES
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "hands"
        begun = time.monotonic()
        generate(out, job, options.workers)
        seconds = time.monotonic() - begun
        files = sorted(out.glob("data-*"), key=lambda path: path.stat().st_mtime)
        ends = [path.stat().st_mtime for path in files]
        size = sum(path.stat().st_size for path in files)
    first = options.workers - 1
    rate = shard * (len(ends) - options.workers) / (ends[-1] - ends[first])
    values = {
        "samples_s": rate,
        "start_s": seconds - options.count / rate,
        "cpu_ms_sample": 1000 * cpu,
        "workers": options.workers,
        "kilobytes_sample": size / options.count / 1000,
    }
    measured(options.out, f"synth {options.size} px", values, begun)


if __name__ == "__main__":
    main()
