"""The latent space of a model (Ch. 4, 5): codes of photos, and the hands that codes stand for."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from auxhand.geometry.warp import warp
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.inference.scene import Side
from auxhand.models.disentangled import DisentangledNet
from auxhand.models.latent_pose import LatentPoseNet
from auxhand.sample import HandPose


class LatentSpace:
    """Codes z (D,) of hands, shown as right hands; a left hand's photo is mirrored.

    Args:
        estimator: with a network that has a latent space; it finds the hand in a photo.

    Raises:
        ValueError: the network has none.
    """

    def __init__(self, estimator: HandPoseEstimator) -> None:
        network = estimator.bundle.network
        if not isinstance(network, LatentPoseNet | DisentangledNet):
            raise ValueError(
                f"a {type(network).__name__} has no latent space: give a model that a method with "
                "one has trained (auxhand train configs/laptop/alignment.yaml, or dvae.yaml)"
            )
        self.estimator = estimator
        self.network = network

    @torch.inference_mode()
    def encode(self, image: np.ndarray, side: Side = "auto") -> Tensor | None:
        """(D,) mean of q(z | the hand in a photo (H, W, 3) uint8); None if there is no hand.

        Raises:
            ValueError: see `HandPoseEstimator.predict`.
        """
        pixels = self.crop(image, side)
        return None if pixels is None else self.network.encode(pixels[None])[0].cpu()

    def crop(self, image: np.ndarray, side: Side = "auto") -> Tensor | None:
        """(3, S, S) RGB in [0, 1], the hand in a photo as the network sees it; None if there is no
        hand.

        Raises:
            ValueError: see `HandPoseEstimator.predict`.
        """
        prediction = self.estimator.predict(image, side=side)
        if prediction is None:
            return None
        pixels = torch.from_numpy(warp(image, prediction.crop, cv2.BORDER_REPLICATE))
        return pixels.permute(2, 0, 1).float().div_(255).to(self.estimator.device)

    @torch.inference_mode()
    def decode(self, z: Tensor) -> HandPose:
        """(N, D) -> N hands, on the CPU; a cloud is in metres about its centroid."""
        z, net = z.to(self.estimator.device), self.network
        if isinstance(net, DisentangledNet):
            return net.decode(z).to("cpu")
        return net.decode(z, self.estimator.bundle.input_size).to("cpu")

    def sample(self, count: int, seed: int) -> Tensor:
        """(count, D) codes from the prior N(0, I)."""
        return torch.randn(
            count, self.network.latent, generator=torch.Generator().manual_seed(seed)
        )


def walk(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """(steps, D) codes on the straight line between two (Fig. 5.4), both ends among them.

    Raises:
        ValueError: fewer than two steps.
    """
    if steps < 2:
        raise ValueError(f"a walk has at least its two ends, not {steps} steps")
    return torch.lerp(start, end, torch.linspace(0, 1, steps)[:, None])
