"""The dual-modality network of chapter 7: RGB, depth and fusion branch, one decoder (Fig. 7.2)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from auxhand.models.attention import attend, attention
from auxhand.models.backbone import Backbone, Features
from auxhand.models.heads import Latent25D
from auxhand.models.pose_net import PoseNet
from auxhand.models.pose_resnet import PoseResNet
from auxhand.sample import HandPose

PLACES = 5
"""Where attention is applied: after conv1 and conv2_x to conv5_x (Ch. 7.3.3.1)."""


class Branch(NamedTuple):
    """What a branch says of B crops, and what it says it from.

    Attributes:
        pose: uv, d, heatmaps, confidence, mask (B, h, w) and depth (B, h, w), the hand's relative
            to the root in reference lengths.
        context: (B, C, h / 8, w / 8), the encoder's deepest map, for contrastive projections.
    """

    pose: HandPose
    context: Tensor


class Branches(NamedTuple):
    """The three branches on the same B crops."""

    rgb: Branch
    depth: Branch
    fusion: Branch


class DualBranch(nn.Module):
    """Three branches of two encoders, and the one decoder that they share (Ch. 7.3.3).

    The depth branch attends to itself and to the fusion branch, which sees the RGB image with the
    RGB encoder's weights, except that its batch norms are its own. For the depth, depth and fusion
    branch are one pass, with one set of batch norms. All weights of the decoder are shared, but its
    batch norms keep statistics of each branch: training normalises each branch by itself, so that a
    prediction by a mixture of their statistics would be made of other maps than were learnt from.
    The RGB branch is a plain `PoseNet`, which depends on neither of the others: `estimator` hands
    it out.

    Args:
        backbone: a timm ResNet, for both encoders.
        width: channels of the deconvolutions.
        pretrained: see `auxhand.models.backbone.Backbone`; for both encoders.

    Raises:
        ValueError: a backbone without five maps, of strides 2 to 32.
    """

    def __init__(
        self,
        backbone: str = "resnet18",
        width: int = 256,
        pretrained: bool | str = False,
    ) -> None:
        super().__init__()
        body = PoseResNet(backbone, width, pretrained)
        self.rgb = PoseNet(body, Latent25D(), presence=False)
        self.depth_encoder = Backbone(backbone, pretrained, strides=(32,), channels=1).network
        self.fusion_encoder = _sharing(body.backbone.network, but=_BatchNorm)
        self.depth_decoder = _sharing(body.deconvolutions)
        self.fusion_decoder = _sharing(body.deconvolutions)
        self.depth_map = nn.Conv2d(width, 1, 1)
        self._places: tuple[str, ...] = tuple(self.depth_encoder.return_layers)  # type: ignore[arg-type]
        if len(self._places) != PLACES:
            raise ValueError(
                f"backbone {backbone!r} has {len(self._places)} maps, not {PLACES}: take a ResNet"
            )

    @property
    def body(self) -> PoseResNet:
        """The RGB encoder and the deconvolutions, whose weights all branches share."""
        body = self.rgb.body
        assert isinstance(body, PoseResNet)
        return body

    def follow(self) -> None:
        """Let the fusion encoder's batch norms and the statistics of all decoders be what the RGB
        branch's are, which was loaded alone."""
        for leader, followers in (
            (self.body.backbone.network, [self.fusion_encoder]),
            (self.body.deconvolutions, [self.depth_decoder, self.fusion_decoder]),
        ):
            for follower in followers:
                follower.load_state_dict(leader.state_dict())

    def estimator(self) -> PoseNet:
        """The RGB branch, all that a prediction needs: one encoder and the decoder."""
        return self.rgb

    def forward(self, image: Tensor, depth: Tensor, stop_gradient: bool = True) -> Branches:
        """All branches on B crops; see `see` and `fuse`."""
        return Branches(self.see(image), *self.fuse(image, depth, stop_gradient))

    def see(self, image: Tensor) -> Branch:
        """The RGB branch: (B, 3, H, W) RGB in [0, 1].

        Raises:
            ValueError: see `PoseNet.expect`.
        """
        self.rgb.expect(image)
        (context,) = self.body.backbone(image)
        return self._decode(context, image, self.body.deconvolutions)

    def fuse(
        self, image: Tensor, depth: Tensor, stop_gradient: bool = True
    ) -> tuple[Branch, Branch]:
        """The depth branch and the fusion branch.

        Args:
            image: (B, 3, H, W) RGB in [0, 1].
            depth: (B, h, w) of the hand, relative to the root in reference lengths, 0 outside;
                true or predicted. Where its size is another than the image's, it is resized.
            stop_gradient: see `auxhand.models.attention.attend`.

        Raises:
            ValueError: see `PoseNet.expect`.
        """
        self.rgb.expect(image)
        rgb = self.body.backbone.normalise(image)
        depth = _resized(depth, image.shape[-2:])
        layers = zip(self.fusion_encoder.items(), self.depth_encoder.values(), strict=True)  # type: ignore[operator]
        for (name, rgb_layer), depth_layer in layers:
            rgb, depth = rgb_layer(rgb), depth_layer(depth)
            if name in self._places:
                rgb, depth = attend(rgb, depth, stop_gradient)
        return (
            self._decode(depth, image, self.depth_decoder),
            self._decode(rgb, image, self.fusion_decoder),
        )

    def attentions(self, depth: Tensor, size: tuple[int, int]) -> tuple[Tensor, ...]:
        """Att(f_DM) where it acts, the shallowest first (Fig. 7.6): it hangs on the depth alone.

        Args:
            depth: as of `fuse`.
            size: (H, W) of the images.

        Returns:
            Five maps (B, 1, H / 2^i, W / 2^i), i = 1 to 5; each averages 1.
        """
        features, maps = _resized(depth, size), []
        for name, layer in self.depth_encoder.items():  # type: ignore[operator]
            features = layer(features)
            if name in self._places:
                maps.append(attention(features))
                _, features = attend(features, features)
        return tuple(maps)

    def _decode(self, context: Tensor, image: Tensor, deconvolutions: nn.Module) -> Branch:
        map = deconvolutions(context)
        pose = self.rgb.decode(Features((map,), context), image)
        with torch.autocast(image.device.type, enabled=False):
            depth = self.depth_map(map.float()).squeeze(1)
        return Branch(replace(pose, depth=depth), context)


def _resized(depth: Tensor, size: Sequence[int]) -> Tensor:
    """(B, h, w) -> (B, 1, H, W)."""
    return functional.interpolate(depth[:, None], tuple(size), mode="bilinear")


def _sharing(network: nn.Module, but: type[nn.Module] | tuple[()] = ()) -> nn.Module:
    """A copy that shares all parameters with a network `but` those of modules of that class; its
    buffers, among them the statistics of batch norms, are its own."""
    copy = deepcopy(network)
    for original, module in zip(network.modules(), copy.modules(), strict=True):
        if not isinstance(module, but):
            for name, parameter in original.named_parameters(recurse=False):
                setattr(module, name, parameter)
    return copy
