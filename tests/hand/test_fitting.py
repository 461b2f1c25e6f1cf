import math

import pytest
import torch
from torch.testing import assert_close

from auxhand.hand.anatomy import ANGLE_LIMITS, rotations_from_angles
from auxhand.hand.fitting import SHAPE_LIMIT, fit_hand
from auxhand.hand.surface import HandSurface


def posed(seed, side, shape_of=1.0):
    """Rotations, shape and translation of a hand with angles within half their limits."""
    generator = torch.Generator().manual_seed(seed)
    surface = HandSurface("right").double()

    def uniform(*size):
        return 2 * torch.rand(*size, generator=generator, dtype=torch.float64) - 1

    middle, half = ANGLE_LIMITS.double().mean(-1), ANGLE_LIMITS.double().diff(dim=-1)[..., 0] / 2
    shape = shape_of * uniform(len(surface.shape_joints))
    rest = surface.rest_joints + torch.tensordot(shape, surface.shape_joints, 1)
    rotations = rotations_from_angles(middle + 0.5 * half * uniform(15, 3), rest)
    skew = math.pi * uniform(3, 3)
    rotations[0] = torch.matrix_exp(skew - skew.T)
    mirror = torch.diag(torch.tensor([-1.0 if side == "left" else 1.0, 1, 1]).double())
    return mirror @ rotations @ mirror, shape, torch.tensor([0.1, -0.05, 0.6]).double()


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_hand_of_the_surface_comes_back(side, seed):
    rotations, shape, translation = posed(seed, side)
    surface = HandSurface(side).double()
    vertices, joints = (x[0] + translation for x in surface(rotations[None], shape[None]))
    fitted = fit_hand(joints, side)
    assert fitted.side == side
    assert_close(fitted.joints(), joints, atol=3e-4, rtol=0)
    assert fitted.error == pytest.approx(
        float((fitted.joints() - joints).square().sum(-1).mean().sqrt()), abs=1e-9
    )
    # Joints show shape but for the flesh's: the surface is a few millimetres off at most.
    mesh, faces = fitted.mesh()
    assert_close(mesh, vertices, atol=0.006, rtol=0)
    assert faces.shape == surface.faces.shape
    assert_close(fitted.rotations @ fitted.rotations.mT, torch.eye(3).double().expand(21, 3, 3))


def test_the_mean_hand_at_rest_is_exact():
    surface = HandSurface("right").double()
    with torch.inference_mode():  # as those who predict may be in
        fitted = fit_hand(surface.rest_joints, "right")
    assert fitted.error < 1e-6
    assert fitted.shape.abs().max() < 1e-3
    mesh, _ = fitted.mesh()
    assert_close(mesh, surface.template, atol=1e-5, rtol=0)


def test_a_larger_hand_is_found_larger():
    surface = HandSurface("right").double()
    fitted = fit_hand(1.1 * surface.rest_joints, "right")
    # The first component is size, 8% a standard deviation.
    assert float(fitted.shape[0]) == pytest.approx(0.1 / 0.08, abs=0.15)
    assert fitted.error < 1e-3


def test_no_skeleton_makes_fingers_like_threads():
    surface = HandSurface("right").double()
    wide = surface.rest_joints * torch.tensor([1.6, 1, 1]).double()
    fitted = fit_hand(wide, "right")
    assert 2 < float(fitted.shape.abs().max()) <= SHAPE_LIMIT
    # The middle finger about its first joint, in the hand frame: as thick as a finger.
    vertices, joints = surface.rest(fitted.shape[None])
    near = (vertices[0] - joints[0, 10]).norm(dim=1) < 0.012
    assert float(vertices[0, near, 0].max() - vertices[0, near, 0].min()) > 0.01


def test_noise_of_joints_stays_in_the_error():
    rotations, shape, translation = posed(3, "right")
    joints = HandSurface("right").double().joints(rotations[None], shape[None])[0] + translation
    noisy = joints + 0.003 * torch.randn(
        21, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    fitted = fit_hand(noisy, "right")
    assert fitted.error < 0.003 * math.sqrt(3)
    assert (fitted.joints() - joints).norm(dim=1).mean() < 0.005


def test_joints_alone_are_those_of_the_surface():
    rotations, shape, _ = posed(5, "right")
    surface = HandSurface("right").double()
    assert_close(
        surface.joints(rotations[None], shape[None]), surface(rotations[None], shape[None])[1]
    )


@pytest.mark.parametrize(
    ("xyz", "side", "says"),
    [
        (torch.zeros(20, 3), "right", r"\(21, 3\)"),
        (torch.full((21, 3), torch.nan), "right", "finite"),
        (torch.zeros(21, 3), "both", "side"),
    ],
)
def test_what_is_no_hand_is_refused(xyz, side, says):
    with pytest.raises(ValueError, match=says):
        fit_hand(xyz, side)
