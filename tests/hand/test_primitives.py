import math

import numpy as np
import pytest
import roma
import torch
import trimesh

from auxhand.data.columns import PARTS
from auxhand.hand import primitives
from auxhand.hand.anatomy import bone_lengths
from auxhand.hand.primitives import (
    CIRCLES,
    MEAN_BONES,
    RADII,
    gaussian_overlap,
    gaussian_sum,
    hand_circles,
    hand_size,
    rendered_mask,
    sphere_mesh_distance,
    union_distance,
)
from auxhand.hand.skeleton import BONES, REFERENCE_BONE
from auxhand.hand.surface import HandSurface
from auxhand.synth.config import FactorConfig, OccluderConfig
from auxhand.synth.distributions import sample_factors
from auxhand.synth.modalities import render_hand


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_55_circles_nine_per_finger_ten_for_the_palm():
    assert len(CIRCLES) == len(RADII) == 55
    for finger in range(5):
        joints = {j for a, b, _ in CIRCLES[9 * finger : 9 * finger + 9] for j in (a, b)}
        assert joints == {1 + 4 * finger + k for k in range(4)}
    assert {j for a, b, _ in CIRCLES[45:] for j in (a, b)} == {0, 1, 5, 9, 13, 17}
    assert min(RADII) > 0


@pytest.mark.parametrize("dimensions", [2, 3])
def test_circles_lie_between_the_joints(dimensions):
    joints = randn(4, 21, dimensions)
    centres, radii = hand_circles(joints, torch.tensor([1.0, 2, 3, 4], dtype=torch.float64))
    assert centres.shape == (4, 55, dimensions)
    torch.testing.assert_close(centres[:, [0, 9, 18]], joints[:, [1, 5, 9]])  # bases of fingers
    torch.testing.assert_close(centres[:, 10], 0.6 * joints[:, 5] + 0.4 * joints[:, 6])
    torch.testing.assert_close(centres[:, 53], (joints[:, 0] + joints[:, 1]) / 2)
    for i in range(4):
        np.testing.assert_allclose(radii[i], (i + 1) * np.array(RADII))


def test_circles_follow_a_similarity():
    joints = randn(3, 21, 2)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    centres, radii = hand_circles(joints)
    moved, scaled = hand_circles(5 * joints @ turn.T + 7)
    torch.testing.assert_close(moved, 5 * centres @ turn.T + 7)
    torch.testing.assert_close(scaled, 5 * radii)


def test_size_of_the_mean_hand_is_its_reference_bone():
    joints = HandSurface().rest_joints.double()
    lengths, reference = bone_lengths(joints), BONES.index(REFERENCE_BONE)
    np.testing.assert_allclose(lengths / lengths[reference], MEAN_BONES, atol=0.006)
    assert float(hand_size(joints) / lengths[reference]) == pytest.approx(1, abs=0.01)
    # From the palm and from the side: bone 9-10 may point at the camera, others do not.
    for turn in (0.0, 0.5, 1.0, 1.5):
        seen = joints @ roma.rotvec_to_rotmat(torch.tensor([0.0, turn, 0.0])).double().T
        assert float(hand_size(seen[:, :2]) / lengths[reference]) == pytest.approx(1, abs=0.07)


def test_one_wrong_joint_does_not_decide_the_size():
    joints = HandSurface().rest_joints[:, :2].double().clone()
    before = hand_size(joints)
    joints[8] += 1.0  # a metre
    assert float(hand_size(joints) / before) == pytest.approx(1, abs=0.03)


def test_union_distance_of_circles():
    centres = torch.tensor([[0.0, 0], [10, 0]])
    radii = torch.tensor([2.0, 3.0])
    points = torch.tensor([[0.0, 0], [0, 2], [0, 5], [10, 1], [20, 0], [5, 0]])
    expected = torch.tensor([-2.0, 0, 3, -2, 7, 2])
    torch.testing.assert_close(union_distance(points, centres, radii), expected)


def test_union_distance_is_equation_6_14():
    points, centres, radii = 3 * randn(2, 50, 2), randn(2, 55, 2, seed=1), rand(2, 55, seed=2)
    signed = union_distance(points, centres, radii)
    for b in range(2):
        for g, s in zip(points[b], signed[b], strict=True):
            distances = [math.dist(g, c) for c in centres[b]]
            pairs = list(zip(distances, radii[b].tolist(), strict=True))
            if_hand = max(min(d - r for d, r in pairs), 0)
            if_background = max(max(r - d for d, r in pairs), 0)
            assert max(float(s), 0) == pytest.approx(if_hand, abs=1e-12)
            assert max(-float(s), 0) == pytest.approx(if_background, abs=1e-12)


def test_mask_of_a_circle_has_its_area():
    centre, radius = torch.tensor([[[20.3, 31.6]]]), torch.tensor([[11.4]])
    soft = rendered_mask(centre, radius, 60, 50)
    assert soft.shape == (1, 60, 50)
    assert float(soft.sum()) == pytest.approx(math.pi * 11.4**2, rel=2e-3)
    hard = rendered_mask(centre, radius, 60, 50, softness=0)
    v, u = np.mgrid[:60, :50]
    np.testing.assert_array_equal(hard[0] == 1, np.hypot(u - 20.3, v - 31.6) <= 11.4)
    assert ((soft > 0.5) == (hard > 0.5)).all()


def test_background_has_no_gradient():
    joints = 6 * randn(1, 21, 2) + 32
    joints.requires_grad_()
    centres, radii = hand_circles(joints)
    mask = rendered_mask(centres, radii, 64, 64)
    background = mask == 0
    assert 0 < background.sum() < 64 * 64
    (gradient,) = torch.autograd.grad(mask[background].sum(), joints, retain_graph=True)
    assert not gradient.any()
    (gradient,) = torch.autograd.grad(mask.sum(), joints)
    assert gradient.any()


def test_circles_cover_synthetic_hands():
    config = FactorConfig(occluders=OccluderConfig(held=0, front=0))
    overlaps = []
    for index in range(24):
        hand = render_hand(sample_factors(config, 4321, index), 64)
        true = (hand.parts > 0) & (hand.parts != PARTS.index("arm"))
        joints = torch.from_numpy(hand.labels.joints_uv)[None].double()
        covered = rendered_mask(*hand_circles(joints), 64, 64, softness=0)[0].numpy() > 0
        overlaps.append((covered & true).sum() / (covered | true).sum())
    assert np.mean(overlaps) > 0.82


def test_gaussians_are_one_at_a_lone_centre():
    centres, radii = torch.tensor([[0.0, 0, 0], [100, 0, 0]]), torch.tensor([2.0, 1.0])
    points = torch.tensor([[0.0, 0, 0], [0, 2, 0], [100, 0, 3]])
    expected = torch.tensor([1, math.exp(-0.5), math.exp(-4.5)])
    torch.testing.assert_close(gaussian_sum(points, centres, radii), expected)


@pytest.mark.parametrize(("dimensions", "steps"), [(2, 200), (3, 60)])
def test_overlap_is_the_integral_of_the_product(dimensions, steps):
    a, b = randn(4, dimensions), randn(3, dimensions, seed=1)
    radii_a, radii_b = 0.5 + rand(4), 0.5 + rand(3, seed=1)
    axis = torch.linspace(-9, 9, steps, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(*[axis] * dimensions, indexing="ij"), -1).flatten(0, -2)
    product = gaussian_sum(grid, a, radii_a) * gaussian_sum(grid, b, radii_b)
    integral = float(product.sum() * (axis[1] - axis[0]) ** dimensions)
    assert float(gaussian_overlap(a, radii_a, b, radii_b)) == pytest.approx(integral, rel=1e-6)


def brute_force(points, centres, radii, steps):
    """Least distance over a grid of interpolated spheres: never less than the true one."""
    count = len(radii)
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, steps)] * (count - 1)), -1)
    shares = grid.reshape(-1, count - 1)
    shares = shares[shares.sum(1) <= 1 + 1e-12]
    shares = torch.from_numpy(np.concatenate([1 - shares.sum(1, keepdims=True), shares], 1))
    return union_distance(points, shares @ centres, shares @ radii)


def test_capsule():
    """Equal radii: distance to a segment, less the radius; inside too."""
    centres = torch.tensor([[0.0, 0, 0], [4, 0, 0]])
    radii = torch.tensor([1.0, 1.0])
    points = torch.tensor([[2.0, 3, 0], [2, 0, 0.5], [-3, 0, 0], [7, 4, 0], [0, 0, 0], [4, 0, 2]])
    expected = torch.tensor([2.0, -0.5, 2, 4, -1, 1])
    distance = sphere_mesh_distance(points, centres, radii, [(0, 1)], [])
    torch.testing.assert_close(distance, expected)


def test_cone_touches_its_tangents():
    """In a plane the hull of two circles is bounded by their common tangent."""
    length, large, small = 5.0, 2.0, 0.5
    sine = (large - small) / length
    normal = torch.tensor([sine, math.sqrt(1 - sine**2), 0])
    centres = torch.tensor([[0.0, 0, 0], [length, 0, 0]])
    radii = torch.tensor([large, small])
    on_tangent = 0.3 * (centres[0] + large * normal) + 0.7 * (centres[1] + small * normal)
    offsets = torch.tensor([-0.9, -0.5, 0, 0.5, 3])  # the axis lies at -0.95
    points = on_tangent + offsets[:, None] * normal
    distance = sphere_mesh_distance(points, centres, radii, [(0, 1)], [])
    torch.testing.assert_close(distance, offsets, atol=1e-6, rtol=0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spheres", [2, 3])
def test_pills_and_wedges_against_brute_force(spheres, seed):
    centres, radii = randn(spheres, 3, seed=seed), 0.1 + rand(spheres, seed=seed)
    points = 2 * randn(300, 3, seed=seed + 10)
    pills, wedges = ([(0, 1)], []) if spheres == 2 else ([], [(0, 1, 2)])
    distance = sphere_mesh_distance(points, centres, radii, pills, wedges)
    reference = brute_force(points, centres, radii, 2001 if spheres == 2 else 151)
    assert (distance <= reference + 1e-9).all()
    assert (distance - reference).abs().max() < 2e-3


def test_wedge_of_equal_spheres_is_a_thick_triangle():
    corners, points = randn(3, 3), randn(200, 3, seed=1)
    triangles = np.repeat(corners.numpy()[None], 200, 0)
    nearest = trimesh.triangles.closest_point(triangles, points.numpy())
    expected = np.linalg.norm(points.numpy() - nearest, axis=1) - 0.2
    distance = sphere_mesh_distance(
        points, corners, torch.full((3,), 0.2).double(), [], [(0, 1, 2)]
    )
    np.testing.assert_allclose(distance, expected, atol=1e-9)


def test_degenerate_hulls_are_spheres():
    """One sphere within another, coincident spheres, three on a line."""
    points = randn(50, 3)
    for centres, radii in (
        ([[0.0, 0, 0], [0.5, 0, 0]], [2.0, 0.1]),
        ([[0.5, 0, 0], [0.0, 0, 0]], [0.1, 2.0]),
        ([[0.0, 0, 0], [0, 0, 0]], [2.0, 2.0]),
        ([[0.0, 0, 0], [0.5, 0, 0], [1, 0, 0]], [2.0, 0.1, 0.1]),
    ):
        centres = torch.tensor(centres, dtype=torch.float64, requires_grad=True)
        kind = ([(0, 1)], []) if len(radii) == 2 else ([], [(0, 1, 2)])
        radii = torch.tensor(radii, dtype=torch.float64)
        distance = sphere_mesh_distance(points, centres, radii, *kind)
        torch.testing.assert_close(distance, points.norm(dim=1) - 2)
        (gradient,) = torch.autograd.grad(distance.sum(), centres)
        assert torch.isfinite(gradient).all()


def test_hand_as_a_sphere_mesh():
    """Joints are inside by at least their radius; the surface's vertices lie 2 mm from the hull."""
    surface = HandSurface()
    joints = surface.rest_joints[None].double()
    radii = torch.full((1, 21), 0.008, dtype=torch.float64)
    depth = -sphere_mesh_distance(joints, joints, radii)
    assert (depth >= 0.008 - 1e-9).all()
    fingers = surface.weights[:, [6, 7, 10, 11]].sum(1) > 0.99  # index and middle phalanges
    distance = sphere_mesh_distance(surface.template[fingers][None].double(), joints, radii)
    assert distance.abs().mean() < 0.003
    assert distance.abs().max() < 0.008


def test_gradients():
    points, centres, radii = randn(2, 6, 3), randn(2, 4, 3, seed=1), 0.2 + rand(2, 4, seed=2)
    inputs = [x.requires_grad_() for x in (points, centres, radii)]
    check = torch.autograd.gradcheck
    assert check(union_distance, inputs)
    assert check(gaussian_sum, inputs)
    assert check(lambda c, r: gaussian_overlap(c, r, c[:, :3] + 1, r[:, :3]), inputs[1:])
    assert check(lambda *x: sphere_mesh_distance(*x, [(0, 3)], [(0, 1, 2)]), inputs)
    joints = (8 * randn(2, 21, 2, seed=3) + 16).requires_grad_()
    assert check(hand_circles, [joints])
    assert check(lambda j: rendered_mask(*hand_circles(j), 12, 12, 3.0), [joints])


def test_errors():
    with pytest.raises(ValueError, match="joints are"):
        hand_circles(torch.zeros(2, 16, 2))
    with pytest.raises(ValueError, match="centres are"):
        rendered_mask(torch.zeros(1, 55, 3), torch.zeros(1, 55), 8, 8)
    with pytest.raises(ValueError, match="softness"):
        rendered_mask(torch.zeros(1, 55, 2), torch.zeros(1, 55), 8, 8, -1.0)
    with pytest.raises(ValueError, match="at least one"):
        sphere_mesh_distance(torch.zeros(1, 3), torch.zeros(2, 3), torch.ones(2), [], [])


def test_topology_of_the_hand():
    assert len(primitives.PILLS) == 15
    assert all(child == parent + 1 for parent, child in primitives.PILLS)
