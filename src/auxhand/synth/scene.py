"""What a renderer is asked to draw: one hand, painted and lit, in front of one camera.

A scene knows no renderer: `raster.py` draws it by rasterisation, and any other renderer can
draw the same scene, with the same labels. Everything is in the camera frame of `geometry/camera.py`
(x right, y down, z forward, metres), every colour linear RGB with the sRGB primaries.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auxhand.arrays import Doubles, Singles


@dataclass(frozen=True)
class Light:
    """A light at infinity.

    Attributes:
        direction: (3,) unit vector from the scene TO the light, camera frame.
        colour: (3,) linear RGB; a white diffuse surface facing a light of colour (1, 1, 1) has
            radiance 1.
        shadow: whether the light casts shadows (each such light costs a depth map); a light that
            does not is a broad fill light.
    """

    direction: Singles
    colour: Singles
    shadow: bool = False


@dataclass(frozen=True)
class Detail:
    """What the fine relief of the skin is a function of (`detail.py`).

    Attributes:
        coordinates: (V, 12) float32, columns of `coordinates.Coordinates` at the scene's vertices.
        pattern: seed of the person.
        strength: 1 as in life.
    """

    coordinates: Singles
    pattern: int
    strength: float


@dataclass(frozen=True)
class Scene:
    """A closed, painted triangle mesh with its lights and its camera.

    Attributes:
        vertices: (V, 3) float32, camera frame, metres.
        faces: (F, 3) int32; seen from outside the corners run counter-clockwise, so that
            (b - a) x (c - a) points outwards. A mirrored mesh needs its faces turned around.
        rest: (V, 3) float32 positions in the rest pose, metres: where procedural texture lives, so
            that it sticks to the skin.
        albedo: (V, 3) float32 diffuse reflectance in [0, 1].
        bump: (V,) float32 strength of the small-scale relief; 0 is smooth, 1 is strong skin.
        roughness: (V,) float32 perceptual roughness of the highlights in (0, 1]
            (GGX alpha = roughness^2).
        K: (3, 3) camera matrix with last row (0, 0, 1) and a positive determinant (skew, and the
            rotation of a crop, are allowed); integer pixel = centre.
        size: (height, width) in pixels.
        lights: directional lights.
        sky: (3,) linear RGB of the ambient light from above (-y).
        ground: (3,) linear RGB of the ambient light from below (+y).
        occlusion: strength in [0, 1] with which creases and overlaps hide the ambient light.
        noise_seed: chooses the pattern of the procedural texture.
        detail: fine relief of the skin, for the rasteriser; None: none.
    """

    vertices: Singles
    faces: NDArray[np.int32]
    rest: Singles
    albedo: Singles
    bump: Singles
    roughness: Singles
    K: Doubles
    size: tuple[int, int]
    lights: tuple[Light, ...]
    sky: Singles
    ground: Singles
    occlusion: float = 0.5
    noise_seed: int = 0
    detail: Detail | None = None

    def __post_init__(self) -> None:
        """Check the shapes: the kernels that read them do not.

        Raises:
            ValueError: an array has the wrong shape, a face names a vertex that is not there, or K
                is no camera matrix.
        """
        count = len(self.vertices)
        expected = {
            "vertices": (count, 3),
            "faces": (len(self.faces), 3),
            "rest": (count, 3),
            "albedo": (count, 3),
            "bump": (count,),
            "roughness": (count,),
            "K": (3, 3),
            "sky": (3,),
            "ground": (3,),
        }
        for name, shape in expected.items():
            if np.shape(getattr(self, name)) != shape:
                raise ValueError(
                    f"Scene.{name} has shape {np.shape(getattr(self, name))}, expected {shape}"
                )
        if len(self.faces) and not 0 <= self.faces.min() <= self.faces.max() < count:
            raise ValueError(f"Scene.faces names vertices outside 0..{count - 1}")
        if tuple(self.K[2]) != (0, 0, 1) or not np.linalg.det(self.K) > 0:
            raise ValueError(
                f"Scene.K needs the last row (0, 0, 1) and a positive determinant, got {self.K}"
            )
