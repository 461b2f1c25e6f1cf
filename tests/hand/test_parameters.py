import pytest
import torch

from auxhand.hand.parameters import SCALE, HandParameters


def test_zeros_are_the_mean_hand_palm_to_the_camera():
    hand = HandParameters.of(torch.zeros(2, HandParameters.count(shapes=6)))
    assert hand.scale.tolist() == [SCALE, SCALE]
    assert hand.translation.shape == (2, 2)
    torch.testing.assert_close(hand.rotation, torch.eye(3).expand(2, 3, 3))
    assert hand.angles.shape == (2, 15, 3)
    assert hand.shape.shape == (2, 6)


def test_rotations_are_rotations_and_there_is_no_twist():
    hand = HandParameters.of(torch.randn(20, 43, dtype=torch.float64))
    identity = torch.eye(3, dtype=torch.float64).expand(20, 3, 3)
    torch.testing.assert_close(hand.rotation @ hand.rotation.mT, identity)
    torch.testing.assert_close(torch.linalg.det(hand.rotation), torch.ones(20).double())
    assert hand.angles[..., 2].abs().max() == 0
    assert hand.angles[..., :2].abs().min() > 0


@pytest.mark.parametrize("shape", [(3, 38), (43,), (2, 3, 43)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="hand parameters"):
        HandParameters.of(torch.zeros(shape))
