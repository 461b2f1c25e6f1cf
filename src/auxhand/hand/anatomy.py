"""Bone lengths, joint angles and their limits: what a hand can do.

Angles follow the kinematic-chain coordinate systems of Spurr et al., "Weakly supervised 3D hand
pose estimation via biomechanical constraints" (ECCV 2020), which Ch. 3.5.3 and 7.3.5.1 take up: a
frame is built at the palm and carried along each finger, and in it the direction of the next bone
is a flexion followed by an abduction. All functions are about RIGHT hands, in any camera or world
frame; mirror a left hand first (xyz * [-1, 1, 1]).

Each frame has z along the bone toward the fingertip, y out of the back of the finger and x = y x z,
for the four fingers toward the thumb. The angles of a joint describe the bone that leaves it in the
frame of the bone that arrives:

* flexion, about x: positive bends toward the palm, for the thumb toward its pad. At the thumb's CMC
  it sweeps the thumb across the palm;
* abduction, about the flexed y: positive away from the middle finger, for the middle finger toward
  the index. At the thumb's CMC positive lifts the thumb out of the palm's plane, to the palm's
  side ("palmar abduction");
* twist, about the bone itself. Joint positions do not show it: `joint_angles` returns zero, and a
  twist that was put in shows up as flexion and abduction of the joints after it.

A straight finger in line with its metacarpal bone has angles zero. The palm's frames come from the
wrist and the MCPs; the thumb's from the palm by the constant rotation `THUMB_BASE`.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import normalize

from auxhand.hand.skeleton import BONES

ARTICULATED: Final = (1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19)
"""The joints that have angles: three per finger, thumb first, base to tip."""

_FIRST = (1, 5, 9, 13, 17)


def _frame(z: tuple[float, float, float], y: tuple[float, float, float]) -> Tensor:
    """Orthonormal columns (x, y, z) from a direction z and one roughly along y."""
    bone, back = torch.tensor(z, dtype=torch.float64), torch.tensor(y, dtype=torch.float64)
    bone = bone / bone.norm()
    x = torch.linalg.cross(back, bone)
    x = x / x.norm()
    return torch.stack([x, torch.linalg.cross(bone, x), bone], 1)


THUMB_BASE: Final = _frame(z=(0.68, -0.31, 0.67), y=(0.74, 0.15, -0.66))
"""Frame (columns x, y, z) of the thumb at angles zero, in the palm's: 45 degrees to the radial
side, 18 to the palm, its pad facing the little finger. Flexion moves it in the palm's plane,
abduction out of it. Fitted: in this frame the MCP and the IP of STB's thumbs bend sideways least
(tools/angle_statistics.py)."""

_ABDUCTION_SIGN = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0])


def bone_lengths(xyz: Tensor) -> Tensor:
    """Lengths (..., 20) of the bones of joints (..., 21, 3), in the unit of the joints."""
    parents, children = torch.tensor(BONES, device=xyz.device).T
    return (xyz[..., children, :] - xyz[..., parents, :]).norm(dim=-1)


def joint_angles(xyz: Tensor) -> Tensor:
    """Flexion, abduction, twist (..., 15, 3) in radians of right-hand joints (..., 21, 3).

    Twist is zero (see the module's text). Undefined where bones have length zero or the wrist and
    the MCPs lie on one line.
    """
    frame = _base_frames(xyz)
    sign = _ABDUCTION_SIGN.to(xyz)
    angles = []
    for step in range(3):
        joint = [first + step for first in _FIRST]
        child = [j + 1 for j in joint]
        bone = normalize(xyz[..., child, :] - xyz[..., joint, :], dim=-1)
        x, y, z = (frame.transpose(-1, -2) @ bone[..., None])[..., 0].unbind(-1)
        flexion = torch.atan2(-y, z)
        abduction = torch.atan2(x, (y**2 + z**2).clamp(min=1e-12).sqrt())
        frame = frame @ _turn(flexion, abduction)
        angles.append(torch.stack([flexion, abduction * sign, torch.zeros_like(x)], -1))
    return torch.stack(angles, -2).flatten(-3, -2)


def rotations_from_angles(angles: Tensor, rest_joints: Tensor) -> Tensor:
    """Rotations (..., 21, 3, 3) for `HandSurface.forward` that bring a rest pose to given angles.

    Args:
        angles: (..., 15, 3) flexion, abduction, twist in radians, absolute (not relative to rest).
        rest_joints: (..., 21, 3) joints of the right hand at rest (`HandSurface.rest`).

    Returns:
        Relative rotations in the axes of the rest frame; wrist and tips identity.
    """
    sign = _ABDUCTION_SIGN.to(angles)
    rest = joint_angles(rest_joints)
    frame = _base_frames(rest_joints)
    steps = []
    for step in range(3):
        now, wanted = rest[..., step::3, :], angles[..., step::3, :]  # the five fingers'
        at_rest = frame @ _turn(now[..., 0], now[..., 1] * sign)
        turn = _turn(wanted[..., 0], wanted[..., 1] * sign, wanted[..., 2])
        steps.append(frame @ turn @ at_rest.transpose(-1, -2))
        frame = at_rest
    identity = torch.eye(3).to(steps[0]).expand_as(steps[0])
    fingers = torch.stack([*steps, identity], -3)  # (..., 5, 4, 3, 3)
    return torch.cat([identity[..., :1, :, :], fingers.flatten(-4, -3)], -3)


def _turn(flexion: Tensor, abduction: Tensor, twist: Tensor | None = None) -> Tensor:
    """Rx(flexion) Ry(abduction) Rz(twist): the next bone's frame in this one's, (..., 3, 3)."""
    cf, sf, ca, sa = flexion.cos(), flexion.sin(), abduction.cos(), abduction.sin()
    zero = torch.zeros_like(cf)
    turn = torch.stack(
        [
            torch.stack([ca, zero, sa], -1),
            torch.stack([sf * sa, cf, -sf * ca], -1),
            torch.stack([-cf * sa, sf, cf * ca], -1),
        ],
        -2,
    )
    if twist is None:
        return turn
    ct, st = twist.cos(), twist.sin()
    x, y, z = turn.unbind(-1)
    return torch.stack(
        [x * ct[..., None] + y * st[..., None], y * ct[..., None] - x * st[..., None], z], -1
    )


def _base_frames(xyz: Tensor) -> Tensor:
    """Frames (..., 5, 3, 3; columns x, y, z) of the bones before the CMC and the MCPs."""
    wrist, index, middle, pinky = (xyz[..., j, :] for j in (0, 5, 9, 17))
    dorsal = torch.linalg.cross(pinky - wrist, index - wrist)
    z = normalize(xyz[..., _FIRST[1:], :] - wrist[..., None, :], dim=-1)
    x = normalize(torch.linalg.cross(dorsal[..., None, :].expand_as(z), z), dim=-1)
    fingers = torch.stack([x, torch.linalg.cross(z, x), z], -1)
    z = normalize(middle - wrist, dim=-1)
    x = normalize(torch.linalg.cross(dorsal, z), dim=-1)
    palm = torch.stack([x, torch.linalg.cross(z, x), z], -1)
    return torch.cat([(palm @ THUMB_BASE.to(xyz))[..., None, :, :], fingers], -3)


def _limits(*degrees: tuple[float, float, float, float]) -> Tensor:
    """(15, 3, 2) radians from rows (least flexion, most flexion, least abduction, most)."""
    rows = torch.tensor(degrees).view(-1, 2, 2)
    twist = torch.zeros(len(rows), 1, 2)
    return torch.deg2rad(torch.cat([rows, twist], 1))


ANGLE_LIMITS: Final = _limits(
    (-50, 55, -25, 75),  # thumb CMC
    (-30, 95, -35, 20),  # MCP
    (-35, 95, -35, 20),  # IP
    (-40, 100, -30, 30),  # index MCP
    (-15, 115, -20, 20),  # PIP
    (-20, 95, -20, 20),  # DIP
    (-40, 100, -25, 25),  # middle
    (-15, 115, -20, 20),
    (-20, 95, -20, 20),
    (-40, 100, -25, 25),  # ring
    (-15, 115, -20, 20),
    (-20, 95, -20, 20),
    (-40, 100, -35, 30),  # pinky
    (-15, 115, -30, 30),
    (-20, 95, -30, 30),
)
"""(15, 3, 2) least and most flexion, abduction, twist in radians of each joint of `ARTICULATED`.

Active ranges of motion (American Academy of Orthopaedic Surgeons, "Joint Motion", 1965: MCP 45
extension to 90 flexion, PIP 0 to 100, DIP 0 to 90, thumb MCP 0 to 50, IP 20 to 80; Lin, Wu & Huang,
"Modeling the constraints of human hand motion", 2000: PIP to 110, MCP abduction 15), widened to
hold 99% of STB's annotated poses: their thumbs bend to 90, and their hinges read some abduction
where a twist went unseen. Twist itself is not judged: positions do not show it."""


def is_feasible(angles: Tensor) -> Tensor:
    """Whether all flexions and abductions (..., 15, 3) lie within `ANGLE_LIMITS`: bool (...)."""
    limits = ANGLE_LIMITS.to(angles)
    inside = (angles >= limits[..., 0]) & (angles <= limits[..., 1])
    return inside[..., :2].all(-1).all(-1)


def feasible(xyz: Tensor) -> Tensor:
    """Whether the pose of right-hand joints (..., 21, 3) is within the limits: bool (...)."""
    return is_feasible(joint_angles(xyz))
