import numpy as np
import pytest
import torch

from auxhand.hand.skeleton import (
    BONES,
    FINGERS,
    JOINT_NAMES,
    NUM_JOINTS,
    ORDERS,
    PARENTS,
    TIPS,
    reorder,
)

THEIRS = {
    "mano": "W I1 I2 I3 M1 M2 M3 P1 P2 P3 R1 R2 R3 T1 T2 T3 T4 I4 M4 R4 P4",
    "rhd": "W T4 T3 T2 T1 I4 I3 I2 I1 M4 M3 M2 M1 R4 R3 R2 R1 P4 P3 P2 P1",
    "stb": "W P1 P2 P3 P4 R1 R2 R3 R4 M1 M2 M3 M4 I1 I2 I3 I4 T1 T2 T3 T4",
    "interhand": "T4 T3 T2 T1 I4 I3 I2 I1 M4 M3 M2 M1 R4 R3 R2 R1 P4 P3 P2 P1 W",
}
OURS = "W T1 T2 T3 T4 I1 I2 I3 I4 M1 M2 M3 M4 R1 R2 R3 R4 P1 P2 P3 P4"
"""W wrist (or palm); Thumb, Index, Middle, Ring, Pinky with 1 the base and 4 the tip."""


def test_tree():
    assert len(JOINT_NAMES) == NUM_JOINTS == 21
    assert [child for _, child in BONES] == list(range(1, 21))
    for chain in FINGERS.values():
        assert PARENTS[chain[0]] == 0
        assert [PARENTS[j] for j in chain[1:]] == list(chain[:-1])
    assert set(TIPS) == set(range(21)) - set(PARENTS)


@pytest.mark.parametrize("name", sorted(ORDERS))
def test_orders_are_permutations(name):
    assert sorted(ORDERS[name]) == list(range(21))


@pytest.mark.parametrize("name", sorted(ORDERS))
def test_reorder_puts_names_in_our_order(name):
    theirs = THEIRS.get(name, OURS).split()
    places = np.array([OURS.split().index(joint) for joint in theirs])[:, None]
    assert [OURS.split()[i] for i in reorder(places, name)[:, 0]] == OURS.split()
    batch = torch.from_numpy(places).expand(2, 3, 21, 1)
    assert torch.equal(reorder(batch, name)[1, 2, :, 0], torch.arange(21))


def test_reorder_says_what_is_wrong():
    with pytest.raises(ValueError, match="unknown"):
        reorder(np.zeros((21, 3)), "nobody")
    with pytest.raises(ValueError, match="21"):
        reorder(np.zeros((16, 3)), "mano")
