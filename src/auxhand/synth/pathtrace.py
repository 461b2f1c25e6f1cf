"""A path tracer for the same scenes (Mitsuba 3, extra `pathtrace`): the look of another camera.

Light bounces, lights have an extent and soft shadows, ambient light is hidden by what really hides
it. The labels are the rasteriser's, so that they are the same for both. Tens of times slower than
`raster.py`; deterministic: the same scene, seed and number of samples give the same bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from auxhand.arrays import Doubles
from auxhand.data.background import linear_to_srgb
from auxhand.synth.raster import NEAR, Rendering, label
from auxhand.synth.scene import Scene
from auxhand.synth.shading import RELIEF_CELLS, noise_at, vertex_normals

SAMPLES = 16
"""Paths a pixel; those of independent samples would be four times as many for as little noise."""
_BOUNCES = 4
_FAR = 20.0
_SPREAD = 90.0
"""Concentration of a light about its direction (von Mises and Fisher): some 6 degrees."""
_ENVIRONMENT = (48, 96)
_MOST_LEVELS = 3
"""How often faces are split in four at most, for texture finer than the mesh."""
_RELIEF_ALBEDO, _RELIEF_SLOPE = 0.14, 0.22


def render(scene: Scene, samples: int = SAMPLES, seed: int = 0) -> Rendering:
    """Draw a scene by path tracing.

    Args:
        scene: what to draw; its `occlusion` and the lights' `shadow` do not count, since light is
            hidden by what is in its way.
        samples: paths a pixel.
        seed: of the paths.

    Returns:
        As `raster.render`: rgba differs, depth, mask and face are the same.

    Raises:
        ModuleNotFoundError: Mitsuba is not installed.
        ValueError: a camera with skew or unequal focal lengths, samples that are not positive.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    mitsuba = _mitsuba()
    traced = mitsuba.load_dict(
        {
            "type": "scene",
            "integrator": {"type": "path", "max_depth": _BOUNCES, "hide_emitters": True},
            "hand": _mesh(mitsuba, scene),
            "light": {
                "type": "envmap",
                "bitmap": mitsuba.Bitmap(environment(scene).astype(np.float32)),
                "scale": 1.0,
            },
            "sensor": _sensor(mitsuba, scene),
        }
    )
    pixels = np.array(mitsuba.render(traced, spp=samples, seed=seed), np.float32)
    alpha = np.clip(pixels[..., 3:], 0, 1)
    colour = pixels[..., :3] / np.maximum(alpha, 1e-6)
    encoded = linear_to_srgb(np.clip(colour, 0, 1)) * (alpha > 0)
    rgba = np.concatenate([encoded, alpha], -1)
    return label(scene, (rgba * 255 + 0.5).astype(np.uint8))


def _mitsuba() -> Any:
    try:
        import mitsuba
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "path tracing needs Mitsuba: pip install 'auxhand[pathtrace]'"
        ) from error
    mitsuba.set_variant("scalar_rgb")
    return mitsuba


def environment(scene: Scene) -> Doubles:
    """(h, w, 3) linear radiance that comes from each direction, as Mitsuba's `envmap` has them.

    The ambient light goes from the ground's radiance straight below to the sky's straight above. A
    light of colour c is a lobe of the irradiance pi c: a white surface facing it has radiance c.
    """
    height, width = _ENVIRONMENT
    theta = ((np.arange(height) + 0.5) / height * np.pi)[:, None]
    phi = (np.arange(width) + 0.5) / width * 2 * np.pi
    direction = np.stack(
        np.broadcast_arrays(
            np.sin(phi) * np.sin(theta), np.cos(theta), -np.cos(phi) * np.sin(theta)
        ),
        -1,
    )
    up = (0.5 - 0.5 * direction[..., 1])[..., None]
    light = scene.ground + up * (scene.sky - scene.ground).astype(np.float64)
    solid_angle = np.sin(theta) * (np.pi / height) * (2 * np.pi / width)
    for source in scene.lights:
        lobe = np.exp(_SPREAD * (direction @ source.direction.astype(np.float64) - 1))
        light = light + np.pi * source.colour * (lobe / (lobe * solid_angle).sum())[..., None]
    return np.asarray(light)


def _sensor(mitsuba: Any, scene: Scene) -> Any:
    """A pinhole camera at the origin, x right, y down, z forward."""
    height, width = scene.size
    K = scene.K
    if K[0, 1] or K[1, 0] or not np.isclose(K[0, 0], K[1, 1]):
        raise ValueError(f"path tracing needs square pixels without skew, got K = {K.tolist()}")
    x, y = K[:2, 2] + 0.5
    return {
        "type": "perspective",
        "fov": float(np.rad2deg(2 * np.arctan(width / 2 / K[0, 0]))),
        "fov_axis": "x",
        "principal_point_offset_x": float(0.5 - x / width),
        "principal_point_offset_y": float(0.5 - y / height),
        "near_clip": NEAR,
        "far_clip": _FAR,
        "to_world": mitsuba.ScalarTransform4f().look_at([0, 0, 0], [0, 0, 1], [0, -1, 0]),
        "film": {
            "type": "hdrfilm",
            "width": width,
            "height": height,
            "pixel_format": "rgba",
            "rfilter": {"type": "box"},
        },
        "sampler": {"type": "multijitter"},
    }


def _mesh(mitsuba: Any, scene: Scene) -> Any:
    """The painted mesh, split finely enough to carry the skin's relief."""
    attributes = np.column_stack(
        [
            *(scene.vertices, vertex_normals(scene.vertices, scene.faces), scene.rest),
            *(scene.albedo, scene.bump, scene.roughness),
        ]
    ).astype(np.float64)
    faces = scene.faces
    for _ in range(_levels(scene)):
        attributes, faces = subdivide(attributes, faces)
    vertices, normals, rest, albedo = (attributes[:, i : i + 3] for i in (0, 3, 6, 9))
    bump, roughness = attributes[:, 12:13], attributes[:, 13]
    points = rest.astype(np.float32)
    octaves = enumerate(RELIEF_CELLS[:2])
    relief = np.sum([noise_at(points, cell, scene.noise_seed + k) for k, cell in octaves], axis=0)
    albedo = np.clip(albedo * (1 + _RELIEF_ALBEDO * bump * relief[:, None]), 0.005, 0.98)
    cell, first = RELIEF_CELLS[0], scene.noise_seed + len(RELIEF_CELLS)
    tilt = np.stack([noise_at(points, cell, first + axis) for axis in range(3)], -1)
    normals = normals + _RELIEF_SLOPE * bump * tilt
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)

    properties = mitsuba.Properties()
    properties["bsdf"] = mitsuba.load_dict(
        {
            # Two-sided, or a surface seen along itself, whose smoothed normal turns away, is black.
            "type": "twosided",
            "skin": {
                "type": "principled",
                "base_color": {"type": "mesh_attribute", "name": "vertex_albedo"},
                "roughness": {"type": "mesh_attribute", "name": "vertex_roughness"},
                "specular": 0.4,
                "sheen": 0.25,
            },
        }
    )
    mesh = mitsuba.Mesh(
        "hand", len(vertices), len(faces), props=properties, has_vertex_normals=True
    )
    mesh.add_attribute("vertex_albedo", 3, albedo.astype(np.float32).ravel())
    mesh.add_attribute("vertex_roughness", 1, roughness.astype(np.float32))
    parameters = mitsuba.traverse(mesh)
    parameters["vertex_positions"] = vertices.astype(np.float32).ravel()
    parameters["vertex_normals"] = normals.astype(np.float32).ravel()
    parameters["faces"] = faces.astype(np.uint32).ravel()
    parameters.update()
    return mesh


def _levels(scene: Scene) -> int:
    """How often to split faces so that the median edge is about a pixel long."""
    a, b = scene.vertices[scene.faces[:, 0]], scene.vertices[scene.faces[:, 1]]
    depth = np.maximum(np.minimum(a[:, 2], b[:, 2]), NEAR)
    pixels = np.median(np.linalg.norm(a - b, axis=1) / depth) * scene.K[0, 0]
    return int(np.clip(np.rint(np.log2(max(pixels, 1e-6))), 0, _MOST_LEVELS))


def subdivide(attributes: Doubles, faces: NDArray[np.int32]) -> tuple[Doubles, NDArray[np.int32]]:
    """Split every face in four at the middles of its edges; the surface stays where it is.

    Args:
        attributes: (V, A) anything that is linear on faces.
        faces: (F, 3).

    Returns:
        (V + E, A) with E the number of edges, and (4 F, 3) of the same orientation.
    """
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    unique, place = np.unique(edges, axis=0, return_inverse=True)
    middles = attributes[unique].mean(1)
    ab, bc, ca = (len(attributes) + place.reshape(-1, 3)).T
    a, b, c = faces.T
    split = np.stack([a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca], -1).reshape(-1, 3)
    return np.concatenate([attributes, middles]), split.astype(np.int32)
