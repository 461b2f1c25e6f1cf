"""Canonical pose and viewpoint, and alignments between point sets.

The canonical frame is that of Zimmermann & Brox (ICCV 2017, and their released code), whose split
into pose and viewpoint Ch. 4.3.3 adopts: the line from wrist to middle MCP points along -y, and the
turn about it is fixed by the pinky MCP, in the plane z = 0 at x > 0. It depends on the palm alone,
so that bending a finger changes the canonical pose and not the viewpoint. In this frame a right
hand shows its back to a camera that looks along +z; a left hand would be its mirror image and is
mirrored before, as everywhere.

Origin and unit of length are ours, the root and the reference bone of the 2.5D pose
(Zimmermann & Brox: the palm joint and the first bone of the index finger); both are parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor

from auxhand.geometry.camera import TINY
from auxhand.geometry.pose25d import REFERENCE_BONE, ROOT, relative
from auxhand.geometry.precision import full_precision
from auxhand.geometry.shapes import expect
from auxhand.imports import roma

WRIST, MIDDLE_MCP, PINKY_MCP = 0, 9, 17


def canonical_pose(
    xyz: Tensor,
    root: int = ROOT,
    bone: tuple[int, int] = REFERENCE_BONE,
    palm: tuple[int, int, int] = (WRIST, MIDDLE_MCP, PINKY_MCP),
) -> tuple[Tensor, Tensor]:
    """Split a 3D pose into canonical pose and viewpoint: 3DPose = R CPose (Ch. 4.3.3).

    Args:
        xyz: (..., N, 3) joints of a right hand in the camera's frame.
        root: joint at the origin.
        bone: joints whose distance becomes 1.
        palm: (base, tip, side): base to tip lies along -y, side in the plane z = 0 at x > 0.

    Returns:
        CPose (..., N, 3) and R (..., 3, 3), with
        `geometry.pose25d.relative(xyz, root, bone)` = `rotate(R, CPose)`. Where the three joints of
        the palm lie on a line there is no frame, and R is finite but no rotation.

    Raises:
        ValueError: another shape.
    """
    pose = relative(xyz, root, bone)
    base, tip, side = (pose[..., i, :] for i in palm)
    frame = roma.special_gramschmidt(torch.stack([base - tip, side - base], dim=-1), epsilon=TINY)
    y, x, minus_z = frame.unbind(-1)
    R = torch.stack([x, y, -minus_z], dim=-1)
    return rotate(R.mT, pose), R


@full_precision
def rotate(R: Tensor, xyz: Tensor) -> Tensor:
    """R (..., 3, 3) applied to each point of xyz (..., N, 3).

    Raises:
        ValueError: other shapes.
    """
    expect("R", R, 3, 3)
    expect("xyz", xyz, None, 3)
    return xyz @ R.mT


@full_precision
def procrustes(
    source: Tensor, target: Tensor, scale: bool = True
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Align points by the rotation, scale and translation with the least squared distance.

    R is always a rotation: a mirror image is not aligned by a reflection (Umeyama 1991). Points
    that all coincide are moved to the target's centroid.

    Args:
        source, target: (..., N, 3) points that correspond.
        scale: fit the scale too, else s = 1.

    Returns:
        The aligned source (..., N, 3) and (s, R, t), shapes (...), (..., 3, 3) and (..., 3), with
        aligned = s R source + t.

    Raises:
        ValueError: other shapes.
    """
    expect("source", source, None, 3)
    expect("target", target, source.shape[-2], 3)
    R = _registration(source, target)
    turned = rotate(R, source)
    s = _scale(turned, target) if scale else torch.ones_like(source[..., 0, 0])
    t = target.mean(-2) - s[..., None] * turned.mean(-2)
    return s[..., None, None] * turned + t[..., None, :], (s, R, t)


def _registration(source: Tensor, target: Tensor) -> Tensor:
    """(..., 3, 3) the rotation of roma's rigid registration.

    roma keeps a constant from its first call; one that was made in inference mode would refuse
    every gradient later in the process.
    """
    if torch.is_inference_mode_enabled():
        with torch.inference_mode(False), torch.no_grad():
            return roma.rigid_points_registration(source.clone(), target.clone())[0]
    return roma.rigid_points_registration(source, target)[0]


def fit_scale_translation(source: Tensor, target: Tensor) -> Tensor:
    """Align points by the scale (at least 0) and translation with the least squared distance.

    Args:
        source, target: (..., N, 3) points that correspond.

    Returns:
        (..., N, 3).

    Raises:
        ValueError: other shapes.
    """
    expect("source", source, None, 3)
    expect("target", target, source.shape[-2], 3)
    s = _scale(source, target)[..., None, None]
    return s * (source - source.mean(-2, keepdim=True)) + target.mean(-2, keepdim=True)


def _scale(source: Tensor, target: Tensor) -> Tensor:
    """(...) least-squares scale between point sets about their centroids; 0 if `source` is one
    point."""
    source = source - source.mean(-2, keepdim=True)
    target = target - target.mean(-2, keepdim=True)
    spread = source.square().sum((-2, -1))
    return ((source * target).sum((-2, -1)) / spread.clamp_min(TINY**2)).clamp_min(0.0)
