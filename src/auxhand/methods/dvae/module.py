"""Training of disentangled VAEs: the steps of Algorithms 4.1 and 4.2, one stage each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from auxhand.data.augment import Contents
from auxhand.losses.elbo import kl_to_prior, weighted_elbo
from auxhand.losses.pose import masked_mean
from auxhand.methods.dvae.posterior import encoded, others
from auxhand.methods.dvae.variables import (
    VARIABLES,
    Networks,
    joined,
    labels_alone,
    viewpoints_alone,
)
from auxhand.methods.dvae.variant import VARIANTS, VariantName, Weights
from auxhand.models.disentangled import DisentangledNet
from auxhand.models.gaussian import Gaussian, Posterior
from auxhand.monitor import Posteriors, noise
from auxhand.optim import Schedule
from auxhand.pose_module import PoseModule
from auxhand.sample import HandBatch, HandPose, Seen

LABELLED, UNPAIRED, WEAK = "labelled", "unpaired", "weak"
"""Names of the streams: all is told; poses without their images; images with viewpoints alone."""

Stage = Literal["disentangle", "embed"]

_TOLD: dict[str, Callable[[Seen], Seen]] = {
    LABELLED: lambda seen: seen,
    UNPAIRED: labels_alone,
    WEAK: viewpoints_alone,
}

Specified = dict[str, Posterior]
"""Posteriors by factor."""


class DisentangledVAE(PoseModule):
    """Hands by independent factors, learnt in two stages (Ch. 4).

    "disentangle" learns encoders of the factors, and all decoders (Eq. 4.2, 4.6); "embed" starts
    from its weights and learns encoders to the whole of z, of images among others, while all else
    is fixed to the last bit (Eq. 4.4, 4.8).

    Each term of an objective is a mean over the samples of the batch that have what it takes. So
    poses without images (stream "unpaired") teach the first stage, and images with viewpoints alone
    (stream "weak") the second.

    Args:
        variant: "synthesis" (Fig. 4.2a): images by pose and content, which tag images specify;
            "untagged" (Fig. 4.2b): as before, without tags; "pose" (Fig. 4.2c): 3D poses by
            canonical pose and viewpoint, from RGB.
        stage: see above.
        beta: weight of the divergences: 100 for synthesis, 0.01 for poses.
        networks: their sizes.
        weights: lambda_x, lambda_y.
        independence_steps: T2 of Alg. 4.2, inner steps after each step.
        learning_rate: of Adam.
        schedule: of the learning rate.
        seed: of the samples of z.
    """

    def __init__(
        self,
        variant: VariantName,
        stage: Stage,
        beta: float,
        networks: Networks | None = None,
        weights: Weights | None = None,
        independence_steps: int = 1,
        learning_rate: float = 1e-4,
        schedule: Schedule | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(learning_rate, schedule)
        self.variant = VARIANTS[variant]
        self.stage: Stage = stage
        self.beta = beta
        self.weights = self.variant.weights(weights or Weights())
        self.independence_steps = independence_steps
        self.seed = seed
        self.network: DisentangledNet = self.variant.network(networks or Networks())
        self.network.requires_grad_(False)
        for part in self.learning:
            part.requires_grad_()
        self.posteriors = Posteriors()
        self.terms: dict[str, Tensor] = {}
        self.outer: tuple[Seen, Specified, torch.Generator] | None = None
        self.train()  # Lightning leaves each network in the mode that it finds it in

    @property
    def learning(self) -> tuple[torch.nn.ModuleDict, ...]:
        """The networks that this stage changes: phi_y and theta, or phi_x."""
        if self.stage == "embed":
            return (self.network.embeddings,)
        return (self.network.encoders, self.network.decoders)

    def train(self, mode: bool = True) -> DisentangledVAE:
        """Networks that this stage does not change stay as they are tested, or batch normalisation
        would change them."""
        super().train(mode)
        self.network.eval()
        for part in self.learning:
            part.train(mode)
        return self

    def forward(self, image: Tensor) -> HandPose:
        """(B, 3, S, S) RGB in [0, 1], crops of right hands -> their poses."""
        pose: HandPose = self.network(image)
        return pose

    def estimator(self) -> DisentangledNet:
        """What a bundle holds: of poses the RGB-only test path, of images all that synthesises
        them; without encoders of images as long as these are not trained."""
        net = self.network
        if self.stage == "disentangle":
            return net.reduced(net.encoders, [], net.decoders)
        encoders = list(net.encoders) if "image" in net.decoders else []
        return net.reduced(encoders, ["image"], net.decoders)

    def observe(self, batch: HandBatch | Mapping[str, HandBatch]) -> Seen:
        """What there is of every variable, and may be read.

        Raises:
            ValueError: a stream of another name.
        """
        if isinstance(batch, HandBatch):
            batch = {LABELLED: batch}
        if unknown := sorted(batch.keys() - _TOLD.keys()):
            raise ValueError(f"streams are {', '.join(_TOLD)}; the data have {unknown[0]!r}")
        return joined(
            [
                _TOLD[name]({v: VARIABLES[v].observe(samples) for v in self.variant.variables})
                for name, samples in batch.items()
            ]
        )

    # ---- objectives, to be minimised: each the negative of its equation ----

    def objective(self, seen: Seen) -> Tensor:
        """That of the stage."""
        return self.embedding(seen) if self.stage == "embed" else self.disentangling(seen)

    def disentangling(self, seen: Seen) -> Tensor:
        """Eq. 4.2 (Alg. 4.1, lines 3 to 6) and Eq. 4.6 (Alg. 4.2, lines 3 to 6)."""
        posteriors = self.specify(seen)
        generator = noise(self.seed, self)
        z = self.network.join({f: q.sample(generator) for f, (q, _) in posteriors.items()})
        self.outer = seen, {f: p.detached() for f, p in posteriors.items()}, generator
        known = {f: valid for f, (_, valid) in posteriors.items()}
        likelihoods = self.log_likelihoods(z, known, seen)
        divergence = self.divergence(posteriors)
        return -weighted_elbo(likelihoods, self.weights, divergence, self.beta)

    def independence(self, seen: Seen, posteriors: Specified, generator: torch.Generator) -> Tensor:
        """Alg. 4.2, lines 8 to 11: y, decoded from its own factor and those of other samples.

        The algorithm draws z_noise from N(mu, sigma), with mu and sigma of the sample itself; but
        that z is as dependent on y as before. Here they are those of another sample.

        Args:
            seen, posteriors: of the step before; the posteriors without gradient.
            generator: of that step's noise, which goes on.
        """
        likelihoods: dict[str, Tensor] = {}
        for y, own in self.variant.confounded.items():
            q, valid = self.encode(own, seen)
            parts, known = {own: q.sample(generator)}, {own: valid}
            for factor in self.variant.decoded[y]:
                if factor != own:
                    rest = posteriors[factor]
                    known[factor] = valid & rest.valid
                    parts[factor] = rest.q.sample(generator)[others(known[factor], generator)]
            z = self.network.join(parts)
            likelihoods |= self.log_likelihoods(z, known, seen, only=y)
        return -weighted_elbo(likelihoods, self.weights, z.new_zeros(()), 0.0)

    def embedding(self, seen: Seen) -> Tensor:
        """Eq. 4.4 of x, and Eq. 4.8 of a further modality (Alg. 4.1, lines 9 to 12; Alg. 4.2, lines
        15 to 18); and beside them, of samples whose x is not known, the same bound of what is.

        The latter is weak supervision, "the VAE with q_x^ and p_y2" (Ch. 4.3.3). Its y2 is what is
        decoded, as x is in the others, so it has their lambda_x: with lambda_y = 0.01 the
        divergence would weigh a hundred times more beside it, and draw z to the prior. Those
        factors count that the weak labels depend on.
        """
        total = torch.zeros((), device=self.device)
        told, whole = self.told(seen), seen[self.variant.x].valid
        generator = noise(self.seed, self)
        weak = dict.fromkeys(self.weights, self.weights[self.variant.x])
        for variable in self.variant.embedded:
            q, valid = self.embed(variable, seen)
            z = q.sample(generator)
            mu, logvar = self.network.split(q.mu), self.network.split(q.logvar)
            bounds = (variable, whole, self.weights), (f"weak_{variable}", ~whole, weak)
            for source, rows, weights in bounds:
                known = dict.fromkeys(self.network.factors, valid & rows)
                likelihoods = self.log_likelihoods(z, known, seen, source=source)
                if not likelihoods:
                    continue
                posteriors = {
                    f: Posterior(Gaussian(mu[f], logvar[f]), known[f] & told[f]) for f in mu
                }
                divergence = self.divergence(posteriors, source=source)
                total = total - weighted_elbo(likelihoods, weights, divergence, self.beta)
        return total

    # ---- their parts ----

    def encode(self, factor: str, seen: Seen) -> Posterior:
        """q(z_f | y)."""
        net = self.network
        y = seen[self.variant.factors[factor]]
        return encoded(partial(net.specify, factor), y, net.factors[factor])

    def embed(self, variable: str, seen: Seen) -> Posterior:
        """q(z | variable), of all factors."""
        net = self.network
        return encoded(partial(net.embed, variable), seen[variable], net.latent)

    def specify(self, seen: Seen) -> Specified:
        """q(z_f | y) of all factors."""
        return {factor: self.encode(factor, seen) for factor in self.network.factors}

    def log_likelihoods(
        self,
        z: Tensor,
        known: Mapping[str, Tensor],
        seen: Seen,
        source: str = "factors",
        only: str | None = None,
    ) -> dict[str, Tensor]:
        """E_z log p(v | z) of each decoded variable v, a mean over the samples that have it and
        whose factors are `known`, (B,) bool; v is left out where there are none.

        Args:
            z: (B, D), one for each sample.
            known: of the factors that z has.
            seen: the variables.
            source: what z is from, for the log.
            only: the one variable that is decoded; None: all.
        """
        means = {}
        for variable in [only] if only else self.network.decoded:
            target = seen[variable]
            reads = [known[factor] for factor in self.network.decoded[variable]]
            rows = torch.stack([target.valid, *reads]).all(dim=0)
            if rows.any():
                # Others are not decoded: their z would count in batch normalisation.
                decoded = self.network.reconstruct(variable, z[rows])
                value = VARIABLES[variable].log_likelihood(decoded, target.rows(rows)).mean()
                means[variable] = value
                if only is None:
                    self.record(f"{source}2{variable}", value)
        return means

    def told(self, seen: Seen) -> dict[str, Tensor]:
        """(B,) bool by factor: samples with a variable that is decoded from it."""
        return {
            factor: torch.stack(
                [seen[v].valid for v, read in self.network.decoded.items() if factor in read]
            ).any(dim=0)
            for factor in self.network.factors
        }

    def divergence(self, posteriors: Specified, source: str = "factors") -> Tensor:
        """D_KL(q(z) || p(z)): the factors are independent, so it is the sum of theirs. Each is a
        mean over the samples that have it."""
        total = torch.zeros((), device=self.device)
        for factor, (q, valid) in posteriors.items():
            kl, name = kl_to_prior(*q), f"{source}_{factor}"
            total = total + (mean := masked_mean(kl.sum(dim=1), valid))
            self.terms[f"kl_{name}"] = mean.detach()
            self.terms |= self.posteriors.watch(name, kl, valid, self.global_step, self.beta)
        return total

    def record(self, name: str, value: Tensor) -> None:
        """Log a term of the objective."""
        self.terms[name] = value.detach()

    # ---- Lightning ----

    @property
    def needs(self) -> Contents:
        """Tag images, where a factor is specified by them; images, where they are learnt from."""
        embedded = self.variant.embedded if self.stage == "embed" else ()
        learnt = {self.variant.x, *self.variant.factors.values(), *embedded}
        return Contents(content="content" in self.variant.variables, picture="image" in learnt)

    def on_fit_start(self) -> None:
        """Inner steps are steps of their own.

        Raises:
            ValueError: a trainer that would not take them as such.
        """
        alone = self.trainer.world_size == 1 and self.trainer.accumulate_grad_batches == 1
        if self.takes_inner_steps and not alone:
            raise ValueError(
                "the inner steps of Algorithm 4.2 want one process and each batch a step: set "
                "trainer.devices=1 and trainer.accumulate_grad_batches=1"
            )

    @property
    def takes_inner_steps(self) -> bool:
        """Is this stage one of Alg. 4.2 that makes factors independent."""
        return self.stage == "disentangle" and bool(
            self.variant.confounded and self.independence_steps
        )

    def training_step(self, batch: HandBatch | Mapping[str, HandBatch], batch_idx: int) -> Tensor:
        """The objective of the stage on one batch.

        Raises:
            ValueError: the data have nothing of a variable that is to be learnt.
        """
        seen = self.observe(batch)
        self.lessons.check(partial(self.teaching, seen))
        self.terms = {}
        count = len(next(iter(seen.values())).valid)
        return self.logged(self.objective(seen), self.terms, count)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Alg. 4.2, lines 7 to 12: T2 steps of phi_y1 and theta_y1 alone.

        Raises:
            FloatingPointError: the loss of an inner step is not finite.
        """
        if not (self.takes_inner_steps and self.outer):
            return
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        for _ in range(self.independence_steps):
            with self.trainer.precision_plugin.forward_context():
                loss = self.independence(*self.outer)
            if not loss.isfinite():
                raise FloatingPointError(
                    f"step {self.global_step}: the loss of an inner step is not finite: lower the "
                    "learning rate, or clip gradients (trainer.gradient_clip_val)"
                )
            if loss.requires_grad:
                optimizer.zero_grad()  # parameters without a gradient are not stepped
                loss.backward()  # type: ignore[no-untyped-call]
                self.clip_gradients(optimizer)
                optimizer.step()
                self.log("train/independence", loss.detach(), batch_size=1)
        self.outer = None

    def teaching(self, seen: Seen) -> dict[str, Tensor]:
        """What this stage learns from, in words, and which samples have it, (B,) bool."""
        sources = self.variant.factors.values()
        names = self.variant.embedded if self.stage == "embed" else [*sources, self.variant.x]
        return {VARIABLES[name].words: seen[name].complete for name in names}

    @torch.no_grad()
    def reconstructed(self, batch: HandBatch) -> HandPose:
        """Poses of the factors that the labels specify, through z: what the first stage learns."""
        posteriors = self.specify(self.observe(batch))
        return self.network.decode(self.network.join({f: q.mu for f, (q, _) in posteriors.items()}))

    def validation_step(self, batch: HandBatch, batch_idx: int) -> None:
        """From RGB alone, once images are embedded; of the labels themselves before."""
        pose = self(batch.image) if self.stage == "embed" else self.reconstructed(batch)
        self.validate(pose, batch)

    def configure_optimizers(self) -> Any:
        """Adam of what this stage learns."""
        return self.adam([p for part in self.learning for p in part.parameters()])
