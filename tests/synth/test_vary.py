import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auxhand.synth.build import build_scene
from auxhand.synth.config import FactorConfig
from auxhand.synth.distributions import GROUPS, sample_factors
from auxhand.synth.vary import vary


@pytest.fixture(scope="module")
def base():
    return sample_factors(FactorConfig(), seed=3, index=4)


@given(st.sets(st.sampled_from([g for g in GROUPS if g != "pose"])))
@settings(max_examples=25, deadline=None)
def test_what_is_not_varied_stays(base, groups):
    other = vary(base, groups, seed=5)
    assert all(getattr(other, g) == getattr(base, g) for g in GROUPS if g not in groups)
    changed = {g for g in groups if getattr(other, g) != getattr(base, g)}
    assert groups - changed <= {"side", "sleeve", "occluders"}  # often alike


def test_a_group_is_drawn_as_a_sample_draws_it(base):
    drawn = sample_factors(FactorConfig(), seed=7, index=2)
    assert vary(base, GROUPS, seed=7, index=2) == drawn
    assert vary(base, "light", seed=7, index=2).light == drawn.light


def test_another_index_is_another_draw_and_the_same_is_the_same(base):
    views = [vary(base, "view", index=i).view for i in range(4)]
    assert len(set(views)) == 4
    assert views[2] == vary(base, "view", index=2).view


def test_other_views_and_backgrounds_keep_the_canonical_pose(base):
    def bones(factors):
        joints = build_scene(factors, 64)[1].joints_xyz
        return np.linalg.norm(joints[:, None] - joints[None], axis=-1)

    other = vary(base, ("view", "background", "camera", "light"), seed=1)
    np.testing.assert_allclose(bones(other), bones(base), atol=1e-6)
    assert np.abs(bones(vary(base, "pose", seed=1)) - bones(base)).max() > 0.01


def test_a_new_pose_is_for_the_hand_that_it_gets(base):
    alone = vary(base, "pose", seed=2)
    assert alone.shape == base.shape
    assert alone.pose.kind == vary(base, ("pose", "shape"), seed=2).pose.kind


def test_what_a_configuration_fixes_is_fixed_where_it_is_varied(base):
    config = FactorConfig(fixed={"camera": {"distance": 0.5}, "side": "left"})
    other = vary(base, ("camera", "light"), config)
    assert other.camera.distance == 0.5
    assert other.side == base.side


def test_unknown_groups_are_named(base):
    with pytest.raises(ValueError, match="no factor colour to vary; there are: side"):
        vary(base, ("view", "colour"))
