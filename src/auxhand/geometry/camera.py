"""Pinhole cameras: projection, rays, intrinsics, and the rotation towards a viewing direction.

Frame: OpenCV, x right, y down, z forward, metres. `K` is 3x3 in pixels of the
image it travels with, an integer coordinate being a pixel's centre. The `K` of a rotated crop is
not upper triangular, so nothing here reads focal lengths or a principal point out of it: points
are lifted along K^-1 [u, v, 1], scaled to z = 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from auxhand.geometry.precision import full_precision
from auxhand.geometry.shapes import expect

TINY = 1e-12

CROP_FOV = 15.0
"""Degrees over a crop of a photo whose camera is not known: it is read as from far away, so that
perspective is not invented."""


@full_precision
def project(K: Tensor, xyz: Tensor) -> Tensor:
    """Pixels at which a camera sees points.

    A point in the camera's own plane (z = 0), such as that of a label which is absent, comes out
    finite and far away, with finite gradients, instead of NaN.

    Args:
        K: (..., 3, 3) intrinsics.
        xyz: (..., N, 3) points in the camera's frame.

    Returns:
        (..., N, 2) pixels.

    Raises:
        ValueError: other shapes.
    """
    expect("K", K, 3, 3)
    expect("xyz", xyz, None, 3)
    return dehomogenise(xyz @ K.mT)


@full_precision
def rays(K: Tensor, uv: Tensor) -> Tensor:
    """Points at z = 1 on the rays through pixels: K^-1 [u, v, 1] scaled to z = 1.

    The scale makes det K irrelevant, so the adjugate does for the inverse; a `K` of zeros (a
    sample without camera in a mixed batch) gives the optical axis, not NaN.

    Args:
        K: (..., 3, 3) intrinsics.
        uv: (..., N, 2) pixels.

    Returns:
        (..., N, 3), the last coordinate 1.

    Raises:
        ValueError: other shapes.
    """
    expect("K", K, 3, 3)
    expect("uv", uv, None, 2)
    x, y, z = K.unbind(-2)
    adjugate_transposed = torch.stack(
        [torch.linalg.cross(y, z), torch.linalg.cross(z, x), torch.linalg.cross(x, y)], dim=-2
    )
    ones = torch.ones_like(uv[..., :1])
    xy = dehomogenise(torch.cat([uv, ones], dim=-1) @ adjugate_transposed)
    return torch.cat([xy, torch.ones_like(xy[..., :1])], dim=-1)


def unproject(K: Tensor, uv: Tensor, z: Tensor) -> Tensor:
    """Points at given depths on the rays through pixels.

    Args:
        K: (..., 3, 3) intrinsics.
        uv: (..., N, 2) pixels.
        z: (..., N) depths along the optical axis.

    Returns:
        (..., N, 3) points in the camera's frame, in the unit of `z`.

    Raises:
        ValueError: other shapes.
    """
    if z.shape[-1:] != uv.shape[-2:-1]:
        raise ValueError(
            f"z must have one depth for each uv, got {tuple(z.shape)} and {tuple(uv.shape)}"
        )
    return rays(K, uv) * z[..., None]


def dehomogenise(points: Tensor) -> Tensor:
    """(..., 3) homogeneous points -> (..., 2); a third coordinate of about 0 counts as tiny."""
    w = points[..., 2:]
    return points[..., :2] / torch.where(w.abs() < TINY, TINY, w)


def intrinsics_from_focal(focal_px: float, width: int, height: int) -> Tensor:
    """(3, 3) intrinsics with square pixels and the principal point at the image's centre.

    Raises:
        ValueError: a focal length or size that is not positive.
    """
    if not (focal_px > 0 and math.isfinite(focal_px)) or width < 1 or height < 1:
        raise ValueError(
            f"focal length and image size must be positive, got {focal_px} px, {width} x {height}"
        )
    cx, cy = (width - 1) / 2, (height - 1) / 2
    return torch.tensor([[focal_px, 0.0, cx], [0.0, focal_px, cy], [0.0, 0.0, 1.0]])


def intrinsics_from_fov(fov_degrees: float, width: int, height: int) -> Tensor:
    """(3, 3) intrinsics for a field of view over the image's longer side, edge to edge.

    Square pixels, the principal point at the image's centre.

    Raises:
        ValueError: a field of view outside (0, 180) degrees, or a size that is not positive.
    """
    if not 0 < fov_degrees < 180:
        raise ValueError(f"field of view must lie between 0 and 180 degrees, got {fov_degrees}")
    focal = max(width, height) / 2 / math.tan(math.radians(fov_degrees) / 2)
    return intrinsics_from_focal(focal, width, height)


def rotation_to_axis(direction: Tensor) -> Tensor:
    """Smallest rotation that takes a direction to +z: the view correction of Ch. 5.4.1.

    With h the direction half-way to +z it is the half turn about h followed by the one about z.
    Of the half turns that all take -z to +z it is the one about x; a zero direction gives the
    identity. Gradients are finite throughout.

    Args:
        direction: (..., 3), of any length.

    Returns:
        (..., 3, 3) rotation R with R direction = |direction| (0, 0, 1).

    Raises:
        ValueError: another shape.
    """
    expect("direction", direction, 3)
    unit = normalize(direction, dim=-1, eps=TINY)
    xy, z = unit[..., :2], unit[..., 2:]
    # 1 + z cancels in the rear half; there it is (x^2 + y^2) / (1 - z).
    up = torch.where(z >= 0, 1 + z, xy.square().sum(-1, keepdim=True) / (1 - z).clamp_min(1.0))
    half = torch.cat([xy, up], dim=-1)
    opposite = (half.abs() < TINY).all(-1, keepdim=True)
    h = normalize(torch.where(opposite, half.new_tensor([0.0, 1.0, 0.0]), half), dim=-1)
    about_h = 2 * h[..., :, None] * h[..., None, :] - torch.eye(3, dtype=h.dtype, device=h.device)
    return about_h * h.new_tensor([[-1.0], [-1.0], [1.0]])
