"""Pseudo-labels of unlabelled hands: how they are corrected, trusted and renewed (Ch. 6.3.2).

A pseudo-label is a 2.5D pose: uv (..., 21, 2) pixels of a crop, d (..., 21) in reference lengths.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from auxhand.geometry.camera import project
from auxhand.geometry.pose25d import lift_closed_form
from auxhand.hand.registration import register
from auxhand.hand.skeleton import BONES, REFERENCE_BONE, ROOT
from auxhand.losses.consistency import DEPTH_WEIGHT, pose_distance

REFERENCE = BONES.index(REFERENCE_BONE)


class Corrected(NamedTuple):
    """r = P(p^): uv (..., 21, 2), d (..., 21), and valid (...) bool: could it be corrected."""

    uv: Tensor
    d: Tensor
    valid: Tensor


def corrected(uv: Tensor, d: Tensor, K: Tensor, template: Tensor) -> Corrected:
    """r = P(p^), the pose of the hand whose bones have the template's lengths (Eq. 6.5, Fig. 6.4).

    Registration needs 3D, and an unlabelled image tells no root depth: the pose is lifted by the
    closed form on the reference bone, registered (`hand.registration`) and projected back. Lengths
    are relative, so the template says nothing of the hand's absolute size.

    Args:
        uv, d: the pseudo-label p^.
        K: (..., 3, 3) intrinsics of the crops.
        template: (..., 20) lengths of `skeleton.BONES`, in any unit.

    Returns:
        r; where the closed form has no solution, p^ itself, marked as not valid.
    """
    lifted = lift_closed_form(uv, d, K, REFERENCE_BONE)
    xyz = register(lifted.xyz, template / template[..., REFERENCE, None])
    valid = lifted.valid & (xyz[..., 2] > 0).all(dim=-1)
    # A pose that cannot be corrected must not disturb gradients either.
    xyz = torch.where(valid[..., None, None], xyz, xyz.new_tensor([0.0, 0.0, 1.0]))
    depth = xyz[..., 2] - xyz[..., ROOT, None, 2]
    return Corrected(
        torch.where(valid[..., None, None], project(K, xyz), uv),
        torch.where(valid[..., None], depth, d),
        valid,
    )


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
