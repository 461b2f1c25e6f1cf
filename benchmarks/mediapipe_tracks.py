"""MediaPipe Hands on frames of a clip: joints and time of each.

In an environment of its own, without AuxHand (`pip install mediapipe==0.10.21`, which needs
numpy < 2); speed/inference.py and accuracy/jitter.py call it:

    python benchmarks/mediapipe_tracks.py FRAMES.npy TRACKS.npz [--static]

One hand, model complexity 1, its usual thresholds of 0.5.
"""

import argparse
import time
from pathlib import Path

import numpy as np


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("frames", type=Path, help="(T, H, W, 3) uint8 RGB")
    parser.add_argument("out", type=Path, help="`uv` (T, 21, 2) and `seconds` (T,)")
    parser.add_argument("--static", action="store_true", help="search each frame anew")
    options = parser.parse_args()
    import mediapipe  # which AuxHand's own environment cannot have

    frames = np.load(options.frames)
    height, width = frames.shape[1:3]
    hands = mediapipe.solutions.hands.Hands(static_image_mode=options.static, max_num_hands=1)
    uv, seconds = np.full((len(frames), 21, 2), np.nan), []
    for number, frame in enumerate(frames):
        begun = time.perf_counter()
        found = hands.process(frame).multi_hand_landmarks
        seconds.append(time.perf_counter() - begun)
        if found:
            points = [(p.x * width - 0.5, p.y * height - 0.5) for p in found[0].landmark]
            uv[number] = points
    np.savez(options.out, uv=uv, seconds=seconds)


if __name__ == "__main__":
    main()
