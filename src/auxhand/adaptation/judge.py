"""Whether a model has become better on hands that nobody has labelled (`decide`).

What can be measured without labels: does the model agree with itself when the picture is moved, and
do the bones of its poses have a hand's lengths? A model that always says the same does well by
both, so poses must stay as different from each other as they were, and what is known of rendered
hands must not be forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from auxhand.data.perturbation import Perturbation
from auxhand.data.store import PreparedDataset
from auxhand.geometry.camera import CROP_FOV, intrinsics_from_fov
from auxhand.geometry.pose25d import lift_to_bones
from auxhand.geometry.similarity import move_uv
from auxhand.geometry.warp import warp_image
from auxhand.hand.anatomy import bone_lengths
from auxhand.hand.skeleton import BONES, NUM_JOINTS, REFERENCE_BONE, ROOT
from auxhand.losses.consistency import DEPTH_WEIGHT, OUTPUT_CELLS, pose_distance
from auxhand.losses.pseudo_labels import corrected
from auxhand.sample import HandBatch, HandPose

MOVES = 4
"""Perturbations of each crop that self-consistency is measured with."""

LEAST_SPREAD = 0.9
"""Share of the spread of poses that must be left: what jitters less spreads less too."""

CONSTANT = 0.5
"""64ths of the crop: poses that spread less are one and the same."""

MOST_FORGOTTEN = 1.2
"""Factor by which the error on rendered hands may grow."""

CHUNK = 32

Network = Callable[[Tensor], HandPose]


@dataclass(frozen=True)
class Measures:
    """What a network says of N unlabelled crops. Distances are sqrt(l) of Eq. 6.2, in 64ths of the
    crop's side.

    Attributes:
        uv: (N, 21, 2) pixels of the crops.
        d: (N, 21) reference lengths.
        inconsistency: (N,) distance of T(f(x)) and f(T(x)), mean over perturbations T.
        residual: (N,) distance of p and P(p) (pose registration).
        valid: (N,) bool, poses that could be registered.
        cost: C(p) of Eq. 6.8, the middle one.
        trusted: share with C(p) <= tau.
        spread: deviation over crops of joints relative to the root.
        bone_variation: deviation of a bone's length over crops by its mean, mean over bones.
        known_error: mean distance of joints to the true ones in rendered crops, in 64ths.
    """

    uv: Tensor
    d: Tensor
    inconsistency: Tensor
    residual: Tensor
    valid: Tensor
    cost: float
    trusted: float
    spread: float
    bone_variation: float
    known_error: float

    def summary(self) -> dict[str, float]:
        """Plain numbers."""
        return {
            "inconsistency": float(self.inconsistency.mean()),
            "registration_residual": _mean(self.residual[self.valid]),
            "registered": float(self.valid.float().mean()),
            "bone_length_variation": self.bone_variation,
            "cost": self.cost,
            "trusted": self.trusted,
            "spread": self.spread,
            "error_on_rendered_hands": self.known_error,
        }


@dataclass(frozen=True)
class Verdict:
    """Whether the new model is better, and what says so.

    Attributes:
        better: it is.
        reasons: a line for each condition, beginning with "yes" or "no".
        score: product of the ratios after / before of inconsistency and residual; lower is better.
    """

    better: bool
    reasons: tuple[str, ...]
    score: float


@torch.no_grad()
def measure(
    network: Network,
    images: Tensor,
    template: Tensor,
    known: list[HandBatch],
    tau: float = 1.5,
    perturbation: Perturbation | None = None,
) -> Measures:
    """Measure a network in evaluation mode.

    Args:
        network: crops -> poses with uv and d.
        images: (N, 3, S, S) plain crops without labels.
        template: (20,) lengths of bones, the same for all networks that are compared.
        known: batches of labelled crops.
        tau: of a trusted pose.
        perturbation: T; the same ones are drawn each time.
    """
    size, perturbation = images.shape[-1], perturbation or Perturbation()
    unit, K = size / OUTPUT_CELLS, intrinsics_from_fov(CROP_FOV, size, size)
    rng = torch.Generator().manual_seed(0)
    uv, d = _poses(network, images)
    far = K.expand(len(images), 3, 3)
    moved = []
    for _ in range(MOVES):
        T = perturbation.draw(len(images), size, rng)
        seen = _poses(network, images, T)
        moved.append(pose_distance((move_uv(T, uv), d), seen, unit))
    r = corrected(uv, d, far, template)
    residual = pose_distance((uv, d), (r.uv, r.d), unit)
    cost = torch.stack(moved).mean(dim=0) + residual
    # As `corrected` lifts: on one bone its error would scale the whole hand.
    lifted = lift_to_bones(uv, d, far, BONES, template)
    relative = (uv - uv[:, ROOT, None]) / unit
    variance = relative.var(dim=0).sum(-1) + DEPTH_WEIGHT * d.var(dim=0)
    return Measures(
        uv,
        d,
        torch.stack(moved).sqrt().mean(dim=0),
        residual.sqrt(),
        r.valid,
        _median(cost[r.valid]),
        float((r.valid & (cost <= tau)).float().mean()),
        float(variance.mean().sqrt()),
        _variation(bone_lengths(lifted.xyz)[lifted.valid]),
        known_error(network, known),
    )


def template_of(hands: PreparedDataset, most: int = 500) -> Tensor:
    """(20,) lengths of bones, in reference lengths: the median of labelled hands.

    Of people whose hands nobody has measured the usual proportions are known best from rendered
    hands: the network's own poses have fingers that end early, and registration to their median
    would keep them so.

    Args:
        hands: a dataset of labelled hands.
        most: samples that are looked at.

    Raises:
        ValueError: none of them has a pose in 3D.
    """
    rows = (hands.row(index)["joints_xyz"] for index in range(min(most, len(hands))))
    poses = [torch.tensor(row).view(NUM_JOINTS, 3) for row in rows if row is not None]
    if not poses:
        raise ValueError(f"{hands.root}: no hand with joints in 3D")
    lengths = bone_lengths(torch.stack(poses))
    reference = BONES.index(REFERENCE_BONE)
    return (lengths / lengths[:, reference, None]).median(dim=0).values.float()


@torch.no_grad()
def known_error(network: Network, known: list[HandBatch]) -> float:
    """Mean distance of joints to the true ones, in 64ths of the crop."""
    distances = []
    for batch in known:
        uv = network(batch.image).uv
        assert uv is not None
        away = torch.linalg.vector_norm(uv - batch.joints_uv, dim=-1)
        distances.append(away[batch.joint_mask("joints_uv")] * OUTPUT_CELLS / batch.image.shape[-1])
    return _mean(torch.cat(distances)) if distances else 0.0


def _poses(network: Network, images: Tensor, T: Tensor | None = None) -> tuple[Tensor, Tensor]:
    found = []
    size = images.shape[-2:]
    for start in range(0, len(images), CHUNK):
        image = images[start : start + CHUNK]
        if T is not None:
            image = warp_image(
                image, T[start : start + CHUNK], (size[0], size[1]), padding="border"
            )
        pose = network(image)
        assert pose.uv is not None
        assert pose.d is not None
        found.append((pose.uv.float(), pose.d.float()))
    uv, d = zip(*found, strict=True)
    return torch.cat(uv), torch.cat(d)


def _variation(lengths: Tensor) -> float:
    """Of (N, 20) lengths."""
    if len(lengths) < 2:
        return float("nan")
    return float((lengths.std(dim=0) / lengths.mean(dim=0)).mean())


def _mean(values: Tensor) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _median(values: Tensor) -> float:
    return float(values.median()) if len(values) else float("nan")


def decide(before: Measures, after: Measures) -> Verdict:
    """Whether the network after is better than the one before, on crops that neither learnt from.

    It is where it agrees better with itself, beyond the 95% bootstrap interval over crops, its
    bones come nearer to a hand's lengths, poses spread at least `LEAST_SPREAD` as far, are not one
    and the same, and rendered hands are not forgotten. The residual's fall need not be beyond its
    interval: it is small where poses become better, since much of it is what the template, an
    estimate, and the unknown camera leave.
    """
    both = before.valid & after.valid
    steady, most_steady = ratio(before.inconsistency, after.inconsistency)
    fitting, most_fitting = ratio(before.residual[both], after.residual[both])
    registered = float(after.valid.float().mean()) >= 0.9 * float(before.valid.float().mean())
    spread = after.spread / max(before.spread, 1e-9)
    known = after.known_error / max(before.known_error, 1e-9)
    conditions = [
        (most_steady < 1, f"inconsistency {_change(steady, most_steady)}"),
        (fitting < 1, f"registration residual {_change(fitting, most_fitting)}"),
        (registered, f"{100 * float(after.valid.float().mean()):.0f}% of poses can be a hand's"),
        (spread >= LEAST_SPREAD, f"spread of poses {100 * (spread - 1):+.0f}%"),
        (after.spread > CONSTANT, "poses differ from each other"),
        (known <= MOST_FORGOTTEN, f"error on rendered hands {100 * (known - 1):+.0f}%"),
    ]
    reasons = tuple(f"{'yes' if holds else 'no'}: {text}" for holds, text in conditions)
    return Verdict(all(holds for holds, _ in conditions), reasons, steady * fitting)


def _change(mean: float, most: float) -> str:
    return f"{100 * (mean - 1):+.0f}% (at most {100 * (most - 1):+.0f}%)"


def ratio(before: Tensor, after: Tensor, draws: int = 2000) -> tuple[float, float]:
    """mean(after) / mean(before), and the upper end of its 95% bootstrap interval over crops.

    Without crops both are infinite; of a zero before, 1 where after is too.
    """
    if not len(before):
        return float("inf"), float("inf")
    rng = torch.Generator().manual_seed(0)
    pick = torch.randint(len(before), (draws, len(before)), generator=rng)
    least = 1e-9
    ratios = (after[pick].mean(1) + least) / (before[pick].mean(1) + least)
    mean = (float(after.mean()) + least) / (float(before.mean()) + least)
    return mean, float(ratios.quantile(0.975))
