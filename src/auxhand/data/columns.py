"""The columns of a prepared dataset: what a row holds, encoded and decoded.

Images are kept encoded, because pixel lists are 10-1000 times slower to read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import torch

from auxhand.arrays import Array
from auxhand.hand.skeleton import FINGERS, NUM_JOINTS
from auxhand.sample import MANO_PARAMETERS, SIDES, HandSample

Record = dict[str, Any]
"""A row of a prepared dataset: values by the names of `SCHEMA`'s columns."""
DEPTH_UNIT = 1e-4
"""Metres per step of a stored depth (16 bits reach 6.55 m); 0 stands for no value."""
JPEG_QUALITY = 92
PARTS = ("background", "palm", *FINGERS, "arm")
"""What the numbers in `parts` mean: 0 nothing, 1 palm, 2..6 thumb to pinky, 7 what is behind the
wrist, a sleeve included."""
SCHEMA = pa.schema(
    {
        "index": pa.int64(),
        "image": pa.binary(),
        "rgba": pa.binary(),
        "depth": pa.binary(),
        "mask": pa.binary(),
        "parts": pa.binary(),
        "box": pa.list_(pa.float64()),
        "K": pa.list_(pa.float64()),
        "side": pa.string(),
        "joints_uv": pa.list_(pa.float64()),
        "joints_xyz": pa.list_(pa.float64()),
        "joint_valid": pa.list_(pa.bool_()),
        "joint_visible": pa.list_(pa.bool_()),
        "mano": pa.list_(pa.float64()),
        "presence": pa.float64(),
        "source": pa.string(),
        "content": pa.string(),
        "factors": pa.string(),
    }
)
"""Columns of a shard; what a sample does not have is null."""
_LABELS: dict[str, tuple[int, ...]] = {
    "K": (3, 3),
    "joints_uv": (NUM_JOINTS, 2),
    "joints_xyz": (NUM_JOINTS, 3),
    "joint_valid": (NUM_JOINTS,),
    "joint_visible": (NUM_JOINTS,),
    "mano": (MANO_PARAMETERS,),
}
_SHAPES = {**_LABELS, "box": (4,)}


def encode_jpeg(image: Array, quality: int = JPEG_QUALITY) -> bytes:
    """(H, W, 3) uint8 RGB -> JPEG bytes."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def encode_png(image: Array, compression: int = 3) -> bytes:
    """(H, W), (H, W, 3) RGB or (H, W, 4) RGBA, uint8 or uint16 -> PNG bytes.

    One filter for all rows is decoded a fifth faster than the best one for each, and half as long
    to encode, at the same size: differences to the row above for pictures and depth, none for
    masks and labels.
    """
    labels = image.ndim == 2 and image.dtype == np.uint8
    row_filter = cv2.IMWRITE_PNG_FILTER_NONE if labels else cv2.IMWRITE_PNG_FILTER_UP
    if image.ndim == 3:
        image = cv2.cvtColor(
            image, cv2.COLOR_RGB2BGR if image.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        )
    settings = [cv2.IMWRITE_PNG_COMPRESSION, compression, cv2.IMWRITE_PNG_FILTER, row_filter]
    return cv2.imencode(".png", image, settings)[1].tobytes()


def encode_depth(depth: Array) -> bytes:
    """(H, W) metres, 0 = no value -> 16-bit PNG bytes in steps of 0.1 mm.

    Raises:
        ValueError: a depth below 0, or beyond the 6.55 m that 16 bits reach.
    """
    steps = np.rint(np.asarray(depth, np.float64) / DEPTH_UNIT)
    if steps.size and not (steps.min() >= 0 and steps.max() <= 65535):
        raise ValueError(
            f"depth must lie in [0, {65535 * DEPTH_UNIT:.2f}] m, "
            f"got [{np.min(depth):.3f}, {np.max(depth):.3f}]"
        )
    return encode_png(steps.astype(np.uint16))


def decode_image(data: bytes, channels: int = 3) -> Array:
    """JPEG or PNG bytes -> (H, W, 3) RGB or, for `channels` 4, (H, W, 4) RGBA uint8.

    Raises:
        ValueError: the bytes are no image, or have no alpha where it is asked for.
    """
    if channels == 3:
        return cv2.cvtColor(_decode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    image = _decode(data, cv2.IMREAD_UNCHANGED)
    if image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        raise ValueError(f"expected an 8-bit RGBA image, got {image.dtype} of shape {image.shape}")
    return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)


def decode_mask(data: bytes) -> Array:
    """8-bit PNG bytes -> (H, W) float32 in {0, 1}.

    Raises:
        ValueError: the bytes are no image.
    """
    return (_decode(data, cv2.IMREAD_GRAYSCALE) > 127).astype(np.float32)


def decode_parts(data: bytes) -> Array:
    """8-bit PNG bytes -> (H, W) uint8, indices into `PARTS`.

    Raises:
        ValueError: the bytes are no image.
    """
    return _decode(data, cv2.IMREAD_GRAYSCALE)


def decode_depth(data: bytes) -> Array:
    """16-bit PNG bytes -> (H, W) float32 metres, 0 = no value.

    Raises:
        ValueError: the bytes are no image of one 16-bit channel.
    """
    steps = _decode(data, cv2.IMREAD_UNCHANGED)
    if steps.dtype != np.uint16 or steps.ndim != 2:
        raise ValueError(f"expected one 16-bit channel, got {steps.dtype} of shape {steps.shape}")
    return steps.astype(np.float32) * np.float32(DEPTH_UNIT)


def _decode(data: bytes, flags: int) -> Array:
    """cv2.imdecode with an exception instead of None."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if image is None:
        raise ValueError(f"the {len(data)} bytes are no image that can be decoded")
    return image


def make_row(
    index: int,
    *,
    image: Array | None = None,
    rgba: Array | None = None,
    depth: Array | None = None,
    mask: Array | None = None,
    parts: Array | None = None,
    box: Array | None = None,
    K: Array | None = None,
    side: str | None = None,
    joints_uv: Array | None = None,
    joints_xyz: Array | None = None,
    joint_valid: Array | None = None,
    joint_visible: Array | None = None,
    mano: Array | None = None,
    presence: float | None = None,
    source: str | None = None,
    content: str | None = None,
    factors: Mapping[str, Any] | None = None,
) -> Record:
    """Encode one sample as a row of a shard.

    Args:
        index: number of the sample within its dataset.
        image: (H, W, 3) uint8 RGB, kept as JPEG.
        rgba: (H, W, 4) uint8, the hand alone with straight alpha, kept as PNG.
        depth: (H, W) metres, 0 = no value, kept in 0.1 mm.
        mask: (H, W), nonzero = hand, from the wrist to the fingertips.
        parts: (H, W) uint8 indices into `PARTS`.
        box: (4,) the hand's as (x, y, w, h) in pixels, for data that has nothing else to tell
            where it is.
        K: (3, 3); joints_uv: (21, 2) pixels; joints_xyz: (21, 3) metres; joint_valid and
            joint_visible: (21,) bool; mano: (58,), see `HandSample`; all in pixels and camera frame
            of `image`.
        side: "right" or "left".
        presence: 1 = a hand is here, 0 = none is.
        source: where the sample comes from.
        content: a name that rows share which differ in pose alone: one hand before one background,
            as in a video (Ch. 4.3.3).
        factors: what the sample was made of; anything that JSON can hold.

    Raises:
        ValueError: an array of the wrong shape, a side that is none, a depth out of range.
    """
    if side is not None and side not in SIDES:
        raise ValueError(f"side must be one of {SIDES} or None, got {side!r}")
    arrays = {
        "box": box,
        "K": K,
        "joints_uv": joints_uv,
        "joints_xyz": joints_xyz,
        "joint_valid": joint_valid,
        "joint_visible": joint_visible,
        "mano": mano,
    }
    row: Record = {
        "index": index,
        "image": None if image is None else encode_jpeg(image),
        "rgba": None if rgba is None else encode_png(rgba),
        "depth": None if depth is None else encode_depth(depth),
        "mask": None if mask is None else encode_png((np.asarray(mask) > 0).astype(np.uint8) * 255),
        "parts": None if parts is None else encode_png(np.asarray(parts, np.uint8)),
        "side": side,
        "presence": presence,
        "source": source,
        "content": content,
        "factors": None if factors is None else json.dumps(factors, sort_keys=True),
    }
    for name, value in arrays.items():
        row[name] = None
        if value is not None:
            value = np.asarray(value)
            if value.shape != _SHAPES[name]:
                raise ValueError(f"{name} must have shape {_SHAPES[name]}, got {value.shape}")
            kind = np.float64 if pa.types.is_floating(SCHEMA.field(name).type.value_type) else bool
            row[name] = value.astype(kind).ravel().tolist()
    return row


def decode_labels(row: Record, where: str = "") -> HandSample:
    """What a row holds besides images: K, side, joints and their flags, presence, source.

    Raises:
        ValueError: a label of a wrong length, a side that is none.
    """
    labels: dict[str, Any] = {}
    for name, shape in _LABELS.items():
        values: Sequence[Any] | None = row.get(name)
        if values is None:
            continue
        if len(values) != math.prod(shape):
            raise ValueError(
                f"{where or 'dataset'}, row {row.get('index')}: {name} has {len(values)} values, "
                f"not {math.prod(shape)}"
            )
        kind = np.bool_ if name.startswith("joint_") else np.float64
        labels[name] = torch.from_numpy(np.array(values, kind).reshape(shape))
    if row.get("presence") is not None:
        labels["presence"] = torch.tensor(row["presence"], dtype=torch.float32)
    if (side := row.get("side")) not in (None, *SIDES):
        row_of = f"{where or 'dataset'}, row {row.get('index')}"
        raise ValueError(f"{row_of}: side is {side[:80]!r}, not left or right")
    source = row.get("source") or f"{where}#{row.get('index')}"
    return HandSample(**labels, side=side, source=source)
