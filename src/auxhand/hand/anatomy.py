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

from auxhand.hand.skeleton import BONES, REFERENCE_BONE

ARTICULATED: Final = (1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19)
"""The joints that have angles: three per finger, thumb first, base to tip."""

FIRST: Final = (1, 5, 9, 13, 17)
"""The first joint of each finger: the thumb's CMC and the MCPs."""

ROUNDING: Final = 2e-5
"""Radians of an angle and reference lengths of a bone that pass for rounding where limits are
judged: the numbers of joints half a metre from the camera, in single precision, say no more."""


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

ABDUCTION_SIGN: Final = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0])
"""By finger: abduction is about +y for the thumb, the index and the middle finger, else about -y.
"""


def bone_lengths(xyz: Tensor) -> Tensor:
    """Lengths (..., 20) of the bones of joints (..., 21, 3), in the unit of the joints."""
    parents, children = torch.tensor(BONES, device=xyz.device).T
    return (xyz[..., children, :] - xyz[..., parents, :]).norm(dim=-1)


def joint_angles(xyz: Tensor) -> Tensor:
    """Flexion, abduction, twist (..., 15, 3) in radians of right-hand joints (..., 21, 3).

    Twist is zero (see the module's text). Undefined where bones have length zero or the wrist and
    the MCPs lie on one line.
    """
    frame = base_frames(xyz)
    sign = ABDUCTION_SIGN.to(xyz)
    angles = []
    for step in range(3):
        joint = [first + step for first in FIRST]
        child = [j + 1 for j in joint]
        bone = normalize(xyz[..., child, :] - xyz[..., joint, :], dim=-1)
        flexion, abduction = bend(frame, bone)
        frame = frame @ turn(flexion, abduction)
        angles.append(torch.stack([flexion, abduction * sign, torch.zeros_like(flexion)], -1))
    return torch.stack(angles, -2).flatten(-3, -2)


def bend(frame: Tensor, bone: Tensor) -> tuple[Tensor, Tensor]:
    """Flexion and the signed turn about the flexed y, radians (...), of a bone leaving a joint.

    Args:
        frame: (..., 3, 3), columns x, y, z, of the bone that arrives.
        bone: (..., 3) direction of the bone that leaves, a unit vector.
    """
    x, y, z = (frame.transpose(-1, -2) @ bone[..., None])[..., 0].unbind(-1)
    return torch.atan2(-y, z), torch.atan2(x, (y**2 + z**2).clamp(min=1e-12).sqrt())


def rotations_from_angles(angles: Tensor, rest_joints: Tensor) -> Tensor:
    """Rotations (..., 21, 3, 3) for `HandSurface.forward` that bring a rest pose to given angles.

    Args:
        angles: (..., 15, 3) flexion, abduction, twist in radians, absolute (not relative to rest).
        rest_joints: (..., 21, 3) joints of the right hand at rest (`HandSurface.rest`).

    Returns:
        Relative rotations in the axes of the rest frame; wrist and tips identity.
    """
    sign = ABDUCTION_SIGN.to(angles)
    rest = joint_angles(rest_joints)
    frame = base_frames(rest_joints)
    steps = []
    for step in range(3):
        now, wanted = rest[..., step::3, :], angles[..., step::3, :]  # the five fingers'
        at_rest = frame @ turn(now[..., 0], now[..., 1] * sign)
        turned = turn(wanted[..., 0], wanted[..., 1] * sign, wanted[..., 2])
        steps.append(frame @ turned @ at_rest.transpose(-1, -2))
        frame = at_rest
    identity = torch.eye(3).to(steps[0]).expand_as(steps[0])
    fingers = torch.stack([*steps, identity], -3)  # (..., 5, 4, 3, 3)
    return torch.cat([identity[..., :1, :, :], fingers.flatten(-4, -3)], -3)


def turn(flexion: Tensor, abduction: Tensor, twist: Tensor | None = None) -> Tensor:
    """Rx(flexion) Ry(abduction) Rz(twist): the next bone's frame in this one's, (..., 3, 3)."""
    cf, sf, ca, sa = flexion.cos(), flexion.sin(), abduction.cos(), abduction.sin()
    zero = torch.zeros_like(cf)
    turned = torch.stack(
        [
            torch.stack([ca, zero, sa], -1),
            torch.stack([sf * sa, cf, -sf * ca], -1),
            torch.stack([-cf * sa, sf, cf * ca], -1),
        ],
        -2,
    )
    if twist is None:
        return turned
    ct, st = twist.cos(), twist.sin()
    x, y, z = turned.unbind(-1)
    return torch.stack(
        [x * ct[..., None] + y * st[..., None], y * ct[..., None] - x * st[..., None], z], -1
    )


def base_frames(xyz: Tensor) -> Tensor:
    """Frames (..., 5, 3, 3; columns x, y, z) of the bones before the CMC and the MCPs."""
    wrist, index, middle, pinky = (xyz[..., j, :] for j in (0, 5, 9, 17))
    dorsal = torch.linalg.cross(pinky - wrist, index - wrist)
    z = normalize(xyz[..., FIRST[1:], :] - wrist[..., None, :], dim=-1)
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


BONE_RANGES: Final = torch.tensor(
    [
        *[(0.40, 1.40), (0.60, 1.45), (0.40, 1.20), (0.35, 0.95)],  # thumb
        *[(1.35, 3.30), (0.55, 1.35), (0.35, 0.95), (0.30, 1.00)],  # index
        *[(1.30, 3.25), (1.00, 1.00), (0.40, 1.15), (0.30, 1.05)],  # middle
        *[(1.25, 3.05), (0.70, 1.25), (0.40, 1.05), (0.30, 0.95)],  # ring
        *[(1.20, 2.85), (0.45, 1.20), (0.25, 0.65), (0.30, 0.85)],  # pinky
    ]
)
"""(20, 2) least and greatest length of each of `skeleton.BONES`, in reference lengths (Ch. 3.5.3).

What STB, RHD, the InterHand2.6M samples and 5,000 shapes of `HandSurface` have, widened by 15% and
rounded outwards. They are wide since datasets disagree on where wrist and CMC lie: wrist to middle
MCP is 1.9 in STB and 2.6 to 2.8 in RHD."""


def is_feasible(angles: Tensor) -> Tensor:
    """Whether all flexions and abductions (..., 15, 3) lie within `ANGLE_LIMITS`: bool (...)."""
    limits = ANGLE_LIMITS.to(angles)
    inside = (angles >= limits[..., 0] - ROUNDING) & (angles <= limits[..., 1] + ROUNDING)
    return inside[..., :2].all(-1).all(-1)


def has_feasible_lengths(lengths: Tensor) -> Tensor:
    """Whether all bone lengths (..., 20), in any unit, lie within `BONE_RANGES`: bool (...)."""
    ratios = lengths / lengths[..., BONES.index(REFERENCE_BONE), None]
    least, most = BONE_RANGES.to(lengths).unbind(-1)
    return ((ratios >= least - ROUNDING) & (ratios <= most + ROUNDING)).all(-1)


def feasible(xyz: Tensor) -> Tensor:
    """Whether the pose of right-hand joints (..., 21, 3), in any unit, is a hand's: bool (...).

    Its angles must be within `ANGLE_LIMITS` and its bones, relative to one another, within
    `BONE_RANGES`.
    """
    return is_feasible(joint_angles(xyz)) & has_feasible_lengths(bone_lengths(xyz))
