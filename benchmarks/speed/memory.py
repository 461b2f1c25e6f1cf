"""Does a process of `auxhand synth` grow: its peak memory after a tenth and after all samples.

One process makes and writes shards, as every worker does; each is deleted once it is written.

    python benchmarks/speed/memory.py --count 50000 --size 64
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import cv2
import torch
from tqdm import tqdm

from auxhand.data.store import shard_path
from auxhand.synth.factory import Job, make_shard

sys.path.append(str(Path(__file__).parents[1]))
from frame import arguments, measured


def peak_megabytes() -> float:
    """Largest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main() -> None:
    """Make the samples, print the table, add the row to the results."""
    parser = arguments(__doc__, "speed")
    parser.add_argument("--count", type=int, default=50000)
    parser.add_argument("--size", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    job = Job(options.count, 2, options.size)
    begun = time.monotonic()
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for shard in tqdm(range(job.shards()), unit="shard"):
            make_shard(job, Path(folder), shard)
            shard_path(folder, shard).unlink()
            peaks.append(peak_megabytes())
    name = f"synth memory, {options.count} samples of {options.size} px"
    values = {"peak_mb_first_tenth": peaks[max(0, len(peaks) // 10 - 1)], "peak_mb": peaks[-1]}
    measured(options.out, name, values, begun)


if __name__ == "__main__":
    main()
