"""Images and poses by factors (Ch. 4.3.3, 4.4.3): codes z of a disentangled network, walked and
recombined. Codes are tensors (..., D), for instance from `DisentangledNet.encode` of images, or
from `specified` factors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from auxhand.inference.latent import walk
from auxhand.models.disentangled import DisentangledNet


class Shown(NamedTuple):
    """Hands as a network is shown them, all right ones.

    Attributes:
        images: (N, 3, S, S) RGB in [0, 1], their crops.
        pose: (N, 21, 3) relative to the root in reference lengths, where it is told.
    """

    images: Tensor
    pose: Tensor | None = None


@torch.no_grad()
def codes_of(net: DisentangledNet, shown: Shown) -> Tensor:
    """(N, D) codes of hands (Fig. 4.3): content by its encoder, with the image itself as the tag;
    pose by its encoder where the pose is told; whatever is left by q(z | image).

    Raises:
        ValueError: the network has no encoder of what is left.
    """
    told = {"content": shown.images, "pose": shown.pose}
    parts = {
        factor: net.specify(factor, value).mu
        for factor, value in told.items()
        if factor in net.encoders and value is not None
    }
    if net.factors.keys() - parts.keys():
        parts = net.split(net.encode(shown.images)) | parts
    return net.join(parts)


@torch.no_grad()
def specified(net: DisentangledNet, values: Mapping[str, Tensor]) -> Tensor:
    """(B, D) codes of what is asked for, the means of q(z_f | value) (Fig. 4.3).

    Args:
        net: with encoders of the factors.
        values: (B, ...) by factor: a pose (B, 21, 3) relative to the root in reference lengths, of
            a right hand; a content as an image (B, 3, S, S) that shows it. A factor that is missing
            is the mean of its prior.

    Raises:
        ValueError: no values, or a factor that the network does not encode.
    """
    if unknown := sorted(values.keys() - net.encoders.keys()):
        has = ", ".join(net.encoders) or "none"
        raise ValueError(f"the network encodes no factor {unknown[0]!r}; it encodes: {has}")
    return net.join({factor: net.specify(factor, value).mu for factor, value in values.items()})


def factor_walk(
    net: DisentangledNet, start: Tensor, end: Tensor, factor: str, steps: int
) -> Tensor:
    """(steps, D) codes: one factor goes from that of `start` (D,) to that of `end` (D,) in a
    straight line, the others stay as in `start` (Fig. 4.4, 4.5).

    Raises:
        ValueError: fewer than two steps, or no such factor.
    """
    _expect(net, factor)
    return walk(start, recombined(net, {factor: end}, start), steps)


def recombined(net: DisentangledNet, factors: Mapping[str, Tensor], rest: Tensor) -> Tensor:
    """(..., D) codes: the named factors each from its own codes (..., D), the others from `rest`
    (..., D); shapes broadcast.

    Raises:
        ValueError: no such factor.
    """
    for factor in factors:
        _expect(net, factor)
    codes = torch.broadcast_tensors(rest, *factors.values())  # type: ignore[no-untyped-call]
    parts = net.split(codes[0])
    for factor, code in zip(factors, codes[1:], strict=True):
        parts[factor] = net.split(code)[factor]
    return net.join(parts)


def transfer(net: DisentangledNet, source: Tensor, rest: Tensor, factor: str = "pose") -> Tensor:
    """(N, M, D) codes of a table: a row has the factor of a code of `source` (N, D), a column all
    else of one of `rest` (M, D): with "pose", the poses of some images and the content of others
    (Fig. 4.6).

    Raises:
        ValueError: no such factor.
    """
    return recombined(net, {factor: source[:, None]}, rest[None])


def sampled(net: DisentangledNet, count: int, generator: torch.Generator) -> Tensor:
    """(count, D) codes from the prior N(0, I); on the generator's device."""
    return torch.randn(count, net.latent, generator=generator, device=generator.device)


@torch.no_grad()
def pictures(net: DisentangledNet, z: Tensor, variable: str = "image") -> Tensor:
    """(..., D) codes -> (..., 3, S, S) RGB in [0, 1].

    Args:
        net: with a decoder of the variable.
        z: codes.
        variable: "image", or "content" for tag images.

    Raises:
        ValueError: the network does not decode it.
    """
    if variable not in net.decoders:
        has = ", ".join(net.decoders) or "nothing"
        raise ValueError(f"the network decodes no {variable}; it decodes: {has}")
    decoded = net.reconstruct(variable, z.flatten(0, -2)).clamp(0, 1)
    return decoded.view(*z.shape[:-1], *decoded.shape[1:])


def _expect(net: DisentangledNet, factor: str) -> None:
    if factor not in net.factors:
        raise ValueError(f"z has no factor {factor!r}; its factors are {', '.join(net.factors)}")
