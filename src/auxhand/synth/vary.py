"""Hands that differ in chosen factors alone: "same pose, other background" and the like (Fig. 1.5).

What chapter 4 calls content is everything but pose and view, so the tag image of a sample (Ch.
4.3.3) is `vary(factors, ("pose", "view"))`; images of one canonical pose from several viewpoints
are `vary(factors, "view", index=i)` for several i.
"""

from __future__ import annotations

from collections.abc import Collection

from auxhand.synth.config import FactorConfig
from auxhand.synth.distributions import GROUPS, draw_group, draw_shape
from auxhand.synth.factors import Factors


def vary(
    factors: Factors,
    groups: str | Collection[str],
    config: FactorConfig | None = None,
    seed: int = 0,
    index: int = 0,
) -> Factors:
    """The same hand with some groups of its factors drawn anew.

    A new pose is drawn for the hand's shape. A new shape keeps the pose's angles, so that contacts
    may open or press: vary "pose" with "shape" where that matters.

    Args:
        factors: what to start from.
        groups: one or several of "side", "shape", "pose", "wrist", "view", "camera", "light",
            "skin", "sleeve", "background"; the others stay to the last bit.
        config: what to draw from; factors that it fixes are as it says. Default: `FactorConfig()`.
        seed: of the randomness.
        index: number of the variation; another index, another draw.

    Raises:
        ValueError: a group that does not exist.
    """
    config = config or FactorConfig()
    chosen = {groups} if isinstance(groups, str) else set(groups)
    if unknown := chosen - set(GROUPS):
        raise ValueError(
            f"no factor {', '.join(sorted(unknown))} to vary; there are: {', '.join(GROUPS)}"
        )
    shape = factors.shape
    if "shape" in chosen:
        shape = draw_shape(config, seed, index)
    drawn = {group: draw_group(group, config, seed, index, shape) for group in chosen}
    fixed = {group: value for group, value in config.fixed.items() if group in chosen}
    kept = {group: getattr(factors, group) for group in GROUPS if group not in chosen}
    return Factors(**kept, **drawn).fixed(fixed)
