"""A rasteriser for hands: colours, and exact labels, in milliseconds on one CPU core.

Vertices are projected, triangles go into a z-buffer (`_rasterise`), what is seen is shaded
(`shading.py`) and gathered into pixels (`sampling.py`). Depth, mask and face are taken at the
centres of the pixels; colours are averaged over a finer grid. Everything is sequential and without
`fastmath`, so that the same scene gives the same bytes.

Rasterisation is homogeneous (Olano and Greer 1997): a ray K^-1 [u, v, 1] meets the triangle of the
projected corners p_i = K v_i where c = [p_0 p_1 p_2]^-1 [u, v, 1] is non-negative, at depth
z = 1 / sum(c) and with barycentric coordinates z c. Nothing is divided by the depth of a corner,
so triangles may pass the camera.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from auxhand.arrays import Doubles, Singles
from auxhand.hand.skeleton import NUM_JOINTS, PARENTS, TIPS
from auxhand.synth import sampling, shading
from auxhand.synth.detail import detail_maps
from auxhand.synth.scene import Scene

NEAR = 0.02
"""Nothing nearer to the camera than this is drawn (metres along z)."""

SHADOW_MAP_SIZE = 192
_FRONT, _BACK = -1, 1
_OVERLAP = 1e-9

Bounds = tuple[float, float, float, float]


class Rendering(NamedTuple):
    """What a camera sees of a scene.

    Attributes:
        rgba: (H, W, 4) uint8, sRGB with straight alpha; colour 0 where alpha is 0.
        depth: (H, W) float32, metres along z at the pixel's centre; 0 = nothing there.
        mask: (H, W) bool, whether the pixel's centre sees the mesh.
        face: (H, W) int32, the face seen at the pixel's centre; -1 = none.
    """

    rgba: NDArray[np.uint8]
    depth: Singles
    mask: NDArray[np.bool_]
    face: NDArray[np.int32]


class Layer(NamedTuple):
    """A z-buffer.

    Attributes:
        nearness: (h, w) float32, 1 / z for a camera, minus the depth for a shadow map; -inf = none.
        face: (h, w) int32, -1 = none.
    """

    nearness: Singles
    face: NDArray[np.int32]


def render(scene: Scene, supersample: int = 2) -> Rendering:
    """Draw a scene. Only the outside of the mesh is seen (it is closed), from `NEAR` on.

    Args:
        scene: what to draw.
        supersample: edges are averaged over supersample x supersample points of each pixel, on a
            regular grid. Depth, mask and face do not depend on it.

    Raises:
        ValueError: `supersample` is not positive.
    """
    if supersample < 1:
        raise ValueError(f"supersample must be at least 1, got {supersample}")
    vertices = scene.vertices.astype(np.float64)
    height, width = scene.size
    K, fine_K = scene.K, _scaled(scene.K, supersample)
    centres = _camera_layer(vertices, scene.faces, K, height, width)
    fine = _camera_layer(vertices, scene.faces, fine_K, height * supersample, width * supersample)

    surface = np.empty((len(vertices), 14), np.float32)
    surface[:, 0:3] = vertices
    surface[:, 3:6] = shading.vertex_normals(vertices, scene.faces)
    surface[:, 6:9] = scene.rest
    surface[:, 9:12] = scene.albedo
    surface[:, 12] = scene.bump
    surface[:, 13] = scene.roughness
    lighting = _lighting(scene, vertices, centres, surface)
    detail = (
        np.empty((0, 0, 0), np.float32)
        if scene.detail is None
        else detail_maps(*centres, vertices, scene.faces, K, scene.detail)
    )
    at_centre, at_samples = sampling.plan(centres.face, *fine, supersample)
    once, often = (
        shading.shade(
            wanted,
            *layer,
            scene.faces,
            surface,
            np.linalg.inv(camera),
            lighting,
            detail,
            samples,
            scene.noise_seed,
        )
        for wanted, layer, camera, samples in (
            (at_centre, centres, K, 1),
            (at_samples, fine, fine_K, supersample),
        )
    )
    rgba = sampling.resolve(at_centre, at_samples, once, often, supersample)
    return _rendering(rgba, centres)


def label(scene: Scene, rgba: NDArray[np.uint8]) -> Rendering:
    """A picture of the scene by another renderer, with the labels that `render` gives."""
    vertices = scene.vertices.astype(np.float64)
    return _rendering(rgba, _camera_layer(vertices, scene.faces, scene.K, *scene.size))


def _rendering(rgba: NDArray[np.uint8], centres: Layer) -> Rendering:
    mask = centres.face >= 0
    depth = np.zeros(mask.shape, np.float32)
    np.divide(1.0, centres.nearness, out=depth, where=mask)
    return Rendering(rgba, depth, mask, centres.face)


def visible_joints(
    joints: NDArray[np.floating], depth: Singles, K: NDArray[np.floating], thickness: Singles
) -> NDArray[np.bool_]:
    """Which joints are seen, judged by a rendered depth map.

    A joint lies inside the hand, so some surface is always in front of it. The rule: it is visible
    if it projects into the image, and among the 3 x 3 pixels around it there is one whose surface
    lies in front of the joint by no more than the thickness of the finger there (or behind it). A
    finger in front of it, or the length of its own finger seen end on, is further away than that.

    Args:
        joints: (21, 3) camera frame, metres.
        depth: (H, W) metres along z, 0 = nothing.
        K: (3, 3) camera of the depth map.
        thickness: (21,) metres, see `joint_thickness`.

    Returns:
        (21,) bool.
    """
    height, width = depth.shape
    visible = np.zeros(len(joints), np.bool_)
    for joint, (xyz, limit) in enumerate(zip(joints, thickness, strict=True)):
        if xyz[2] < NEAR:
            continue
        u, v = np.floor((K @ xyz)[:2] / xyz[2] + 0.5).astype(int)
        if not (0 <= u < width and 0 <= v < height):
            continue
        around = depth[max(v - 1, 0) : v + 2, max(u - 1, 0) : u + 2]
        visible[joint] = bool(np.any((around > 0) & (xyz[2] - around <= limit)))
    return visible


def joint_thickness(vertices: NDArray[np.floating], joints: NDArray[np.floating]) -> Singles:
    """How thick the hand is at each joint, roughly: 2.5 times the distance to the nearest vertex.

    That is a little more than the diameter of a finger, since joints lie nearer to its back. A
    fingertip lies close to the surface and takes the thickness of the joint before it.

    Args:
        vertices: (V, 3) rest pose, metres.
        joints: (21, 3) rest pose, metres.

    Returns:
        (21,) float32, metres.
    """
    distance: Singles = np.linalg.norm(vertices[:, None] - joints[None], axis=-1).min(0)
    origin = [PARENTS[joint] if joint in TIPS else joint for joint in range(NUM_JOINTS)]
    return 2.5 * distance[origin].astype(np.float32)


def _scaled(K: Doubles, factor: int) -> Doubles:
    """The camera of an image resized by `factor`: u -> (u + 0.5) factor - 0.5."""
    shift = 0.5 * factor - 0.5
    return np.array([[factor, 0, shift], [0, factor, shift], [0, 0, 1.0]]) @ K


def _camera_layer(
    vertices: Doubles,
    faces: NDArray[np.int32],
    K: Doubles,
    height: int,
    width: int,
) -> Layer:
    nearness, face = _rasterise(
        vertices @ K.T, np.ones(len(vertices)), faces, _FRONT, NEAR, height, width
    )  # with keys of 1 the interpolated key is sum(c) = 1 / z
    return Layer(nearness, face)


def _lighting(
    scene: Scene, vertices: Doubles, centres: Layer, surface: Singles
) -> shading.Lighting:
    casting = np.array([light.shadow for light in scene.lights], np.bool_)
    transforms = np.empty((casting.sum(), 3, 4))
    casters = np.empty((casting.sum(), SHADOW_MAP_SIZE, SHADOW_MAP_SIZE), np.float32)
    for shadow, light in enumerate(np.flatnonzero(casting)):
        transforms[shadow], casters[shadow] = _shadow(
            vertices, scene.faces, scene.K, scene.size, scene.lights[light].direction
        )
    return shading.Lighting(
        np.array([light.direction for light in scene.lights], np.float64).reshape(-1, 3),
        np.array([light.colour for light in scene.lights], np.float64).reshape(-1, 3),
        np.where(casting, np.cumsum(casting) - 1, -1),
        transforms,
        casters,
        np.asarray(scene.sky, np.float64),
        np.asarray(scene.ground, np.float64),
        shading.ambient_exposure(
            *centres, scene.faces, surface, np.linalg.inv(scene.K), scene.occlusion
        ),
    )


def _shadow(
    vertices: Doubles,
    faces: NDArray[np.int32],
    K: Doubles,
    size: tuple[int, int],
    direction: Singles,
) -> tuple[Doubles, Singles]:
    """The depths at which a light leaves the mesh, seen from the light.

    Casters are the faces turned away from the light: what the light falls on is then never its own
    caster, and needs no bias against speckles. The map covers what the camera can see.

    Returns:
        (3, 4) transform from the camera frame to (column, row, depth) of the map, and the map of
        depths in metres, inf = nothing.
    """
    travel = -np.asarray(direction, np.float64)
    right = np.cross(np.eye(3)[np.argmin(np.abs(travel))], travel)
    right /= np.linalg.norm(right)
    frame = np.stack([right, np.cross(travel, right), travel])
    low_x, high_x, low_y, high_y = _seen_extent(vertices @ frame.T, vertices @ K.T, *size)
    scale = (SHADOW_MAP_SIZE - 9) / max(high_x - low_x, high_y - low_y, 1e-3)
    transform = np.zeros((3, 4))
    transform[:2, :3] = scale * frame[:2]
    middle = np.array([low_x + high_x, low_y + high_y]) / 2
    transform[:2, 3] = (SHADOW_MAP_SIZE - 1) / 2 - scale * middle
    transform[2, :3] = travel
    mapped = vertices @ transform[:, :3].T + transform[:, 3]
    corners = np.column_stack([mapped[:, :2], np.ones(len(mapped))])
    nearness, _ = _rasterise(
        corners, -mapped[:, 2], faces, _BACK, 0.0, SHADOW_MAP_SIZE, SHADOW_MAP_SIZE
    )
    return transform, -nearness


@njit(cache=True, error_model="numpy")
def _extend(bounds: Bounds, u: float, v: float) -> Bounds:
    u_min, u_max, v_min, v_max = bounds
    return min(u_min, u), max(u_max, u), min(v_min, v), max(v_max, v)


@njit(cache=True, error_model="numpy")
def _seen_extent(points: shading.Floats, pixels: shading.Floats, height: int, width: int) -> Bounds:
    """Bounds in x and y of the points whose homogeneous pixels lie in the image or close by."""
    bounds = (np.inf, -np.inf, np.inf, -np.inf)
    for i in range(points.shape[0]):
        z = pixels[i, 2]
        near_u = abs(pixels[i, 0] - 0.5 * width * z) < 0.6 * width * z
        near_v = abs(pixels[i, 1] - 0.5 * height * z) < 0.6 * height * z
        if z > NEAR and near_u and near_v:
            bounds = _extend(bounds, points[i, 0], points[i, 1])
    return bounds if bounds[0] <= bounds[1] else (0.0, 0.0, 0.0, 0.0)


@njit(cache=True, error_model="numpy")
def _clipped_bounds(points: shading.Floats, i: int, j: int, k: int, near: float) -> Bounds:
    """Image bounds of the part of a triangle beyond `near`: u_min, u_max, v_min, v_max."""
    bounds = (np.inf, -np.inf, np.inf, -np.inf)
    for a, b in ((i, j), (j, k), (k, i)):
        w_a, w_b = points[a, 2], points[b, 2]
        if w_a >= near:
            bounds = _extend(bounds, points[a, 0] / w_a, points[a, 1] / w_a)
        if (w_a >= near) != (w_b >= near):
            t = (near - w_a) / (w_b - w_a)
            u = points[a, 0] + t * (points[b, 0] - points[a, 0])
            v = points[a, 1] + t * (points[b, 1] - points[a, 1])
            bounds = _extend(bounds, u / near, v / near)
    return bounds


@njit(cache=True, error_model="numpy")
def _rasterise(
    points: shading.Floats,
    key: shading.Floats,
    faces: shading.Indices,
    facing: int,
    near: float,
    height: int,
    width: int,
) -> tuple[Singles, NDArray[np.int32]]:
    """Draw triangles into a z-buffer, at the pixel centres (integer coordinates).

    Args:
        points: (V, 3) homogeneous image points (u w, v w, w); w = z for a camera, 1 for a parallel
            projection.
        key: (V,) what to keep the largest of; it is interpolated as sum(c_i key_i).
        faces: (F, 3) corners.
        facing: draw the faces whose determinant has this sign, `_FRONT` or `_BACK`.
        near: smallest w that is drawn; 0 for a parallel projection.
        height, width: of the image.

    Returns:
        (height, width) largest key (-inf = none) and its face (-1 = none).
    """
    nearness = np.full((height, width), -np.inf, np.float32)
    face = np.full((height, width), -1, np.int32)
    image = np.empty((points.shape[0], 2))
    for i in range(points.shape[0]):
        image[i, 0] = points[i, 0] / points[i, 2]
        image[i, 1] = points[i, 1] / points[i, 2]
    largest = 1.0 / near if near > 0.0 else np.inf
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        if points[i, 2] >= near and points[j, 2] >= near and points[k, 2] >= near:
            u_min = min(image[i, 0], image[j, 0], image[k, 0])
            u_max = max(image[i, 0], image[j, 0], image[k, 0])
            v_min = min(image[i, 1], image[j, 1], image[k, 1])
            v_max = max(image[i, 1], image[j, 1], image[k, 1])
        else:
            u_min, u_max, v_min, v_max = _clipped_bounds(points, i, j, k, near)
        left, right = np.ceil(max(u_min, 0.0)), np.floor(min(u_max, width - 1.0))
        top, bottom = np.ceil(max(v_min, 0.0)), np.floor(min(v_max, height - 1.0))
        if not (left <= right and top <= bottom):
            continue
        p0, p1, p2 = points[i, 0], points[i, 1], points[i, 2]
        q0, q1, q2 = points[j, 0], points[j, 1], points[j, 2]
        r0, r1, r2 = points[k, 0], points[k, 1], points[k, 2]
        # Rows of the adjugate of [p q r]: the edge function opposite each corner.
        a0, a1, a2 = q1 * r2 - q2 * r1, q2 * r0 - q0 * r2, q0 * r1 - q1 * r0
        determinant = p0 * a0 + p1 * a1 + p2 * a2
        if not determinant * facing > 0.0:
            continue
        scale = 1.0 / determinant
        a0, a1, a2 = a0 * scale, a1 * scale, a2 * scale
        b0 = (r1 * p2 - r2 * p1) * scale
        b1 = (r2 * p0 - r0 * p2) * scale
        b2 = (r0 * p1 - r1 * p0) * scale
        c0 = (p1 * q2 - p2 * q1) * scale
        c1 = (p2 * q0 - p0 * q2) * scale
        c2 = (p0 * q1 - p1 * q0) * scale
        key_a, key_b, key_c = key[i], key[j], key[k]
        for y in range(int(top), int(bottom) + 1):
            row_a, row_b, row_c = a1 * y + a2, b1 * y + b2, c1 * y + c2
            for x in range(int(left), int(right) + 1):
                a, b, c = a0 * x + row_a, b0 * x + row_b, c0 * x + row_c
                # The overlap closes the seams that rounding would leave between neighbours.
                if a >= -_OVERLAP and b >= -_OVERLAP and c >= -_OVERLAP:
                    value = a * key_a + b * key_b + c * key_c
                    if nearness[y, x] < value <= largest:
                        nearness[y, x] = value
                        face[y, x] = f
    return nearness, face
