import math

import numpy as np
import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auxhand.geometry.camera import (
    intrinsics_from_focal,
    intrinsics_from_fov,
    project,
    rays,
    rotation_to_axis,
    unproject,
)

few = settings(max_examples=25, deadline=None)
component = st.floats(-1, 1, allow_subnormal=False)
K = torch.tensor([[520.0, 2.0, 310.0], [0.0, 480.0, 255.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
TURN = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, 0.4], dtype=torch.float64))
TURNED_K = torch.tensor([[2.0, 0, -30], [0, 2, 5], [0, 0, 1]], dtype=torch.float64) @ TURN @ K


def points(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    xyz = torch.randn(*shape, 3, generator=generator, dtype=torch.float64) * 0.1
    return xyz + torch.tensor([0.05, -0.1, 0.6], dtype=torch.float64)


def test_project_is_the_pinhole_formula():
    xyz = points(5, 21)
    x, y, z = xyz.numpy().transpose(2, 0, 1)
    expected = np.stack([(520 * x + 2 * y) / z + 310, 480 * y / z + 255], axis=-1)
    np.testing.assert_allclose(project(K, xyz).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("camera", [K, TURNED_K])
def test_rays_are_the_inverse_scaled_to_unit_depth(camera):
    uv = project(camera, points(21))
    homogeneous = torch.cat([uv, torch.ones(21, 1, dtype=torch.float64)], dim=-1)
    expected = homogeneous @ torch.linalg.inv(camera).mT
    torch.testing.assert_close(rays(camera, uv), expected / expected[..., 2:], rtol=1e-12, atol=0)


@pytest.mark.parametrize("camera", [K, TURNED_K])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_unproject_undoes_project(camera, dtype, tolerance):
    xyz = points(4, 21).to(dtype)
    back = unproject(camera.to(dtype), project(camera.to(dtype), xyz), xyz[..., 2])
    assert (back - xyz).abs().max() < tolerance * xyz.abs().max()


def test_a_camera_per_sample_broadcasts():
    xyz, cameras = points(2, 21), torch.stack([K, TURNED_K])
    uv = project(cameras, xyz)
    for i in range(2):
        torch.testing.assert_close(uv[i], project(cameras[i], xyz[i]))
        torch.testing.assert_close(rays(cameras, uv)[i], rays(cameras[i], uv[i]))


def test_absent_labels_and_cameras_stay_finite():
    camera, xyz = torch.zeros(3, 3, requires_grad=True), torch.zeros(21, 3, requires_grad=True)
    uv = project(camera, xyz)
    lifted = unproject(camera, uv, xyz[..., 2])
    (uv.sum() + lifted.sum()).backward()
    for tensor in (uv, lifted, camera.grad, xyz.grad):
        assert torch.isfinite(tensor).all()


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (101, 101)])
def test_field_of_view_spans_the_longer_side_edge_to_edge(width, height):
    camera = intrinsics_from_fov(60.0, width, height).double()
    longer = max(width, height)
    middle = [(width - 1) / 2, (height - 1) / 2]
    edges = torch.tensor([middle, middle], dtype=torch.float64)
    edges[:, int(height > width)] = torch.tensor([-0.5, longer - 0.5], dtype=torch.float64)
    a, b = rays(camera, edges)
    cosine = torch.dot(a, b) / (a.norm() * b.norm())
    assert math.degrees(math.acos(cosine)) == pytest.approx(60.0, abs=1e-4)


def test_intrinsics_from_focal():
    expected = [[700.0, 0.0, 319.5], [0.0, 700.0, 239.5], [0.0, 0.0, 1.0]]
    assert intrinsics_from_focal(700.0, 640, 480).tolist() == expected


@given(st.tuples(component, component, component).filter(any), st.floats(1e-3, 1e3))
@few
def test_rotation_to_axis_is_the_smallest_rotation_there(direction, scale):
    d = torch.tensor(direction, dtype=torch.float64)
    d = d / d.abs().max()
    R = rotation_to_axis(scale * d)
    unit = d / d.norm()
    torch.testing.assert_close(R @ unit, torch.tensor([0.0, 0, 1], dtype=torch.float64))
    torch.testing.assert_close(R @ R.mT, torch.eye(3, dtype=torch.float64), atol=1e-10, rtol=0)
    assert torch.linalg.det(R) == pytest.approx(1.0, abs=1e-10)
    # Smallest: the angle of the rotation is the angle between the direction and the axis.
    angle = torch.atan2(torch.hypot(unit[0], unit[1]), unit[2])
    assert roma.rotmat_to_rotvec(R).norm() == pytest.approx(float(angle), abs=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "direction",
    [
        (0.0, 0.0, 1.0),
        (0.0, 0.0, -1.0),
        (0.0, 0.0, 0.0),
        (1e-9, -1e-9, -1.0),
        (1e-4, 1e-4, -1.0),
        (0.0, 1.0, 0.0),
        (1e-30, 0.0, -1e-30),
    ],
)
def test_rotation_to_axis_has_no_bad_direction(direction, dtype):
    d = torch.tensor(direction, dtype=dtype, requires_grad=True)
    R = rotation_to_axis(d)
    R.sum().backward()
    assert torch.isfinite(d.grad).all()
    if d.detach().norm() > 1e-12:
        atol = 1e-6 if dtype == torch.float32 else 1e-8
        identity = torch.eye(3, dtype=dtype)
        torch.testing.assert_close(R @ R.mT, identity, atol=atol, rtol=0)
        unit = torch.nn.functional.normalize(d.double(), dim=0).to(dtype)
        torch.testing.assert_close(R @ unit, identity[2], atol=atol, rtol=0)


def test_opposite_direction_turns_half_about_x():
    R = rotation_to_axis(torch.tensor([[0.0, 0.0, -2.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]]))
    assert R[0].tolist() == torch.diag(torch.tensor([1.0, -1.0, -1.0])).tolist()
    assert torch.equal(R[1], torch.eye(3))
    assert torch.equal(R[2], torch.eye(3))


def test_gradients():
    xyz = points(2, 4).requires_grad_()
    camera = TURNED_K.clone().requires_grad_()
    assert torch.autograd.gradcheck(project, (camera, xyz))
    uv, z = project(TURNED_K, points(4)).requires_grad_(), points(4)[..., 2].requires_grad_()
    assert torch.autograd.gradcheck(unproject, (camera, uv, z))
    directions = torch.tensor(
        [[0.3, -0.2, 0.9], [0.5, 0.4, -0.8], [1.0, 0.1, 0.0], [0.0, 0.0, 2.0]], dtype=torch.float64
    ).requires_grad_()
    assert torch.autograd.gradcheck(rotation_to_axis, (directions,))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: project(torch.eye(4), torch.zeros(21, 3)), "K must have shape"),
        (lambda: project(torch.eye(3), torch.zeros(21, 2)), "xyz must have shape"),
        (lambda: unproject(torch.eye(3), torch.zeros(21, 2), torch.zeros(20)), "one depth"),
        (lambda: rotation_to_axis(torch.zeros(2)), "direction must have shape"),
        (lambda: intrinsics_from_fov(180.0, 64, 64), "field of view"),
        (lambda: intrinsics_from_focal(-1.0, 64, 64), "focal length"),
        (lambda: intrinsics_from_focal(math.nan, 64, 64), "focal length"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
