"""The latent space of a model (Ch. 5): codes of photos, and the hands that codes stand for."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from auxhand.geometry.warp import warp
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.inference.scene import Side
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
        if not isinstance(network, LatentPoseNet):
            raise ValueError(
                f"a {type(network).__name__} has no latent space: give a model that a method with "
                "one has trained (auxhand train configs/laptop/alignment.yaml)"
            )
        self.estimator = estimator
        self.network = network

    @torch.inference_mode()
    def encode(self, image: np.ndarray, side: Side = "auto") -> Tensor | None:
        """(D,) mean of q(z | the hand in a photo (H, W, 3) uint8); None if there is no hand.

        Raises:
            ValueError: see `HandPoseEstimator.predict`.
        """
        prediction = self.estimator.predict(image, side=side)
        if prediction is None:
            return None
        crop = torch.from_numpy(warp(image, prediction.crop, cv2.BORDER_REPLICATE))
        pixels = crop.permute(2, 0, 1)[None].float().div_(255).to(self.estimator.device)
        return self.network.encode(pixels)[0].cpu()

    @torch.inference_mode()
    def decode(self, z: Tensor) -> HandPose:
        """(N, D) -> N hands, on the CPU; a cloud is in metres about its centroid."""
        pose = self.network.decode(z.to(self.estimator.device), self.estimator.bundle.input_size)
        return pose.to("cpu")

    def sample(self, count: int, seed: int) -> Tensor:
        """(count, D) codes from the prior N(0, I)."""
        latent = int(self.network.encoder.heads.mu.out_features)
        return torch.randn(count, latent, generator=torch.Generator().manual_seed(seed))


def walk(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """(steps, D) codes on the straight line between two (Fig. 5.4), both ends among them.

    Raises:
        ValueError: fewer than two steps.
    """
    if steps < 2:
        raise ValueError(f"a walk has at least its two ends, not {steps} steps")
    return torch.lerp(start, end, torch.linspace(0, 1, steps)[:, None])
