"""Named gestures: what each finger and the thumb do, as the pose sampler's vocabulary.

A gesture is written with one letter per finger (index, middle, ring, pinky), a word for the thumb,
and the spread of the fingers. Finger states and thumbs are normal distributions of joint angles in
degrees, in the conventions of `auxhand.hand.anatomy`; a gesture is a family of hands, not one pose.

The vocabulary is that of finger counting in several countries, the digits and letters of American
Sign Language, and everyday emblems.
"""

from __future__ import annotations

from typing import NamedTuple


class Finger(NamedTuple):
    """Flexion of a finger's joints in degrees: means, and standard deviations of MCP and PIP."""

    mcp: float
    pip: float
    dip: float
    mcp_deviation: float
    pip_deviation: float


FINGER_STATES: dict[str, Finger] = {
    "E": Finger(4, 5, 3, 8, 5),
    "R": Finger(22, 30, 18, 9, 10),
    "H": Finger(42, 52, 30, 12, 12),
    "B": Finger(62, 84, 46, 11, 11),
    "C": Finger(82, 100, 62, 6, 6),
    "K": Finger(8, 88, 52, 10, 10),
    "T": Finger(72, 12, 6, 9, 9),
}
"""Extended, Relaxed, Half-bent, Bent (loosely curled), Curled into the palm, hooKed (straight
knuckle), Table-top (bent knuckle, straight finger)."""


class Thumb(NamedTuple):
    """Mean angles of the thumb in degrees, and one standard deviation for all of them."""

    cmc_flexion: float
    cmc_abduction: float
    mcp_flexion: float
    ip_flexion: float
    deviation: float = 8


THUMBS: dict[str, Thumb] = {
    "out": Thumb(6, -15, 0, -4),
    "up": Thumb(0, -12, -4, -10),
    "relaxed": Thumb(15, 5, 10, 12, 10),
    "side": Thumb(36, -18, 8, 4, 6),
    "opposed": Thumb(16, 28, 14, 20, 10),
    "across": Thumb(48, 14, 42, 40, 8),
    "over": Thumb(42, 20, 36, 45, 8),
    "front": Thumb(2, 26, 9, 9, 9),
}
"""Out to the side, up (hitch-hiking), relaxed, beside the index finger, opposed to the fingers,
across the palm, over curled fingers, in front of the palm."""


class Touch(NamedTuple):
    """Where the pad of the thumb rests: on one side of a bone of a finger.

    Attributes:
        finger: name as in `skeleton.FINGERS`.
        bone: "proximal", "middle" or "distal".
        side: "palmar", "dorsal" or "radial".
        along: fraction of the bone, from its base.
        tolerance: metres by which the pad may miss it.
        followers: fingers that bend as this one does.
    """

    finger: str
    bone: str = "distal"
    side: str = "palmar"
    along: float = 0.6
    tolerance: float = 0.002
    followers: tuple[str, ...] = ()


class Gesture(NamedTuple):
    """A named gesture.

    Attributes:
        fingers: states of index, middle, ring and pinky, letters of `FINGER_STATES`.
        thumb: a key of `THUMBS`.
        spread: degrees between neighbouring extended fingers, about.
        touches: what the thumb's pad touches.
        crossing: index and middle finger lie over each other, their tips on each other's side.
    """

    fingers: str
    thumb: str
    spread: float = 7
    touches: tuple[Touch, ...] = ()
    crossing: bool = False


def _tips(*fingers: str, tolerance: float = 0.002, followers: str = "") -> tuple[Touch, ...]:
    """Touches of fingertips; `followers` (names with spaces between) go with the last of them."""
    touches = [Touch(finger, tolerance=tolerance) for finger in fingers]
    touches[-1] = touches[-1]._replace(followers=tuple(followers.split()))
    return tuple(touches)


_OVER_INDEX = (Touch("index", "middle", "dorsal", 0.5, 0.003),)
_OVER_MIDDLE = (Touch("middle", "middle", "dorsal", 0.5, 0.003),)
_OVER_RING = (Touch("ring", "middle", "dorsal", 0.6, 0.004),)
_BESIDE_MIDDLE = (Touch("middle", "middle", "radial", 0.5, 0.004),)
_BESIDE_INDEX = (Touch("index", "middle", "radial", 0.4, 0.003, ("middle", "ring", "pinky")),)
_BESIDE_KNUCKLE = (Touch("index", "proximal", "radial", 0.7, 0.004),)
_TWO_TIPS = _tips("index", "middle", tolerance=0.003, followers="ring pinky")
_THREE_TIPS = (
    *_tips("index", "middle", tolerance=0.004),
    *_tips("ring", tolerance=0.008, followers="pinky"),
)

OPEN: dict[str, Gesture] = {
    "open": Gesture("EEEE", "out", 13),
    "spread": Gesture("EEEE", "out", 18),
    "flat": Gesture("EEEE", "side", 1),
    "flat, thumb out": Gesture("EEEE", "out", 2),
    "relaxed": Gesture("RRRR", "relaxed", 6),
    "resting": Gesture("RRHH", "relaxed", 5),
    "cascade": Gesture("ERHB", "relaxed", 6),
    "four": Gesture("EEEE", "across", 8),
    "four, closed": Gesture("EEEE", "across", 1),
    "table top": Gesture("TTTT", "side", 2),
    "table top, thumb in front": Gesture("TTTT", "front", 2),
    "salute": Gesture("EEEE", "front", 2),
}

COUNTING: dict[str, Gesture] = {
    "point": Gesture("ECCC", "over", 7, _OVER_MIDDLE),
    "point, thumb beside": Gesture("ECCC", "side", 7, _BESIDE_MIDDLE),
    "point, loose": Gesture("EBBB", "relaxed", 7),
    "L": Gesture("ECCC", "out", 7),
    "L, loose": Gesture("EBBB", "out", 7),
    "victory": Gesture("EECC", "over", 13, _OVER_RING),
    "victory, loose": Gesture("EEBB", "over", 11, _OVER_RING),
    "two, closed": Gesture("EECC", "over", 1, _OVER_RING),
    "two with thumb": Gesture("EECC", "out", 10),
    "three": Gesture("EEEC", "across", 10),
    "three, middle to pinky": Gesture("CEEE", "over", 8, _OVER_INDEX),
    "ring and pinky with thumb": Gesture("CCEE", "out", 8),
    "four with thumb": Gesture("EEEC", "out", 9),
    "thumb and middle": Gesture("CECC", "out", 6),
    "middle": Gesture("CECC", "over", 6, _OVER_INDEX),
    "pinky": Gesture("CCCE", "over", 8, _OVER_MIDDLE),
    "call me": Gesture("CCCE", "out", 10),
    "horns": Gesture("ECCE", "over", 9, _OVER_MIDDLE),
    "I love you": Gesture("ECCE", "out", 10),
    "index and ring": Gesture("ECEC", "over", 8, _OVER_MIDDLE),
    "ring and pinky": Gesture("CCEE", "over", 8, _OVER_MIDDLE),
    "not the middle": Gesture("ECEE", "over", 8, _OVER_MIDDLE),
    "not the ring": Gesture("EECE", "over", 9, _OVER_RING),
    "bent two": Gesture("KKCC", "over", 8, _OVER_RING),
    "hooked index": Gesture("KCCC", "over", 6, _OVER_MIDDLE),
    "bent index": Gesture("TCCC", "over", 6, _OVER_MIDDLE),
    "K": Gesture("ETCC", "opposed", 8, (Touch("middle", "middle", "radial", 0.5, 0.004),)),
}

CROSSED: dict[str, Gesture] = {
    "crossed": Gesture("EECC", "over", 0, crossing=True),
    "crossed, thumb out": Gesture("EECC", "out", 0, crossing=True),
    "crossed, loose": Gesture("EEBB", "relaxed", 0, crossing=True),
    "crossed, open": Gesture("EEEE", "out", 2, crossing=True),
}

FISTS: dict[str, Gesture] = {
    "fist": Gesture("CCCC", "over", 3, _OVER_MIDDLE),
    "fist, thumb on index": Gesture("CCCC", "over", 3, _OVER_INDEX),
    "fist, thumb beside": Gesture("CCCC", "side", 3, _BESIDE_INDEX),
    "fist, thumb on knuckle": Gesture("CCCC", "side", 3, _BESIDE_KNUCKLE),
    "loose fist": Gesture("BBBB", "relaxed", 3),
    "loose fist, thumb beside": Gesture("BBBB", "side", 3, _BESIDE_INDEX),
    "thumbs up": Gesture("CCCC", "up", 3),
    "thumbs up, loose": Gesture("BBBB", "up", 3),
    "hook grip": Gesture("KKKK", "side", 3),
    "hook grip, thumb across": Gesture("KKKK", "across", 3),
    "claw": Gesture("KKKK", "out", 9),
    "claw, half": Gesture("HHHH", "out", 9),
    "cup": Gesture("HHHH", "opposed", 3),
    "curling": Gesture("HBBC", "relaxed", 4),
    "uncurling": Gesture("RHBC", "opposed", 4),
}

TOUCHES: dict[str, Gesture] = {
    "O": Gesture("HHHH", "opposed", 2, _TWO_TIPS),
    "O, index": Gesture("HHHH", "opposed", 2, _tips("index", followers="middle ring pinky")),
    "O, all tips": Gesture("HHHH", "opposed", 0, _THREE_TIPS),
    "flat O": Gesture("TTTT", "opposed", 1, _TWO_TIPS),
    "flat O, all tips": Gesture("TTTT", "opposed", 0, _THREE_TIPS),
    "OK": Gesture("HEEE", "opposed", 9, _tips("index")),
    "OK, loose": Gesture("HRRH", "opposed", 6, _tips("index")),
    "OK, flat": Gesture("TEEE", "opposed", 9, _tips("index")),
    "eight": Gesture("EHEE", "opposed", 9, _tips("middle")),
    "seven": Gesture("EEHE", "opposed", 9, _tips("ring")),
    "six": Gesture("EEEH", "over", 9, _tips("pinky", tolerance=0.003)),
    "six, relaxed": Gesture("RRRH", "over", 6, _tips("pinky", tolerance=0.003)),
    "pinch": Gesture("HBBB", "opposed", 4, _tips("index")),
    "pinch, closed": Gesture("HCCC", "opposed", 4, _tips("index")),
    "pinch, middle": Gesture("RHRR", "opposed", 5, _tips("middle")),
    "pinch, ring": Gesture("RRHR", "opposed", 5, _tips("ring")),
    "snap": Gesture("RHBB", "opposed", 4, _tips("middle")),
    "tripod": Gesture("HHBB", "opposed", 1, _tips("index", "middle", tolerance=0.003)),
    "key pinch": Gesture("BBBB", "side", 3, _BESIDE_INDEX),
    "key pinch, half": Gesture("HHHH", "side", 3, _BESIDE_INDEX),
    "on index": Gesture(
        *("HHHH", "opposed", 3),
        (Touch("index", "middle", "palmar", 0.5, followers=("middle", "ring", "pinky")),),
    ),
    "shadow dog": Gesture("EHHE", "opposed", 4, _tips("middle", "ring", tolerance=0.003)),
    "D": Gesture("EHHH", "opposed", 3, _tips("middle", "ring", tolerance=0.003, followers="pinky")),
}

FAMILIES: dict[str, dict[str, Gesture]] = {
    "open": OPEN,
    "counting": COUNTING,
    "crossed": CROSSED,
    "fist": FISTS,
    "touch": TOUCHES,
}
GESTURES: dict[str, Gesture] = {
    name: g for family in FAMILIES.values() for name, g in family.items()
}
