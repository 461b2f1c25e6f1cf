"""SemiHand: labelled synthetic and unlabelled real images (Ch. 6.3, Algorithm 6.1).

L = L_sup(X_L) + L_unsup(X_U) + lambda_c L_cons(X_L, X_U) (Eq. 6.1). The stage "pretrain" is L_sup
alone, "finetune" all of it, from the weights of the first stage. What the chapter leaves open, and
how it is read here, is in docs/methods/semihand.md.

Of the unlabelled images nothing is read but the image and the hand's box. A pseudo-label is
corrected in 3D, which takes a camera: K is what the camera is, not a label of the hand, and where a
stream tells it ("use: weak, told: [K, side]") it is used. Where none is told a crop is read as from
far away (`camera.CROP_FOV`), so that no perspective is invented. Networks see right hands: a stream
with left ones tells the side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from auxhand.data.perturbation import Perturbation
from auxhand.geometry.crop import inverse
from auxhand.geometry.heatmap import pixels_to_cells
from auxhand.geometry.similarity import move_uv
from auxhand.geometry.warp import warp_image
from auxhand.hand.skeleton import BONES
from auxhand.losses.consistency import (
    DEPTH_WEIGHT,
    OUTPUT_CELLS,
    UVD,
    Detached,
    PoseAndMask,
    cross_modal_consistency,
    pose_distance,
    view_consistency,
)
from auxhand.losses.pose import (
    coordinate_loss,
    heatmap_cross_entropy,
    mask_loss,
    masked_mean,
    resized,
)
from auxhand.losses.pseudo_labels import (
    checked_template,
    confidence,
    corrected,
    renewed,
    typical_lengths,
)
from auxhand.losses.supervision import TERMS, labelled_joints, relative_pose
from auxhand.methods.semihand.labels import Labels, PseudoLabels
from auxhand.models.pose_net import PoseNet
from auxhand.monitor import noise
from auxhand.optim import Schedule
from auxhand.pose_module import SOURCE, TARGET, PoseModule
from auxhand.sample import HandBatch, HandPose, Views

Stage = Literal["pretrain", "finetune"]

_NOT_NEGATIVE = (
    "depth",
    "mask",
    "consistency",
    "tau",
    "correction",
    "tolerance",
    "presence",
    "side",
    "mask_consistency",
    "heatmap_cross_entropy",
    "label_cross_entropy",
)


@dataclass(frozen=True)
class Objective:
    """Eq. 6.1 to 6.10 in numbers (Ch. 6.4.1), and which of its parts are there (Table 6.1).

    Attributes:
        depth: lambda_d of Eq. 6.2.
        mask: lambda_w of Eq. 6.3.
        consistency: lambda_c of Eq. 6.1.
        tau: most C(p^) of a trusted pseudo-label, Eq. 6.6.
        trusted_share: instead of a tau that is given: in each iteration the one that this share of
            the pseudo-labels has at most. A network that learns from itself agrees with itself ever
            more, so that under one tau ever more labels are trusted, which are no better.
        draws: perturbations that C(p^) is a mean over.
        averaged: p' is the mean of f(x) and of what is said of the perturbed images, carried back,
            from which Fig. 6.1 makes a pseudo-label too; without, f(x), as Algorithm 6.1 has it.
        correction: weight of l(r, p) in Eq. 6.6.
        view: with L_vc.
        cross_modal: with L_cc.
        pseudo_labels: with L_unsup.
        registration: pseudo-labels are corrected (P of Eq. 6.5); without, r = p^.
        tolerance: share by which their bones may differ from the template (`corrected`).
        difficulties: trusted samples are shown with diversity augmentation, the others with
            perturbation (Ch. 6.3.4); without, all of them are perturbed.
        detached: the side of L_vc without a gradient.
        presence, side: weights of what a network says besides, which L_sup then teaches too, so
            that a model which finds hands does not forget it; the chapter's network says neither.
        mask_consistency: weight of L_cc of the pose and the true mask (Eq. 6.11), of labelled
            samples whose mask is known and whose joints are not: weak labels (Fig. 6.10), which
            teach the pose by nothing else.
        heatmap_cross_entropy: weight of a term that the chapter does not have either, beside uv in
            L_sup: with few images a small network learns several times faster where each joint is.
        label_cross_entropy: weight of the same term beside l(p, p^), for a network that reads uv at
            the heatmaps' peaks, which l alone does not teach.

    Raises:
        ValueError: a negative weight, threshold or tolerance, a share outside [0, 1], no draws, or
            a side that is none of those.
    """

    depth: float = DEPTH_WEIGHT
    mask: float = 100.0
    consistency: float = 0.1
    tau: float = 1.5
    trusted_share: float | None = None
    draws: int = 1
    averaged: bool = False
    correction: float = 1.0
    view: bool = True
    cross_modal: bool = True
    pseudo_labels: bool = True
    registration: bool = True
    tolerance: float = 0.0
    difficulties: bool = True
    detached: Detached = "neither"
    presence: float = 0.0
    side: float = 0.0
    mask_consistency: float = 0.0
    heatmap_cross_entropy: float = 0.0
    label_cross_entropy: float = 0.0

    def __post_init__(self) -> None:
        for name in _NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise ValueError(f"objective.{name} is at least 0, got {getattr(self, name)}")
        if self.trusted_share is not None and not 0 <= self.trusted_share <= 1:
            raise ValueError(f"objective.trusted_share lies in [0, 1]; got {self.trusted_share}")
        if self.draws < 1:
            raise ValueError(f"objective.draws is at least 1, got {self.draws}")
        if self.detached not in get_args(Detached):
            words = ", ".join(get_args(Detached))
            raise ValueError(f"objective.detached is one of {words}; got {self.detached!r}")


class Predicted(NamedTuple):
    """What the network says of plain crops of `size` pixels, on the CPU.

    Attributes:
        numbers: (B,) of the samples.
        pose: p' = f(x), or a mean with the perturbed ones (`Objective.averaged`).
        K: (B, 3, 3) intrinsics.
        names: where the samples come from.
        perturbed: f(T x) of each perturbation that is drawn.
        T: their similarities of the pixels, (B, 3, 3) each.
        size: of the crops.
    """

    numbers: Tensor
    pose: UVD
    K: Tensor
    names: tuple[str, ...]
    perturbed: list[UVD]
    T: list[Tensor]
    size: int


class Shown(NamedTuple):
    """What the network says of images of unlabelled samples.

    Attributes:
        pose: of N of them.
        A: (B, 3, 3) similarities from the pixels of the plain crops to those of these images.
    """

    pose: HandPose
    A: Tensor


class SemiHand(PoseModule):
    """Trains a `PoseNet` with 2.5D poses and masks on labelled and unlabelled crops.

    Args:
        network: predicts uv, d and mask.
        stage: "pretrain", with batches of the labelled stream, or "finetune", with both.
        objective: weights and parts.
        perturbation: T of Eq. 6.8 and 6.10.
        template: lengths of the 20 `skeleton.BONES` of the target's hand, in any unit: a label of
            the target. None: the median of what the pre-trained network predicts on it, of the
            half that changes least when the image is moved.
        learning_rate, weight_decay, schedule: of AdamW (Adam without decay).
        seed: of the perturbations.

    Raises:
        ValueError: a template that is no hand's.
    """

    def __init__(
        self,
        network: PoseNet,
        stage: Stage = "finetune",
        objective: Objective | None = None,
        perturbation: Perturbation | None = None,
        template: Sequence[float] | None = None,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.0,
        schedule: Schedule | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(learning_rate, schedule)
        self.network = network.to(memory_format=torch.channels_last)
        self.stage: Stage = stage
        self.objective = objective or Objective()
        self.perturbation = perturbation or Perturbation()
        self.weight_decay = weight_decay
        self.seed = seed
        self.given = template is not None
        self.labels = PseudoLabels()
        self.images_digest = ""
        self.tau = self.objective.tau
        self.template = torch.zeros(len(BONES)) if template is None else checked_template(template)

    def estimator(self) -> PoseNet:
        """The RGB-only test path, as a bundle holds it."""
        return self.network

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Eq. 6.1.

        Raises:
            ValueError: the source has no label that is learnt from.
        """
        source: HandBatch = batch[SOURCE] if isinstance(batch, Mapping) else batch
        self.lessons.check(lambda: {"a labelled pose": labelled_joints(source).any(dim=1)})
        if self.stage == "pretrain":
            terms = {"supervised": self.supervised(self.network.stages(source.image), source)}
        else:
            terms = self.mixed(source, batch[TARGET])
        return self.logged(torch.stack(list(terms.values())).sum(), terms, len(source))

    def mixed(self, source: HandBatch, target: Views) -> dict[str, Tensor]:
        """The weighted terms of Eq. 6.1; f(x) of both streams and of the trusted samples' diverse
        images is one pass, so that batch norms see both domains, as those of a prediction have.
        Crops that are known to show no hand have no pose that could be consistent."""
        weights, count, plain = self.objective, len(source), target.first
        size, labels = source.image.shape[-1], None
        diverse = target.second.image[:0]
        if weights.pseudo_labels:
            labels = self.labels.read(plain.index, size)
            if weights.difficulties:
                diverse = target.second.image[labels.trusted(self.tau)]
        image = torch.cat([source.image, plain.image, diverse])
        stages = self.network.stages(image)
        empty = source.valid["presence"] & (source.presence == 0)
        hand = torch.cat([~empty, torch.ones_like(plain.valid["image"])])
        image = image[: len(hand)][hand]
        both = _rows(stages[-1], slice(len(hand)))
        seen = PoseAndMask(*(value[hand] for value in _pose_and_mask(both)))
        known = [_rows(stage, slice(count)) for stage in stages]
        terms = {"supervised": self.supervised(known, source)}
        if weights.cross_modal:
            cross = cross_modal_consistency(seen.uv, seen.mask, size).mean()
            terms["cross_modal"] = weights.consistency * cross
        if not weights.view and labels is None:
            return terms
        T = self.perturbation.draw(len(image), size, noise(self.seed, self, "cpu")).to(image)
        said = self.network(warp_image(image, T, (size, size), padding="border"))
        if weights.view:
            moved = _pose_and_mask(said)
            view = view_consistency(moved, seen, T, size, weights.depth, detached=weights.detached)
            terms["view"] = weights.consistency * view
        if labels is not None:
            perturbed = Shown(_rows(said, slice(-len(plain), None)), T[-len(plain) :])
            A = target.transform.A.to(T)
            strong = Shown(_rows(stages[-1], slice(len(hand), None)), A)
            terms["pseudo_labels"] = self._unsupervised(labels, perturbed, strong, size)
        return terms

    def supervised(self, stages: Iterable[HandPose], batch: HandBatch) -> Tensor:
        """L_sup = l(p, p_gt) + lambda_w |w - w_gt|_1 (Eq. 6.3), mean over the network's stages
        (intermediate supervision); uv, d and mask are each a mean over what is labelled."""
        in_image, (xyz, in_3d) = batch.joint_mask("joints_uv"), relative_pose(batch)
        unit, losses = batch.image.shape[-1] / OUTPUT_CELLS, []
        for pose in stages:
            p = _pose_and_mask(pose)
            uv = coordinate_loss(p.uv / unit, batch.joints_uv / unit, in_image)
            d = coordinate_loss(p.d[..., None], xyz[..., 2:], in_3d)
            mask = mask_loss(p.mask, batch.mask, batch.valid["mask"])
            loss = uv + self.objective.depth * d + self.objective.mask * mask
            if weight := self.objective.mask_consistency:
                weak = batch.valid["mask"] & ~in_image.any(dim=1)
                true = resized(batch.mask, p.mask)
                cross = cross_modal_consistency(p.uv, true, batch.image.shape[-1])
                loss = loss + weight * masked_mean(cross, weak)
            for name in ("presence", "side", "heatmap_cross_entropy"):
                if weight := getattr(self.objective, name):
                    loss = loss + weight * TERMS[name](pose, batch)
            losses.append(loss)
        return torch.stack(losses).mean()

    def _unsupervised(self, labels: Labels, perturbed: Shown, diverse: Shown, size: int) -> Tensor:
        """L_unsup = 1(C(p^) <= tau) l(p, p^) + l(r, p) (Eq. 6.6), mean over samples.

        Args:
            labels: of all unlabelled samples of the batch.
            perturbed: what is said of all of them.
            diverse: what is said of the trusted ones, if these are shown so; A of all.
            size: of the crops.
        """
        depth, count = self.objective.depth, len(labels.cost)
        trusted = labels.trusted(self.tau)
        self.log("train/trusted", trusted.float().mean(), batch_size=count)
        self.log("train/uncorrected", (~labels.valid).float().mean(), batch_size=count)
        uv, d, A = (value.clone() for value in (*_uv_and_d(perturbed.pose), perturbed.A))
        maps = perturbed.pose.heatmaps
        if self.objective.difficulties:
            uv[trusted], d[trusted] = _uv_and_d(diverse.pose)
            A[trusted], maps = diverse.A[trusted], diverse.pose.heatmaps
        elif maps is not None:
            maps = maps[trusted]
        p = uv, d
        label = move_uv(A, labels.pose[0]), labels.pose[1]
        correction = move_uv(A, labels.correction[0]), labels.correction[1]
        unit = size / OUTPUT_CELLS
        to_label = trusted * pose_distance(p, label, unit, depth)
        to_correction = labels.valid * pose_distance(correction, p, unit, depth)
        loss = (to_label + self.objective.correction * to_correction).mean()
        if self.objective.label_cross_entropy and bool(trusted.any()):
            if maps is None:
                raise ValueError("label_cross_entropy needs a head with heatmaps")
            cells = pixels_to_cells(label[0][trusted], size / maps.shape[-1])
            peaks = heatmap_cross_entropy(maps, cells, torch.ones_like(cells[..., 0]).bool())
            loss = loss + self.objective.label_cross_entropy * trusted.float().mean() * peaks
        return loss

    def on_train_start(self) -> None:
        """The data must be what the stage learns from.

        Raises:
            ValueError: they are not.
        """
        if self.stage == "finetune":
            self.expect_source_and_target()

    def on_train_epoch_start(self) -> None:
        """Lines 1, 2, 4 and 6 of Algorithm 6.1: first labels, or their renewal; their costs."""
        if self.stage == "finetune" and self.objective.pseudo_labels:
            self.renew(self.data.in_order(TARGET, self.current_epoch))

    @torch.no_grad()
    def renew(self, batches: Iterable[HandBatch]) -> None:
        """New pseudo-labels of all unlabelled samples, each once in `batches`, in plain crops; of
        several processes each brings its share.

        Raises:
            ValueError: crops that turn the camera, predictions that tell no proportions, or other
                samples than the pseudo-labels are of.
        """
        training, first = self.network.training, len(self.labels) == 0
        self.network.eval()
        rng = noise(self.seed, self, "cpu")
        found = _of_all_processes([self._predicted(batch, rng) for batch in batches])
        self.network.train(training)
        images = _digest(found)
        if self.images_digest not in ("", images):
            raise ValueError(
                "the unlabelled images are not those that the run's pseudo-labels are of: give it "
                "these again, or begin anew with --restart or another trainer.default_root_dir"
            )
        self.images_digest = images
        if first:
            self.labels = PseudoLabels(1 + max(int(seen.numbers.max()) for seen in found))
            if not self.given:
                self.template = self._own_template(found)
        for seen in found:
            pose = seen.pose
            if not first:
                pose = renewed(pose, self.labels.read(seen.numbers, seen.size).correction)
            self.labels.write(seen.numbers, self.judged(pose, seen), seen.size)
        share = self.objective.trusted_share
        if share is not None:
            numbers = torch.cat([seen.numbers for seen in found])
            # What could not be corrected is never trusted, whatever it costs.
            costs = self.labels.cost[numbers].where(self.labels.valid[numbers], torch.inf)
            self.tau = float(costs.quantile(share, interpolation="lower"))

    def _own_template(self, found: Sequence[Predicted]) -> Tensor:
        """(20,) typical lengths of the confident predictions: the half with the least first term of
        Eq. 6.8; the second one needs a template."""
        costs = torch.cat([self._cost(seen, seen.pose, correction=seen.pose) for seen in found])
        sure = costs <= costs.median()
        uv, d, K = (
            torch.cat(values) for values in zip(*((*s.pose, s.K) for s in found), strict=True)
        )
        return typical_lengths([(uv[sure], d[sure], K[sure])])

    def _predicted(self, batch: HandBatch, rng: torch.Generator) -> Predicted:
        self.expect_plain(batch)
        size, image = batch.image.shape[-1], batch.image.to(self.device)
        T = [self.perturbation.draw(len(batch), size, rng) for _ in range(self.objective.draws)]
        moved = [warp_image(image, each.to(image), (size, size), padding="border") for each in T]
        pose, *perturbed = (
            (p.uv.float().cpu(), p.d.float().cpu()) for p in map(self._read, (image, *moved))
        )
        if self.objective.averaged:
            back = [move_uv(inverse(A), uv) for A, (uv, _) in zip(T, perturbed, strict=True)]
            depths = [pose[1], *(d for _, d in perturbed)]
            pose = torch.stack([pose[0], *back]).mean(dim=0), torch.stack(depths).mean(dim=0)
        numbers, K = batch.index.cpu(), batch.cameras.cpu()
        return Predicted(numbers, pose, K, batch.source, perturbed, T, size)

    def judged(self, pose: UVD, seen: Predicted) -> Labels:
        """p^ with r = P(p^) and C(p^) (Eq. 6.5, 6.8)."""
        r = corrected(*pose, seen.K, self.template, self.objective.tolerance)
        correction = (r.uv, r.d) if self.objective.registration else pose
        return Labels(pose, correction, self._cost(seen, pose, correction), r.valid)

    def _cost(self, seen: Predicted, pose: UVD, correction: UVD) -> Tensor:
        """(B,) C of Eq. 6.8, mean over the perturbations that were drawn."""
        unit, depth = seen.size / OUTPUT_CELLS, self.objective.depth
        costs = [
            confidence((move_uv(T, pose[0]), pose[1]), perturbed, pose, correction, unit, depth)
            for T, perturbed in zip(seen.T, seen.perturbed, strict=True)
        ]
        return torch.stack(costs).mean(dim=0)

    def _read(self, image: Tensor) -> PoseAndMask:
        return _pose_and_mask(self.network(image))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the pseudo-labels beside the weights, which a next stage starts from."""
        checkpoint["pseudo_labels"] = {
            **self.labels.state_dict(),
            "template": self.template,
            "tau": self.tau,
            "images": self.images_digest,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from the checkpoint's pseudo-labels; a template or tau that is given counts."""
        state = dict(checkpoint["pseudo_labels"])
        template, tau = state.pop("template"), state.pop("tau")
        if not self.given:
            self.template = template
        if self.objective.trusted_share is not None:
            self.tau = tau
        self.images_digest = state.pop("images", "")
        self.labels.load_state_dict(state)

    def configure_optimizers(self) -> Any:
        """AdamW (Adam without decay)."""
        return self.adam(self.parameters(), weight_decay=self.weight_decay)


def _of_all_processes(own: list[Predicted]) -> list[Predicted]:
    """What all processes have predicted, in the same order for each."""
    if not torch.distributed.is_initialized():
        return own
    shares: list[list[Predicted]] = [[] for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(shares, own)
    return [seen for share in shares for seen in share]


def _digest(found: Iterable[Predicted]) -> str:
    """What tells the samples that labels are of from others: numbers, and where they come from."""
    told = {pair for seen in found for pair in zip(seen.numbers.tolist(), seen.names, strict=True)}
    return sha256(repr(sorted(told)).encode()).hexdigest()


def _pose_and_mask(pose: HandPose) -> PoseAndMask:
    if pose.uv is None or pose.d is None or pose.mask is None:
        raise ValueError("SemiHand needs uv, d and mask: a 2.5D head and mask: true")
    return PoseAndMask(pose.uv, pose.d, pose.mask)


def _uv_and_d(pose: HandPose) -> UVD:
    return _pose_and_mask(pose)[:2]


def _rows(pose: HandPose, rows: slice) -> HandPose:
    return HandPose(**{name: value[rows] for name, value in pose.items()})
