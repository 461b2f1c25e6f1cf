"""The labelled hands that an adaptation learns from beside one's own pictures: rendered here, so
that nothing needs to be downloaded."""

from __future__ import annotations

import os
import time
from pathlib import Path

from auxhand.synth.config import (
    CameraConfig,
    FactorConfig,
    LightConfig,
    OccluderConfig,
    SkinConfig,
    SleeveConfig,
    ViewConfig,
)
from auxhand.synth.factory import Job, generate, make_sample
from auxhand.synth.pose_sampler import PoseConfig

HANDS = FactorConfig(
    pose=PoseConfig(
        shares={
            "open": 0.15,
            "counting": 0.24,
            "crossed": 0.03,
            "fist": 0.18,
            "touch": 0.16,
            "between": 0.11,
            "grasp": 0.06,
            "random": 0.07,
        }
    ),
    view=ViewConfig(
        upright=0.72,
        sides=(0.36, 0.4, 0.24),
        upright_roll=32.0,
        upright_pitch=28.0,
        upright_yaw=30.0,
    ),
    camera=CameraConfig(near=(0.3, 0.9), far=(0.9, 1.8), far_share=0.35, fill=(0.6, 0.7)),
    light=LightConfig(
        exposure=(0.75, 1.15),
        ambient=(0.25, 0.75),
        back=0.1,
        count=(0.45, 0.35, 0.15, 0.05),
        shadow=0.6,
        tint=0.1,
        occlusion=(0.5, 0.95),
    ),
    skin=SkinConfig(tone=(0.0, 1.0), detail=(0.5, 1.2), relief=(0.2, 0.8), roughness=(0.45, 0.7)),
    sleeve=SleeveConfig(share=0.6, start=(0.0, 0.2), vivid=0.35),
    occluders=OccluderConfig(held=0.07, front=0.03),
)
"""What `configs/synth/natural.yaml` says."""

FEWEST, MOST = 400, 2000
"""Hands: each is seen before another background, in other light and from another distance at every
visit."""

ROOM = 1.25
"""Side of a rendered picture over that of the network's input."""

SHARD = 50


def count_for(seconds: float, size: int, seed: int) -> int:
    """Hands that can be rendered in a time on this machine, whole shards of them."""
    job = Job(3, seed, size, HANDS)
    make_sample(job, 0)  # compiles
    started = time.perf_counter()
    for index in (1, 2):
        make_sample(job, index)
    each = (time.perf_counter() - started) / 2 / processes()
    return round(min(max(seconds / each, FEWEST), MOST) / SHARD) * SHARD


def processes() -> int:
    """That render at once."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(cores or 1, 8))


def render(folder: Path, count: int, size: int, seed: int, progress: bool = True) -> Path:
    """The dataset of `count` hands, or what an interrupted run has left of it to be made."""
    job = Job(count, seed, size, HANDS, shard_size=SHARD)
    return generate(folder, job, processes(), progress)
