import math

import pytest
import torch
from torch.autograd import gradcheck

from auxhand.hand.anatomy import ANGLE_LIMITS
from auxhand.losses.model_fit import model_regulariser

ANGLES = 9  # where flexions and abductions begin in h: scale 1, translation 2, rotation 6
SHAPE = ANGLES + 30


def test_camera_rotation_and_feasible_angles_are_free():
    h = torch.zeros(2, SHAPE + 8)
    h[:, :ANGLES] = torch.randn(2, ANGLES)
    inside = ANGLE_LIMITS.mean(-1)[:, :2]
    h[:, ANGLES:SHAPE] = inside.flatten()
    assert model_regulariser(h) == 0


def test_shape_and_angles_beyond_their_limits_cost_their_squares():
    h = torch.zeros(2, SHAPE + 8)
    h[0, SHAPE:] = 2.0  # 8 components of 2 standard deviations: 32
    excess = math.radians(30)
    h[1, ANGLES] = ANGLE_LIMITS[0, 0, 1] + excess
    h[1, ANGLES + 3] = ANGLE_LIMITS[1, 1, 0] - excess
    expected = (0.1 * 32 + 2 * excess**2) / 2
    assert model_regulariser(h, shape_weight=0.1).item() == pytest.approx(expected, rel=1e-5)


def test_gradient():
    h = torch.randn(2, SHAPE + 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(model_regulariser, (h,))


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(B, 39 \+ S\)"):
        model_regulariser(torch.zeros(2, 20))
