"""Pose and shape of the skinned hand that come closest to 21 joints: from a skeleton to a mesh."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from auxhand.hand.anatomy import ARTICULATED, base_frames, joint_angles, rotations_from_angles
from auxhand.hand.skeleton import NUM_JOINTS
from auxhand.hand.surface import HandSurface

MILLIMETRE: Final = 1e-3
"""Metres that one unit of a residual stands for."""

SHAPE_PRIOR: Final = 0.1
"""Millimetres at a joint that weigh as much as one standard deviation of a shape component: joints
a tenth as exact are still believed, and what they do not show stays that of the mean hand."""

SHAPE_LIMIT: Final = 2.5
"""Standard deviations that a shape component reaches at most, however the joints lie: what is
predicted from a photo is no skeleton of any hand, and shapes far out have fingers like threads."""

STEPS: Final = 12
"""Damped Gauss-Newton steps; from the closed form of the start, they converge in five or six."""

NUDGE: Final = 1e-5
"""Radians or standard deviations of the differences that derivatives are taken from."""

_TURN, _ANGLES = 3, 2 * len(ARTICULATED)


class FittedHand(NamedTuple):
    """A posed hand of `HandSurface`.

    Attributes:
        rotations: (21, 3, 3) of each joint relative to its parent, see `HandSurface.forward`; the
            first turns the whole hand from the hand frame to that of the joints.
        shape: (S,) coefficients of the shape components, in standard deviations.
        translation: (3,) where the wrist is, metres.
        side: "right" or "left".
        error: metres, root mean square of the distances to the joints that were given.
    """

    rotations: Tensor
    shape: Tensor
    translation: Tensor
    side: Literal["right", "left"]
    error: float

    def mesh(self) -> tuple[Tensor, Tensor]:
        """Vertices (V, 3), metres in the frame of the joints, and faces (F, 3)."""
        surface = _surface(self.side)
        vertices, _ = surface(self.rotations[None], self.shape[None])
        return vertices[0] + self.translation, surface.faces

    def joints(self) -> Tensor:
        """(21, 3) its joints, metres in the frame of the joints that were given."""
        return _surface(self.side).joints(self.rotations[None], self.shape[None])[0] + (
            self.translation
        )


def fit_hand(xyz: Tensor, side: Literal["right", "left"]) -> FittedHand:
    """The hand whose joints come closest to given ones, by Levenberg-Marquardt.

    The start is closed: the palm's frame, and the angles of `anatomy.joint_angles` on the mean
    hand. Unknown are the hand's rotation, flexion and abduction of 15 joints, and the shape, which
    `SHAPE_PRIOR` holds near the mean and `SHAPE_LIMIT` within people's; the translation follows
    from the centres. Twists are zero.

    Args:
        xyz: (21, 3) joints, metres, of any camera or world frame.
        side: the person's true hand.

    Raises:
        ValueError: joints of another shape, or not finite; another side.
    """
    if xyz.shape != (NUM_JOINTS, 3) or not bool(xyz.isfinite().all()):
        raise ValueError(f"joints must be ({NUM_JOINTS}, 3) and finite, got {tuple(xyz.shape)}")
    surface = _surface("right")
    mirror = xyz.new_tensor([-1.0 if _surface(side).side == "left" else 1.0, 1, 1]).double()
    target = xyz.double() * mirror
    base = _palm(target) @ _palm(surface.rest_joints).T
    bent = joint_angles(target)[:, :2].flatten()
    mean = target.new_zeros(len(surface.shape_joints))
    start = torch.cat([target.new_zeros(_TURN), bent, mean])

    def residuals(values: Tensor) -> Tensor:
        rotations, shape = _posed(values, base)
        joints = surface.joints(rotations, shape)
        apart = (joints - joints.mean(1, keepdim=True)) - (target - target.mean(0))
        return torch.cat([apart.flatten(1) / MILLIMETRE, SHAPE_PRIOR * shape], 1)

    rotations, shape = _posed(_minimised(residuals, start)[None], base)
    joints = surface.joints(rotations, shape)[0]
    translation = target.mean(0) - joints.mean(0)
    error = (joints + translation - target).square().sum(-1).mean().sqrt()
    flip = mirror.diag()
    return FittedHand(
        flip @ rotations[0] @ flip, shape[0], translation * mirror, side, float(error)
    )


@cache
def _surface(side: Literal["right", "left"]) -> HandSurface:
    return HandSurface(side).double()


def _palm(joints: Tensor) -> Tensor:
    """(3, 3) frame of the middle finger's metacarpal bone, of right-hand joints (21, 3)."""
    return base_frames(joints)[2]


def _posed(values: Tensor, base: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations (B, 21, 3, 3) and shape (B, S) of B times the unknowns (B, P); `base` is the whole
    hand's rotation at the start."""
    surface = _surface("right")
    turn, angles, free = values.tensor_split([_TURN, _TURN + _ANGLES], dim=1)
    shape = SHAPE_LIMIT * torch.tanh(free / SHAPE_LIMIT)
    rest = surface.rest_joints + torch.tensordot(shape, surface.shape_joints, 1)
    fingers = rotations_from_angles(pad(angles.reshape(len(values), -1, 2), (0, 1)), rest)
    x, y, z = turn.unbind(1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).view(-1, 3, 3)
    whole = torch.matrix_exp(skew) @ base
    return torch.cat([whole[:, None], fingers[:, 1:]], 1), shape


def _minimised(residuals: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """Values (P,) at which the squared residuals are least, by Levenberg-Marquardt.

    Args:
        residuals: (B, P) -> (B, R), so that all central differences are one call.
        values: the start.
    """
    damping, now = 1e-3, residuals(values[None])[0]
    identity = torch.eye(len(values)).to(values)
    for _ in range(STEPS):
        nudged = torch.cat([values + NUDGE * identity, values - NUDGE * identity])
        ahead, behind = residuals(nudged).chunk(2)
        jacobian = (ahead - behind) / (2 * NUDGE)  # (P, R)
        step = torch.linalg.solve(jacobian @ jacobian.T + damping * identity, jacobian @ now)
        tried = residuals((values - step)[None])[0]
        if bool(tried.square().sum() < now.square().sum()):
            values, now, damping = values - step, tried, damping / 10
            if bool(step.abs().max() < NUDGE):
                break
        else:
            damping *= 10
    return values
