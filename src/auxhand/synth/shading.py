"""From what is seen to how it looks: the kernels that shade a z-buffer, in linear light.

Skin is a diffuse surface whose light bleeds around the edge of a shadow, the red most (a stand-in
for scattering below the surface), under a GGX highlight (Walter et al. 2007; F0 = 0.028 as of
skin), with small relief from gradient noise that lives in the rest pose. Ambient light comes from a
sky and a ground, and is hidden by what is near (Alchemy ambient obscurance, McGuire et al. 2011).

All functions that call each other are in this file: numba's cache follows one file at a time.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from auxhand.arrays import Doubles, Singles

Floats = NDArray[np.floating]
Indices = NDArray[np.integer]
Flags = NDArray[np.bool_]
Vector = tuple[float, float, float]

OCCLUSION_RADIUS = 0.03
"""Distance in metres within which surfaces hide each other's ambient light."""
OCCLUSION_TAPS = 16
_spiral = np.arange(OCCLUSION_TAPS)
_TAPS = ((_spiral + 0.5) / OCCLUSION_TAPS)[:, None] * np.stack(
    [np.cos(_spiral * 2.399963229728653), np.sin(_spiral * 2.399963229728653)], axis=1
)  # a spiral by the golden angle

WRAP = (0.30, 0.14, 0.10)
"""How far red, green and blue light reaches round the edge of a shadow."""
F0 = 0.028
"""Reflectance of skin at normal incidence (index of refraction 1.4)."""

RELIEF_CELLS = (0.0045, 0.0017, 0.0007)
"""Cell sizes in metres of the noise octaves; those finer than the image can show fade out."""
_RELIEF_SHADE = 0.10
_RELIEF_SLOPE = 0.10
_SHADOW_BIAS = 0.006


class Lighting(NamedTuple):
    """Where light comes from, for the kernels.

    Attributes:
        directions: (L, 3) towards each light.
        colours: (L, 3) linear RGB.
        shadow_of: (L,) index of each light's shadow map, -1 = none.
        transforms: (S, 3, 4) from the camera frame to (column, row, depth) of a shadow map.
        casters: (S, n, n) depth of what casts a shadow, inf = nothing.
        sky, ground: (3,) linear RGB of the ambient light.
        exposure: (h, w) share of the ambient light that reaches each pixel.
    """

    directions: Doubles
    colours: Doubles
    shadow_of: NDArray[np.int64]
    transforms: Doubles
    casters: Singles
    sky: Doubles
    ground: Doubles
    exposure: Singles


@njit(cache=True, error_model="numpy")
def vertex_normals(vertices: Floats, faces: Indices) -> Floats:
    """(V, 3) unit normals, each the area-weighted mean over the faces of its vertex."""
    normals = np.zeros((vertices.shape[0], 3))
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ax = vertices[j, 0] - vertices[i, 0]
        ay = vertices[j, 1] - vertices[i, 1]
        az = vertices[j, 2] - vertices[i, 2]
        bx = vertices[k, 0] - vertices[i, 0]
        by = vertices[k, 1] - vertices[i, 1]
        bz = vertices[k, 2] - vertices[i, 2]
        for corner in (i, j, k):
            normals[corner, 0] += ay * bz - az * by
            normals[corner, 1] += az * bx - ax * bz
            normals[corner, 2] += ax * by - ay * bx
    for i in range(normals.shape[0]):
        normals[i] = _unit(normals[i, 0], normals[i, 1], normals[i, 2])
    return normals


@njit(cache=True, error_model="numpy")
def _unit(x: float, y: float, z: float) -> Vector:
    length = max(np.sqrt(x * x + y * y + z * z), 1e-30)
    return x / length, y / length, z / length


@njit(cache=True, error_model="numpy")
def _clip(value: float) -> float:
    return min(max(value, 0.0), 1.0)


@njit(cache=True, error_model="numpy")
def _lift(K_inverse: Floats, x: int, y: int, z: float) -> Vector:
    """The point at depth z on the ray of a pixel."""
    return (
        (K_inverse[0, 0] * x + K_inverse[0, 1] * y + K_inverse[0, 2]) * z,
        (K_inverse[1, 0] * x + K_inverse[1, 1] * y + K_inverse[1, 2]) * z,
        z,
    )


@njit(cache=True, error_model="numpy")
def _interpolate(
    surface: Floats, faces: Indices, f: int, p0: float, p1: float, p2: float, out: Floats
) -> None:
    """Vertex attributes at the point p of face f, into `out`.

    The barycentric coordinates are those of the ray through p: (b x c) . p for corner a, and so on.
    """
    i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
    a0, a1, a2 = float(surface[i, 0]), float(surface[i, 1]), float(surface[i, 2])
    b0, b1, b2 = float(surface[j, 0]), float(surface[j, 1]), float(surface[j, 2])
    c0, c1, c2 = float(surface[k, 0]), float(surface[k, 1]), float(surface[k, 2])
    first = (b1 * c2 - b2 * c1) * p0 + (b2 * c0 - b0 * c2) * p1 + (b0 * c1 - b1 * c0) * p2
    second = (c1 * a2 - c2 * a1) * p0 + (c2 * a0 - c0 * a2) * p1 + (c0 * a1 - c1 * a0) * p2
    third = (a1 * b2 - a2 * b1) * p0 + (a2 * b0 - a0 * b2) * p1 + (a0 * b1 - a1 * b0) * p2
    scale = 1.0 / (first + second + third)
    first, second, third = first * scale, second * scale, third * scale
    for c in range(out.shape[0]):
        out[c] = first * surface[i, c] + second * surface[j, c] + third * surface[k, c]


@njit(cache=True, error_model="numpy")
def _focal(K_inverse: Floats) -> float:
    """Pixels per unit of x / z, the geometric mean of both axes."""
    return 1.0 / math.sqrt(K_inverse[0, 0] * K_inverse[1, 1] - K_inverse[0, 1] * K_inverse[1, 0])


@njit(cache=True, error_model="numpy")
def ambient_exposure(
    nearness: Floats,
    face: Indices,
    faces: Indices,
    surface: Floats,
    K_inverse: Floats,
    strength: float,
) -> Singles:
    """How much of the ambient light reaches each pixel.

    Points around a pixel hide light as far as they rise above its tangent plane and are near.
    Pixels beside the mesh get the mean of their neighbours on it, for the finer grid of colours.

    Returns:
        (h, w) float32 in [0, 1].
    """
    height, width = face.shape
    exposure = np.ones((height, width), np.float32)
    points = np.zeros((height, width, 3))
    here = np.empty(6)
    for y in range(height):
        for x in range(width):
            if face[y, x] >= 0:
                points[y, x] = _lift(K_inverse, x, y, 1.0 / nearness[y, x])
    focal = _focal(K_inverse)
    for y in range(height):
        for x in range(width):
            if face[y, x] < 0:
                continue
            p0, p1, p2 = points[y, x, 0], points[y, x, 1], points[y, x, 2]
            _interpolate(surface, faces, face[y, x], p0, p1, p2, here)
            n0, n1, n2 = _unit(here[3], here[4], here[5])
            reach = OCCLUSION_RADIUS * focal * nearness[y, x]
            hidden = 0.0
            for tap in range(OCCLUSION_TAPS):
                tap_x = int(x + reach * _TAPS[tap, 0] + 0.5)
                tap_y = int(y + reach * _TAPS[tap, 1] + 0.5)
                if not (0 <= tap_x < width and 0 <= tap_y < height) or face[tap_y, tap_x] < 0:
                    continue
                v0 = points[tap_y, tap_x, 0] - p0
                v1 = points[tap_y, tap_x, 1] - p1
                v2 = points[tap_y, tap_x, 2] - p2
                square = v0 * v0 + v1 * v1 + v2 * v2 + 1e-12
                rise = (v0 * n0 + v1 * n1 + v2 * n2) / np.sqrt(square) - 0.1
                near = 1.0 - square / OCCLUSION_RADIUS**2
                if rise > 0.0 and near > 0.0:
                    hidden += rise * near
            exposure[y, x] = 1.0 - strength * _clip(3.0 * hidden / OCCLUSION_TAPS)
    for y in range(height):
        for x in range(width):
            if face[y, x] >= 0:
                continue
            total, count = 0.0, 0
            for beside_y in range(max(y - 1, 0), min(y + 2, height)):
                for beside_x in range(max(x - 1, 0), min(x + 2, width)):
                    if face[beside_y, beside_x] >= 0:
                        total += exposure[beside_y, beside_x]
                        count += 1
            if count:
                exposure[y, x] = total / count
    return exposure


@njit(cache=True, error_model="numpy")
def _hash(i: int, j: int, k: int, seed: int) -> np.uint64:
    """64 well-mixed bits for a lattice point (the finaliser of splitmix64)."""
    h = (
        np.uint64(i) * np.uint64(0x9E3779B97F4A7C15)
        ^ np.uint64(j) * np.uint64(0xC2B2AE3D27D4EB4F)
        ^ np.uint64(k) * np.uint64(0x165667B19E3779F9)
    ) + np.uint64(seed) * np.uint64(0xD6E8FEB86659FD93)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@njit(cache=True, error_model="numpy")
def gradient_noise(x: float, y: float, z: float, seed: int) -> tuple[float, float, float, float]:
    """Perlin's gradient noise with its exact derivatives.

    Returns:
        value (about -0.5..0.5), d/dx, d/dy, d/dz.
    """
    i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    fx, fy, fz = x - i, y - j, z - k
    sx = fx * fx * fx * (fx * (fx * 6.0 - 15.0) + 10.0)
    sy = fy * fy * fy * (fy * (fy * 6.0 - 15.0) + 10.0)
    sz = fz * fz * fz * (fz * (fz * 6.0 - 15.0) + 10.0)
    tx = 30.0 * fx * fx * (fx - 1.0) * (fx - 1.0)
    ty = 30.0 * fy * fy * (fy - 1.0) * (fy - 1.0)
    tz = 30.0 * fz * fz * (fz - 1.0) * (fz - 1.0)
    value, dx, dy, dz = 0.0, 0.0, 0.0, 0.0
    for corner in range(8):
        a, b, c = corner & 1, (corner >> 1) & 1, corner >> 2
        bits = _hash(i + a, j + b, k + c, seed)
        gx = float(bits & np.uint64(0x1FFFFF)) / 1048576.0 - 1.0
        gy = float((bits >> np.uint64(21)) & np.uint64(0x1FFFFF)) / 1048576.0 - 1.0
        gz = float((bits >> np.uint64(42)) & np.uint64(0x1FFFFF)) / 1048576.0 - 1.0
        ramp = gx * (fx - a) + gy * (fy - b) + gz * (fz - c)
        wx, ux = (sx, tx) if a else (1.0 - sx, -tx)
        wy, uy = (sy, ty) if b else (1.0 - sy, -ty)
        wz, uz = (sz, tz) if c else (1.0 - sz, -tz)
        weight = wx * wy * wz
        value += weight * ramp
        dx += weight * gx + ux * wy * wz * ramp
        dy += weight * gy + wx * uy * wz * ramp
        dz += weight * gz + wx * wy * uz * ramp
    return value, dx, dy, dz


@njit(cache=True, error_model="numpy")
def _relief(
    x: float, y: float, z: float, footprint: float, seed: int
) -> tuple[float, float, float, float]:
    """Skin's relief at a rest position: height and slope, without what the image cannot show."""
    height, dx, dy, dz = 0.0, 0.0, 0.0, 0.0
    for octave, cell in enumerate(RELIEF_CELLS):
        shown = _clip(0.5 * cell / footprint - 0.5)
        if shown > 0.0:
            value, gx, gy, gz = gradient_noise(x / cell, y / cell, z / cell, seed + octave)
            height += shown * value
            dx += shown * gx
            dy += shown * gy
            dz += shown * gz
    return height, dx, dy, dz


@njit(cache=True, error_model="numpy")
def _sunlit(
    casters: Floats, transforms: Floats, s: int, p0: float, p1: float, p2: float, bias: float
) -> float:
    """Share of a light that reaches a point: 4 x 4 texels of shadow map s, under a tent."""
    u = transforms[s, 0, 0] * p0 + transforms[s, 0, 1] * p1 + transforms[s, 0, 2] * p2
    v = transforms[s, 1, 0] * p0 + transforms[s, 1, 1] * p1 + transforms[s, 1, 2] * p2
    depth = transforms[s, 2, 0] * p0 + transforms[s, 2, 1] * p1 + transforms[s, 2, 2] * p2 - bias
    u += transforms[s, 0, 3]
    v += transforms[s, 1, 3]
    size = casters.shape[1]
    if not (1.0 <= u < size - 3.0 and 1.0 <= v < size - 3.0):
        return 1.0
    column, row = int(u), int(v)
    fu, fv = u - column, v - row
    lit = 0.0
    for j in range(4):
        wv = 1.0 - fv if j == 0 else (fv if j == 3 else 1.0)
        for i in range(4):
            if casters[s, row + j - 1, column + i - 1] > depth:
                lit += wv * (1.0 - fu if i == 0 else (fu if i == 3 else 1.0))
    return lit / 9.0


@njit(cache=True, error_model="numpy")
def _fresnel(cosine: float, roughness: float) -> float:
    """Schlick's approximation; a rough surface never becomes a mirror at grazing angles."""
    rest = 1.0 - cosine
    square = rest * rest
    return F0 + (max(1.0 - roughness, F0) - F0) * square * square * rest


@njit(cache=True, error_model="numpy")
def _ambient_shine(n_v: float, roughness: float) -> float:
    """Share of even light from all around that the surface mirrors (Karis 2014, for mobiles)."""
    smooth = 1.0 - roughness
    grazing = (
        min(smooth * smooth, math.pow(2.0, -9.28 * n_v)) * smooth + 0.0425 - 0.0275 * roughness
    )
    scale = 1.04 - 0.572 * roughness - 1.04 * grazing
    return F0 * scale + 1.04 * grazing - 0.04 + 0.022 * roughness


@njit(cache=True, error_model="numpy")
def _highlight(n_l: float, n_v: float, n_h: float, v_h: float, roughness: float) -> float:
    """GGX reflection of a light, on the scale on which a white diffuse surface reflects n_l."""
    alpha = roughness * roughness
    spread = n_h * n_h * (alpha * alpha - 1.0) + 1.0
    distribution = alpha * alpha / (spread * spread)
    k = 0.5 * alpha
    masking = 0.25 / ((n_l * (1.0 - k) + k) * (n_v * (1.0 - k) + k))
    return distribution * masking * _fresnel(v_h, roughness) * n_l


@njit(cache=True, error_model="numpy")
def shade(
    wanted: Flags,
    nearness: Floats,
    face: Indices,
    faces: Indices,
    surface: Floats,
    K_inverse: Floats,
    lighting: Lighting,
    detail: Floats,
    samples: int,
    seed: int,
) -> Singles:
    """Radiance of the wanted samples.

    Args:
        wanted: (h s, w s) bool, where to shade.
        nearness, face: a `raster.Layer` of that size.
        faces: (F, 3) corners.
        surface: (V, 14) per vertex: position, normal, rest position, albedo, bump, roughness.
        K_inverse: (3, 3) inverse camera of the layer.
        lighting: the lights; its exposure is of the image's size (h, w).
        detail: (h, w, 7) of `detail.detail_maps`; empty: none.
        samples: s, samples per pixel and axis.
        seed: of the relief.

    Returns:
        (h s, w s, 3) float32 linear RGB; undefined where not wanted.
    """
    height, width = face.shape
    linear = np.empty((height, width, 3), np.float32)
    point, diffuse, specular = np.empty(14), np.empty(3), np.empty(3)
    directions, colours, sky, ground = (
        lighting.directions,
        lighting.colours,
        lighting.sky,
        lighting.ground,
    )
    pixel = samples / _focal(K_inverse)
    for y in range(height):
        for x in range(width):
            if not wanted[y, x]:
                continue
            z = 1.0 / nearness[y, x]
            p0, p1, p2 = _lift(K_inverse, x, y, z)
            v0, v1, v2 = _unit(-p0, -p1, -p2)
            _interpolate(surface, faces, face[y, x], p0, p1, p2, point)
            n0, n1, n2 = _unit(point[3], point[4], point[5])
            bump, roughness = point[12], point[13]
            at_y, at_x = y // samples, x // samples
            if detail.size and detail[at_y, at_x, 6] > 0.0:
                roughness = float(detail[at_y, at_x, 6])
            relief, slope_0, slope_1, slope_2 = _relief(
                point[6], point[7], point[8], z * pixel, seed
            )
            # The slope is one of the rest pose; noise looks the same however it is turned. At the
            # outline it would only make specks.
            steepness = _RELIEF_SLOPE * bump * _clip(2.0 * (n0 * v0 + n1 * v1 + n2 * v2))
            m0, m1, m2 = _unit(
                n0 - steepness * slope_0, n1 - steepness * slope_1, n2 - steepness * slope_2
            )
            if detail.size:
                m0, m1, m2 = _unit(
                    m0 - detail[at_y, at_x, 3],
                    m1 - detail[at_y, at_x, 4],
                    m2 - detail[at_y, at_x, 5],
                )
                for c in range(3):
                    point[9 + c] *= detail[at_y, at_x, c]
            n_v = max(m0 * v0 + m1 * v1 + m2 * v2, 0.05)
            open_sky = lighting.exposure[at_y, at_x]
            upward = 0.5 - 0.5 * m1
            mirrored_upward = 0.5 - 0.5 * (2.0 * n_v * m1 - v1)
            shine = _ambient_shine(n_v, roughness)
            for c in range(3):
                ambient = ground[c] + (sky[c] - ground[c]) * upward
                # What is hidden from the sky sees other skin, which reflects its own colour.
                diffuse[c] = ambient * open_sky * (1.0 + point[9 + c] * (1.0 - open_sky))
                reflected = ground[c] + (sky[c] - ground[c]) * mirrored_upward
                specular[c] = reflected * open_sky * shine
            for light in range(directions.shape[0]):
                l0, l1, l2 = directions[light, 0], directions[light, 1], directions[light, 2]
                n_l = m0 * l0 + m1 * l1 + m2 * l2
                if n_l <= -WRAP[0]:
                    continue
                facing = n0 * l0 + n1 * l1 + n2 * l2
                lit = 1.0
                shadow = lighting.shadow_of[light]
                if shadow >= 0:
                    bias = _SHADOW_BIAS * _clip(0.5 - 2.0 * facing)
                    lit = _sunlit(lighting.casters, lighting.transforms, shadow, p0, p1, p2, bias)
                    if lit == 0.0:
                        continue
                # A light without shadows is a broad one, and so is its highlight.
                polish = roughness if shadow >= 0 else max(roughness, 0.8)
                highlight = 0.0
                if n_l > 0.0:
                    h0, h1, h2 = _unit(l0 + v0, l1 + v1, l2 + v2)
                    n_h = _clip(m0 * h0 + m1 * h1 + m2 * h2)
                    v_h = _clip(v0 * h0 + v1 * h1 + v2 * h2)
                    highlight = _highlight(n_l, n_v, n_h, v_h, polish)
                    highlight *= lit * _clip(8.0 * facing)
                for c in range(3):
                    reach = _clip((n_l + WRAP[c]) / (1.0 + WRAP[c]))
                    diffuse[c] += colours[light, c] * reach * lit * (1.0 + WRAP[c] * (1.0 - lit))
                    specular[c] += colours[light, c] * highlight
            tint = 1.0 + _RELIEF_SHADE * bump * relief
            for c in range(3):
                linear[y, x, c] = point[9 + c] * tint * diffuse[c] + specular[c]
    return linear


@njit(cache=True, error_model="numpy")
def noise_at(points: Floats, cell: float, seed: int) -> Doubles:
    """Gradient noise with cells of a size (metres) at (N, 3) points: (N,) about -0.5..0.5."""
    values = np.empty(points.shape[0])
    for i in range(points.shape[0]):
        x, y, z = points[i, 0] / cell, points[i, 1] / cell, points[i, 2] / cell
        values[i] = gradient_noise(x, y, z, seed)[0]
    return values
