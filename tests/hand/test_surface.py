import numpy as np
import pytest
import roma
import torch
import trimesh

from auxhand.hand.anatomy import bone_lengths, joint_angles, rotations_from_angles
from auxhand.hand.skeleton import PARENTS
from auxhand.hand.surface import FOREARM, HandSurface


@pytest.fixture(scope="module")
def surface() -> HandSurface:
    return HandSurface()


def random_pose(seed: int, count: int = 2, spread: float = 0.4):
    generator = torch.Generator().manual_seed(seed)
    turns = spread * torch.randn(count, 22, 3, generator=generator)
    return roma.rotvec_to_rotmat(turns[:, :21]), roma.rotvec_to_rotmat(turns[:, 21])


def numpy_skinning(surface, vertices, joints, rotations, forearm):
    """Linear blend skinning as 4x4 matrices, one vertex and one bone at a time in spirit."""

    def matrix(rotation, about):
        out = np.eye(4)
        out[:3, :3] = rotation
        out[:3, 3] = about - rotation @ about
        return out

    world = [matrix(rotations[0], joints[0])]
    for joint in range(1, 21):
        local = matrix(rotations[joint], joints[joint]) if joint % 4 else np.eye(4)
        world.append(world[PARENTS[joint]] @ local)
    moved = np.array([(world[j] @ np.append(joints[j], 1))[:3] for j in range(21)])
    world.append(world[0] @ matrix(forearm, joints[0]))
    homogeneous = np.concatenate([vertices, np.ones((len(vertices), 1))], 1)
    posed = np.zeros_like(vertices)
    for bone, transform in enumerate(world):
        posed += surface.weights[:, bone, None].numpy() * (homogeneous @ transform.T)[:, :3]
    return posed, moved


def test_matches_numpy(surface):
    rotations, forearm = random_pose(0)
    shape = torch.tensor([[1.0, -1, 0.5, 0, 2, -0.3], [0.0, 2, 0, 1, -1, 0.1]])
    vertices, joints = surface(rotations, shape, forearm=forearm)
    for i in range(2):
        rest = surface.template + torch.einsum("s,svc->vc", shape[i], surface.shape_vertices)
        rest_joints = surface.rest_joints + torch.einsum(
            "s,sjc->jc", shape[i], surface.shape_joints
        )
        expected = numpy_skinning(
            surface,
            rest.double().numpy(),
            rest_joints.double().numpy(),
            rotations[i].double().numpy(),
            forearm[i].double().numpy(),
        )
        np.testing.assert_allclose(vertices[i], expected[0], atol=2e-6)
        np.testing.assert_allclose(joints[i], expected[1], atol=2e-6)


def test_gradients():
    surface = HandSurface().double()
    few = torch.arange(0, len(surface.template), 400)
    surface.template, surface.weights = surface.template[few], surface.weights[few]
    surface.shape_vertices = surface.shape_vertices[:, few]
    surface._length_weights = surface._length_weights[few]
    surface._width_weights = surface._width_weights[few]
    rotations, forearm = random_pose(1, count=1)
    inputs = [
        rotations.double(),
        torch.full((1, 6), 0.3),
        torch.full((1, 20), 1.1),
        torch.full((1, 5), 0.9),
        forearm.double(),
    ]
    inputs = [x.double().requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(lambda *x: surface(*x), inputs, fast_mode=True)


def test_rest_pose_and_global_rotation(surface):
    identity = torch.eye(3).expand(1, 21, 3, 3)
    vertices, joints = surface(identity)
    torch.testing.assert_close(vertices[0], surface.template, atol=1e-6, rtol=0)
    torch.testing.assert_close(joints[0], surface.rest_joints, atol=1e-6, rtol=0)
    assert joints[0, 0].abs().max() < 1e-6
    turned = identity.clone()
    turned[0, 0] = roma.rotvec_to_rotmat(torch.tensor([0.3, -1.0, 0.5]))
    vertices, joints = surface(turned)
    torch.testing.assert_close(vertices[0], surface.template @ turned[0, 0].T, atol=1e-6, rtol=0)


def test_hand_frame(surface):
    joints = surface.rest_joints
    assert torch.allclose(joints[9, [0, 2]], torch.zeros(2), atol=2e-4)
    assert joints[9, 1] < -0.05  # fingers to -y
    assert joints[4, 0] > 0.05  # thumb to +x
    assert (joints[[8, 12, 16, 20], 2] < joints[[5, 9, 13, 17], 2]).all()  # curl to the palm, -z
    forearm = surface.template[surface.weights[:, FOREARM] > 0.99]
    assert 0.19 < forearm[:, 1].max() < 0.21
    assert forearm[:, [0, 2]].abs().max() < 0.06


def test_left_is_the_mirror(surface):
    left = HandSurface("left")
    rotations, forearm = random_pose(2)
    shape = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    scale, width = torch.full((2, 20), 1.1), torch.full((2, 5), 0.9)
    mirror = torch.diag(torch.tensor([-1.0, 1, 1]))
    vertices, joints = surface(rotations, shape, scale, width, forearm)
    mirrored, mirrored_joints = left(
        mirror @ rotations @ mirror, shape, scale, width, mirror @ forearm @ mirror
    )
    torch.testing.assert_close(mirrored, vertices @ mirror, atol=1e-6, rtol=0)
    torch.testing.assert_close(mirrored_joints, joints @ mirror, atol=1e-6, rtol=0)


@pytest.mark.parametrize("side", ["right", "left"])
def test_mesh_is_closed_and_points_outward(side):
    surface = HandSurface(side)
    mesh = trimesh.Trimesh(surface.template.numpy(), surface.faces.numpy(), process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.body_count == 1
    assert 5e-4 < mesh.volume < 1.2e-3  # cubic metres, outward
    assert mesh.area_faces.min() > 0
    assert surface.uv.min() >= 0
    assert surface.uv.max() <= 1
    assert surface.uv_faces.shape == surface.faces.shape
    assert surface.uv_faces.max() == len(surface.uv) - 1


def test_joints_lie_inside(surface):
    mesh = trimesh.Trimesh(surface.template.numpy(), surface.faces.numpy(), process=False)
    points = surface.rest_joints.double().numpy()
    np.testing.assert_allclose(winding_numbers(mesh.triangles, points), 1, atol=1e-6)


def winding_numbers(triangles, points):
    """Solid angle of a closed surface over 4 pi: 1 inside, 0 outside."""
    a, b, c = (triangles[None, :, k] - points[:, None] for k in range(3))
    la, lb, lc = (np.linalg.norm(x, axis=2) for x in (a, b, c))
    volume = np.einsum("pfi,pfi->pf", a, np.cross(b, c))
    dots = [np.einsum("pfi,pfi->pf", x, y) for x, y in ((a, b), (b, c), (c, a))]
    below = la * lb * lc + dots[0] * lc + dots[1] * la + dots[2] * lb
    return 2 * np.arctan2(volume, below).sum(1) / (4 * np.pi)


def test_weights(surface):
    torch.testing.assert_close(surface.weights.sum(1), torch.ones(len(surface.weights)))
    assert (surface.weights >= 0).all()
    assert not surface.weights[:, [4, 8, 12, 16, 20]].any()  # tips move nothing


def test_bone_scale_scales_bones(surface):
    generator = torch.Generator().manual_seed(3)
    shape = torch.randn(4, 6, generator=generator)
    scale = 0.8 + 0.4 * torch.rand(4, 20, generator=generator)
    _, plain = surface.rest(shape)
    vertices, joints = surface.rest(shape, scale)
    torch.testing.assert_close(bone_lengths(joints), scale * bone_lengths(plain))
    assert torch.isfinite(vertices).all()


def test_fingertip_follows_a_longer_bone(surface):
    scale = torch.ones(1, 20)
    scale[0, 5] = 1.2  # index proximal phalanx
    vertices, joints = surface.rest(None, scale)
    moved = (joints - surface.rest_joints)[0, 8]
    tip = surface.weights[:, 7] > 0.99
    torch.testing.assert_close(
        (vertices[0] - surface.template)[tip], moved.expand(int(tip.sum()), 3), atol=1e-6, rtol=0
    )
    others = surface.weights[:, 5:8].sum(1) == 0
    assert others.sum() > 1000
    assert (vertices[0] - surface.template)[others].abs().max() < 1e-6


def test_finger_width_scales_about_the_bone(surface):
    width = torch.ones(1, 5)
    width[0, 2] = 1.3
    vertices, joints = surface.rest(None, None, width)
    torch.testing.assert_close(joints[0], surface.rest_joints)
    beside = surface.weights[:, 10] > 0.999  # middle phalanx
    start, end = surface.rest_joints[10], surface.rest_joints[11]
    axis = (end - start) / (end - start).norm()

    def radius(points):
        offset = points - start
        return (offset - (offset @ axis)[:, None] * axis).norm(dim=1)

    ratio = radius(vertices[0][beside]) / radius(surface.template[beside])
    torch.testing.assert_close(ratio, torch.full_like(ratio, 1.3), atol=1e-3, rtol=0)
    others = surface.weights[:, 9:12].sum(1) == 0
    torch.testing.assert_close(vertices[0][others], surface.template[others])


def test_size_component(surface):
    _, joints = surface.rest(torch.tensor([[1.0, 0, 0, 0, 0, 0]]))
    torch.testing.assert_close(
        bone_lengths(joints[0]), 1.08 * bone_lengths(surface.rest_joints), rtol=1e-3, atol=0
    )


def test_errors(surface):
    with pytest.raises(ValueError, match="side"):
        HandSurface("both")
    with pytest.raises(ValueError, match="rotations"):
        surface(torch.eye(3).expand(1, 16, 3, 3))


def test_volume_survives_a_fist(surface):
    """No collapsed finger: a fist keeps the hand's volume within 5%."""
    degrees = torch.zeros(15, 3)
    degrees[3:, 0] = torch.tensor([70.0, 90, 55]).repeat(4)
    rotations = rotations_from_angles(torch.deg2rad(degrees), surface.rest_joints)
    vertices, joints = surface(rotations[None])
    torch.testing.assert_close(torch.rad2deg(joint_angles(joints[0])), degrees, atol=1e-2, rtol=0)
    volumes = [
        trimesh.Trimesh(v.numpy(), surface.faces.numpy(), process=False).volume
        for v in (surface.template, vertices[0])
    ]
    assert abs(volumes[1] / volumes[0] - 1) < 0.05
