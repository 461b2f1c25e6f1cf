"""Dual-modality network (Ch. 7.3): RGB and depth maps in pre-training, RGB alone afterwards.

Stage "pretrain" is L_s + lambda_c L_c on labelled samples (Eq. 7.7), stage "finetune"
L_s + lambda_f L_f + lambda_l L_l on these and unlabelled ones (Eq. 7.10), from the weights of the
first stage. What the chapter leaves open, and how it is read here, is in
docs/methods/dual_modality.md.

Of the unlabelled images nothing is read but the image and the hand's box. A pseudo-label is
corrected in 3D, which takes a camera: K is what the camera is, not a label of the hand, and where a
stream tells it ("use: weak, told: [K, side]") it is used. Networks see right hands: a stream with
left ones tells the side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from auxhand.data.augment import Contents
from auxhand.data.depth_texture import DepthTexture
from auxhand.data.perturbation import Perturbation
from auxhand.geometry.crop import inverse
from auxhand.geometry.similarity import compose, move_uv
from auxhand.geometry.warp import warp_image
from auxhand.hand.anatomy import BONE_RANGES
from auxhand.losses.consistency import OUTPUT_CELLS, MultiModal, self_distillation
from auxhand.losses.contrastive import (
    VARIANTS,
    Projections,
    multimodal_contrastive,
    of_other_processes,
)
from auxhand.losses.pseudo_labels import (
    REFERENCE,
    Averaged,
    averaged,
    checked_template,
    pseudo_label_loss,
    rectified,
)
from auxhand.losses.supervision import TERMS, labelled_joints, multimodal_loss, relative_depth
from auxhand.methods.dual_modality.objective import Objective
from auxhand.models.dual_branch import Branch, Branches, DualBranch
from auxhand.models.mlp import Projection
from auxhand.models.pose_net import PoseNet
from auxhand.monitor import noise
from auxhand.optim import Schedule
from auxhand.pose_module import SOURCE, TARGET, PoseModule
from auxhand.sample import HandBatch, HandPose, Views

Stage = Literal["pretrain", "finetune"]


class DualModality(PoseModule):
    """Trains a `DualBranch`; its RGB branch is the test path.

    Args:
        network: the three branches.
        stage: "pretrain", with batches of two views of labelled samples that share their place, or
            "finetune", with labelled samples and two views of unlabelled ones.
        objective: weights and parts.
        weak: weak augmentation, of the unlabelled samples' plain crops.
        depth_texture: T_DM.
        template: lengths of the 20 `skeleton.BONES` of the target's hand, in any unit, which
            corrected pseudo-labels get: a label of the target. None: the ranges of all hands.
        learning_rate, betas, schedule: of Adam.
        seed: of depths, their textures and weak augmentations.

    Raises:
        ValueError: a template that is no hand's.
    """

    def __init__(
        self,
        network: DualBranch,
        stage: Stage = "pretrain",
        objective: Objective | None = None,
        weak: Perturbation | None = None,
        depth_texture: DepthTexture | None = None,
        template: Sequence[float] | None = None,
        learning_rate: float = 2.5e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        schedule: Schedule | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(learning_rate, schedule)
        self.objective = objective or Objective()
        self.network = network.to(memory_format=torch.channels_last)
        self.stop_gradient = VARIANTS[self.objective.variant].stop_gradient
        self.stage: Stage = stage
        self.weak = weak or Perturbation(shift=2.0, together=True)
        self.depth_texture = depth_texture or DepthTexture()
        self.ranges = BONE_RANGES if template is None else _of_one_hand(template)
        self.betas = betas
        self.seed = seed
        contrasts = stage == "pretrain" and VARIANTS[self.objective.variant].pairs
        self.projection = Projection(network.body.context_channels) if contrasts else None

    @property
    def needs(self) -> Contents:
        """Depth maps of the hand alone."""
        return Contents(depth="hand")

    def estimator(self) -> PoseNet:
        """The RGB branch: the RGB-only test path, as a bundle holds it."""
        return self.network.estimator()

    def on_estimator_loaded(self) -> None:
        """The other branches begin with the batch norms of the RGB branch too."""
        self.network.follow()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Eq. 7.7 or 7.10.

        Raises:
            ValueError: the source has no label that is learnt from, or crops of the target that
                turn the camera.
        """
        source: HandBatch = batch.first if self.stage == "pretrain" else batch[SOURCE]
        self.lessons.check(lambda: _lessons(source))
        if self.stage == "pretrain":
            terms = self.pretraining(batch)
        else:
            terms = self.finetuning(source, batch[TARGET])
        return self.logged(torch.stack(list(terms.values())).sum(), terms, len(source))

    def pretraining(self, views: Views) -> dict[str, Tensor]:
        """The weighted terms of L_s + lambda_c L_c (Eq. 7.7); both views are one pass."""
        batch, count = HandBatch.join(views), len(views.first)
        image, rng = batch.image, noise(self.seed, self)
        rgb = self.network.see(image)
        depth = self.fed(rgb, batch, count, rng)
        depth = torch.cat([depth[:count], self.depth_texture(depth[count:], rng)])
        branches = Branches(rgb, *self.network.fuse(image, depth, self.stop_gradient))
        terms = {"supervised": self.supervised([_said(branch) for branch in branches], batch)}
        if self.objective.heatmap_cross_entropy:
            terms["heatmaps"] = self.heatmaps(branches, batch)
        if self.projection is not None:
            terms["contrastive"] = self.objective.contrastive * self.contrastive(branches, count)
        return terms

    def finetuning(self, source: HandBatch, target: Views) -> dict[str, Tensor]:
        """The weighted terms of L_s + lambda_f L_f + lambda_l L_l (Eq. 7.10); labelled, weakly and
        strongly augmented samples are one pass.

        Raises:
            ValueError: crops of the target that turn the camera.
        """
        self.expect_plain(target.first)
        weights, labelled, count = self.objective, len(source), len(target.first)
        size, rng = source.image.shape[-1], noise(self.seed, self, "cpu")
        T = self.weak.draw(count, size, rng).to(source.image)
        weak = warp_image(target.first.image, T, (size, size), padding="border")
        image = torch.cat([source.image, weak, target.second.image])
        rgb = self.network.see(image)
        unlabelled = _as_large(rgb.pose, size)[labelled:]
        depth = torch.cat([self.fed(rgb, source, labelled, rng), unlabelled])
        branches = Branches(rgb, *self.network.fuse(image, depth, self.stop_gradient))
        y = [_said(branch) for branch in branches]
        known, unknown = slice(labelled), slice(labelled, None)
        terms = {"supervised": self.supervised([said.rows(known) for said in y], source)}
        if weights.heatmap_cross_entropy:
            terms["heatmaps"] = self.heatmaps(branches, source)
        if weights.distillation:
            rgb_y, fusion_y = y[0].rows(unknown), y[2].rows(unknown)
            distilled = self_distillation(
                rgb_y,
                fusion_y,
                size,
                weights.detached,
                weights.mask,
                weights.depth_map,
                weights.depth,
            )
            terms["distillation"] = weights.distillation * distilled
        if weights.pseudo_labels:
            easy, hard = slice(labelled, labelled + count), slice(labelled + count, None)
            K = compose(T, target.first.cameras)
            label = self.pseudo_label([y[0].rows(easy), y[2].rows(easy)], K, size)
            A = compose(target.transform.A.to(T), inverse(T))
            carried = label._replace(uv=move_uv(A, label.uv))
            learnt = self.pseudo_labelling([said.rows(hard) for said in y], carried, size)
            terms["pseudo_labels"] = weights.pseudo_labels * learnt
        return terms

    def fed(self, rgb: Branch, batch: HandBatch, pairs: int, rng: torch.Generator) -> Tensor:
        """(B, H, W) depth maps for the depth branch: the true ones or, by chance and where these
        are not known, those that the RGB branch predicts (Ch. 7.3.3).

        Args:
            rgb: what the RGB branch says of the batch, and maybe of more after it.
            batch: labelled samples.
            pairs: of two views of the same `pairs` samples, both or neither are fed the truth.
            rng: of the choice.
        """
        true, known = relative_depth(batch)
        drawn = torch.rand(pairs, generator=rng, device=rng.device) < self.objective.true_depth
        chosen = known & drawn.to(known.device).repeat(len(batch) // pairs)
        predicted = _as_large(rgb.pose, batch.image.shape[-1])[: len(batch)]
        return torch.where(chosen[:, None, None], true, predicted)

    def supervised(self, branches: Sequence[MultiModal], batch: HandBatch) -> Tensor:
        """L_s = M(y_RGB, y_gt) + M(y_DM, y_gt) + M(y_F, y_gt) (Eq. 7.6)."""
        w = self.objective
        return torch.stack(
            [multimodal_loss(y, batch, w.mask, w.depth_map, w.depth) for y in branches]
        ).sum()

    def heatmaps(self, branches: Branches, batch: HandBatch) -> Tensor:
        """The weighted cross-entropy of the branches' heatmaps, whose first samples are `batch`."""
        losses = []
        for branch in branches:
            heatmaps = branch.pose.heatmaps
            assert heatmaps is not None
            pose = HandPose(heatmaps=heatmaps[: len(batch)])
            losses.append(TERMS["heatmap_cross_entropy"](pose, batch))
        return self.objective.heatmap_cross_entropy * torch.stack(losses).sum()

    def contrastive(self, branches: Branches, count: int) -> Tensor:
        """L_c (Eq. 7.5), of `contrastive_batch` samples like the `count` whose two views are here;
        negatives come from all processes."""
        assert self.projection is not None
        w = self.objective
        names = {name.removesuffix("_plus") for pair in VARIANTS[w.variant].pairs for name in pair}
        z: dict[str, Tensor] = {}
        for name in sorted(names):
            both = self.projection(getattr(branches, name).context)
            z[name], z[f"{name}_plus"] = both.split(count)
        a_sample = multimodal_contrastive(
            Projections(**z), w.variant, w.temperature, w.form, of_other_processes
        )
        return w.contrastive_batch * a_sample

    @torch.no_grad()
    def pseudo_label(self, branches: Sequence[MultiModal], K: Tensor, size: int) -> Averaged:
        """r, the mean of the branches' poses before and after correction, and C(r), their variance
        (Ch. 7.3.5.1); infinite where a pose could not be corrected.

        Args:
            branches: what the RGB and the fusion branch say of weakly augmented crops.
            K: (B, 3, 3) intrinsics of these crops.
            size: of these crops in pixels.
        """
        corrections = [rectified(*y.p, K, self.ranges.to(K)) for y in branches]
        poses = [y.p for y in branches] + [(r.uv, r.d) for r in corrections]
        label = averaged(poses, size / OUTPUT_CELLS, self.objective.depth)
        valid = torch.stack([r.valid for r in corrections]).all(dim=0)
        return label._replace(variance=torch.where(valid, label.variance, torch.inf))

    def pseudo_labelling(
        self, branches: Sequence[MultiModal], label: Averaged, size: int
    ) -> Tensor:
        """L_l (Eq. 7.8), summed over the branches: the label supervises all of them.

        Args:
            branches: what they say of strongly augmented crops.
            label: r carried into these crops, and C(r).
            size: of these crops in pixels.
        """
        w, unit, count = self.objective, size / OUTPUT_CELLS, len(label.variance)
        epsilon = w.epsilon
        if w.kept_share is not None:
            found = label.variance.quantile(w.kept_share, interpolation="lower")
            # What could not be corrected is infinite, and is no label, whatever the share.
            epsilon = min(float(found), torch.finfo(found.dtype).max)
        kept = label.variance <= epsilon
        self.log("train/kept", kept.float().mean(), batch_size=count)
        uncorrected = label.variance.isinf().float().mean()
        self.log("train/uncorrected", uncorrected, batch_size=count)
        r = label.uv, label.d
        losses = [
            pseudo_label_loss(y.p, r, label.variance, unit, epsilon, w.depth) for y in branches
        ]
        return torch.stack(losses).sum()

    def on_train_start(self) -> None:
        """The data must be what the stage learns from.

        Raises:
            ValueError: they are not.
        """
        if self.stage == "finetune":
            self.expect_source_and_target()
        elif [stream.same_place for stream in self.data.streams.values()] != [True]:
            raise ValueError(
                "pre-training takes one stream, of two views of the same place "
                "(data.init_args.train: views: 2, same_place: true)"
            )

    def configure_optimizers(self) -> Any:
        """Adam."""
        return self.adam(self.parameters(), betas=self.betas)


def _lessons(batch: HandBatch) -> dict[str, Tensor]:
    return {
        "a labelled pose": labelled_joints(batch).any(dim=1),
        "a labelled depth map": relative_depth(batch)[1],
    }


def _of_one_hand(template: Sequence[float]) -> Tensor:
    """(20, 2) ranges in reference lengths that hold one hand's bone lengths alone."""
    lengths = checked_template(template)
    return (lengths / lengths[REFERENCE])[:, None].repeat(1, 2)


def _said(branch: Branch) -> MultiModal:
    """y of a branch."""
    p = branch.pose
    assert p.uv is not None
    assert p.d is not None
    assert p.mask is not None
    assert p.depth is not None
    return MultiModal(p.uv, p.d, p.mask, p.depth)


def _as_large(pose: HandPose, size: int) -> Tensor:
    """(B, size, size) the predicted depth, as an input: without a gradient."""
    assert pose.depth is not None
    return interpolate(pose.depth.detach()[:, None], (size, size), mode="bilinear")[:, 0]
