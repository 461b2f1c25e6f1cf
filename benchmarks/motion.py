"""Clips of one rendered hand with its true joints, what its tracks are measured by, and MediaPipe's
tracks of the same frames."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from frame import ROOT

from auxhand.data.background import Backgrounds
from auxhand.data.columns import decode_image
from auxhand.synth.config import FactorConfig
from auxhand.synth.distributions import sample_factors
from auxhand.synth.factors import Factors, PoseFactors, SensorFactors
from auxhand.synth.factory import render_factors

FPS = 30
WIDTH, HEIGHT = 640, 480
SETTLE = 15
"""Frames at a clip's begin that no figure counts: filters start, caches fill."""


def open_hand(seed: int) -> Factors:
    """A right hand, spread before the camera, that takes a third of the picture's width; its shape,
    skin, light and background by the seed."""
    drawn = sample_factors(FactorConfig(), seed, 0)
    view = replace(drawn.view, roll=0.1, pitch=0.0, yaw=0.2)
    camera = replace(drawn.camera, distance=0.6, fill=0.35, place=(0.0, 0.0))
    angles = PoseFactors("gesture", "open", (0.1, 0.0, 0.0) * 15)
    sensor = SensorFactors(0.4, 0.0, (1.0, 1.0), 0.004, 0.01, 85, seed)
    return replace(
        drawn, side="right", view=view, camera=camera, pose=angles, sensor=sensor, occluders=()
    )


def at(hand: Factors, number: int, moving: bool) -> Factors:
    """A clip's hand in a frame: the noise is new; where it moves, it goes to and fro, turns and
    bends its fingers, in two seconds."""
    noise = replace(hand.sensor, seed=hand.sensor.seed + number)
    if not moving:
        return replace(hand, sensor=noise)
    phase = np.pi * number / FPS
    place = (0.15 * np.sin(phase), 0.05 * np.sin(2 * phase))
    bent = 0.1 + 0.35 * (1 - np.cos(phase))
    return replace(
        hand,
        sensor=noise,
        camera=replace(hand.camera, place=place),
        view=replace(hand.view, yaw=hand.view.yaw + 0.3 * np.sin(phase)),
        pose=replace(hand.pose, angles=(float(bent), 0.0, 0.0) * 15),
    )


def clip(count: int, moving: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Frames (T, 480, 640, 3) uint8 RGB, and the joints in them (T, 21, 2), pixels."""
    hand, backgrounds = open_hand(seed), Backgrounds(distractor_share=0.0)
    top = (WIDTH - HEIGHT) // 2
    frames, joints = [], []
    for number in range(count):
        row = render_factors(at(hand, number, moving), WIDTH, backgrounds)
        frames.append(decode_image(row["image"])[top : top + HEIGHT])
        joints.append(np.array(row["joints_uv"]).reshape(21, 2) - [0, top])
    return np.stack(frames), np.stack(joints)


def acceleration(uv: np.ndarray) -> float:
    """Mean length of the joints' (T, 21, 2) second differences, pixels per frame squared; frames
    without a hand (NaN) are left out."""
    return float(np.nanmean(np.linalg.norm(np.diff(uv[SETTLE:], 2, axis=0), axis=-1)))


def lag(uv: np.ndarray, truth: np.ndarray) -> float:
    """Milliseconds by which tracks (T, 21, 2) are behind the truth: the shift, to a tenth of a
    frame, at which they lie closest once each joint's mean error is taken away."""
    numbers, known = np.arange(len(truth)), np.isfinite(uv).all((1, 2))
    known &= (numbers >= SETTLE) & (numbers < len(truth) - 1)
    shifts = np.arange(-1.0, 6.0, 0.1)
    apart = []
    for shift in shifts:
        earlier = np.clip(numbers[known] - shift, 0, len(truth) - 1)
        low = np.minimum(earlier.astype(int), len(truth) - 2)
        share = (earlier - low)[:, None, None]
        error = uv[known] - ((1 - share) * truth[low] + share * truth[low + 1])
        apart.append(np.square(error - error.mean(0)).mean())
    return float(1000 / FPS * shifts[int(np.argmin(apart))])


def mediapipe_tracks(
    python: Path, frames: np.ndarray, static: bool
) -> tuple[np.ndarray, np.ndarray]:
    """MediaPipe's joints (T, 21, 2) in pixels (NaN: no hand) and seconds (T,) of each frame.

    Args:
        python: interpreter of an environment with mediapipe.
        frames: (T, H, W, 3) uint8 RGB.
        static: search each frame anew.

    Raises:
        subprocess.CalledProcessError: it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, told = Path(folder) / "frames.npy", Path(folder) / "tracks.npz"
        np.save(given, frames)
        script = ROOT / "benchmarks" / "mediapipe_tracks.py"
        options = ["--static"] if static else []
        command = [str(python), str(script), str(given), str(told), *options]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        with np.load(told) as tracks:
            return tracks["uv"], tracks["seconds"]
