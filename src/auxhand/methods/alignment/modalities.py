"""The modalities of Ch. 5 as a table: how each is observed, encoded, decoded and compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from auxhand.geometry.heatmap import pixels_to_cells
from auxhand.geometry.pose25d import relative
from auxhand.hand.skeleton import NUM_JOINTS, REFERENCE_BONE, ROOT
from auxhand.losses.cloud import chamfer, earth_movers, pairwise
from auxhand.losses.pose import heatmap_norm, map_norm, pose_norm
from auxhand.models.backbone import ImageFeatures
from auxhand.models.dcgan import DCGANDecoder
from auxhand.models.folding import FoldingDecoder
from auxhand.models.mlp import PoseDecoder, PoseFeatures
from auxhand.models.residual_pel import ResidualPEL
from auxhand.sample import HandBatch, Observation

CLOUD_UNIT = 0.1
"""Metres that count as 1 in clouds and depth maps: a hand is then about 1 across. A constant, since
a hand's own size is a label that weakly labelled samples lack (Fig. 5.8)."""

CLOUD_LOSS_UNIT = 0.01
"""Metres that count as 1 in the loss of clouds. The chapter names no unit for its lambda_cloud = 1.
In this one it is right beside poses in reference lengths, in 0.1 m too little
(docs/results/alignment.md)."""


@dataclass(frozen=True)
class Networks:
    """Sizes of the networks of Ch. 5.4.2, and of what they exchange.

    Attributes:
        backbone: a timm network, the encoder of RGB, depth maps and masks.
        pretrained: its ImageNet weights, see `models.backbone.Backbone`.
        latent: dimensions of z.
        points: points of a cloud.
        cloud_widths, cloud_features: of the encoder of clouds, see `ResidualPEL`.
        folding_width: hidden units of the decoder of clouds.
        pose_width: hidden units of encoder and decoder of poses.
        cells: side of decoded heatmaps, images, depth maps and masks.
        map_width: channels of the last hidden map of their decoders.
        heatmap_sigma: cells, of the Gaussians (Eq. 2.1). Ch. 5 names none. A norm that is not
            squared wants a wide one: where a joint is less certain than that, its best map is none.
    """

    backbone: str = "resnet18"
    pretrained: bool | str = False
    latent: int = 64
    points: int = 256
    cloud_widths: tuple[int, ...] = (32, 64, 128)
    cloud_features: int = 256
    folding_width: int = 512
    pose_width: int = 128
    cells: int = 64
    map_width: int = 64
    heatmap_sigma: float = 6.0


@dataclass(frozen=True)
class Weights:
    """lambda of each reconstruction loss (Eq. 5.10); that of the pose is 1.

    Attributes:
        heatmap, cloud: as in the chapter.
        map: of images, depth maps and masks, which the chapter's tables leave out; as heatmaps.
    """

    heatmap: float = 0.01
    cloud: float = 1.0
    map: float = 0.01


@dataclass(frozen=True)
class Modality:
    """One letter of the chapter's "RC2CHP".

    Attributes:
        name: in words.
        observe: a batch -> what there is of it.
        encode: features of it, with their number as `features`; None: it cannot be encoded.
        decode: z -> it; None: it cannot be decoded.
        loss: (decoded (B, ...), observed, sizes) -> (B,) reconstruction loss, without its weight.
        weight: lambda of the loss.
    """

    name: str
    observe: Callable[[HandBatch, Networks], Observation]
    encode: Callable[[Networks], nn.Module] | None
    decode: Callable[[Networks], nn.Module] | None
    loss: Callable[[Tensor, Observation, Networks], Tensor]
    weight: Callable[[Weights], float]


def _image(batch: HandBatch, networks: Networks) -> Observation:
    image = batch.image.contiguous(memory_format=torch.channels_last)
    return Observation(image, batch.valid["image"])


def _cloud(batch: HandBatch, networks: Networks) -> Observation:
    """Points about their own centroid: where the hand's root is would be a label."""
    centred = batch.cloud - batch.cloud.mean(dim=1, keepdim=True)
    return Observation(centred / CLOUD_UNIT, batch.valid["cloud"])


def _heatmap(batch: HandBatch, networks: Networks) -> Observation:
    """The joints in cells; the maps themselves are made where they are compared."""
    joints = batch.joint_mask("joints_uv")
    size = batch.image.shape[-1]
    if size == 0:  # a batch without any picture: there are no pixels to place joints in
        joints, size = torch.zeros_like(joints), networks.cells
    cells = pixels_to_cells(batch.joints_uv, size / networks.cells)
    return Observation(torch.where(joints[..., None], cells, 0.0), joints.any(dim=1), joints)


def _pose(batch: HandBatch, networks: Networks) -> Observation:
    """Positions relative to the root, in reference lengths."""
    joints = batch.joint_mask("joints_xyz")
    valid = joints[:, [ROOT, *REFERENCE_BONE]].all(dim=1)
    joints = joints & valid[:, None]
    xyz = relative(batch.joints_xyz)
    return Observation(torch.where(joints[..., None], xyz, 0.0), valid, joints)


def _depth_map(batch: HandBatch, networks: Networks) -> Observation:
    """(B, 1, H, W) depth about its own mean over the mask, 0 elsewhere; over all that has a depth
    where there is no mask."""
    there = (batch.depth > 0) & ((batch.mask > 0.5) | ~batch.valid["mask"][:, None, None])
    count = there.sum(dim=(-2, -1), keepdim=True)
    mean = (batch.depth * there).sum(dim=(-2, -1), keepdim=True) / count.clamp(min=1)
    value = torch.where(there, (batch.depth - mean) / CLOUD_UNIT, 0.0)
    return Observation(value[:, None], batch.valid["depth"] & (count > 0).flatten())


def _mask(batch: HandBatch, networks: Networks) -> Observation:
    return Observation(batch.mask[:, None], batch.valid["mask"])


def _map_loss(decoded: Tensor, seen: Observation, networks: Networks) -> Tensor:
    return map_norm(decoded, seen.value)


def _cloud_loss(decoded: Tensor, seen: Observation, networks: Networks) -> Tensor:
    distances = pairwise(decoded, seen.value)
    apart = chamfer(decoded, seen.value, distances) + earth_movers(decoded, seen.value, distances)
    return apart * (CLOUD_UNIT / CLOUD_LOSS_UNIT)


def _heatmap_loss(decoded: Tensor, seen: Observation, networks: Networks) -> Tensor:
    assert seen.joints is not None
    return heatmap_norm(decoded, seen.value, seen.joints, networks.heatmap_sigma)


def _pose_loss(decoded: Tensor, seen: Observation, networks: Networks) -> Tensor:
    assert seen.joints is not None
    return pose_norm(decoded, seen.value, seen.joints)


def _image_features(channels: int) -> Callable[[Networks], nn.Module]:
    return lambda networks: ImageFeatures(networks.backbone, networks.pretrained, channels).to(
        memory_format=torch.channels_last
    )


def _map_decoder(channels: int) -> Callable[[Networks], nn.Module]:
    return lambda networks: DCGANDecoder(
        networks.latent, channels, networks.cells, networks.map_width
    )


MODALITIES: dict[str, Modality] = {
    "R": Modality(
        name="RGB image",
        observe=_image,
        encode=_image_features(3),
        decode=_map_decoder(3),
        loss=_map_loss,
        weight=lambda weights: weights.map,
    ),
    "C": Modality(
        name="point cloud",
        observe=_cloud,
        encode=lambda networks: ResidualPEL(networks.cloud_widths, networks.cloud_features),
        decode=lambda networks: FoldingDecoder(
            networks.latent, networks.points, networks.folding_width
        ),
        loss=_cloud_loss,
        weight=lambda weights: weights.cloud,
    ),
    "H": Modality(
        name="heatmaps",
        observe=_heatmap,
        encode=None,
        decode=_map_decoder(NUM_JOINTS),
        loss=_heatmap_loss,
        weight=lambda weights: weights.heatmap,
    ),
    "P": Modality(
        name="pose",
        observe=_pose,
        encode=lambda networks: PoseFeatures(networks.pose_width),
        decode=lambda networks: PoseDecoder(networks.latent, networks.pose_width),
        loss=_pose_loss,
        weight=lambda weights: 1.0,
    ),
    "D": Modality(
        name="depth map",
        observe=_depth_map,
        encode=_image_features(1),
        decode=_map_decoder(1),
        loss=_map_loss,
        weight=lambda weights: weights.map,
    ),
    "M": Modality(
        name="mask",
        observe=_mask,
        encode=_image_features(1),
        decode=_map_decoder(1),
        loss=_map_loss,
        weight=lambda weights: weights.map,
    ),
}
"""By their letters in Ch. 5.3.3 (R, C, H, P), and two more that come for free."""
