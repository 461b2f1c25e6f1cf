"""Pictures of hands: skeleton overlay, mask overlay, 3D view, contact sheet.

Images are uint8 (H, W, 3) RGB; pixels are those of the image, an integer coordinate being a
pixel's centre; no function changes its argument.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Line3DCollection

from auxhand.hand.skeleton import BONES, FINGERS, NUM_JOINTS, WRIST

FINGER_COLOURS: dict[str, tuple[int, int, int]] = {
    "thumb": (230, 75, 60),
    "index": (250, 175, 40),
    "middle": (60, 185, 90),
    "ring": (50, 150, 240),
    "pinky": (185, 90, 220),
}
"""RGB of each finger's bones and joints."""

WRIST_COLOUR = (240, 240, 240)
MASK_COLOUR = (0, 200, 180)
GROUND = 24
"""Grey of what hands without a photo are drawn on."""

JOINT_COLOURS: tuple[tuple[int, int, int], ...] = tuple(
    next((FINGER_COLOURS[f] for f, chain in FINGERS.items() if j in chain), WRIST_COLOUR)
    for j in range(NUM_JOINTS)
)
"""RGB of each joint, and of the bone that ends in it."""

_SHIFT = 6  # cv2 draws in 1/64 pixel
_FAR = 1 << 20  # pixels beyond which cv2's fixed-point numbers would overflow


def for_viewing(image: np.ndarray, least: int = 512, most: int = 1600) -> tuple[np.ndarray, float]:
    """The image with its longer side brought to `least` to `most` pixels, and the scale s applied.

    s is a whole number or one over it; a pixel u of the image lies at (u + 0.5) s - 0.5.
    """
    longer, size = max(image.shape[:2]), (image.shape[1], image.shape[0])
    if longer < least:
        factor = -(-least // longer)
        size = size[0] * factor, size[1] * factor
        return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), factor
    divisor = -(-longer // most)
    if divisor == 1:
        return image, 1
    # Whole blocks alone are averaged, so that the scale is exact.
    size = max(1, size[0] // divisor), max(1, size[1] // divisor)
    whole = image[: size[1] * divisor, : size[0] * divisor]
    return cv2.resize(whole, size, interpolation=cv2.INTER_AREA), 1 / divisor


def draw_skeleton(
    image: np.ndarray, uv: np.ndarray, z: np.ndarray | None = None, width: float | None = None
) -> np.ndarray:
    """The image with a hand's bones and joints drawn over it, anti-aliased, to 1/64 pixel.

    Args:
        image: (H, W, 3) uint8 RGB.
        uv: (21, 2) joints in pixels; bones of joints that are not finite are left out.
        z: (21,) depths in any unit; bones are then drawn from far to near.
        width: of a bone in pixels; by default it grows with the hand and, below that, the image.

    Raises:
        ValueError: uv or z of another shape.
    """
    uv = np.asarray(uv, dtype=np.float64)
    depth = np.zeros(NUM_JOINTS) if z is None else np.asarray(z)
    if uv.shape != (NUM_JOINTS, 2) or depth.shape != (NUM_JOINTS,):
        raise ValueError(f"uv must be (21, 2) and z (21,), got {uv.shape} and {depth.shape}")
    known = np.isfinite(uv).all(-1)
    canvas = np.ascontiguousarray(image).copy()
    if not known.any():
        return canvas
    if width is None:
        hand = float(np.ptp(uv[known], axis=0).max())
        width = max(1.0, min(hand / 55, max(image.shape[:2]) / 90))
    fixed = np.clip(np.where(known[:, None], uv, 0), -_FAR, _FAR) * (1 << _SHIFT)
    points = fixed.round().astype(int).tolist()
    inner = max(1, round(width))
    outer = inner + max(2, 2 * round(width / 3))
    order = sorted(BONES, key=lambda bone: -(depth[bone[0]] + depth[bone[1]]))
    for a, b in order:
        if known[a] and known[b]:
            for colour, thickness in (((20, 20, 20), outer), (JOINT_COLOURS[b], inner)):
                cv2.line(canvas, points[a], points[b], colour, thickness, cv2.LINE_AA, shift=_SHIFT)
        for j in (b, a) if a == WRIST else (b,):
            if known[j]:
                _dot(canvas, points[j], width, JOINT_COLOURS[j])
    return canvas


def _dot(canvas: np.ndarray, point: list[int], width: float, colour: tuple[int, ...]) -> None:
    for radius, fill in ((1.4 * width + 1, (20, 20, 20)), (1.4 * width, colour)):
        fixed = round(radius * (1 << _SHIFT))
        cv2.circle(canvas, point, fixed, fill, cv2.FILLED, cv2.LINE_AA, shift=_SHIFT)


def draw_mask(
    image: np.ndarray,
    mask: np.ndarray,
    colour: tuple[int, int, int] = MASK_COLOUR,
    opacity: float = 0.45,
) -> np.ndarray:
    """The image tinted where a mask is, with the mask's outline at 0.5.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) in [0, 1], or bool.

    Raises:
        ValueError: a mask of another size.
    """
    if mask.shape != image.shape[:2]:
        raise ValueError(f"mask {mask.shape} and image {image.shape[:2]} must have one size")
    alpha = opacity * mask.astype(np.float32)[..., None]
    tinted = image * (1 - alpha) + np.asarray(colour, np.float32) * alpha
    canvas = np.round(tinted).clip(0, 255).astype(np.uint8)
    inside = (mask >= 0.5).astype(np.uint8)
    outlines, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    thickness = max(1, round(max(image.shape[:2]) / 400))
    return cv2.drawContours(canvas, outlines, -1, colour, thickness, cv2.LINE_AA)


def draw_hand(xyz: np.ndarray, reach: float, size: int = 192) -> np.ndarray:
    """A 3D pose seen from the camera, without perspective, about its middle.

    Args:
        xyz: (21, 3), camera axes, any unit.
        reach: half the width of the picture, in that unit.
        size: its side in pixels.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    ground = np.full((size, size, 3), GROUND, np.uint8)
    # One width for all poses, so that a walk through them does not flicker.
    return draw_skeleton(ground, _from_camera(xyz, reach, size), xyz[:, 2], width=size / 90)


def draw_cloud(points: np.ndarray, reach: float, size: int = 192) -> np.ndarray:
    """A cloud seen from the camera, without perspective, about its middle; near points are red,
    far ones blue (as in Fig. 5.3).

    Args:
        points: (N, 3), camera axes, any unit.
        reach: half the width of the picture, in that unit.
        size: its side in pixels.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    canvas = np.full((size, size, 3), GROUND, np.uint8)
    near, far = points[:, 2].min(), points[:, 2].max()
    share = (points[:, 2] - near) / max(far - near, 1e-9)
    colours = cv2.applyColorMap(((1 - share) * 255).astype(np.uint8), cv2.COLORMAP_TURBO).reshape(
        -1, 3
    )
    places = (_from_camera(points, reach, size) * (1 << _SHIFT)).round().astype(int)
    radius = round(size / 80 * (1 << _SHIFT))
    for i in np.argsort(-points[:, 2]):
        bgr = colours[i].tolist()
        cv2.circle(canvas, places[i].tolist(), radius, bgr[::-1], -1, cv2.LINE_AA, shift=_SHIFT)
    return canvas


def _from_camera(points: np.ndarray, reach: float, size: int) -> np.ndarray:
    """(N, 3) -> (N, 2) pixels of a picture of 2 reach."""
    middle = (points[:, :2].max(0) + points[:, :2].min(0)) / 2
    pixels: np.ndarray = (points[:, :2] - middle) * (size / 2 / reach) + (size - 1) / 2
    return pixels


def draw_pose_3d(xyz: np.ndarray, title: str = "", height: int = 480) -> np.ndarray:
    """The 3D pose from the camera, from the side and from above at an angle, axes equal.

    Args:
        xyz: (21, 3) metres in the camera's axes (x right, y down, z forward); shown in centimetres
            about the middle of the hand.
        title: one line above.
        height: of the picture in pixels; it is 2.5 times as wide.

    Returns:
        (height, 2.5 height, 3) uint8 RGB.

    Raises:
        ValueError: xyz of another shape, or not finite.
    """
    xyz = np.asarray(xyz, dtype=np.float64)
    if xyz.shape != (NUM_JOINTS, 3) or not np.isfinite(xyz).all():
        raise ValueError(f"xyz must be (21, 3) and finite, got {xyz.shape}")
    right, down, away = (100 * (xyz - (xyz.max(0) + xyz.min(0)) / 2)).T
    reach = 1.05 * max(float(np.abs([right, down, away]).max()), 1e-3)
    limits = (-reach, reach)
    figure = Figure(figsize=(height / 40, height / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    flat = {
        "from the camera": ("x, right [cm]", np.stack([right, -down], 1)),
        "from the side, camera on the left": ("z, away [cm]", np.stack([away, -down], 1)),
    }
    for i, (name, (across, points)) in enumerate(flat.items()):
        plane = figure.add_subplot(1, 3, i + 1, aspect="equal", xlim=limits, ylim=limits)
        plane.add_collection(LineCollection(_segments(points), **_bones(height)))
        plane.scatter(*points.T, **_joints(height))
        plane.set_title(name, fontsize=9)
        plane.set_xlabel(across, fontsize=8)
        plane.set_ylabel("up [cm]", fontsize=8)
        plane.tick_params(labelsize=7)
        plane.grid(alpha=0.3)
    # Matplotlib's third axis points up, and its second away from a viewer at azimuth -90.
    points = np.stack([right, away, -down], 1)
    space: Any = figure.add_subplot(1, 3, 3, projection="3d", proj_type="ortho")
    space.view_init(elev=25, azim=-50)
    space.add_collection3d(Line3DCollection(_segments(points), **_bones(height)))
    space.scatter(*points.T, depthshade=False, **_joints(height))
    space.set(xlim=limits, ylim=limits, zlim=limits, title="from the camera's upper right")
    space.title.set_fontsize(9)
    space.set_box_aspect((1, 1, 1))
    space.set_xlabel("x, right [cm]", fontsize=8)
    space.set_ylabel("z, away [cm]", fontsize=8)
    space.set_zlabel("up [cm]", fontsize=8)
    space.tick_params(labelsize=7, pad=0)
    figure.suptitle(title, fontsize=10, parse_math=False)
    figure.subplots_adjust(left=0.05, right=0.95, bottom=0.08, top=0.9, wspace=0.2)
    canvas.draw()  # type: ignore[no-untyped-call]
    picture: np.ndarray = np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
    return picture.copy()


def _segments(points: np.ndarray) -> list[np.ndarray]:
    """The bones between (21, 2 or 3) points."""
    return [points[[a, b]] for a, b in BONES]


def _bones(height: int) -> dict[str, Any]:
    """Style of a collection of lines, one per bone."""
    return {
        "colors": [np.array(JOINT_COLOURS[b]) / 255 for _, b in BONES],
        "linewidths": height / 180,
    }


def _joints(height: int) -> dict[str, Any]:
    """Style of a scatter plot of the joints, above the bones."""
    return {"c": np.array(JOINT_COLOURS) / 255 * 0.85, "s": height / 20, "zorder": 3}


def grid(
    images: Sequence[np.ndarray],
    columns: int | None = None,
    cell: int = 192,
    labels: Sequence[str] = (),
) -> np.ndarray:
    """A contact sheet: images fitted into square cells, row by row, on a dark ground.

    Args:
        images: (H, W, 3) uint8 RGB, of any sizes.
        columns: images per row; by default the sheet is about square.
        cell: side of a cell in pixels.
        labels: short texts below the images, as many as there are images, or none.

    Raises:
        ValueError: no images, or another number of labels.
    """
    if not images or (labels and len(labels) != len(images)):
        raise ValueError(f"a sheet of {len(images)} images with {len(labels)} labels")
    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = -(-len(images) // columns)
    gap, foot = 4, 18 if labels else 0
    pitch = np.array([cell + foot + gap, cell + gap])
    sheet = np.full((*(pitch * (rows, columns) + gap), 3), 32, np.uint8)
    for i, image in enumerate(images):
        top, left = pitch * divmod(i, columns) + gap
        scale = cell / max(image.shape[:2])
        size = [max(1, round(n * scale)) for n in image.shape[:2]]
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        shown = cv2.resize(image, (size[1], size[0]), interpolation=how)
        y, x = top + (cell - size[0]) // 2, left + (cell - size[1]) // 2
        sheet[y : y + size[0], x : x + size[1]] = shown
        if labels:
            place = (int(left) + 2, int(top) + cell + 13)
            cv2.putText(
                sheet, labels[i], place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (230,) * 3, 1, cv2.LINE_AA
            )
    return sheet
