"""Procedural rooms to be behind a hand: walls, floors, furniture, shelves, windows, people.

Flat colours of little saturation under one light with a gradient, with edges and shadows where
things meet, and skin only where people have it. Pictures are uint8 (H, W, 3) RGB, functions of a
generator.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from auxhand.arrays import Array

_WALLS = np.array(
    [[222, 218, 210], [200, 196, 190], [186, 178, 160], [168, 176, 186], [214, 200, 176],
     [150, 142, 132], [176, 186, 168], [205, 180, 172], [110, 112, 118], [72, 66, 62]], np.float32
)  # fmt: skip
_WOODS = np.array(
    [[164, 116, 70], [128, 84, 50], [92, 58, 38], [196, 152, 104], [60, 40, 30], [210, 190, 160]],
    np.float32,
)
_CLOTHS = np.array(
    [[26, 27, 32], [44, 46, 54], [62, 66, 78], [30, 44, 84], [96, 98, 104], [190, 188, 184],
     [120, 40, 40], [58, 72, 52], [140, 120, 96], [70, 40, 90]], np.float32
)  # fmt: skip
_SKINS = np.array(
    [[236, 200, 178], [222, 178, 150], [196, 146, 116], [152, 104, 78], [98, 66, 50], [66, 46, 38]],
    np.float32,
)
_HAIRS = np.array([[24, 20, 18], [52, 36, 26], [96, 70, 44], [150, 140, 130]], np.float32)


def draw_room(rng: np.random.Generator, height: int, width: int) -> Array:
    """A room, or the part of one that is behind a hand."""
    image = _wall(rng, height, width)
    kind = rng.random()
    if kind < 0.55:
        if rng.random() < 0.5:
            _floor(rng, image)
        for _ in range(rng.integers(1, 5)):
            _THINGS[int(rng.choice(len(_THINGS), p=_WEIGHTS))](rng, image)
    elif kind < 0.75:
        _surface(rng, image)
    if rng.random() < 0.35:
        _person(rng, image)
    image *= _light(rng, height, width)[..., None]
    return np.asarray(image.clip(0, 255).astype(np.uint8))


def _pick(rng: np.random.Generator, colours: Array, spread: float = 0.12) -> Array:
    """A colour of a list, lighter or darker, and a little off."""
    colour = colours[rng.integers(len(colours))]
    return np.asarray(
        (colour * np.exp(rng.normal(0, spread)) + rng.normal(0, 5, 3)).clip(3, 252), np.float32
    )


def _wall(rng: np.random.Generator, height: int, width: int) -> Array:
    """A wall, often with faint unevenness, sometimes papered or tiled."""
    image = np.empty((height, width, 3), np.float32)
    image[:] = _pick(rng, _WALLS, 0.18)
    grain = rng.normal(0, 1, (12, 12)).astype(np.float32)
    image += rng.uniform(0, 5) * cv2.resize(grain, (width, height))[..., None]
    kind = rng.random()
    if kind < 0.12:  # bricks or tiles
        rows = rng.integers(4, 12)
        step, joint = height / rows, rng.uniform(0.6, 1.3)
        wide = step * rng.uniform(1, 3)
        for row in range(rows + 1):
            y = int(row * step)
            cv2.line(image, (0, y), (width, y), (image[0, 0] * joint).tolist(), 1, cv2.LINE_AA)
            x = (row % 2) * wide / 2
            while x < width:
                ends = (int(x), y), (int(x), int(y + step))
                cv2.line(image, *ends, (image[0, 0] * joint).tolist(), 1, cv2.LINE_AA)
                x += wide
    elif kind < 0.3:  # folds of a curtain, slats
        phase = np.linspace(0, rng.uniform(8, 60), width) + rng.uniform(0, 6)
        folds = np.sin(phase + 0.6 * np.sin(0.37 * phase)).astype(np.float32)
        image *= 1 + rng.uniform(0.05, 0.3) * folds[None, :, None]
    elif kind < 0.4:  # two walls meet
        corner, lean = rng.uniform(0.1, 0.9) * width, rng.normal(0, 0.05) * width
        left = [[corner, 0], [width, 0], [width, height], [corner + lean, height]]
        side = np.array(left, np.int32)
        cv2.fillPoly(image, [side], (image[0, 0] * rng.uniform(0.6, 0.92)).tolist(), cv2.LINE_AA)
    return image


def _floor(rng: np.random.Generator, image: Array) -> None:
    """A floor of planks or carpet below a skirting board."""
    height, width = image.shape[:2]
    top = int(rng.uniform(0.45, 0.95) * height)
    colour = _pick(rng, _WOODS if rng.random() < 0.6 else _WALLS * 0.7)
    image[top:] = colour
    cv2.line(image, (0, top), (width, top), (colour * rng.uniform(0.3, 0.7)).tolist(), 2)
    if rng.random() < 0.6:
        centre = rng.uniform(0, width)
        for x in np.arange(-2 * width, 3 * width, rng.uniform(0.08, 0.3) * width):
            ends = (int(centre + 0.4 * (x - centre)), top), (int(x), height)
            cv2.line(image, *ends, (colour * 0.8).tolist(), 1, cv2.LINE_AA)
    else:
        grain = rng.normal(0, rng.uniform(2, 14), (height - top, width)).astype(np.float32)
        image[top:] += grain[..., None]


def _surface(rng: np.random.Generator, image: Array) -> None:
    """What a hand lies before when one looks down: a table, a sheet, a patterned cloth."""
    height, width = image.shape[:2]
    colours = (_WOODS, _CLOTHS, _WALLS)[int(rng.integers(3))]
    first = _pick(rng, colours)
    image[:] = first
    turn = rng.uniform(0, math.pi)
    x = np.arange(width, dtype=np.float32)[None] * np.float32(math.cos(turn) / width)
    y = np.arange(height, dtype=np.float32)[:, None] * np.float32(math.sin(turn) / width)
    kind = rng.random()
    if kind < 0.4:  # grain
        wave = np.sin(rng.uniform(20, 90) * (x + y) + 3 * np.sin(6 * (x - y)))
        image *= 1 + rng.uniform(0.02, 0.12) * wave[..., None]
    elif kind < 0.7:  # tartan
        other = _pick(rng, colours, 0.3)
        for field in (x + y, x * math.tan(turn + 0.01) - y / max(abs(math.tan(turn)), 0.2)):
            band = (np.sin(rng.uniform(8, 40) * field) > rng.uniform(-0.3, 0.8))[..., None]
            image += 0.4 * band * (other - image)
    else:  # folds
        soft = cv2.resize(rng.normal(0, 1, (5, 5)).astype(np.float32), (width, height))
        image *= 1 + rng.uniform(0.03, 0.15) * soft[..., None]
    if rng.random() < 0.4:
        for _ in range(rng.integers(1, 4)):
            _box(rng, image)


def _quad(rng: np.random.Generator, image: Array, quad: Array, colour: Array) -> None:
    """A lit face with a darker edge."""
    points = [quad.astype(np.int32)]
    cv2.fillPoly(image, points, colour.tolist(), cv2.LINE_AA)
    if rng.random() < 0.7:
        edge = (colour * rng.uniform(0.45, 0.85)).tolist()
        cv2.polylines(image, points, True, edge, int(rng.integers(1, 3)), cv2.LINE_AA)


def _box(rng: np.random.Generator, image: Array) -> None:
    """A box, a book, a screen, a cupboard: a face and a narrow side, with a soft shadow."""
    height, width = image.shape[:2]
    w, h = np.exp(rng.uniform(np.log(0.06), np.log(0.7), 2)) * width
    x, y = rng.uniform(-0.2, 1.0) * width, rng.uniform(-0.2, 1.0) * height
    t = rng.normal(0, 0.12) if rng.random() < 0.7 else rng.uniform(-1, 1)
    across, down = (
        np.array([w * math.cos(t), w * math.sin(t)]),
        np.array([-h * math.sin(t), h * math.cos(t)]),
    )
    corner = np.array([x, y])
    quad = np.array([corner, corner + across, corner + across + down, corner + down])
    palette = (_WOODS, _CLOTHS, _WALLS)[int(rng.integers(3))]
    colour = _pick(rng, palette, 0.3)
    if rng.random() < 0.12:  # something vivid
        colour = rng.uniform(10, 240, 3).astype(np.float32)
    shadow = image.copy()
    moved = (quad + rng.normal(0, 0.03, 2) * width).astype(np.int32)
    cv2.fillPoly(shadow, [moved], (0.55 * image.mean((0, 1))).tolist(), cv2.LINE_AA)
    image += 0.6 * (cv2.blur(shadow, (7, 7)) - image)
    _quad(rng, image, quad, colour)
    if rng.random() < 0.5:
        inner = quad.mean(0) + (quad - quad.mean(0)) * rng.uniform(0.5, 0.92)
        _quad(rng, image, inner, (colour * rng.uniform(0.4, 1.7)).clip(0, 255))


def _shelf(rng: np.random.Generator, image: Array) -> None:
    """A row of books or bottles on a board."""
    height, width = image.shape[:2]
    base, tall = rng.uniform(0.2, 1.0) * height, rng.uniform(0.12, 0.35) * height
    board = _pick(rng, _WOODS)
    x, end = sorted(rng.uniform(-0.2, 1.2, 2) * width)
    while x < end:
        w = rng.uniform(0.015, 0.08) * width
        top = base - tall * rng.uniform(0.5, 1)
        colour = _pick(rng, (_CLOTHS, _WALLS, _WOODS)[int(rng.integers(3))], 0.4)
        box = (int(x), int(top)), (int(x + w), int(base))
        cv2.rectangle(image, *box, colour.tolist(), -1)
        cv2.line(image, box[0], (int(x), int(base)), (0.5 * colour).tolist(), 1)
        x += w + (rng.uniform(0, 0.05) * width if rng.random() < 0.15 else 1)
    ends = (0, int(base)), (width, int(base))
    cv2.line(image, *ends, board.tolist(), max(1, int(0.02 * height)))


def _window(rng: np.random.Generator, image: Array) -> None:
    """A bright window or a lamp, and its glow."""
    height, width = image.shape[:2]
    x, y = rng.uniform(-0.1, 0.9) * width, rng.uniform(-0.2, 0.6) * height
    w, h = rng.uniform(0.15, 0.6) * width, rng.uniform(0.2, 0.8) * height
    bright = np.array([250, 250, 246]) - rng.uniform(0, 60, 3)
    layer = np.zeros(image.shape[:2], np.float32)
    cv2.rectangle(layer, (int(x), int(y)), (int(x + w), int(y + h)), 1.0, -1)
    for k in range(1, int(rng.integers(1, 4))):
        at = int(x + k * w / 3)
        cv2.line(layer, (at, int(y)), (at, int(y + h)), 0.2, max(1, width // 60))
    glow = cv2.blur(layer, (width // 3 + 1, width // 3 + 1))
    image += np.maximum(layer, 0.35 * glow)[..., None] * (bright.astype(np.float32) - image)


def _person(rng: np.random.Generator, image: Array) -> None:
    """Someone behind the hand: a clothed trunk, often neck and head, sometimes a bare arm."""
    height, width = image.shape[:2]
    scale = rng.uniform(0.5, 1.4) * width
    x, shoulder = rng.uniform(-0.1, 1.1) * width, rng.uniform(-0.2, 0.75) * height
    cloth, skin = _pick(rng, _CLOTHS, 0.25), _pick(rng, _SKINS)
    layer, cover = image.copy(), np.zeros((height, width), np.uint8)

    def oval(cx: float, cy: float, a: float, b: float, colour: Array, turn: float = 0) -> None:
        shape = ((cx, cy), (2 * a, 2 * b), turn)
        cv2.ellipse(layer, shape, colour.tolist(), -1, cv2.LINE_AA)
        cv2.ellipse(cover, shape, 255, -1)

    head = shoulder - 0.28 * scale
    oval(x, head - 0.05 * scale, 0.17 * scale, 0.2 * scale, _pick(rng, _HAIRS))
    oval(x, shoulder - 0.08 * scale, 0.08 * scale, 0.15 * scale, 0.85 * skin)
    oval(x, head + 0.02 * scale, 0.135 * scale, 0.18 * scale, skin)
    for dx in (-0.055, 0.055):
        oval(x + dx * scale, head, 0.022 * scale, 0.012 * scale, 0.35 * skin)
    oval(x, head + 0.05 * scale, 0.018 * scale, 0.03 * scale, 0.88 * skin)
    oval(x, head + 0.11 * scale, 0.045 * scale, 0.012 * scale, skin * [0.75, 0.5, 0.5])
    oval(x, shoulder + 0.75 * scale, 0.42 * scale, 0.75 * scale, cloth)
    if rng.random() < 0.4:
        arm = _pick(rng, _SKINS) if rng.random() < 0.3 else skin
        side = rng.choice([-1, 1])
        oval(x + side * 0.4 * scale, shoulder + 0.5 * scale, 0.09 * scale, 0.5 * scale, arm,
             rng.normal(0, 25))  # fmt: skip
    fold = cv2.resize(rng.normal(1, 0.1, (6, 6)).astype(np.float32), (width, height))
    soft = cv2.blur(cover.astype(np.float32) / 255, (3, 3))[..., None]
    image += soft * (layer * fold[..., None] - image)


def _light(rng: np.random.Generator, height: int, width: int) -> Array:
    """(H, W) factor: light that falls off to one side, and towards the corners."""
    corners = np.exp(rng.normal(0, rng.uniform(0.03, 0.4), (2, 2))).astype(np.float32)
    light: Array = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    return light * np.float32(np.exp(rng.normal(-0.1, 0.35)))


_THINGS = (_box, _shelf, _window)
_WEIGHTS = (0.66, 0.2, 0.14)
