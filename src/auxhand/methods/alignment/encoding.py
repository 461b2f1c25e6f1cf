"""From what is seen of a modality, or of all, to a posterior of z (Ch. 5.3, 5.4.2)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from auxhand.methods.alignment.modalities import MODALITIES, Networks
from auxhand.methods.alignment.strategy import Pairs, Strategy
from auxhand.models.gaussian import GaussianEncoder, GaussianHeads, Posterior
from auxhand.sample import Observation, Seen


def encoders_of(pairs: Pairs, strategy: Strategy, networks: Networks) -> nn.ModuleDict:
    """By letter, a `GaussianEncoder`; of what S3 encodes only jointly, its features."""
    encoders = nn.ModuleDict()
    for letter in pairs.encoded:
        features = MODALITIES[letter].encode
        assert features is not None  # as `parse_pairs` has seen
        encoders[letter] = features(networks)
        if strategy != "S3" or letter == pairs.encoded[0]:  # it has a posterior of its own
            encoders[letter] = GaussianEncoder(encoders[letter], networks.latent)
    return encoders


def decoders_of(pairs: Pairs, networks: Networks) -> nn.ModuleDict:
    """By letter, from z."""
    decoders = nn.ModuleDict()
    for letter in pairs.decoded:
        decoder = MODALITIES[letter].decode
        assert decoder is not None
        decoders[letter] = decoder(networks)
    return decoders


def joint_heads(encoders: nn.ModuleDict, networks: Networks) -> GaussianHeads:
    """The joint encoder of Eq. 5.3, which the chapter leaves open: two fully connected layers from
    the features of all encoders, side by side."""
    widths = [int(features_of(encoder).features) for encoder in encoders.values()]  # type: ignore[arg-type]
    return GaussianHeads(sum(widths), networks.latent)


def features_of(encoder: nn.Module) -> nn.Module:
    """The network from a modality to features."""
    return encoder.features if isinstance(encoder, GaussianEncoder) else encoder


def encoded(encoder: nn.Module, seen: Observation) -> Posterior:
    """q(z | x) of one modality; N(0, I), and not valid, for samples that lack it."""
    return Posterior.of(_heads(encoder)(_features(encoder, seen)), seen.complete)


def encoded_jointly(
    encoders: nn.ModuleDict, joint: GaussianHeads, seen: Seen
) -> tuple[Posterior, Posterior]:
    """q(z | x) of the first modality and, of complete samples, q(z | x, w) of all."""
    features = {letter: _features(encoder, seen[letter]) for letter, encoder in encoders.items()}
    valid = {letter: seen[letter].complete for letter in encoders}
    complete = torch.stack(list(valid.values())).all(dim=0)
    parts = [f[complete[valid[letter]]].float() for letter, f in features.items()]
    first = next(iter(encoders))
    return (
        Posterior.of(_heads(encoders[first])(features[first]), valid[first]),
        Posterior.of(joint(torch.cat(parts, dim=1)), complete),
    )


def _heads(encoder: nn.Module) -> GaussianHeads:
    return cast("GaussianEncoder", encoder).heads


def _features(encoder: nn.Module, seen: Observation) -> Tensor:
    """(B', F) of the B' samples that are complete.

    Others are not given to the encoder: zeros would count in its batch normalisation.
    """
    value, valid = seen.value, seen.complete
    network = features_of(encoder)
    if not valid.any():
        return value.new_zeros(0, int(network.features))  # type: ignore[arg-type]
    features: Tensor = network(value if valid.all() else value[valid])
    return features
