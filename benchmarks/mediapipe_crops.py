"""CPU time of MediaPipe's two landmark networks for one crop, on one thread.

In an environment of its own, without AuxHand (`pip install mediapipe==0.10.21 ai-edge-litert`,
which runs its TFLite files; mediapipe needs numpy < 2); speed/crop_network.py calls it:

    python benchmarks/mediapipe_crops.py COUNT OUT.json
"""

import argparse
import json
import time
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("count", type=int, help="crops")
    parser.add_argument("out", type=Path, help="`lite` and `full`: CPU seconds of each crop")
    options = parser.parse_args()
    import mediapipe  # which AuxHand's own environment cannot have
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    folder = Path(mediapipe.__file__).parent / "modules" / "hand_landmark"
    seconds = {}
    for kind in ("lite", "full"):
        network = Interpreter(str(folder / f"hand_landmark_{kind}.tflite"), num_threads=1)
        network.allocate_tensors()
        given = network.get_input_details()[0]
        crop = np.random.default_rng(0).random(given["shape"], dtype=np.float32)
        network.set_tensor(given["index"], crop)
        seconds[kind] = []
        for _ in range(options.count):
            begun = time.process_time()
            network.invoke()
            seconds[kind].append(time.process_time() - begun)
    options.out.write_text(json.dumps(seconds))


if __name__ == "__main__":
    main()
