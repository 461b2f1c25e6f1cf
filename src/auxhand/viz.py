"""Pictures of hands: skeleton overlay, mask overlay, 3D view, contact sheet.

Images are uint8 (H, W, 3) RGB; pixels are those of the image, an integer coordinate being a
pixel's centre; no function changes its argument.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

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
_CAPTION = 13  # pixels of a caption's letters in a contact sheet
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


def draw_label(image: np.ndarray, text: str, at: tuple[float, ...]) -> np.ndarray:
    """The image with a word, dark on light, below a point and within the image.

    Args:
        image: (H, W, 3) uint8 RGB.
        text: one line.
        at: (u, v) in pixels.
    """
    height, width = image.shape[:2]
    size = max(11, round(max(height, width) / 40))
    half = _font(size).getlength(text) / 2 + size / 3
    u = min(max(at[0], half), max(half, width - half))
    v = min(max(at[1] + 1.4 * size, size), max(size, height - size))
    canvas = np.ascontiguousarray(image).copy()
    low = round(u - half), round(v - 0.7 * size)
    high = round(u + half), round(v + 0.7 * size)
    cv2.rectangle(canvas, low, high, (240, 240, 240), cv2.FILLED)
    return _write(canvas, [_Text(text, (u, v), "mm")], size)


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


class _Panel(NamedTuple):
    """One of the pictures of a 3D pose, without perspective.

    Attributes:
        name: where it is seen from.
        axes: (3, 3), rows: to the right, up and away in the picture, in right, up and away of the
            camera.
        labels: of the axes: across and up, or, of a box that is seen at an angle, right, away and
            up.
    """

    name: str
    axes: np.ndarray
    labels: tuple[str, ...]


def _from_upper_right(azimuth: float = 40.0, elevation: float = 25.0) -> np.ndarray:
    """Axes of a picture from the camera's right and above, degrees; what is upright stays so."""
    (ca, sa), (ce, se) = ((math.cos(r), math.sin(r)) for r in np.radians([azimuth, elevation]))
    away = np.array([-sa, 0.0, ca])
    up = np.array([0.0, 1.0, 0.0])
    return np.stack([[ca, 0.0, sa], ce * up + se * away, ce * away - se * up])


_PANELS = (
    _Panel("from the camera", np.eye(3), ("x, right [cm]", "up [cm]")),
    _Panel(
        "from the side, camera on the left",
        np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]),
        ("z, away [cm]", "up [cm]"),
    ),
    _Panel(
        "from the camera's upper right", _from_upper_right(), ("x, right", "z, away", "up [cm]")
    ),
)
_INK, _LINE, _PAPER = (40,) * 3, (215,) * 3, (255,) * 3


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
    points = 100 * (xyz - (xyz.max(0) + xyz.min(0)) / 2) * np.array([1, -1, 1])
    reach = 1.05 * max(float(np.abs(points).max()), 0.1)
    head = round(0.07 * height)
    edges = np.linspace(0, 2.5 * height, len(_PANELS) + 1).round().astype(int)
    panels = [
        _draw_panel(panel, points, reach, (height - head, int(width)))
        for panel, width in zip(_PANELS, np.diff(edges), strict=True)
    ]
    picture = np.full((height, int(edges[-1]), 3), _PAPER, np.uint8)
    picture[head:] = np.concatenate(panels, 1)
    heading = _Text(title, (edges[-1] / 2, head * 0.65), "mm")
    return _write(picture, [heading], round(height / 32))


def _draw_panel(
    panel: _Panel, points: np.ndarray, reach: float, size: tuple[int, int]
) -> np.ndarray:
    """A pose (21, 3) in centimetres, right, up and away, in a picture of (height, width)."""
    height, width = size
    flat = len(panel.labels) == 2
    side = min(0.78 * width, 0.78 * height)
    # A box that is seen at an angle takes more room.
    scale = side / (2 * reach) * (1 if flat else 0.7)
    middle = np.array([0.54 * width if flat else 0.5 * width, 0.49 * height])

    def place(xyz: np.ndarray) -> np.ndarray:
        """(..., 3) right, up and away of the camera -> (..., 2) pixels."""
        right, up, _ = np.moveaxis(xyz @ panel.axes.T, -1, 0)
        pixels: np.ndarray = np.stack([right, -up], -1) * scale + middle
        return pixels

    canvas = np.full((height, width, 3), _PAPER, np.uint8)
    step = next(s for s in (1, 2, 5, 10, 20, 50, 10**9) if reach / s < 5.5)
    ticks = np.arange(-math.floor(reach / step), math.floor(reach / step) + 1) * step
    lines, texts = (_flat_scale if flat else _box_scale)(panel, ticks, reach)
    for ends in lines:
        _line(canvas, place(np.array(ends)), _LINE)
    depth = points @ panel.axes[2]
    canvas = draw_skeleton(canvas, place(points), depth, width=height / 130)
    written = [
        _Text(text, tuple(place(np.array(at)) + shift * np.array(height)), anchor)
        for text, at, shift, anchor in texts
    ]
    name = _Text(panel.name, (middle[0], 0.04 * height), "mm")
    return _write(canvas, [*written, name], round(height / 38))


_Ends = tuple[np.ndarray, np.ndarray]
_Label = tuple[str, np.ndarray, np.ndarray, str]


def _flat_scale(panel: _Panel, ticks: np.ndarray, reach: float) -> tuple[list[_Ends], list[_Label]]:
    """Lines and numbers of a panel that is seen along an axis; shifts in heights of the picture."""
    right, up, _ = panel.axes
    below, beside = np.array([0, 0.03]), np.array([-0.015, 0])
    lines: list[_Ends] = []
    texts: list[_Label] = []
    for tick in ticks:
        lines.append((tick * right - reach * up, tick * right + reach * up))
        lines.append((tick * up - reach * right, tick * up + reach * right))
        texts.append((f"{tick:g}", tick * right - reach * up, below, "mm"))
        texts.append((f"{tick:g}", tick * up - reach * right, beside, "rm"))
    texts.append((panel.labels[0], -reach * up, np.array([0, 0.075]), "mm"))
    texts.append((panel.labels[1], reach * (up - right), np.array([-0.02, -0.025]), "mm"))
    return lines, texts


def _box_scale(panel: _Panel, ticks: np.ndarray, reach: float) -> tuple[list[_Ends], list[_Label]]:
    """A floor with its lines, and an upright edge, of a box that is seen at an angle."""
    right, up, away = np.eye(3)
    low = -reach * up
    lines: list[_Ends] = []
    texts: list[_Label] = []
    post = low - reach * right - reach * away
    for tick in ticks:
        lines.append((low + tick * right - reach * away, low + tick * right + reach * away))
        lines.append((low + tick * away - reach * right, low + tick * away + reach * right))
        at = post + (tick + reach) * up
        lines.append((at, at + 0.06 * reach * right))
        texts.append((f"{tick:g}", at, np.array([-0.015, 0]), "rm"))
    lines.append((post, post + 2 * reach * up))
    across = low - reach * away - 0.1 * reach * right
    along = low + reach * right + 0.1 * reach * away
    texts.append((panel.labels[0], across, np.array([-0.03, 0.03]), "mm"))
    texts.append((panel.labels[1], along, np.array([0.02, 0.03]), "lm"))
    texts.append((panel.labels[2], post + 2 * reach * up, np.array([0, -0.03]), "mm"))
    return lines, texts


def _line(canvas: np.ndarray, ends: np.ndarray, colour: tuple[int, ...]) -> None:
    a, b = (ends * (1 << _SHIFT)).round().astype(int).tolist()
    cv2.line(canvas, a, b, colour, 1, cv2.LINE_AA, shift=_SHIFT)


class _Text(NamedTuple):
    """A line of text, where it is in pixels (x, y), and which of its points lies there (Pillow's
    anchors)."""

    text: str
    at: tuple[float, ...]
    anchor: str = "la"


@cache
def _font(size: int) -> Any:
    """Matplotlib's font, which knows most alphabets, without importing Matplotlib."""
    found = find_spec("matplotlib")
    folder = ((found and found.submodule_search_locations) or [""])[0]
    try:
        return ImageFont.truetype(f"{folder}/mpl-data/fonts/ttf/DejaVuSans.ttf", max(size, 1))
    except OSError:
        return ImageFont.load_default(max(size, 1))


def _write(
    canvas: np.ndarray, texts: Iterable[_Text], size: int, colour: tuple[int, ...] = _INK
) -> np.ndarray:
    """The picture with lines of text of `size` pixels over it."""
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    for text, at, anchor in texts:
        line = " ".join(text.split())
        draw.text((at[0], at[1]), line, fill=colour, font=_font(size), anchor=anchor)
    return np.array(picture)


def _fitting(text: str, size: int, width: float) -> str:
    """The text, or as much of its beginning as fits into a width in pixels."""
    if _font(size).getlength(text) <= width:
        return text
    while text and _font(size).getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


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
    gap, foot = 4, _CAPTION + 5 if labels else 0
    pitch = np.array([cell + foot + gap, cell + gap])
    sheet = np.full((*(pitch * (rows, columns) + gap), 3), 32, np.uint8)
    corners = [
        (int(y), int(x)) for y, x in (pitch * divmod(i, columns) + gap for i in range(len(images)))
    ]
    for image, (top, left) in zip(images, corners, strict=True):
        scale = cell / max(image.shape[:2])
        size = [max(1, round(n * scale)) for n in image.shape[:2]]
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        shown = cv2.resize(image, (size[1], size[0]), interpolation=how)
        y, x = top + (cell - size[0]) // 2, left + (cell - size[1]) // 2
        sheet[y : y + size[0], x : x + size[1]] = shown
    captions = [
        _Text(_fitting(label, _CAPTION, cell - 4), (left + 2, top + cell + 2))
        for label, (top, left) in zip(labels, corners, strict=False)
    ]
    return _write(sheet, captions, _CAPTION, (235,) * 3)
