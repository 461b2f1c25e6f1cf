"""Predictions in metres, as far as the protocols tell what is missing (Ch. 2.5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from auxhand.geometry.pose25d import lift, lift_closed_form, reference_length
from auxhand.hand.skeleton import REFERENCE_BONE, ROOT
from auxhand.sample import HandBatch, HandPose


@dataclass(frozen=True)
class Lifted:
    """Predicted 3D poses of a batch in metres, before alignment.

    Attributes:
        xyz: (B, J, 3) metres, axes of the crop's camera.
        known: (B,) bool, the true hand says what the method is told.
        solved: (B,) bool, the pose could be lifted; False only with the closed form.
    """

    xyz: Tensor
    known: Tensor
    solved: Tensor


def lift_pose(
    pose: HandPose,
    batch: HandBatch,
    closed_form: bool = False,
    root: int = ROOT,
    bone: tuple[int, int] = REFERENCE_BONE,
    length: float | None = None,
) -> Lifted | None:
    """Bring predictions into metres with the true root depth and reference length.

    A pose with `xyz` is that times the reference length; any other is `uv` and `d` lifted through
    K. A pose is known if what is told of it is labelled: its root and both ends of its reference
    bone, less those that `closed_form` and `length` make needless (and, for uv and d, K).

    Args:
        pose: the prediction, `xyz` and `d` in lengths of `bone`.
        batch: the labels of the same B crops.
        closed_form: solve the root depth from the reference length (Iqbal et al. 2018) in place of
            the true one; `xyz` needs no depth and is not concerned.
        root: the joint whose true depth is told.
        bone: the (parent, child) whose true length is told.
        length: metres that the bone is taken to have, whatever is true.

    Returns:
        None where the method predicts no 3D pose.
    """
    true = batch.joints_xyz
    told = [*([] if closed_form and length else [root]), *([] if length else bone)]
    labelled = batch.joint_mask("joints_xyz")
    known = labelled[:, told].all(dim=1) & labelled.any(dim=1)
    lengths = reference_length(true, bone)
    if length is not None:
        lengths = torch.full_like(lengths, length)
    if pose.xyz is not None:
        return Lifted(pose.xyz * lengths[:, None, None], known, torch.ones_like(known))
    if pose.uv is None or pose.d is None:
        return None
    known = known & batch.valid["K"]
    # Absent fields are zeros; an identity lets those samples pass through, uncounted.
    identity = torch.eye(3, dtype=batch.K.dtype, device=batch.K.device)
    K = torch.where(known[:, None, None], batch.K, identity)
    d = pose.d - pose.d[:, root, None]
    if closed_form:
        xyz, _, solved = lift_closed_form(pose.uv, d, K, bone)
        return Lifted(xyz * lengths[:, None, None], known, solved)
    xyz = lift(pose.uv, d, K, true[:, root, 2], lengths)
    return Lifted(xyz, known, torch.ones_like(known))
