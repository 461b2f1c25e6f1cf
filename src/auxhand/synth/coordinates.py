"""Where a point lies on the hand, in numbers that change with neither pose nor shape."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from auxhand.arrays import Singles
from auxhand.hand.skeleton import FINGERS, ROOT
from auxhand.hand.surface import HandSurface
from auxhand.synth.skin import Bone, SkinMaps, palm_directions


class Coordinates(NamedTuple):
    """Where a point lies on the hand; each (V,) at vertices, or (N,) at pixels.

    Attributes:
        bare: 1 on skin, 0 on cloth and on other things.
        bone: along its finger: 0 at the first joint, 1 at the second, 3 at the tip.
        across: metres from the finger's axis toward one side.
        finger: weight of the fingers against the palm.
        palmar: 1 on the side of the palm, 0 on the back.
        nail_along, nail_across: -1 to 1 from the nail's root to its end, and across it.
        dorsal: how much the surface at a fingertip faces backwards.
        x, y: in the plane of the palm, in lengths of the middle metacarpal bone.
        arm: metres behind the wrist.
        number: 1 thumb to 5 pinky, 0 palm.
    """

    bare: Singles
    bone: Singles
    across: Singles
    finger: Singles
    palmar: Singles
    nail_along: Singles
    nail_across: Singles
    dorsal: Singles
    x: Singles
    y: Singles
    arm: Singles
    number: Singles

    @classmethod
    def of(cls, surface: HandSurface, maps: SkinMaps) -> Self:
        """Of the template of a right hand."""
        rest = maps.rest.astype(np.float64)
        joints = surface.rest_joints.double().numpy()
        weights = surface.weights.double().numpy()
        directions = palm_directions(joints)
        on_fingers = np.stack([weights[:, chain[:3]].sum(1) for chain in FINGERS.values()], 1)
        mine = on_fingers.argmax(1)
        bone, across, nail_along, nail_across, dorsal = np.zeros((5, len(rest)))
        nail_along -= 9
        for finger, chain in enumerate(FINGERS.values()):
            of_finger = mine == finger
            bones = [Bone.of(rest, joints[j], joints[j + 1], directions[j]) for j in chain[:3]]
            length = [b.along / b.length for b in bones]
            past = [length[1] > 0, length[2] > 0]
            position = np.where(past[1], 2 + length[2], np.where(past[0], 1 + length[1], length[0]))
            lateral = np.where(past[1], bones[2].across, bones[1].across)
            last = bones[2]
            tip = of_finger & (on_fingers[:, finger] > 0.6) & (last.along > 0.2 * last.length)
            end = last.along[tip].max()
            middle = np.abs(last.along - 0.6 * last.length) < 0.004
            width = np.ptp(last.across[tip & middle]) / 2
            bone[of_finger] = np.clip(position, -1, 4)[of_finger]
            across[of_finger] = lateral[of_finger]
            nail_along[of_finger] = ((last.along - (end - 0.85 * width)) / (0.72 * width))[
                of_finger
            ]
            nail_across[of_finger] = (last.across / (0.78 * width))[of_finger]
            dorsal[of_finger] = (-last.height / (0.5 * width))[of_finger]
        finger_weight = on_fingers.max(1)
        unit = float(np.linalg.norm(joints[ROOT]))
        values = (
            np.ones(len(rest)),
            *(bone, across, finger_weight, maps.palmar, nail_along, nail_across, dorsal),
            *(rest[:, 0] / unit, rest[:, 1] / unit, maps.forearm_distance),
            np.where(finger_weight > 0.3, mine + 1, 0),
        )
        return cls(*(np.asarray(each, np.float32) for each in values))
