"""Training of aligned latent spaces: one function for each objective of Ch. 5.3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from auxhand.data.augment import Contents
from auxhand.losses.elbo import annealed, elbo, kl_between, kl_to_prior
from auxhand.losses.pose import masked_mean
from auxhand.methods.alignment.encoding import (
    decoders_of,
    encoded,
    encoded_jointly,
    encoders_of,
    joint_heads,
)
from auxhand.methods.alignment.modalities import CLOUD_UNIT, MODALITIES, Networks, Weights
from auxhand.methods.alignment.strategy import Strategy, lessons, parse_pairs
from auxhand.models.gaussian import GaussianEncoder, Posterior
from auxhand.models.latent_pose import LatentPoseNet
from auxhand.monitor import Posteriors, noise
from auxhand.optim import Parts, Schedule
from auxhand.pose_module import PoseModule
from auxhand.sample import HandBatch, HandPose, Seen

JOINT = "joint"


class Alignment(PoseModule):
    """Poses from RGB images, learnt with whatever else is known of them (Ch. 5).

    Strategies (Table 5.1): S1 is one encoder and one decoder (Eq. 5.1), S2 one encoder and several
    decoders (Alg. 5.1), S3 aligns the first modality with all of them by KL divergence (Eq. 5.3,
    Alg. 5.2), S4 by the product of Gaussian experts (Eq. 5.4, Alg. 5.3); Spurr trains one pair of
    encoder and decoder a step, by turns (Spurr et al. 2018; Eq. 3.6).

    Each reconstruction loss is a mean over the samples of the batch that have what it takes, so
    labelled, weakly labelled and incomplete samples train side by side, each what it can.

    Args:
        strategy: see above.
        pairs: encoders and decoders by letter, "RC2CHP" (see `modalities.MODALITIES`).
        networks: their sizes.
        weights: lambda_heat, lambda_cloud.
        beta: first and last weight of the KL divergences to the prior, annealed in between.
        beta_prime: beta' of Eq. 5.3.
        learning_rate, betas: of Adam.
        schedule: of the learning rate.
        parts: parts of the networks that learn more slowly, or not at all.
        seed: of the samples of z.

    Raises:
        ValueError: a strategy that these modalities do not allow; says why.
    """

    def __init__(
        self,
        strategy: Strategy,
        pairs: str,
        networks: Networks | None = None,
        weights: Weights | None = None,
        beta: tuple[float, float] = (1e-5, 1e-3),
        beta_prime: float = 1.0,
        learning_rate: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        schedule: Schedule | None = None,
        parts: Parts | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(learning_rate, schedule)
        self.strategy = strategy
        self.pairs = parse_pairs(pairs, strategy)
        if not min(beta) > 0:
            raise ValueError(f"beta must be positive, got {beta[0]} to {beta[1]}")
        self.networks = networks or Networks()
        self.weights = weights or Weights()
        self.beta_range = beta
        self.beta_prime = beta_prime
        self.betas = betas
        self.parts = parts or Parts()
        self.seed = seed
        self.encoders = encoders_of(self.pairs, strategy, self.networks)
        self.decoders = decoders_of(self.pairs, self.networks)
        if strategy == "S3":
            self.joint = joint_heads(self.encoders, self.networks)
        self.posteriors = Posteriors()
        self.terms: dict[str, Tensor] = {}

    def estimator(self) -> LatentPoseNet:
        """The RGB-only test path, as a bundle holds it."""
        decoders = dict(self.decoders.items())
        encoder = self.encoders["R"]
        assert isinstance(encoder, GaussianEncoder)
        net = LatentPoseNet(
            encoder, decoders["P"], decoders.get("H"), decoders.get("C"), CLOUD_UNIT
        )
        return net.train(self.training)

    def observe(self, batch: HandBatch) -> Seen:
        """What there is of every modality of the strategy."""
        letters = dict.fromkeys(self.pairs.encoded + self.pairs.decoded)
        return {letter: MODALITIES[letter].observe(batch, self.networks) for letter in letters}

    # ---- posteriors ----

    def encode(self, letter: str, seen: Seen) -> Posterior:
        """q(z | x) of one modality; N(0, I), and not valid, for samples that lack it."""
        return encoded(self.encoders[letter], seen[letter])

    def encode_jointly(self, seen: Seen) -> tuple[Posterior, Posterior]:
        """q(z | x) of the first modality and q(z | x, w) of all (Eq. 5.3)."""
        return encoded_jointly(self.encoders, self.joint, seen)

    def posterior(self, seen: Seen, inputs: str) -> Posterior:
        """q(z | inputs), as tested: of one modality, or of several as the strategy joins them.

        Raises:
            ValueError: inputs that the strategy cannot be given.
        """
        unknown = set(inputs) - set(self.pairs.encoded)
        if unknown or not inputs:
            raise ValueError(f"no encoder for {', '.join(sorted(unknown)) or 'nothing'}")
        if len(inputs) == 1:
            if self.strategy == "S3" and inputs != self.pairs.encoded[0]:
                raise ValueError(f"S3 encodes {inputs} only together with all others")
            return self.encode(inputs, seen)
        if self.strategy == "S3" and set(inputs) == set(self.pairs.encoded):
            return self.encode_jointly(seen)[1]
        if self.strategy != "S4":
            raise ValueError(f"{self.strategy} cannot be given {inputs} together")
        return Posterior.product([self.encode(letter, seen) for letter in inputs])

    # ---- objectives, to be minimised: each the negative of its equation ----

    def objective(self, seen: Seen) -> Tensor:
        """That of the strategy."""
        match self.strategy:
            case "S1" | "S2":
                return self.cross_modal(seen)
            case "S3":
                return self.kl_alignment(seen)
            case "S4":
                return self.product_alignment(seen)
            case "Spurr":
                return self.alternating(seen)

    def cross_modal(self, seen: Seen) -> Tensor:
        """Eq. 5.1 (one decoder) and Alg. 5.1 (several): ELBO(x; y, w)."""
        x = self.pairs.encoded
        q = self.encode(x, seen)
        recon = self.reconstruction({x: q}, seen)
        return -elbo(-recon[x], self.divergence(x, q), self.beta)

    def kl_alignment(self, seen: Seen) -> Tensor:
        """Eq. 5.3: ELBO(x, w; y, w) + ELBO(x; y, w) - beta' D_KL(q(z | x, w) || q(z | x))."""
        x = self.pairs.encoded[0]
        alone, joint = self.encode_jointly(seen)
        recon = self.reconstruction({x: alone, JOINT: joint}, seen)
        apart = kl_between(*joint.q, *alone.q).sum(dim=1)
        apart = masked_mean(apart, joint.valid)
        self.record("kl_between", apart)
        return (
            -elbo(-recon[JOINT], self.divergence(JOINT, joint), self.beta)
            - elbo(-recon[x], self.divergence(x, alone), self.beta)
            + self.beta_prime * apart
        )

    def product_alignment(self, seen: Seen) -> Tensor:
        """Eq. 5.4: the ELBO of each modality, and the likelihood under the product of them all."""
        experts = {letter: self.encode(letter, seen) for letter in self.pairs.encoded}
        joint = Posterior.product(list(experts.values()))
        # Where one expert is all there is, the product is that expert over again.
        several = torch.stack([expert.valid for expert in experts.values()]).sum(dim=0) > 1
        joint = joint._replace(valid=several)
        recon = self.reconstruction({**experts, JOINT: joint}, seen)
        total = recon[JOINT]
        for letter, q in experts.items():
            total = total - elbo(-recon[letter], self.divergence(letter, q), self.beta)
        return total

    def alternating(self, seen: Seen) -> Tensor:
        """Eq. 3.6, one of its ELBOs a step, by turns."""
        pairs = [(x, y) for x in self.pairs.encoded for y in self.pairs.decoded]
        x, y = pairs[self.global_step % len(pairs)]
        q = self.encode(x, seen)
        recon = self.reconstruction({x: q}, seen, decoded=y)
        return -elbo(-recon[x], self.divergence(x, q), self.beta)

    # ---- their parts ----

    @property
    def beta(self) -> float:
        """Weight of the divergences to the prior at this step."""
        return annealed(self.global_step, self.steps, *self.beta_range)

    def reconstruction(
        self, posteriors: Mapping[str, Posterior], seen: Seen, decoded: str | None = None
    ) -> dict[str, Tensor]:
        """L_recon (Eq. 5.10) of one z from each posterior, each a mean over the samples that have
        posterior and target. All posteriors go through a decoder together."""
        generator = noise(self.seed, self)
        z = torch.cat([q.sample(generator) for q, _ in posteriors.values()])
        known = torch.stack([valid for _, valid in posteriors.values()])
        total = z.new_zeros(len(posteriors))
        for letter in decoded or self.pairs.decoded:
            modality = MODALITIES[letter]
            target = seen[letter].repeated(len(posteriors))
            valid = known.flatten() & target.valid
            if not valid.any():
                continue
            # Others are not decoded: their z would count in batch normalisation.
            rows = slice(None) if valid.all() else valid
            loss = modality.loss(self.decoders[letter](z[rows]), target.rows(rows), self.networks)
            losses = z.new_zeros(len(z)).index_put((valid.nonzero()[:, 0],), loss).view_as(known)
            means = [masked_mean(*row) for row in zip(losses, valid.view_as(known), strict=True)]
            for name, mean in zip(posteriors, means, strict=True):
                self.record(f"{name}2{letter}", mean)
            total = total + modality.weight(self.weights) * torch.stack(means)
        return dict(zip(posteriors, total, strict=True))

    def divergence(self, name: str, posterior: Posterior) -> Tensor:
        """D_KL(q || p(z)), a mean over the samples; says when it is near zero everywhere."""
        kl = kl_to_prior(*posterior.q)
        total = masked_mean(kl.sum(dim=1), posterior.valid)
        self.record(f"kl_{name}", total)
        valid, step = posterior.valid, self.global_step
        self.terms |= self.posteriors.watch(name, kl, valid, step, self.beta)
        return total

    def record(self, name: str, value: Tensor) -> None:
        """Log a term of the loss."""
        self.terms[name] = value.detach()

    # ---- Lightning ----

    @property
    def needs(self) -> Contents:
        """What its modalities take of the data."""
        letters = self.pairs.encoded + self.pairs.decoded
        return Contents("D" in letters, self.networks.points if "C" in letters else 0)

    def training_step(self, batch: HandBatch, batch_idx: int) -> Tensor:
        """The objective of the strategy on one batch.

        Raises:
            ValueError: the data has nothing of a modality that is to be learnt.
        """
        seen = self.observe(batch)
        self.lessons.check(partial(lessons, self.strategy, self.pairs, seen))
        self.terms = {}
        self.log("train/beta", self.beta, batch_size=len(batch))
        return self.logged(self.objective(seen), self.terms, len(batch))

    @torch.no_grad()
    def predict(self, batch: HandBatch, inputs: str = "R") -> HandPose:
        """Poses from the mean of q(z | inputs), for instance from "RC" (Ch. 5.5.2).

        Raises:
            ValueError: see `posterior`; or a sample lacks the inputs.
        """
        q, valid = self.posterior(self.observe(batch), inputs)
        if not valid.all():
            lacking = batch.source[int((~valid).nonzero()[0, 0])]
            raise ValueError(f"no sample may lack {inputs}, as {lacking} does")
        size = batch.image.shape[-1]
        pose = self.estimator().decode(q.mu, size)
        return pose if size else replace(pose, uv=None)  # without pictures there are no pixels

    def on_train_epoch_start(self) -> None:
        """Keep what is frozen as it is."""
        self.parts.freeze(self)

    def configure_optimizers(self) -> Any:
        """Adam, with a rate for each part."""
        return self.adam(self.parts.groups(self, self.learning_rate), betas=self.betas)
