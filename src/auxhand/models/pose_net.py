"""The estimator of the supervised methods: a body, a head per stage, mask and presence."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn

from auxhand.models.backbone import Body, Features
from auxhand.models.heads import Head
from auxhand.models.spec import recorded
from auxhand.sample import HandPose


@recorded
class PoseNet(nn.Module):
    """Hand pose from an RGB crop of a right hand; left hands are mirrored.

    Args:
        body: image to features, for instance `FeaturePyramid`.
        head: features to pose, for instance `Latent25D`; every stage gets a copy of its own.
        mask: predict the hand's mask, at the resolution of the body's maps.
        presence: predict whether a hand to be estimated is in the crop, from the context.
        side: predict whether the hand in the crop looks like a left one, from the context.
    """

    def __init__(
        self,
        body: Body,
        head: Head,
        mask: bool = True,
        presence: bool = True,
        side: bool = False,
    ) -> None:
        super().__init__()
        self.body = body
        self.heads = nn.ModuleList(
            deepcopy(head).connect(body.channels, body.context_channels) for _ in range(body.stages)
        )
        self.masks = nn.ModuleList(
            nn.Conv2d(body.channels, 1, 1) for _ in range(body.stages if mask else 0)
        )
        self.presence = nn.Linear(body.context_channels, 1) if presence else None
        self.side = nn.Linear(body.context_channels, 1) if side else None

    def forward(self, image: Tensor) -> HandPose:
        """(B, 3, H, W) RGB in [0, 1] -> the pose of the last stage.

        uv is in pixels of `image`; mask (B, H / stride, W / stride), presence and left (B,) are
        probabilities; what else there is depends on the head.

        Raises:
            ValueError: an image of another shape, or sides that the body cannot divide.
        """
        return self.decode(self.features(image), image)

    def decode(self, features: Features, image: Tensor) -> HandPose:
        """As `forward`, from what another network than the body made of the same crops.

        Args:
            features: of the body's shapes.
            image: (B, 3, H, W), of which the size alone counts.
        """
        return self._pose(len(self.heads) - 1, features, image)

    def stages(self, image: Tensor) -> list[HandPose]:
        """As `forward`, but the poses of all stages, for intermediate supervision."""
        features = self.features(image)
        return [self._pose(stage, features, image) for stage in range(len(self.heads))]

    def expect(self, image: Tensor) -> None:
        """Images must be (B, 3, H, W), of sides that the body can divide.

        Raises:
            ValueError: they are not.
        """
        if image.ndim != 4 or image.shape[1] != 3:
            raise ValueError(f"images must be (B, 3, H, W), not {tuple(image.shape)}")
        if any(side % self.body.multiple for side in image.shape[-2:]):
            raise ValueError(
                f"{type(self.body).__name__} needs image sides divisible by {self.body.multiple}, "
                f"not {tuple(image.shape[-2:])}"
            )

    def features(self, image: Tensor) -> Features:
        """What the body makes of (B, 3, H, W) images.

        Raises:
            ValueError: see `expect`.
        """
        self.expect(image)
        features: Features = self.body(image)
        return features

    def _pose(self, stage: int, features: Features, image: Tensor) -> HandPose:
        height, width = image.shape[-2:]
        map, context = features.maps[stage], features.context
        pose: HandPose = self.heads[stage](map, context, (height, width))
        with torch.autocast(image.device.type, enabled=False):
            if self.masks:
                logits = self.masks[stage](map.float())
                pose = replace(pose, mask=logits.squeeze(1).sigmoid())
            pooled = context.float().mean(dim=(-2, -1))
            if self.presence is not None:
                pose = replace(pose, presence=self.presence(pooled).squeeze(1).sigmoid())
            if self.side is not None:
                pose = replace(pose, left=self.side(pooled).squeeze(1).sigmoid())
        return pose
