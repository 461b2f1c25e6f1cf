"""All modalities of one rendered hand, exact and aligned (Ch. 1.3.2).

A prepared dataset keeps those that are costly to make; `render_hand` gives the others too, from the
same factors, so that any sample of any dataset of ours can be asked for more:
`render_hand(Factors.from_dict(json.loads(row["factors"])), size)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auxhand.data.columns import PARTS
from auxhand.geometry.canonical import canonical_pose
from auxhand.geometry.cloud import depth_to_cloud, farthest_points, random_points, voxels
from auxhand.geometry.crop import mirror_xyz
from auxhand.geometry.heatmap import gaussian_heatmap, pixels_to_cells
from auxhand.hand.skeleton import ROOT
from auxhand.sample import LEFT
from auxhand.synth import pathtrace, raster
from auxhand.synth.build import SceneLabels, build_scene, face_parts
from auxhand.synth.factors import Factors
from auxhand.synth.raster import Rendering, visible_joints
from auxhand.synth.scene import Scene

VOXEL_SIDE = 0.3
"""Metres: edge of the cube about the root that the voxel grid covers; an open hand fits in."""


@dataclass(frozen=True)
class Modalities:
    """A rendered hand; lengths in metres, camera frame and pixels of the image (H, W).

    Attributes:
        factors: what it was made of.
        scene: what was rendered; its `vertices` (V, 3) and `faces` (F, 3) are the mesh.
        labels: K, joints_xyz, joints_uv and side.
        rendering: rgba, depth, mask and face, of the hand and what is held or before it.
    """

    factors: Factors
    scene: Scene
    labels: SceneLabels
    rendering: Rendering

    @cached_property
    def parts(self) -> NDArray[np.uint8]:
        """(H, W) part of the hand seen at each pixel, an index into `PARTS`."""
        face, parts = self.rendering.face, face_parts()
        of_hand = (face >= 0) & (face < len(parts))
        seen: NDArray[np.uint8] = np.where(of_hand, parts[np.where(of_hand, face, 0)], np.uint8(0))
        return seen

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) pixels that see the hand, without its arm, and nothing before it."""
        visible: NDArray[np.bool_] = (self.parts > 0) & (self.parts != _ARM)
        return visible

    @cached_property
    def joint_visible(self) -> NDArray[np.bool_]:
        """(21,) joints that nothing hides, see `raster.visible_joints`."""
        labels = self.labels
        return visible_joints(labels.joints_xyz, self.rendering.depth, labels.K, labels.thickness)

    def surface(self, arm: bool = False) -> Tensor:
        """(N, 3) points of the visible surface, one a pixel, without the arm unless asked for."""
        wanted = self.parts > 0 if arm else self.mask
        depth = torch.from_numpy(self.rendering.depth).double()
        return depth_to_cloud(depth, torch.from_numpy(self.labels.K), torch.from_numpy(wanted))

    def cloud(self, n: int = 256, spread: bool = True, seed: int = 0) -> Tensor:
        """(n, 3) points of the visible hand: spread evenly (farthest points) or at random.

        Raises:
            ValueError: nothing of the hand is seen.
        """
        choose = farthest_points if spread else random_points
        return choose(self.surface(), n, torch.Generator().manual_seed(seed))

    def heatmaps(self, size: int = 32, sigma: float = 1.0) -> Tensor:
        """(21, size, size) Gaussians about the joints (Eq. 2.1), sigma in cells.

        They cover the image: a cell is H / size pixels wide.
        """
        uv = torch.from_numpy(self.labels.joints_uv)
        cells = pixels_to_cells(uv, self.scene.size[0] / size)
        return gaussian_heatmap(cells, (size, size), sigma)

    def voxels(self, n: int = 64) -> Tensor:
        """(n, n, n) bool: cells about the root that the visible surface passes through."""
        root = torch.from_numpy(self.labels.joints_xyz[ROOT])
        return voxels(self.surface(), root, VOXEL_SIDE, n)

    def canonical(self) -> tuple[Tensor, Tensor]:
        """Canonical pose (21, 3) and viewpoint (3, 3) of the hand as a right one (Ch. 4.3.3)."""
        xyz = torch.from_numpy(self.labels.joints_xyz)
        return canonical_pose(mirror_xyz(xyz) if self.labels.side == LEFT else xyz)


_ARM = PARTS.index("arm")


Renderer = Literal["raster", "pathtrace"]


def render_hand(factors: Factors, size: int, renderer: Renderer = "raster") -> Modalities:
    """Render one hand.

    Args:
        factors: what it is made of.
        size: side of the image in pixels.
        renderer: "raster", or "pathtrace" (extra `pathtrace`): other colours, the same labels.

    Raises:
        ValueError: factors that are not the right number of numbers.
        ModuleNotFoundError: the path tracer is not installed.
    """
    scene, labels = build_scene(factors, size)
    if renderer == "raster":
        return Modalities(factors, scene, labels, raster.render(scene))
    # The paths' noise, like the sensor's, is another in every picture.
    rendering = pathtrace.render(scene, seed=factors.sensor.seed)
    return Modalities(factors, scene, labels, rendering)
