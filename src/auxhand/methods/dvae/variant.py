"""The graphical models of Fig. 4.2, and the networks that each of them takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from auxhand.methods.dvae.variables import VARIABLES, Networks
from auxhand.models.disentangled import DisentangledNet
from auxhand.models.gaussian import GaussianEncoder

VariantName = Literal["synthesis", "untagged", "pose"]


@dataclass(frozen=True)
class Weights:
    """lambda of the log-likelihoods (Ch. 4.4.1), the same in all its equations.

    Attributes:
        x: of the variable that is decoded from all of z.
        y: of each variable that a factor stands for.
    """

    x: float = 1.0
    y: float = 0.01


@dataclass(frozen=True)
class Variant:
    """A graphical model (Fig. 4.2), for any number of factors.

    Attributes:
        x: the variable that is decoded from all of z.
        factors: each part of z, and the variable that it is encoded from.
        decoded: each y, and the factors that it is decoded from.
        embedded: variables that are embedded in z, in this order.
    """

    x: str
    factors: Mapping[str, str]
    decoded: Mapping[str, tuple[str, ...]]
    embedded: tuple[str, ...]

    @property
    def confounded(self) -> dict[str, str]:
        """Each y that is decoded from factors of others too (Eq. 4.6), and the factor that it
        specifies: y is to become independent of the others (Alg. 4.2)."""
        own = {source: factor for factor, source in self.factors.items()}
        return {y: own[y] for y, read in self.decoded.items() if read != (own[y],)}

    @property
    def variables(self) -> tuple[str, ...]:
        """All that are observed."""
        return tuple(dict.fromkeys([self.x, *self.factors.values(), *self.decoded, *self.embedded]))

    def weights(self, weights: Weights) -> dict[str, float]:
        """lambda by variable."""
        return {self.x: weights.x, **dict.fromkeys(self.decoded, weights.y)}

    def network(self, networks: Networks) -> DisentangledNet:
        """All encoders and decoders."""
        size = networks.dimensions
        decoded = {self.x: tuple(self.factors), **self.decoded}
        return DisentangledNet(
            dict.fromkeys(self.factors, size),
            {variable: list(read) for variable, read in decoded.items()},
            {
                factor: GaussianEncoder(VARIABLES[source].features(networks), size)
                for factor, source in self.factors.items()
            },
            {
                variable: GaussianEncoder(
                    VARIABLES[variable].features(networks), size * len(self.factors)
                )
                for variable in self.embedded
            },
            {
                variable: VARIABLES[variable].decoder(size * len(read), networks)
                for variable, read in decoded.items()
            },
        )


VARIANTS: dict[VariantName, Variant] = {
    "synthesis": Variant(  # Fig. 4.2a, left of Fig. 4.3
        x="image",
        factors={"pose": "pose", "content": "content"},
        decoded={"pose": ("pose",), "content": ("content",)},
        embedded=("image",),
    ),
    "untagged": Variant(  # Fig. 4.2b, middle of Fig. 4.3
        x="image",
        factors={"pose": "pose", "content": "image"},
        decoded={"pose": ("pose", "content")},
        embedded=("image",),
    ),
    "pose": Variant(  # Fig. 4.2c, right of Fig. 4.3
        x="pose",
        factors={"canonical": "canonical", "viewpoint": "viewpoint"},
        decoded={"canonical": ("canonical",), "viewpoint": ("viewpoint",)},
        embedded=("pose", "image"),
    ),
}
