"""The estimator of the methods with a latent space: an RGB encoder's mean, and decoders."""

from __future__ import annotations

from torch import Tensor, nn

from auxhand.geometry.heatmap import argmax_subpixel, cells_to_pixels
from auxhand.hand.skeleton import ROOT
from auxhand.models.gaussian import GaussianEncoder
from auxhand.models.spec import recorded
from auxhand.sample import HandPose


@recorded
class LatentPoseNet(nn.Module):
    """Hand pose from an RGB crop of a right hand, through one latent code (Ch. 5.3.3).

    Gives xyz; with a heatmap decoder also heatmaps, uv (their sub-pixel maxima) and confidence
    (their heights); with a cloud decoder also cloud, about its centroid.

    Args:
        encoder: an image (B, 3, H, W) to q(z | image).
        pose: z to (B, 21, 3) in reference lengths.
        heatmaps: z to (B, 21, h, w).
        cloud: z to (B, N, 3) in units of `cloud_unit`.
        cloud_unit: metres.
    """

    def __init__(
        self,
        encoder: GaussianEncoder,
        pose: nn.Module,
        heatmaps: nn.Module | None = None,
        cloud: nn.Module | None = None,
        cloud_unit: float = 0.1,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.pose = pose
        self.heatmaps = heatmaps
        self.cloud = cloud
        self.cloud_unit = cloud_unit

    @property
    def latent(self) -> int:
        """Dimensions of z."""
        return int(self.encoder.heads.mu.out_features)

    def forward(self, image: Tensor) -> HandPose:
        """(B, 3, H, W) RGB in [0, 1] -> poses, from the mean of q(z | image).

        Raises:
            ValueError: images of another shape, or not square.
        """
        if image.ndim != 4 or image.shape[1] != 3 or image.shape[2] != image.shape[3]:
            raise ValueError(f"images must be (B, 3, S, S), not {tuple(image.shape)}")
        return self.decode(self.encode(image), image.shape[-1])

    def encode(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) RGB in [0, 1] -> (B, D) mean of q(z | image)."""
        mu: Tensor = self.encoder(image).mu
        return mu

    def decode(self, z: Tensor, size: int) -> HandPose:
        """(B, D) -> what hands these are, in crops of `size` pixels."""
        xyz = self.pose(z)
        uv = confidence = maps = None
        if self.heatmaps is not None:
            maps = self.heatmaps(z)
            uv = cells_to_pixels(argmax_subpixel(maps), size / maps.shape[-1])
            confidence = maps.detach().amax(dim=(-2, -1)).clamp(0.0, 1.0)
        return HandPose(
            xyz=xyz - xyz[:, ROOT, None],
            uv=uv,
            confidence=confidence,
            heatmaps=maps,
            cloud=None if self.cloud is None else self.cloud_unit * self.cloud(z),
        )
