"""Samples per second of `auxhand synth`, encoding and writing included.

`samples_s` counts whole runs of the command, from the call to the last shard on disk: the start of
the processes is in it, the compilation of kernels (once per machine) is not. `cpu_ms_sample` is the
processor time of one sample in one process, which a busy machine stretches less.

    python benchmarks/speed/synth.py --count 2000
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from auxhand.evaluation.report import Row, commit, table, write_rows
from auxhand.synth.factory import Job, generate, make_sample

CPU_SAMPLES = 100


def main() -> None:
    """Time it, print the table, add the row to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results/speed.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder) / "warm", Job(count=2, size=options.size), 1, progress=False)
        # Shards of equal work for all processes.
        job = Job(options.count, 1, options.size, shard_size=options.count // (4 * options.workers))
        begun = time.perf_counter()
        generate(Path(folder) / "timed", job, options.workers)
        seconds = time.perf_counter() - begun
        begun_cpu = time.process_time()
        for index in range(CPU_SAMPLES):
            make_sample(job, index)
        cpu = (time.process_time() - begun_cpu) / CPU_SAMPLES
        size = sum(path.stat().st_size for path in (Path(folder) / "timed").glob("data-*"))
    row = Row(
        name=f"synth {options.size} px",
        metrics={
            "samples_s": [options.count / seconds],
            "cpu_ms_sample": [1000 * cpu],
            "workers": [options.workers],
            "kilobytes_sample": [size / options.count / 1000],
        },
        command=" ".join(["python", *sys.argv]),
        minutes=seconds / 60,
        commit=commit(),
    )
    write_rows(options.out, [row])
    print(table([row]))


if __name__ == "__main__":
    main()
