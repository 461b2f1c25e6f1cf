"""A seeded generator of bad files: photos, JSON, bundles, shards, pickles, YAML, checkpoints.

Each maker yields names and contents; the same seed gives the same bytes.
"""

import io
import json
import pickle
import struct
import zlib
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from PIL import Image

DEEP = 100_000
VALUES = [None, True, -1, 0, 1e308, float("nan"), "", "x", [], {}, [[]], 2**70, "\ud800", [1] * 500]
"""What a JSON entry may be instead of what it should be."""


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Damaged in one of five ways: bytes changed, cut, doubled, zeroed or with more behind."""
    damaged = bytearray(data)
    at, length = (int(rng.integers(0, max(len(data), 1))) for _ in range(2))
    way = rng.integers(5)
    if way == 0:
        for place in rng.integers(0, len(data), 8):
            damaged[place] = rng.integers(256)
    elif way == 1:
        del damaged[at:]
    elif way == 2:
        damaged[at:at] = data[at : at + length]
    elif way == 3:
        damaged[at : at + 64] = bytes(len(damaged[at : at + 64]))
    else:
        damaged += rng.bytes(1000)
    return bytes(damaged)


def replaced(content, rng: np.random.Generator):
    """JSON content with one entry, however deep, replaced by what it should not be."""
    content = json.loads(json.dumps(content))
    holder, key, at = None, None, content
    while isinstance(at, (dict, list)) and at and (holder is None or rng.random() < 0.8):
        holder = at
        keys = list(at) if isinstance(at, dict) else range(len(at))
        key = keys[int(rng.integers(len(keys)))]
        at = at[key]
    if holder is not None:
        holder[key] = VALUES[int(rng.integers(len(VALUES)))]
    return content


def photos(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Damaged JPEG, PNG and WebP files, and some that claim to be huge."""
    rng = np.random.default_rng(seed)
    whole = {}
    for suffix in ("jpeg", "png", "webp"):
        data = io.BytesIO()
        picture = Image.fromarray(rng.integers(0, 255, (40, 48, 3), dtype=np.uint8))
        picture.save(data, suffix, exif=Image.Exif())
        whole[suffix] = data.getvalue()
    yield "empty.jpg", b""
    yield "huge.png", _png(60_000, 60_000)
    yield "none.png", _png(0, 5)
    for number in range(count - 3):
        suffix = list(whole)[number % 3]
        yield f"{number:03}.{suffix}", mutated(whole[suffix], rng)


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def texts(content, count: int, seed: int) -> Iterator[str]:
    """JSON texts: nested too deep, cut, of other types, with one entry that should not be."""
    rng = np.random.default_rng(seed)
    whole = json.dumps(content)
    yield "[" * DEEP + "]" * DEEP
    yield '{"a":' * DEEP
    yield "null"
    yield "[1, 2"
    for number in range(count - 4):
        if number % 4 == 0:
            yield mutated(whole.encode(), rng).decode("latin1")
        else:
            yield json.dumps(replaced(content, rng))


def pickles(count: int, seed: int) -> Iterator[bytes]:
    """Pickles: of calls, of themselves, nested so that their text explodes, damaged."""
    rng = np.random.default_rng(seed)
    endless: list = []
    endless.append(endless)
    exploding: list = []
    for _ in range(40):
        exploding = [exploding, exploding]
    yield b"cos\nsystem\n(S'exit 1'\ntR."
    yield pickle.dumps(endless)
    yield pickle.dumps({"0": exploding})
    yield b"]" * DEEP + b"a" * DEEP + b"."
    whole = pickle.dumps({0: {"K": np.eye(3), "xyz": np.zeros((42, 3)), "uv_vis": [1.0]}})
    for _ in range(count - 4):
        yield mutated(whole, rng)


def yamls(content, count: int, seed: int) -> Iterator[bytes]:
    """YAML texts: nested too deep, of themselves, of aliases that explode, with code, damaged, with
    one entry that should not be."""
    rng = np.random.default_rng(seed)
    names = [chr(ord("a") + n) for n in range(9)]
    lines = [f"{b}: &{b} [{', '.join(10 * ['*' + a])}]" for a, b in pairwise(names)]
    yield b"[" * DEEP
    yield b"a: &a {b: *a}"
    yield "\n".join(["a: &a [x, x, x, x, x, x, x, x, x, x]", *lines]).encode()
    yield b"!!python/object/apply:os._exit [3]"
    yield b"a: \x00"
    yield b"a: caf\xe9"
    whole = json.dumps(content, indent=1)
    for number in range(count - 6):
        if number % 4 == 0:
            yield mutated(whole.encode(), rng)
        else:
            yield json.dumps(replaced(content, rng)).encode("utf-8", "surrogatepass")
