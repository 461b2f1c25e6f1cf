"""The variables of Ch. 4 as a table: how each is observed, encoded, decoded and compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from auxhand.losses.elbo import log_gaussian
from auxhand.losses.supervision import relative_pose, true_canonical, true_viewpoint
from auxhand.models.backbone import ImageFeatures
from auxhand.models.dcgan import DCGANDecoder
from auxhand.models.mlp import PoseDecoder, PoseFeatures
from auxhand.models.viewpoint import ViewpointDecoder, ViewpointFeatures
from auxhand.sample import HandBatch, Observation, Seen

IMAGE_UNIT = 1 / 255
"""What counts as 1 in the likelihood of images. The chapter names none, but only in steps of 8-bit
pixels does its beta = 100 stand beside lambda_x = 1: over [0, 1] that beta is 100 / 255^2 = 0.0015,
and 100 itself would leave nothing of an image."""


@dataclass(frozen=True)
class Networks:
    """Sizes of the networks of Ch. 4.4.1.

    Attributes:
        backbone: a timm network, the encoder of images and tag images.
        pretrained: its ImageNet weights, see `models.backbone.Backbone`.
        dimensions: of each factor's part of z.
        width, layers: hidden units and fully connected layers of poses' and viewpoints' encoders
            and decoders.
        cells: side of decoded images and tag images.
        map_width: channels of the last hidden map of their decoders.
    """

    backbone: str = "resnet18"
    pretrained: bool | str = False
    dimensions: int = 32
    width: int = 512
    layers: int = 6
    cells: int = 64
    map_width: int = 64


@dataclass(frozen=True)
class Variable:
    """An observed variable, x or y, of Fig. 4.2.

    Attributes:
        words: its name in words.
        observe: a batch -> what there is of it.
        features: the network that encodes it, with the number of features as `features`.
        decoder: the network from (B, D) that decodes it, of D and the sizes.
        log_likelihood: (decoded (B, ...), observed) -> (B,), up to a constant.
    """

    words: str
    observe: Callable[[HandBatch], Observation]
    features: Callable[[Networks], nn.Module]
    decoder: Callable[[int, Networks], nn.Module]
    log_likelihood: Callable[[Tensor, Observation], Tensor]


# ---- what there is of them in a batch ----


def observe_image(batch: HandBatch) -> Observation:
    """RGB in [0, 1]."""
    return Observation(batch.image, batch.valid["image"])


def observe_content(batch: HandBatch) -> Observation:
    """The tag image, of the samples that have one."""
    return Observation(batch.content, batch.valid["content"])


def observe_pose(batch: HandBatch) -> Observation:
    """3DPose: positions relative to the root, in reference lengths."""
    return _pose(*relative_pose(batch))


def observe_canonical(batch: HandBatch) -> Observation:
    """CPose, the 3DPose in the frame of its palm."""
    return _pose(*true_canonical(batch))


def observe_viewpoint(batch: HandBatch) -> Observation:
    """R of 3DPose = R CPose; it takes the palm alone."""
    return Observation(*true_viewpoint(batch))


def _pose(pose: Tensor, joints: Tensor) -> Observation:
    return Observation(torch.where(joints[..., None], pose, 0.0), joints.any(dim=1), joints)


# ---- what is told of them ----


def labels_alone(seen: Seen) -> Seen:
    """Poses without their image or content: unpaired labels (semi-supervision, Ch. 4.3.3)."""
    return _silent(seen, "image", "content")


def viewpoints_alone(seen: Seen) -> Seen:
    """Images and their viewpoints, without poses (weak supervision, Ch. 4.3.3)."""
    return _silent(seen, "pose", "canonical")


def joined(several: list[Seen]) -> Seen:
    """Samples of several batches as one batch's.

    Raises:
        ValueError: pictures of different sizes.
    """
    return {name: _joined([seen[name] for seen in several]) for name in several[0]}


def _joined(parts: list[Observation]) -> Observation:
    shapes = {part.value.shape[1:] for part in parts if part.value.numel()}
    if len(shapes) > 1:
        sizes = ", ".join(sorted(str(tuple(shape)) for shape in shapes))
        raise ValueError(f"streams that are learnt from together must have one size, got {sizes}")
    # Where no sample of a batch has a picture, its pictures have no pixels either.
    shape = next(iter(shapes), parts[0].value.shape[1:])
    values = [
        part.value if part.value.numel() else part.value.new_zeros(len(part.value), *shape)
        for part in parts
    ]
    joints = [part.joints for part in parts if part.joints is not None]
    return Observation(
        torch.cat(values),
        torch.cat([part.valid for part in parts]),
        torch.cat(joints) if joints else None,
    )


def _silent(seen: Seen, *names: str) -> Seen:
    """As if the named variables were not known, whatever is written there."""
    return {
        name: Observation(
            torch.zeros_like(value),
            torch.zeros_like(valid),
            None if joints is None else torch.zeros_like(joints),
        )
        if name in names
        else Observation(value, valid, joints)
        for name, (value, valid, joints) in seen.items()
    }


# ---- their likelihoods ----


def log_picture(decoded: Tensor, seen: Observation) -> Tensor:
    """Of an image: less the sum of squares of 8-bit steps, over the cells that are decoded."""
    cells = functional.adaptive_avg_pool2d(seen.value, decoded.shape[-1])
    return log_gaussian(decoded, cells, unit=IMAGE_UNIT)


def log_pose(decoded: Tensor, seen: Observation) -> Tensor:
    """Of a pose: less the sum of squares in reference lengths, over the joints that are known."""
    return log_gaussian(decoded, seen.value, seen.joints)


def log_viewpoint(decoded: Tensor, seen: Observation) -> Tensor:
    """Of a viewpoint: less 4 (1 - cos a), with a the angle between the two."""
    return log_gaussian(decoded, seen.value)


def _image_features(networks: Networks) -> nn.Module:
    return ImageFeatures(networks.backbone, networks.pretrained).to(
        memory_format=torch.channels_last
    )


def _image_decoder(latent: int, networks: Networks) -> nn.Module:
    return DCGANDecoder(latent, 3, networks.cells, networks.map_width)


def _pose_features(networks: Networks) -> nn.Module:
    return PoseFeatures(networks.width, networks.layers)


def _pose_decoder(latent: int, networks: Networks) -> nn.Module:
    return PoseDecoder(latent, networks.width, networks.layers)


_IMAGE = Variable("RGB image", observe_image, _image_features, _image_decoder, log_picture)
_POSE = Variable("3D pose", observe_pose, _pose_features, _pose_decoder, log_pose)

VARIABLES: dict[str, Variable] = {
    "image": _IMAGE,
    "content": replace(_IMAGE, words="tag image", observe=observe_content),
    "pose": _POSE,
    "canonical": replace(_POSE, words="canonical pose", observe=observe_canonical),
    "viewpoint": Variable(
        "viewpoint",
        observe_viewpoint,
        lambda networks: ViewpointFeatures(networks.width, networks.layers),
        lambda latent, networks: ViewpointDecoder(latent, networks.width, networks.layers),
        log_viewpoint,
    ),
}
"""By the names of `models.disentangled.DisentangledNet`."""
