"""The rasteriser against an independent ray caster, closed forms and properties."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from numba.core.registry import CPUDispatcher

from auxhand.hand.anatomy import rotations_from_angles
from auxhand.hand.surface import HandSurface
from auxhand.synth import raster, sampling, shading
from auxhand.synth.raster import NEAR, joint_thickness, render, visible_joints
from auxhand.synth.scene import Light, Scene

SIZE = (40, 48)
K = np.array([[70.0, 0.0, 23.5], [0.0, 70.0, 19.5], [0.0, 0.0, 1.0]])
CROP_K = np.array([[66.0, 5.0, 17.2], [-4.0, 71.0, 22.9], [0.0, 0.0, 1.0]])


def scene(vertices, faces, camera=K, size=SIZE, **changes):
    """A plain white, evenly lit scene."""
    count = len(vertices)
    values = {
        "vertices": np.asarray(vertices, np.float32),
        "faces": np.asarray(faces, np.int32),
        "rest": np.asarray(vertices, np.float32),
        "albedo": np.full((count, 3), 0.5, np.float32),
        "bump": np.zeros(count, np.float32),
        "roughness": np.ones(count, np.float32),
        "K": camera,
        "size": size,
        "lights": (),
        "sky": np.ones(3, np.float32),
        "ground": np.ones(3, np.float32),
        "occlusion": 0.0,
    }
    return Scene(**(values | changes))


def sphere(centre, radius, subdivisions=4):
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    return np.asarray(mesh.vertices) + centre, np.asarray(mesh.faces)


def pixel_rays(K, size):
    """(h, w, 3) directions through the pixel centres, z = 1."""
    v, u = np.mgrid[: size[0], : size[1]].astype(float)
    return np.stack([u, v, np.ones(size)], -1) @ np.linalg.inv(K).T


def cast(vertices, faces, K, size, near=NEAR):
    """Depth of the nearest surface beyond `near` on each pixel's ray (Moeller, Trumbore 1997)."""
    a, b, c = (np.asarray(vertices, np.float32).astype(float)[faces[:, k]] for k in range(3))
    edge_1, edge_2 = b - a, c - a
    second = np.cross(-a, edge_1)  # for rays from the origin
    distance = np.einsum("fk,fk->f", edge_2, second)
    depth = np.zeros(size)
    for v, row in enumerate(pixel_rays(K, size)):
        first = np.cross(row[:, None], edge_2[None])
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = 1 / np.einsum("fk,rfk->rf", edge_1, first)
            beta = np.einsum("fk,rfk->rf", -a, first) * inverse
            gamma = (row @ second.T) * inverse
            z = distance * inverse
            hit = (beta >= 0) & (gamma >= 0) & (beta + gamma <= 1) & (z >= near)
        z = np.where(hit, z, np.inf).min(1)
        depth[v] = np.where(np.isfinite(z), z, 0)
    return depth


def silhouette(depth, jump=0.005):
    """Pixels with a neighbour across an edge of the hand or of one of its fingers."""
    padded = np.pad(depth, 1, mode="edge")
    window = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).reshape(*depth.shape, 9)
    return np.ptp(window, axis=-1) > jump


@pytest.fixture(scope="module")
def hand():
    """A half-closed hand in front of the camera, seen from a slant: vertices, faces, joints."""
    surface = HandSurface("right")
    angles = torch.zeros(15, 3)
    angles[:, 0] = torch.linspace(0.2, 1.2, 15)
    rotations = rotations_from_angles(angles, surface.rest_joints)
    vertices, joints = (x[0].numpy() for x in surface(rotations[None]))
    turn = trimesh.transformations.euler_matrix(0.4, 0.7, -0.5)[:3, :3]
    shift = np.array([0.0, 0.04, 0.28])
    return vertices @ turn.T + shift, surface.faces.numpy(), joints @ turn.T + shift


@pytest.mark.parametrize("camera", [K, CROP_K], ids=["centred", "skewed and turned"])
def test_labels_of_a_hand_are_those_of_a_ray_caster(hand, camera):
    vertices, faces, _ = hand
    drawn = render(scene(vertices, faces, camera))
    expected = cast(vertices, faces, camera, SIZE)
    inner = ~silhouette(expected)
    assert 0.15 < drawn.mask.mean() < 0.9
    np.testing.assert_array_equal(drawn.mask, drawn.depth > 0)
    np.testing.assert_array_equal(drawn.mask, drawn.face >= 0)
    np.testing.assert_array_equal(drawn.mask[inner], expected[inner] > 0)
    assert (drawn.mask != (expected > 0)).sum() <= 2
    np.testing.assert_allclose(drawn.depth[inner], expected[inner], atol=1e-5)


def test_face_is_the_one_that_is_seen(hand):
    vertices, faces, _ = hand
    drawn = render(scene(vertices, faces))
    point = pixel_rays(K, SIZE)[drawn.mask] * drawn.depth[drawn.mask][:, None]
    corners = vertices[faces[drawn.face[drawn.mask]]]
    inside = trimesh.triangles.points_to_barycentric(corners, point)
    assert inside.min() > -1e-3
    np.testing.assert_allclose((inside[..., None] * corners).sum(1), point, atol=1e-5)


def test_tilted_plane_in_closed_form():
    normal, offset = np.array([0.3, -0.5, -1.0]), -0.4
    across = np.cross(normal, [0, 1, 0])
    along = np.cross(normal, across)
    centre = normal * offset / (normal @ normal)
    corners = [
        centre + 5 * (s * across + t * along) for s, t in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    if np.cross(corners[1] - corners[0], corners[2] - corners[0]) @ normal < 0:
        faces = faces[:, ::-1]
    drawn = render(scene(corners, faces, CROP_K))
    assert drawn.mask.all()
    np.testing.assert_allclose(drawn.depth, offset / (pixel_rays(CROP_K, SIZE) @ normal), rtol=1e-5)


def test_sphere_in_closed_form():
    centre, radius = np.array([0.01, -0.02, 0.4]), 0.08
    drawn = render(scene(*sphere(centre, radius, 5)))
    rays = pixel_rays(K, SIZE)
    b, square = rays @ centre, (rays**2).sum(-1)
    discriminant = b**2 - square * (centre @ centre - radius**2)
    clear = np.abs(discriminant) > 2e-4
    np.testing.assert_array_equal(drawn.mask[clear], (discriminant > 0)[clear])
    points = rays[drawn.mask] * drawn.depth[drawn.mask][:, None]
    below = radius - np.linalg.norm(points - centre, axis=1)
    assert -1e-6 < below.min() < below.max() < 3e-5  # the mesh's chords lie below the sphere


@pytest.mark.parametrize("behind", [1, 2])
def test_triangle_through_the_camera_plane(behind):
    """Corners behind the camera: what lies beyond `NEAR` is drawn, where it belongs."""
    corners = np.array([[-0.3, 0.1, 0.6], [0.5, 0.1, 0.5], [0.05, 0.12, -0.4]])
    if behind == 2:
        corners[1] = [0.5, 0.0, -0.5]
    faces = np.array([[0, 1, 2], [0, 2, 1]])  # both sides
    expected = cast(corners, faces[:1], K, SIZE)
    drawn = render(scene(corners, faces))
    assert (expected > 0).any()
    np.testing.assert_array_equal(drawn.mask, expected > 0)
    np.testing.assert_allclose(drawn.depth, expected, atol=1e-5)
    assert drawn.depth[drawn.mask].min() >= NEAR


def test_a_mesh_around_the_camera_is_harmless():
    """From inside, nothing is seen: only the outside is drawn."""
    drawn = render(scene(*sphere([0.0, 0.0, 0.0], 0.3)))
    assert not drawn.mask.any()
    assert drawn.rgba.max() == 0


def test_the_same_scene_gives_the_same_bytes(hand):
    vertices, faces, _ = hand
    light = Light(np.array([0.6, -0.64, -0.48], np.float32), np.ones(3, np.float32), shadow=True)
    lit = scene(vertices, faces, lights=(light,), bump=np.ones(len(vertices), np.float32))
    first, second = render(lit), render(replace(lit, vertices=lit.vertices.copy()))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_principal_point_shifts_the_picture(hand):
    vertices, faces, _ = hand
    moved_K = K + np.array([[0, 0, 6], [0, 0, -3], [0, 0, 0]])
    here, moved = render(scene(vertices, faces)), render(scene(vertices, faces, moved_K))
    np.testing.assert_array_equal(moved.mask[:-3, 6:], here.mask[3:, :-6])
    np.testing.assert_allclose(moved.depth[:-3, 6:], here.depth[3:, :-6], atol=1e-6)


def test_mirrored_hand_with_turned_faces_is_the_mirrored_picture(hand):
    vertices, faces, _ = hand
    here = render(scene(vertices, faces))
    mirrored = render(scene(vertices * [-1, 1, 1], faces[:, ::-1]))
    np.testing.assert_array_equal(mirrored.mask[:, ::-1], here.mask)
    np.testing.assert_allclose(mirrored.depth[:, ::-1], here.depth, atol=1e-6)
    difference = np.abs(mirrored.rgba[:, ::-1].astype(int) - here.rgba)
    assert difference.max() <= 1


def test_supersampling_keeps_labels_and_energy():
    """Evenly lit, every pixel has one colour, and alpha adds up to the sphere's outline."""
    centre, radius = np.array([0.0, 0.0, 0.4]), 0.08
    ball = scene(*sphere(centre, radius, 5))
    plain = render(ball, supersample=1)
    # the outline of a sphere on the axis is a circle of radius f r / sqrt(z^2 - r^2)
    area = np.pi * K[0, 0] ** 2 * radius**2 / (centre[2] ** 2 - radius**2)
    colour = 0.5 + shading._ambient_shine(1.0, 1.0)
    level = 255 * (1.055 * colour ** (1 / 2.4) - 0.055)
    for supersample in (2, 3, 4, 8):
        drawn = render(ball, supersample)
        np.testing.assert_array_equal(drawn.depth, plain.depth)
        covered = drawn.rgba[..., 3] > 0
        assert np.abs(drawn.rgba[covered][:, :3] - level).max() < 1
        assert drawn.rgba[~covered].max() == 0
        assert drawn.rgba[..., 3].sum() / 255 == pytest.approx(area, rel=0.02 / supersample + 0.004)


def test_edges_are_smooth_and_inner_pixels_full(hand):
    vertices, faces, _ = hand
    drawn = render(scene(vertices, faces), supersample=4)
    alpha = drawn.rgba[..., 3]
    expected = cast(vertices, faces, K, SIZE)
    assert (alpha[~silhouette(expected) & (expected > 0)] == 255).all()
    assert len(np.unique(alpha)) > 8


def ball_above_table():
    """Seen from the side, lit from straight above."""
    ball, ball_faces = sphere([0.0, -0.06, 0.5], 0.03)
    table = trimesh.creation.box((0.3, 0.02, 0.3))
    vertices = np.concatenate([ball, table.vertices + np.array([0.0, 0.05, 0.5])])
    faces = np.concatenate([ball_faces, table.faces + len(ball)])
    tilt = trimesh.transformations.rotation_matrix(0.5, [1, 0, 0])[:3, :3]
    vertices = (vertices - [0, 0, 0.5]) @ tilt.T + [0, 0, 0.5]
    up = (tilt @ [0, -1, 0]).astype(np.float32)
    light = Light(up, np.full(3, 0.3, np.float32), shadow=True)
    dim = np.full(3, 0.2, np.float32)
    camera = np.array([[140.0, 0.0, 47.5], [0.0, 140.0, 39.5], [0.0, 0.0, 1.0]])
    return scene(vertices, faces, camera, (80, 96), lights=(light,), sky=dim, ground=dim), tilt


def test_shadow_lies_under_the_ball_and_nowhere_else():
    lit, tilt = ball_above_table()
    with_shadow = render(lit)
    dark = render(replace(lit, lights=()))
    point = pixel_rays(lit.K, lit.size) * with_shadow.depth[..., None]
    table = (point - [0, 0, 0.5]) @ tilt  # back to the untilted frame
    on_top = with_shadow.mask & (np.abs(table[..., 1] - 0.04) < 1e-4)
    from_axis = np.hypot(table[..., 0], table[..., 2])
    under, outside = on_top & (from_axis < 0.025), on_top & (from_axis > 0.037)
    edge = on_top & (np.abs(table[..., [0, 2]]).max(-1) > 0.14)
    assert under.sum() > 20
    np.testing.assert_array_equal(with_shadow.rgba[under], dark.rgba[under])
    clear = outside & ~edge & ~silhouette(with_shadow.depth, jump=0.03)
    assert clear.sum() > 200
    brightness = with_shadow.rgba[clear][:, 0].astype(int)
    assert np.ptp(brightness) <= 2  # no speckles, no bands
    assert brightness.min() > dark.rgba[clear][:, 0].max() + 30


def test_lit_side_of_a_ball_shadows_nothing_of_itself():
    """Shadows change only the side turned away from the light, or next to it."""
    direction = np.array([0.6, -0.64, -0.48], np.float32)
    vertices, faces = sphere([0, 0, 0.4], 0.08)
    light = Light(direction, np.full(3, 0.5, np.float32), shadow=True)
    drawn = [
        render(scene(vertices, faces, lights=(replace(light, shadow=s),))).rgba
        for s in (True, False)
    ]
    rendering = render(scene(vertices, faces))
    normal = pixel_rays(K, SIZE) * rendering.depth[..., None] - [0, 0, 0.4]
    facing = (normal / np.linalg.norm(normal, axis=-1, keepdims=True)) @ direction
    lit = rendering.mask & (facing > 0.35)
    assert np.abs(drawn[0][lit].astype(int) - drawn[1][lit]).max() <= 1


def test_occlusion_darkens_the_gap_between_two_balls():
    left, faces = sphere([-0.04, 0, 0.4], 0.04)
    right, _ = sphere([0.04, 0, 0.4], 0.04)
    vertices = np.concatenate([left, right])
    faces = np.concatenate([faces, faces + len(left)])
    open_, shaded = (
        render(scene(vertices, faces, occlusion=strength)).rgba[..., 0].astype(int)
        for strength in (0.0, 1.0)
    )
    row, column = 19, 23
    darkening = open_[row] - shaded[row]
    assert darkening[column] > 10
    assert darkening[column] > darkening[column - 2] > darkening[column - 5]
    assert darkening[column - 8] == 0


def test_gradient_noise_has_its_derivatives_and_no_bias():
    rng = np.random.default_rng(0)
    points = rng.uniform(-20, 20, (400, 3))
    step = 1e-6
    for x, y, z in points[:50]:
        value, *slope = shading.gradient_noise(x, y, z, 7)
        for axis, derivative in enumerate(slope):
            d = step * np.eye(3)[axis]
            beyond = shading.gradient_noise(x + d[0], y + d[1], z + d[2], 7)[0]
            assert (beyond - value) / step == pytest.approx(derivative, abs=1e-4)
    values = shading.noise_at(points, 1.0, 7)
    assert abs(values.mean()) < 0.05
    assert 0.1 < values.std() < 0.4
    assert np.abs(values).max() < 1
    assert abs(np.corrcoef(values, shading.noise_at(points, 1.0, 8))[0, 1]) < 0.15


def test_visibility_of_two_balls():
    """Joints in the middles of two balls, one behind the other, and one beside them."""
    radius = 0.02
    front, faces = sphere([0.0, 0.0, 0.3], radius)
    back, _ = sphere([0.0, 0.0, 0.4], radius)
    beside, _ = sphere([0.08, 0.0, 0.4], radius)
    vertices = np.concatenate([front, back, beside])
    faces = np.concatenate([faces + k * len(front) for k in range(3)])
    depth = render(scene(vertices, faces)).depth
    joints = np.array(
        [[0, 0, 0.3], [0, 0, 0.4], [0.08, 0, 0.4], [0, 0, -0.3], [0.5, 0, 0.4], [0, 0.08, 0.4]]
    )
    thickness = np.full(len(joints), 2 * radius, np.float32)
    expected = [True, False, True, False, False, False]
    np.testing.assert_array_equal(visible_joints(joints, depth, K, thickness), expected)


def test_visibility_of_an_open_hand_and_a_fist():
    surface = HandSurface("right")
    rest, rest_joints = surface.template.numpy(), surface.rest_joints.numpy()
    thickness = joint_thickness(rest, rest_joints)
    assert 0.007 < thickness.min() < thickness.max() < 0.05
    faces, far = surface.faces.numpy(), np.array([0, 0.09, 0.45])
    camera = np.array([[220.0, 0, 47.5], [0, 220.0, 47.5], [0, 0, 1]])
    palm = render(scene(rest + far, faces, camera, (96, 96)))
    assert visible_joints(rest_joints + far, palm.depth, camera, thickness).all()

    angles = torch.zeros(15, 3)
    angles[3:, 0] = 1.4
    fist, joints = (
        x[0].numpy() * [-1, 1, -1] + far  # seen from the back
        for x in surface(rotations_from_angles(angles, surface.rest_joints)[None])
    )
    back = render(scene(fist, faces, camera, (96, 96)))
    visible = visible_joints(joints, back.depth, camera, thickness)
    tips, knuckles = [8, 12, 16], [5, 9, 13]
    assert not visible[tips].any()
    assert visible[knuckles].all()


@pytest.mark.parametrize(
    "change",
    [
        {"albedo": np.zeros((3, 3), np.float32)},
        {"faces": np.array([[0, 1, 999999]], np.int32)},
        {"K": np.array([[70.0, 0, 0], [0, -70.0, 0], [0, 0, 1]])},
        {"K": np.ones((3, 3))},
    ],
)
def test_impossible_scenes_are_refused(change):
    vertices, faces = sphere([0, 0, 0.4], 0.1, 1)
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(scene(vertices, faces), **change)


def test_supersampling_by_nothing_is_refused():
    with pytest.raises(ValueError, match="supersample"):
        render(scene(*sphere([0, 0, 0.4], 0.1, 1)), 0)


@pytest.mark.parametrize("module", [raster, sampling, shading])
def test_kernels_are_compiled_once_per_machine(module):
    kernels = [value for value in vars(module).values() if isinstance(value, CPUDispatcher)]
    assert kernels
    for kernel in kernels:
        assert kernel.stats.cache_path, f"{kernel} is not cached"
        assert not kernel.targetoptions.get("fastmath")
        assert not kernel.targetoptions.get("parallel")
