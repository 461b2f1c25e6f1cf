"""What factors may be, whether drawn or given, and the check of those that are given."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, get_args, get_origin

import numpy as np

from auxhand.sample import SIDES
from auxhand.synth.factors import Factors, group_of, types_of

Limits = tuple[float, float]
"""The least and the most that a number may be."""

SHARE: Limits = (0.0, 1.0)
WEIGHT: Limits = (0.0, np.inf)
ANY: Limits = (-np.inf, np.inf)
POSITIVE: Limits = (1e-6, np.inf)
SEED: Limits = (0, 2**63 - 1)

LIMITS: Mapping[str, Limits] = {
    "shape.bone_scale": POSITIVE,
    "shape.finger_width": POSITIVE,
    "camera.distance": (0.2, 6.0),  # outside the hand, and within the depth that is stored
    "camera.fill": (0.05, 2.0),
    "camera.place": (-0.5, 0.5),
    **dict.fromkeys(("light.colours", "light.sky", "light.ground"), WEIGHT),
    "light.occlusion": SHARE,
    **dict.fromkeys(("skin.tone", "skin.palm", "skin.creases", "skin.knuckles"), SHARE),
    **dict.fromkeys(("skin.flush", "skin.veins", "skin.blotches", "skin.relief"), SHARE),
    "skin.warmth": (-1.0, 1.0),
    "skin.roughness": (0.05, 1.0),
    "skin.polish": SHARE,
    "skin.pattern": SEED,
    "skin.detail": (0.0, 2.0),
    "sleeve.start": (0.0, 0.3),
    "sleeve.thickness": (0.0, 0.05),
    "sleeve.colour": SHARE,
    "background": SEED,
    "sensor.blur": (0.0, 20.0),
    "sensor.exposure": (-10.0, 10.0),
    "sensor.balance": POSITIVE,
    **dict.fromkeys(("sensor.read", "sensor.shot"), SHARE),
    "sensor.quality": (1, 100),
    "sensor.seed": SEED,
    "occluders.radii": POSITIVE,
    "occluders.roundness": (0.05, 2.0),
    "occluders.colour": SHARE,
    "occluders.roughness": (0.05, 1.0),
}
"""What factors may be, whether drawn or given; any finite number where nothing is said."""

_COUNTS = {"shape.bone_scale": 20, "shape.finger_width": 5, "pose.angles": 45}
_WORDS = {"side": SIDES, "occluders.kind": ("held", "front")}


def check_fixed(values: Mapping[str, Any]) -> None:
    """Check that `Factors.fixed` can take these values whatever was drawn.

    Raises:
        ValueError: a factor that does not exist, a group that may be absent and is not complete, a
            value of the wrong kind, number of numbers or size (`LIMITS`).
    """
    groups = types_of(Factors)
    for name, value in values.items():
        if name not in groups:
            raise ValueError(f"no factor {name!r} to fix; there are: {', '.join(groups)}")
        group, optional = group_of(groups[name]), type(None) in get_args(groups[name])
        if group is None or (value is None and optional):
            _check_value(groups[name], value, name)
            continue
        types = types_of(group)
        given = set(value) if isinstance(value, Mapping) else {repr(value)}
        if not given <= set(types) or (optional and given != set(types)):
            which = "all of" if optional else "some of"
            raise ValueError(
                f"a fixed {name} takes {which} {', '.join(sorted(types))}; got {_listed(given)}"
            )
        for entry in sorted(given):
            _check_value(types[entry], value[entry], f"{name}.{entry}")
    _check_lights(values.get("light", {}))


def _check_value(hint: Any, value: Any, where: str) -> None:
    """Check one fixed value, and what is in it, against the type hint of its factor."""
    name = re.sub(r"\[\d+\]", "", where)
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    if get_origin(hint) is tuple:
        many = _COUNTS.get(name) if kinds[-1] is Ellipsis else len(kinds)
        if not isinstance(value, (list, tuple)) or many not in (None, len(value)):
            what = "a list" if many is None else f"{many} numbers"
            got = len(value) if isinstance(value, (list, tuple)) else repr(value)
            raise ValueError(f"a fixed {where} must be {what}, got {got}")
        for i, each in enumerate(value):
            _check_value(kinds[0], each, f"{where}[{i}]")
    elif kinds:  # "X | None"
        if value is not None:
            _check_value(kinds[0], value, where)
    elif group_of(hint):
        types = types_of(hint)
        given = set(value) if isinstance(value, Mapping) else {repr(value)}
        if given != set(types):
            raise ValueError(
                f"a fixed {where} takes all of {', '.join(sorted(types))}; got {_listed(given)}"
            )
        for entry, kind in types.items():
            _check_value(kind, value[entry], f"{where}.{entry}")
    elif hint in (int, float):
        check_number(f"a fixed {where}", value, LIMITS.get(name, ANY), whole=hint is int)
    elif not isinstance(value, hint) or value not in _WORDS.get(name, (value,)):
        what = " or ".join(_WORDS.get(name, (f"a {hint.__name__}",)))
        raise ValueError(f"a fixed {where} must be {what}, got {value!r}")


def _listed(names: Collection[Any]) -> str:
    return ", ".join(sorted(map(str, names))) or "nothing"


def check_number(what: str, value: Any, limits: Limits, whole: bool = False) -> None:
    """Check that a value is a finite number within limits.

    Args:
        what: how a message names it.
        value: what was given.
        limits: the least and the most.
        whole: it must be an integer.

    Raises:
        ValueError: it is not.
    """
    known = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not known or not -np.inf < value < np.inf:
        raise ValueError(f"{what} must be a {'whole ' * whole}number, got {value!r}")
    least, most = limits
    if not least <= value <= most:
        bounds = f"{least:g} or more" if most >= SEED[1] else f"in {least:g} to {most:g}"
        raise ValueError(f"{what} must be {bounds}, got {value}")


def _check_lights(light: Mapping[str, Any]) -> None:
    """Check that lights are fixed as a whole, and that they come from somewhere."""
    together = ("directions", "colours", "shadows")
    if len({len(light.get(name, ())) if name in light else None for name in together}) > 1:
        raise ValueError(f"a fixed light takes as many {', '.join(together)}, or none of these")
    for direction in light.get("directions", ()):
        if abs(np.linalg.norm(direction) - 1) > 0.02:
            raise ValueError(f"fixed light.directions must be of length 1, got {direction}")
