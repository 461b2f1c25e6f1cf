"""The networks of a disentangled VAE (Ch. 4.3.2, Fig. 4.2), for any number of factors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from auxhand.hand.skeleton import ROOT
from auxhand.models.gaussian import Gaussian
from auxhand.models.spec import recorded
from auxhand.sample import HandPose


@recorded
class DisentangledNet(nn.Module):
    """Encoders and decoders of a z that is made of factors, [z_1, ..., z_N] (Ch. 4.3.2).

    Variables have names: "image" (B, 3, S, S) RGB, "pose" and "canonical" (B, 21, 3) in reference
    lengths, "viewpoint" (B, 3, 3), "content" (B, 3, S, S), a tag image. So that a network can hold
    what its use takes and no more, any encoder or decoder may be left out. All hands are right
    ones.

    Args:
        factors: dimensions of each part of z, in order.
        decoded: the factors that each variable is decoded from, in order.
        encoders: q(z_f | y) by factor f: from the variable y that specifies it.
        embeddings: q(z | v) by variable v: from it to all of z.
        decoders: p(v | z) by variable v.

    Raises:
        ValueError: parts that do not belong together.
    """

    def __init__(
        self,
        factors: dict[str, int],
        decoded: dict[str, list[str]],
        encoders: dict[str, nn.Module],
        embeddings: dict[str, nn.Module],
        decoders: dict[str, nn.Module],
    ) -> None:
        super().__init__()
        unknown = {factor for read in decoded.values() for factor in read} | encoders.keys()
        if unknown := unknown - factors.keys():
            raise ValueError(f"z has no factor {sorted(unknown)[0]!r}: {', '.join(factors)}")
        if aimless := decoders.keys() - decoded.keys():
            raise ValueError(f"what {sorted(aimless)[0]!r} is decoded from is not said")
        self.factors = dict(factors)
        self.decoded = {variable: list(read) for variable, read in decoded.items()}
        self.encoders = nn.ModuleDict(encoders)
        self.embeddings = nn.ModuleDict(embeddings)
        self.decoders = nn.ModuleDict(decoders)

    @property
    def latent(self) -> int:
        """Dimensions of z."""
        return sum(self.factors.values())

    def forward(self, image: Tensor) -> HandPose:
        """(B, 3, S, S) RGB in [0, 1] -> poses, from the mean of q(z | image).

        Raises:
            ValueError: images of another shape, or not square; or no encoder of images.
        """
        return self.decode(self.encode(image))

    def encode(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) RGB in [0, 1] -> (B, D) mean of q(z | image).

        Raises:
            ValueError: see `forward`.
        """
        if image.ndim != 4 or image.shape[1] != 3 or image.shape[2] != image.shape[3]:
            raise ValueError(f"images must be (B, 3, S, S), not {tuple(image.shape)}")
        if "image" not in self.embeddings:
            raise ValueError(
                "this network does not encode images yet: train its embedding stage (stage: embed)"
            )
        mu: Tensor = self.embeddings["image"](image).mu
        return mu

    def decode(self, z: Tensor) -> HandPose:
        """(B, D) -> what hands these are, as far as there are decoders of it."""
        pose, canonical, viewpoint = (
            self.reconstruct(name, z) if name in self.decoders else None
            for name in ("pose", "canonical", "viewpoint")
        )
        return HandPose(
            xyz=None if pose is None else pose - pose[:, ROOT, None],
            canonical=None if canonical is None else canonical - canonical[:, ROOT, None],
            viewpoint=viewpoint,
        )

    def specify(self, factor: str, value: Tensor) -> Gaussian:
        """q(z_factor | the variable that specifies it): (B, ...) -> (B, D_factor)."""
        posterior: Gaussian = self.encoders[factor](value)
        return posterior

    def embed(self, variable: str, value: Tensor) -> Gaussian:
        """q(z | variable): (B, ...) -> (B, D)."""
        posterior: Gaussian = self.embeddings[variable](value)
        return posterior

    def reconstruct(self, variable: str, z: Tensor) -> Tensor:
        """Mean of p(variable | z): (B, D) -> (B, ...). What its decoder does not read changes
        nothing."""
        parts = self.split(z)
        decoded: Tensor = self.decoders[variable](
            torch.cat([parts[factor] for factor in self.decoded[variable]], dim=-1)
        )
        return decoded

    def split(self, z: Tensor) -> dict[str, Tensor]:
        """(..., D) -> its parts (..., D_factor) by factor."""
        parts = z.split(list(self.factors.values()), dim=-1)  # type: ignore[no-untyped-call]
        return dict(zip(self.factors, parts, strict=True))

    def join(self, parts: Mapping[str, Tensor]) -> Tensor:
        """The z (..., D) of its parts (..., D_factor); a factor that is missing is 0, the mean of
        its prior.

        Raises:
            ValueError: no parts, or one of a factor that z does not have.
        """
        if not parts or not parts.keys() <= self.factors.keys():
            raise ValueError(f"z has factors {', '.join(self.factors)}, not {', '.join(parts)}")
        like = next(iter(parts.values()))
        return torch.cat(
            [
                parts.get(factor, like.new_zeros(*like.shape[:-1], dimensions))
                for factor, dimensions in self.factors.items()
            ],
            dim=-1,
        )

    def reduced(
        self, encoders: Iterable[str], embeddings: Iterable[str], decoders: Iterable[str]
    ) -> DisentangledNet:
        """A network of the named parts of this one, which are shared and not copied."""
        return DisentangledNet(
            self.factors,
            self.decoded,
            {name: self.encoders[name] for name in encoders},
            {name: self.embeddings[name] for name in embeddings},
            {name: self.decoders[name] for name in decoders},
        )
