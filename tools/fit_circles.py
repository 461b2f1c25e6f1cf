"""Radii of the 55 circles of `auxhand.hand.primitives`, fitted to masks of the image factory.

    .venv/bin/python tools/fit_circles.py --count 3000

Ch. 6.3.3: "radii are pre-trained from synthetic data". Draws hands from the default distribution
without things before them, takes their masks without the forearm and lowers L_m2d (Eq. 6.12), of
masks at half the images' size, over the radii alone; the size of the hand is `hand_size` of its
2D joints. Prints the radii and the overlap (intersection over union) with the masks of a quarter of
the hands, which are kept out of the fit. About three minutes on one core.
"""

import argparse

import numpy as np
import torch
from torch import Tensor
from tqdm import trange

from auxhand.hand import primitives
from auxhand.synth.build import PARTS
from auxhand.synth.config import FactorConfig, OccluderConfig
from auxhand.synth.distributions import sample_factors
from auxhand.synth.modalities import render_hand

SIZE = 64
SOFTNESS = 1.5


def masks_and_joints(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Masks (count, SIZE, SIZE) and joints (count, 21, 2) in their pixels."""
    config = FactorConfig(occluders=OccluderConfig(held=0, front=0))
    masks, joints = [], []
    for index in trange(count):
        hand = render_hand(sample_factors(config, seed, index), SIZE)
        masks.append((hand.parts > 0) & (hand.parts != PARTS.index("arm")))
        joints.append(hand.labels.joints_uv)
    return torch.from_numpy(np.stack(masks)).float(), torch.from_numpy(np.stack(joints)).float()


def rendered(joints: Tensor, radii: Tensor, softness: float) -> Tensor:
    centres, _ = primitives.hand_circles(joints)
    size = primitives.hand_size(joints)[:, None]
    return primitives.rendered_mask(centres, size * radii, SIZE, SIZE, softness)


def fit(masks: Tensor, joints: Tensor, epochs: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    logs = torch.full((len(primitives.CIRCLES),), 0.25).log().requires_grad_()
    batches = len(masks) // 32
    optimiser = torch.optim.Adam([logs], lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * batches)
    for _ in trange(epochs):
        for batch in torch.randperm(len(masks), generator=generator)[: 32 * batches].split(32):
            loss = (rendered(joints[batch], logs.exp(), SOFTNESS) - masks[batch]).abs().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return logs.detach().exp()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)

    masks, joints = masks_and_joints(options.count, options.seed)
    kept = options.count // 4
    radii = fit(masks[kept:], joints[kept:], options.epochs, options.seed)
    with torch.no_grad():
        covered = torch.cat([rendered(j, radii, 0.0) for j in joints[:kept].split(32)]) > 0
    hand = masks[:kept] > 0
    overlap = (covered & hand).sum((1, 2)) / (covered | hand).sum((1, 2)).clamp(min=1)
    for row in radii.split([9, 9, 9, 9, 9, 10]):
        print("    *(" + ", ".join(f"{r:.3f}" for r in row.tolist()) + "),")
    print(f"IoU over {kept} hands: mean {overlap.mean():.3f}, median {overlap.median():.3f}")


if __name__ == "__main__":
    main()
