"""Plausible hand poses: named gestures, what lies between them, grasps, contacts, random fingers.

Independent joint angles are not hands. Every pose here is drawn from a mixture whose shares the
configuration states, lies within the limits of `hand/anatomy.py`, and does not pass through itself
(`collision.py`). The kind and the gesture are drawn once; then candidates are drawn until one of
them is free of collisions, so that rejection does not make the difficult poses rare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from auxhand.arrays import Doubles
from auxhand.hand.anatomy import ANGLE_LIMITS
from auxhand.hand.skeleton import FINGERS, WRIST
from auxhand.synth import collision, touch
from auxhand.synth.gestures import FAMILIES, FINGER_STATES, GESTURES, THUMBS, Gesture, Touch
from auxhand.synth.kinematics import Kinematics
from auxhand.synth.limits import WEIGHT, check_number

INNER_LIMITS: Doubles = ANGLE_LIMITS.numpy() + np.deg2rad(
    np.array([[0.2, -0.2], [0.2, -0.2], [0.0, 0.0]])
)
"""(15, 3, 2) radians: the anatomical limits, a little inside, so that rounding does not matter."""

_CANDIDATES = 12
_SOLVED_CANDIDATES = 4
"""Poses per attempt; fewer where contacts are solved for, which costs more."""

_CROSSED, _TOGETHER = 0.004, 0.009
"""Metres by which the tips of crossed fingers lie on each other's side at least, and by which they
are further apart than the fingers are thick at most."""

_DIP_PER_PIP = 2 / 3
_SPREADING = np.array([1.4, 0.15, -0.8, -1.9])
"""How far index to pinky turn toward the thumb per degree of spread."""
_SIDE = np.array([1.0, 1.0, -1.0, -1.0])
"""Sign of the abduction that turns index to pinky toward the thumb."""


@dataclass(frozen=True)
class PoseConfig:
    """What poses to draw.

    Attributes:
        shares: weights of the kinds of pose: the families of gestures ("open", "counting",
            "crossed": index and middle finger over each other, "fist", "touch": the thumb meets a
            finger), "between" (on the way from one gesture to another),
            "grasp" (around a cylinder or ball) and "random" (random states of the fingers).
        gestures: weights of single gestures within their family, 1 where nothing is said.
        variation: scales the deviations from the mean of a gesture; 0 gives the mean itself.
        penetration: metres by which a bone may sink into another, beyond the rest pose.
        attempts: batches of candidates before the least colliding one is taken.
    """

    shares: Mapping[str, float] = field(
        default_factory=lambda: {
            "open": 0.10,
            "counting": 0.15,
            "crossed": 0.03,
            "fist": 0.13,
            "touch": 0.25,
            "between": 0.13,
            "grasp": 0.08,
            "random": 0.13,
        }
    )
    gestures: Mapping[str, float] = field(default_factory=dict)
    variation: float = 1.0
    penetration: float = 0.003
    attempts: int = 8

    def __post_init__(self) -> None:
        """Check the names and numbers.

        Raises:
            ValueError: an unknown kind or gesture, a number out of its limits, or nothing to choose
                from.
        """
        for what, weights, known in (
            ("kind of pose", self.shares, KINDS),
            ("gesture", self.gestures, GESTURES),
        ):
            for name, weight in weights.items():
                if name not in known:
                    raise ValueError(f"no {what} {name!r}; there are: {', '.join(known)}")
                check_number(f"the weight of {what} {name!r}", weight, WEIGHT)
        if sum(self.shares.values()) <= 0:
            raise ValueError("the shares of the kinds of pose sum to zero")
        for kind, names in {**FAMILIES, "between": GESTURES}.items():
            if self.shares.get(kind, 0) > 0 and not any(self.gestures.get(n, 1) for n in names):
                raise ValueError(f"pose.gestures leaves no gesture for {kind!r}, which has a share")
        check_number("pose.variation", self.variation, (0, 10))
        check_number("pose.penetration", self.penetration, (1e-4, 1))
        check_number("pose.attempts", self.attempts, (1, 1000), whole=True)


class Pose(NamedTuple):
    """A drawn pose.

    Attributes:
        kind: a key of `PoseConfig.shares`.
        name: the gesture, or what else describes the pose.
        angles: (15, 3) radians, conventions of `hand/anatomy.py`.
        penetration: metres, see `collision.penetration`.
    """

    kind: str
    name: str
    angles: Doubles
    penetration: float


class Plan(NamedTuple):
    """What to draw candidates of.

    Attributes:
        name: of the pose.
        draw: count -> degrees (count, 15, 3).
        touches: contacts to solve for.
        candidates: how many at a time.
        crossed: index and middle finger must cross.
    """

    name: str
    draw: Callable[[int], Doubles]
    touches: Sequence[Touch] = ()
    candidates: int = _CANDIDATES
    crossed: bool = False


class Hand(NamedTuple):
    """The hand that a pose is for: its kinematics and the radii (21,) of its bones, metres."""

    kinematics: Kinematics
    radii: Doubles

    def solve(self, angles: Doubles, touches: Sequence[Touch]) -> tuple[Doubles, Doubles]:
        """Angles (n, 15, 3) in radians within the limits, with the contacts, and by how many
        tolerances those are missed, (n,)."""
        if not touches:
            return np.clip(angles, INNER_LIMITS[..., 0], INNER_LIMITS[..., 1]), np.zeros(
                len(angles)
            )
        return touch.solve(self.kinematics, angles, touches, self.radii, INNER_LIMITS)

    @property
    def thickness(self) -> float:
        """Metres between the axes of index and middle finger where they touch, at their middle."""
        return float(self.radii[FINGERS["index"][2]] + self.radii[FINGERS["middle"][2]])

    def crossing(self) -> tuple[float, float]:
        """Degrees between index and middle finger that bring their tips to each other's side, and
        that lift one of them off the other where they cross."""
        index, middle = FINGERS["index"], FINGERS["middle"]
        rest, lengths = self.kinematics.rest, self.kinematics.lengths[1]
        apart = float(np.linalg.norm(rest[index[0]] - rest[middle[0]])) + _CROSSED
        sines = np.array([apart / lengths.sum(), self.thickness / lengths[:2].sum()])
        lean, lift = np.rad2deg(np.arcsin(np.minimum(sines, 1)))
        return float(lean), float(lift)


def sample_pose(
    config: PoseConfig, rng: np.random.Generator, kinematics: Kinematics, finger_width: Doubles
) -> Pose:
    """Draw one pose of a right hand.

    Args:
        config: what to draw.
        rng: a fresh generator; the pose is a function of its seed.
        kinematics: of the hand.
        finger_width: (5,) factors on the thickness of the fingers, thumb first.
    """
    rest = kinematics.rest
    hand = Hand(kinematics, collision.radii(rest, finger_width))
    # In one order, so that equal configurations draw equal poses.
    kind = _choose(rng, {name: config.shares[name] for name in KINDS if name in config.shares})
    plan = KINDS[kind](config, hand, rng)
    chosen, least = None, np.inf
    for _ in range(config.attempts):
        angles, misses = hand.solve(np.deg2rad(plan.draw(plan.candidates)), plan.touches)
        xyz = hand.kinematics(angles).xyz
        depth = collision.penetration(xyz, rest, hand.radii)
        # 0 for a pose to be taken: argmin finds the first of those.
        flaw = np.maximum(depth / config.penetration - 1, 0) + np.maximum(misses - 1.5, 0)
        if plan.crossed:
            across, apart = crossing(xyz)
            flaw += np.maximum(1 - across / _CROSSED, 0) + np.maximum(
                apart / (hand.thickness + _TOGETHER) - 1, 0
            )
        best = int(np.argmin(flaw))
        if flaw[best] < least:
            chosen, least = Pose(kind, plan.name, angles[best], float(depth[best])), flaw[best]
        if least == 0:
            break
    assert chosen is not None
    return chosen


def crossing(xyz: Doubles) -> tuple[Doubles, Doubles]:
    """How the tips of index and middle finger lie.

    Args:
        xyz: (n, 21, 3) joints.

    Returns:
        (n,) metres by which the index finger's is beyond the middle finger's, across the palm
        (positive where they cross), and (n,) the distance of the two.
    """
    index, middle = FINGERS["index"], FINGERS["middle"]
    along = xyz[:, middle[0]] - xyz[:, WRIST]
    across = xyz[:, middle[0]] - xyz[:, index[0]]
    across -= (across * along).sum(-1, keepdims=True) / (along**2).sum(-1, keepdims=True) * along
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    between = xyz[:, index[3]] - xyz[:, middle[3]]
    return (between * across).sum(-1), np.linalg.norm(between, axis=-1)


def _choose(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    names = list(weights)
    share = np.array([weights[name] for name in names], np.float64)
    return names[int(rng.choice(len(names), p=share / share.sum()))]


def _from_family(family: str) -> Callable[[PoseConfig, Hand, np.random.Generator], Plan]:
    def plan(config: PoseConfig, hand: Hand, rng: np.random.Generator) -> Plan:
        name = _choose(rng, {n: config.gestures.get(n, 1.0) for n in FAMILIES[family]})
        gesture = GESTURES[name]
        return Plan(
            name,
            lambda count: _gesture(gesture, hand, rng, count, config.variation),
            gesture.touches,
            _SOLVED_CANDIDATES if gesture.touches else (1 + 4 * gesture.crossing) * _CANDIDATES,
            gesture.crossing,
        )

    return plan


def _between(config: PoseConfig, hand: Hand, rng: np.random.Generator) -> Plan:
    """On the straight way (in angles) from one gesture to another, their contacts included."""
    weights = {name: config.gestures.get(name, 1.0) for name in GESTURES}
    first, second = _choose(rng, weights), _choose(rng, weights)

    ends = []
    for name in (first, second):
        start = _gesture(GESTURES[name], hand, rng, _SOLVED_CANDIDATES, config.variation)
        ends.append(np.rad2deg(hand.solve(np.deg2rad(start), GESTURES[name].touches)[0]))

    def draw(count: int) -> Doubles:
        a, b = (end[rng.integers(len(end), size=count)] for end in ends)
        between: Doubles = a + rng.uniform(0.15, 0.85, (count, 1, 1)) * (b - a)
        return between

    return Plan(f"{first} > {second}", draw)


def _grasp(config: PoseConfig, hand: Hand, rng: np.random.Generator) -> Plan:
    """Around a cylinder or a ball that is not there: each finger's bones are chords of a circle."""
    radius = float(np.exp(rng.uniform(np.log(0.008), np.log(0.045))))
    ball = rng.random() < 0.4
    thumb = _choose(rng, {"opposed": 4, "front": 2, "side": 1, "across": 1, "relaxed": 1})
    fingers = hand.kinematics.lengths[1:]
    circle = radius + hand.radii[[6, 10, 14, 18]]
    palm = 0.4 * hand.kinematics.palm
    chords = np.column_stack([np.full(4, palm), fingers])
    half = np.rad2deg(np.arcsin(np.clip(chords / (2 * circle[:, None]), 0, 0.9)))
    flexion = half[:, :-1] + half[:, 1:]
    open_hand = Gesture("EEEE", thumb, 11 if ball else 2)

    def draw(count: int) -> Doubles:
        angles = _gesture(open_hand, hand, rng, count, config.variation)
        # A hand seldom closes fully on a thing, nor all its fingers alike.
        closing = rng.uniform(0.6, 1.0, (count, 1, 1)) + 0.06 * rng.standard_normal((count, 4, 1))
        bent = closing * flexion + 4 * rng.standard_normal((count, 4, 3))
        angles[:, 3:, 0] = np.clip(bent, 0, [88, 105, 70]).reshape(count, 12)
        return angles

    return Plan(f"{'ball' if ball else 'cylinder'} of {1000 * radius:.0f} mm", draw)


def _random(config: PoseConfig, hand: Hand, rng: np.random.Generator) -> Plan:
    """Fingers in random states, each often that of its neighbour, blended toward another state."""
    letters = list(FINGER_STATES)

    def states() -> str:
        drawn = [str(rng.choice(letters))]
        for _ in range(3):
            drawn.append(drawn[-1] if rng.random() < 0.4 else str(rng.choice(letters)))
        return "".join(drawn)

    thumbs = [str(rng.choice(list(THUMBS))) for _ in range(2)]
    pair = [Gesture(states(), thumb, rng.uniform(0, 14)) for thumb in thumbs]

    def draw(count: int) -> Doubles:
        ends = [_gesture(g, hand, rng, count, 1.4 * config.variation) for g in pair]
        way = 0.5 * rng.random((count, 1, 1))
        return ends[0] + way * (ends[1] - ends[0])

    return Plan(f"{pair[0].fingers} {pair[0].thumb}", draw)


KINDS: dict[str, Callable[[PoseConfig, Hand, np.random.Generator], Plan]] = {
    **{family: _from_family(family) for family in FAMILIES},
    "between": _between,
    "grasp": _grasp,
    "random": _random,
}


def _gesture(
    gesture: Gesture, hand: Hand, rng: np.random.Generator, count: int, variation: float
) -> Doubles:
    """Angles (count, 15, 3) in degrees of a gesture, before limits and contacts.

    Fingers deviate together as well as each by itself; a DIP follows its PIP by 2/3 (Rijpkema and
    Girard 1991); fingers spread less the more they bend.
    """
    mean = np.array([FINGER_STATES[letter][:3] for letter in gesture.fingers])
    deviation = np.array([FINGER_STATES[letter][3:] for letter in gesture.fingers])
    together = rng.standard_normal((count, 1, 2))
    alone = rng.standard_normal((count, 4, 2))
    change = variation * deviation * (0.6 * together + 0.8 * alone)
    angles = np.zeros((count, 5, 3, 3))
    angles[:, 1:, :2, 0] = mean[:, :2] + change
    dip = (
        mean[:, 2] + _DIP_PER_PIP * change[..., 1] + 4 * variation * rng.standard_normal((count, 4))
    )
    angles[:, 1:, 2, 0] = np.maximum(dip, -8)

    spread = gesture.spread + 2.5 * variation * rng.standard_normal((count, 1))
    lean = -3 + 4 * variation * rng.standard_normal((count, 1))
    toward_thumb = lean + spread * _SPREADING + 1.5 * variation * rng.standard_normal((count, 4))
    if gesture.crossing:
        over = rng.choice([-1.0, 1.0], (count, 1))
        across, lift = hand.crossing()
        toward_thumb[:, :2] += rng.uniform(1.0, 1.5, (count, 1)) * across * [-0.6, 0.4]
        angles[:, 1:3, 0, 0] += rng.uniform(0.7, 1.5, (count, 1)) * lift * over * [-0.5, 0.5]
        # The upper finger's tip comes down onto the lower one.
        angles[:, 1:3, 1, 0] += rng.uniform(10, 35, (count, 1)) * (over * [1, -1] > 0)
    bend = np.clip(angles[:, 1:, 0, 0] / 80, 0, 1)
    extended = (toward_thumb - hand.kinematics.metacarpals) * _SIDE
    bent = 3 * variation * rng.standard_normal((count, 4))
    angles[:, 1:, 0, 1] = (1 - bend) * extended + bend * bent

    thumb = THUMBS[gesture.thumb]
    noise = variation * thumb.deviation * rng.standard_normal((count, 4))
    angles[:, 0, 0, :2] = noise[:, :2] + [thumb.cmc_flexion, thumb.cmc_abduction]
    angles[:, 0, 1:, 0] = noise[:, 2:] + [thumb.mcp_flexion, thumb.ip_flexion]
    drawn: Doubles = angles.reshape(count, 15, 3)
    return drawn
