"""Whether a network can be adapted, and how long a training fits into a time."""

from __future__ import annotations

import time
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from auxhand.models.heads import Latent25D, Peak25D
from auxhand.models.pose_net import PoseNet

MethodName = Literal["semihand", "dual_modality"]

PASSES: dict[MethodName, float] = {"semihand": 5.5, "dual_modality": 10.0}
"""A training step's time over that of one pass of `BATCH` crops through the adapted network.
SemiHand: the plain and the moved crops of both streams, and some with diversity. Dual modality: the
labelled, the weakly and the strongly augmented crops, each by three branches."""

BATCH = 16
"""Labelled crops of a step, and as many unlabelled ones."""

EPOCHS = (8, 4, 2, 1)
"""Numbers of epochs, of which the first counts that leaves an epoch `FEW` steps."""

FEW = 8

VISITS = 60
"""Visits of each crop at most: few crops are learnt by heart."""


@dataclass(frozen=True)
class Plan:
    """How long a training is; made once, by the speed of this machine.

    Attributes:
        epochs: passes, each of which ends with new pseudo-labels and a judgement.
        steps: of each epoch.
        precision: of Lightning.
    """

    epochs: int
    steps: int
    precision: str


def suitable(network: nn.Module) -> PoseNet:
    """The network, if both methods can train it.

    Raises:
        ValueError: it cannot.
    """
    if isinstance(network, PoseNet) and len(network.masks) > 0 and _is_25d(network.heads[0]):
        return network
    raise ValueError(
        "this model cannot be adapted: it takes a PoseNet with a 2.5D head (Latent25D, Peak25D), "
        "and a mask, as the shipped one"
    )


def _is_25d(head: Any) -> bool:
    return isinstance(head, Latent25D | Peak25D)


def plan(
    network: PoseNet,
    size: int,
    crops: int,
    held: int,
    seconds: float,
    method: MethodName = "semihand",
) -> Plan:
    """As many steps as fit into a time.

    Args:
        network: what is trained.
        size: of its input.
        crops: number of unlabelled crops.
        held: number of crops that are measured after each epoch, rendered ones included.
        seconds: for all of it.
        method: which trains it.
    """
    once, look, precision = min(
        (*_speed(network, size, kind), kind) for kind in ("32-true", "bf16-mixed")
    )
    step = PASSES[method] * once
    most = max(1, VISITS * crops // BATCH)
    for epochs in EPOCHS:
        between = look * (2 * crops + 6 * held)
        steps = int((seconds / epochs - between) / step)
        steps = max(1, min(steps, most // epochs))
        if steps >= FEW:
            break
    return Plan(epochs, steps, precision)


def _speed(network: PoseNet, size: int, precision: str) -> tuple[float, float]:
    """Seconds of one pass of `BATCH` crops, there and back, and of one look at one crop."""
    copy = deepcopy(network).to(memory_format=torch.channels_last).requires_grad_(True)
    images = torch.rand(BATCH, 3, size, size).to(memory_format=torch.channels_last)
    taken = []
    for _ in range(3):
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision != "32-true"):
            pose = copy.train()(images)
        pose.uv.square().mean().backward()
        taken.append(time.perf_counter() - started)
    started = time.perf_counter()
    with torch.no_grad():
        copy.eval()(images)
    return min(taken[1:]), (time.perf_counter() - started) / BATCH
