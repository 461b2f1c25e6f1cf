"""Pseudo-labels of unlabelled hands: how they are corrected, trusted and renewed (Ch. 6.3.2), and
how several predictions make one (Ch. 7.3.5.1).

A pseudo-label is a 2.5D pose: uv (..., 21, 2) pixels of a crop, d (..., 21) in reference lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from auxhand.geometry.camera import project
from auxhand.geometry.pose25d import ClosedForm, lift_closed_form, lift_to_bones
from auxhand.geometry.precision import full_precision
from auxhand.hand.anatomy import BONE_RANGES, bone_lengths
from auxhand.hand.registration import correct, register
from auxhand.hand.skeleton import BONES, REFERENCE_BONE, ROOT
from auxhand.losses.consistency import DEPTH_WEIGHT, pose_distance

REFERENCE = BONES.index(REFERENCE_BONE)


class Corrected(NamedTuple):
    """r = P(p^): uv (..., 21, 2), d (..., 21), and valid (...) bool: could it be corrected."""

    uv: Tensor
    d: Tensor
    valid: Tensor


@full_precision
def corrected(
    uv: Tensor, d: Tensor, K: Tensor, template: Tensor, tolerance: float = 0.0
) -> Corrected:
    """r = P(p^), the pose of the hand whose bones have the template's lengths (Eq. 6.5, Fig. 6.4).

    Registration needs 3D, and an unlabelled image tells no root depth: the pose is lifted by the
    closed form on all bones of the template (`pose25d.lift_to_bones`), registered
    (`hand.registration`) and projected back. On the reference bone alone, the error of its two ends
    would scale the whole hand: there the correction was farther from the truth than the prediction.
    Lengths are relative, so the template says nothing of the hand's absolute size.

    Args:
        uv, d: the pseudo-label p^.
        K: (..., 3, 3) intrinsics of the crops.
        template: (..., 20) lengths of `skeleton.BONES`, in any unit.
        tolerance: share by which a bone may be longer or shorter than the template's. The chapter's
            target is one person, whose template is exact (0); where many people share one, bones
            within the tolerance are right as they are.

    Returns:
        r; where the closed form has no solution, p^ itself, marked as not valid.
    """
    lengths = template / template[..., REFERENCE, None]
    lifted = lift_to_bones(uv, d, K, BONES, lengths)
    if tolerance:
        least, most = (1 - tolerance) * lengths, (1 + tolerance) * lengths
        lengths = bone_lengths(lifted.xyz).maximum(least).minimum(most)
    return _corrected(uv, d, K, lifted, register(lifted.xyz, lengths))


@full_precision
def rectified(uv: Tensor, d: Tensor, K: Tensor, ranges: Tensor = BONE_RANGES) -> Corrected:
    """The pose with all bone lengths and joint angles in their limits (Ch. 7.3.5.1).

    Lifted by the closed form on all bones, as if their lengths were the middles of the ranges, and
    corrected (`hand.registration.correct`) in reference lengths, as d is, and projected back. Were
    the reference bone alone the measure, of lifting or of correction, then the error of its two
    ends would scale the whole hand (see `corrected`).

    Args:
        uv, d, K: as of `corrected`.
        ranges: (..., 20, 2) least and greatest length of `skeleton.BONES` in reference lengths; of
            a hand that is known, twice the template's.

    Returns:
        The corrected pose; where the closed form has no solution, the given one, marked as not
        valid.
    """
    lifted = lift_to_bones(uv, d, K, BONES, ranges.mean(dim=-1))
    return _corrected(uv, d, K, lifted, correct(lifted.xyz, ranges, unit=1.0))


def _corrected(uv: Tensor, d: Tensor, K: Tensor, lifted: ClosedForm, xyz: Tensor) -> Corrected:
    """A 2.5D pose in the place of `xyz` (..., 21, 3), what its lifted form has become."""
    valid = lifted.valid & (xyz[..., 2] > 0).all(dim=-1)
    # A pose that cannot be corrected must not disturb gradients either.
    xyz = torch.where(valid[..., None, None], xyz, xyz.new_tensor([0.0, 0.0, 1.0]))
    depth = xyz[..., 2] - xyz[..., ROOT, None, 2]
    return Corrected(
        torch.where(valid[..., None, None], project(K, xyz), uv),
        torch.where(valid[..., None], depth, d),
        valid,
    )


def checked_template(lengths: Sequence[float]) -> Tensor:
    """(20,) the lengths of a hand's bones that somebody gives.

    Args:
        lengths: of `skeleton.BONES`, in any unit.

    Raises:
        ValueError: another number of them, or one that no bone has.
    """
    template = torch.tensor(lengths)
    if template.shape != (len(BONES),):
        raise ValueError(f"a template has {len(BONES)} lengths of bones, not {len(lengths)}")
    if not (template.isfinite() & (template > 0)).all():
        raise ValueError(f"a template's lengths are positive numbers, got {list(lengths)}")
    return template


def typical_lengths(poses: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """(20,) median lengths of `skeleton.BONES`, in reference lengths, of the poses that can be
    lifted: a template of hands whose proportions nobody has measured.

    Args:
        poses: batches of uv (B, 21, 2) and d (B, 21) with the crops' intrinsics (B, 3, 3).

    Raises:
        ValueError: no pose can be lifted.
    """
    lengths = []
    for uv, d, K in poses:
        lifted = lift_closed_form(uv, d, K, REFERENCE_BONE)
        lengths.append(bone_lengths(lifted.xyz)[lifted.valid])
    known = torch.cat(lengths)
    if not len(known):
        raise ValueError(
            "no prediction on the unlabelled images shows bone 9-10 well enough to estimate a "
            "hand's proportions: pre-train longer, or give a template"
        )
    median = known.median(dim=0).values
    return median / median[REFERENCE]


def confidence(
    carried: tuple[Tensor, Tensor],
    perturbed: tuple[Tensor, Tensor],
    label: tuple[Tensor, Tensor],
    correction: tuple[Tensor, Tensor],
    unit: float,
    depth_weight: float = DEPTH_WEIGHT,
) -> Tensor:
    """C(p^) = l(T p^, f(T x)) + l(p^, P(p^)): how unstable and how implausible it is (Eq. 6.8).

    Lower is better, in spite of its name; a parenthesis of the equation is missing in print.

    Args:
        carried: T p^, the pseudo-label carried into the perturbed crop.
        perturbed: f(T x), the prediction there.
        label: p^.
        correction: P(p^).
        unit, depth_weight: of `consistency.pose_distance`.

    Returns:
        (...) one number a pose.
    """
    stability = pose_distance(carried, perturbed, unit, depth_weight)
    return stability + pose_distance(label, correction, unit, depth_weight)


def renewed(
    prediction: tuple[Tensor, Tensor], correction: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """p^ = argmin l(p', p^) + l(r', p^), which is (p' + r') / 2 (Eq. 6.7).

    Args:
        prediction: p', what the network says now.
        correction: r', the correction of the pseudo-label so far.
    """
    return (prediction[0] + correction[0]) / 2, (prediction[1] + correction[1]) / 2


class Averaged(NamedTuple):
    """r: uv (..., 21, 2) and d (..., 21), and C(r): variance (...); the lower, the surer."""

    uv: Tensor
    d: Tensor
    variance: Tensor


def averaged(
    poses: Sequence[tuple[Tensor, Tensor]], unit: float, depth_weight: float = DEPTH_WEIGHT
) -> Averaged:
    """r, the mean of poses of one image, and C(r), their variance about it (Ch. 7.3.5.1).

    Chapter 7 takes four: of the RGB and of the fusion branch, each before and after pose correction
    (`hand.registration.correct`). The variance is the mean over the poses of l(p, r), so its unit
    is that of Eq. 6.2: squared pixels of a 64 x 64 output, and as many for depths. It divides by
    the number of poses, not by one less.

    Args:
        poses: p, each uv (..., 21, 2) pixels of one crop and d (..., 21) in reference lengths.
        unit, depth_weight: of `consistency.pose_distance`.

    Raises:
        ValueError: no poses.
    """
    if not poses:
        raise ValueError("a pseudo-label needs at least one pose")
    uv = torch.stack([pose[0] for pose in poses])
    d = torch.stack([pose[1] for pose in poses])
    mean = uv.mean(dim=0), d.mean(dim=0)
    variance = pose_distance((uv, d), mean, unit, depth_weight).mean(dim=0)
    return Averaged(*mean, variance)


def pseudo_label_loss(
    strong: tuple[Tensor, Tensor],
    label: tuple[Tensor, Tensor],
    variance: Tensor,
    unit: float,
    threshold: float = 1.5,
    depth_weight: float = DEPTH_WEIGHT,
) -> Tensor:
    """L_l = 1[C(r) <= epsilon] l(p_strong, r), a mean over ALL samples (Eq. 7.8).

    C(r) is a variance: what is at most epsilon is kept. The prose under the equation, that samples
    with a confidence larger than epsilon are, is a misprint. Samples that are not kept count as 0,
    so a batch of few trusted labels weighs less.

    Args:
        strong: the pose that a branch predicts for the strongly augmented images.
        label: r, carried into the strongly augmented crops; it gets no gradient.
        variance: (...) C(r), see `averaged`, of the same unit and depth weight.
        unit, depth_weight: of `consistency.pose_distance`.
        threshold: epsilon.
    """
    target = label[0].detach(), label[1].detach()
    distance = pose_distance(strong, target, unit, depth_weight)
    return torch.where(variance <= threshold, distance, 0.0).mean()
