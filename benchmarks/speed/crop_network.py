"""The network that sees the crop of a hand: AuxHand's and MediaPipe's, on one thread, by turns.

CPU time of one crop, without finding, cropping and drawing: ours of the model's own size in ONNX
Runtime, MediaPipe's two landmark networks (224 px) in the TFLite runtime that it is made for. Each
round measures all of them one after another, in processes of their own; the median of the rounds
counts, and `over_lite` and `over_full` are ratios within a round.

    python benchmarks/speed/crop_network.py --mediapipe PYTHON

PYTHON is the interpreter of an environment with `mediapipe==0.10.21` and `ai-edge-litert`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from auxhand.inference.estimator import HandPoseEstimator
from auxhand.inference.runtime import run_with_onnx, write_onnx

sys.path.append(str(Path(__file__).parents[1]))
from frame import ROOT, arguments, measured

WARM = 10
"""Crops in which caches fill."""


def median_ms(seconds: list[float]) -> float:
    return 1000 * float(np.median(seconds[WARM:]))


def auxhand_ms(model: str, count: int) -> float:
    """Of the crop network of a bundle."""
    bundle = HandPoseEstimator.load(model).bundle
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        write_onnx(bundle.network.cpu().eval(), bundle.input_size, file, batch=1)
        run = run_with_onnx(file)
    size = bundle.input_size
    crop = np.random.default_rng(0).random((1, 3, size, size), dtype=np.float32)
    seconds = []
    for _ in range(count):
        begun = time.process_time()
        run(crop)
        seconds.append(time.process_time() - begun)
    return median_ms(seconds)


def mediapipe_ms(python: Path, count: int) -> dict[str, float]:
    """Of "lite" and "full".

    Raises:
        subprocess.CalledProcessError: it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "seconds.json"
        script = ROOT / "benchmarks" / "mediapipe_crops.py"
        command = [str(python), str(script), str(count), str(told)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        return {kind: median_ms(seconds) for kind, seconds in json.loads(told.read_text()).items()}


def main() -> None:
    """Measure by turns, add the row to the results, print the table."""
    parser = arguments(__doc__, "speed")
    parser.add_argument("--model", default="default")
    parser.add_argument("--count", type=int, default=200, help="crops of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mediapipe", type=Path, required=True, help="interpreter that has it")
    options = parser.parse_args()
    if options.count <= WARM:
        parser.error(f"--count must be more than {WARM}")
    begun, rounds = time.monotonic(), []
    for _ in range(options.rounds):
        ours = auxhand_ms(options.model, options.count)
        theirs = mediapipe_ms(options.mediapipe, options.count)
        ratios = {f"over_{kind}": ours / other for kind, other in theirs.items()}
        rounds.append({"ours_ms": ours, **{f"{k}_ms": v for k, v in theirs.items()}, **ratios})
    medians = {key: float(np.median([each[key] for each in rounds])) for key in rounds[0]}
    measured(options.out, "crop network, one thread", medians, begun)


if __name__ == "__main__":
    main()
