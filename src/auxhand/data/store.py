"""Prepared datasets: Parquet shards of encoded images and labels.

A prepared dataset is a folder with `dataset.json` (the description) and `data-00000.parquet`,
`data-00001.parquet`, ... (fixed index ranges, one row a sample, columns as in `SCHEMA`). Images are
kept encoded, because pixel lists are 10-1000 times slower to read (DESIGN section 5). The same rows
always give the same bytes, so a dataset can be made by any number of workers, in any order, and
resumed. docs/data.md describes the format for other programs.
"""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.data import Dataset

from auxhand.hand.skeleton import NUM_JOINTS
from auxhand.sample import SIDES, HandSample

Array = npt.NDArray[Any]
Row = dict[str, Any]

FORMAT = 1
DESCRIPTION = "dataset.json"
DEPTH_UNIT = 1e-4
"""Metres per step of a stored depth (16 bits reach 6.55 m); 0 stands for no value."""
JPEG_QUALITY = 92

SCHEMA = pa.schema(
    {
        "index": pa.int64(),
        "image": pa.binary(),
        "rgba": pa.binary(),
        "depth": pa.binary(),
        "mask": pa.binary(),
        "parts": pa.binary(),
        "K": pa.list_(pa.float64()),
        "side": pa.string(),
        "joints_uv": pa.list_(pa.float64()),
        "joints_xyz": pa.list_(pa.float64()),
        "joint_valid": pa.list_(pa.bool_()),
        "joint_visible": pa.list_(pa.bool_()),
        "presence": pa.float64(),
        "source": pa.string(),
        "factors": pa.string(),
    }
)
"""Columns of a shard; what a sample does not have is null."""

_SHAPES: dict[str, tuple[int, ...]] = {
    "K": (3, 3),
    "joints_uv": (NUM_JOINTS, 2),
    "joints_xyz": (NUM_JOINTS, 3),
    "joint_valid": (NUM_JOINTS,),
    "joint_visible": (NUM_JOINTS,),
}
_ROW_GROUP = 128


def encode_jpeg(image: Array, quality: int = JPEG_QUALITY) -> bytes:
    """(H, W, 3) uint8 RGB -> JPEG bytes."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def encode_png(image: Array, compression: int = 3) -> bytes:
    """(H, W), (H, W, 3) RGB or (H, W, 4) RGBA, uint8 or uint16 -> PNG bytes."""
    if image.ndim == 3:
        image = cv2.cvtColor(
            image, cv2.COLOR_RGB2BGR if image.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        )
    return cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, compression])[1].tobytes()


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
    K: Array | None = None,
    side: str | None = None,
    joints_uv: Array | None = None,
    joints_xyz: Array | None = None,
    joint_valid: Array | None = None,
    joint_visible: Array | None = None,
    presence: float | None = None,
    source: str | None = None,
    factors: Mapping[str, Any] | None = None,
) -> Row:
    """Encode one sample as a row of a shard.

    Args:
        index: number of the sample within its dataset.
        image: (H, W, 3) uint8 RGB, kept as JPEG.
        rgba: (H, W, 4) uint8, the hand alone with straight alpha, kept as PNG.
        depth: (H, W) metres, 0 = no value, kept in 0.1 mm.
        mask: (H, W), nonzero = hand.
        parts: (H, W) uint8 labels of the parts of the hand, 0 = none.
        K: (3, 3); joints_uv: (21, 2) pixels; joints_xyz: (21, 3) metres; joint_valid and
            joint_visible: (21,) bool; all in pixels and camera frame of `image`.
        side: "right" or "left".
        presence: 1 = a hand is here, 0 = none is.
        source: where the sample comes from.
        factors: what the sample was made of; anything that JSON can hold.

    Raises:
        ValueError: an array of the wrong shape, a side that is none, a depth out of range.
    """
    if side is not None and side not in SIDES:
        raise ValueError(f"side must be one of {SIDES} or None, got {side!r}")
    arrays = {
        "K": K,
        "joints_uv": joints_uv,
        "joints_xyz": joints_xyz,
        "joint_valid": joint_valid,
        "joint_visible": joint_visible,
    }
    row: Row = {
        "index": index,
        "image": None if image is None else encode_jpeg(image),
        "rgba": None if rgba is None else encode_png(rgba),
        "depth": None if depth is None else encode_depth(depth),
        "mask": None if mask is None else encode_png((np.asarray(mask) > 0).astype(np.uint8) * 255),
        "parts": None if parts is None else encode_png(np.asarray(parts, np.uint8)),
        "side": side,
        "presence": presence,
        "source": source,
        "factors": None if factors is None else json.dumps(factors, sort_keys=True),
    }
    for name, value in arrays.items():
        if value is not None:
            value = np.asarray(value)
            if value.shape != _SHAPES[name]:
                raise ValueError(f"{name} must have shape {_SHAPES[name]}, got {value.shape}")
            kind = np.float64 if pa.types.is_floating(SCHEMA.field(name).type.value_type) else bool
            row[name] = value.astype(kind).ravel().tolist()
    return row


def write_shard(path: str | Path, rows: Iterable[Row]) -> None:
    """Write rows (see `make_row`) as one Parquet file; the same rows give the same bytes.

    Uncompressed (the images are compressed already), without dictionaries and statistics. The file
    appears under its name only when it is complete.

    Raises:
        ValueError: a row with an unknown column.
    """
    rows = list(rows)
    unknown = {name for row in rows for name in row} - set(SCHEMA.names)
    if unknown:
        raise ValueError(f"unknown columns {sorted(unknown)}; a shard has {SCHEMA.names}")
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        pq.write_table(
            pa.Table.from_pylist(rows, schema=SCHEMA),
            unfinished,
            row_group_size=_ROW_GROUP,
            version="2.6",
            compression="none",
            use_dictionary=False,
            write_statistics=False,
        )
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def shard_path(root: str | Path, number: int) -> Path:
    """Path of shard `number` of the dataset at `root`."""
    return Path(root) / f"data-{number:05d}.parquet"


def write_description(
    root: str | Path, count: int, *, overwrite: bool = True, **information: Any
) -> None:
    """Write `dataset.json`: the number of samples and whatever else describes the dataset.

    It may be written before the shards, so that a run that was stopped can be told from another.

    Raises:
        FileExistsError: there is one and `overwrite` is false; of several machines that write it at
            once, one succeeds.
    """
    path = Path(root) / DESCRIPTION
    text = json.dumps({"format": FORMAT, "count": count, **information}, indent=2, sort_keys=True)
    # Not the process's number, which two machines may share.
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        unfinished.write_text(text + "\n", encoding="utf-8")
        if overwrite:
            unfinished.replace(path)
        else:
            _rename_to_new(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _rename_to_new(old: Path, new: Path) -> None:
    """Rename a file, but fail where the new name is taken, which `Path.rename` replaces."""
    try:
        os.link(old, new)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if new.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(new)) from None
        old.replace(new)


def read_description(root: str | Path) -> dict[str, Any]:
    """The content of `dataset.json`.

    Raises:
        FileNotFoundError: no such folder, or no description in it.
        ValueError: a description that is no JSON object, or of another format version.
    """
    root = Path(root)
    path = root / DESCRIPTION
    if not root.is_dir():
        raise FileNotFoundError(f"no dataset folder {root}; make one with `auxhand synth`")
    if not path.is_file():
        raise FileNotFoundError(f"{root} is no prepared dataset: it has no {DESCRIPTION}")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); make the dataset anew") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ValueError(f"{path} does not describe a prepared dataset of format {FORMAT}")
    return dict(description)


class PreparedDataset(Dataset[HandSample]):
    """Random access to a prepared dataset.

    The shards are read through Hugging Face `datasets`, whose memory-mapped Arrow copy lies in
    `ROOT/.cache` (made at the first opening, shared by all workers; deleting it costs only the time
    to make it again). Nothing is kept in memory, and the object can be sent to worker processes.

    Args:
        root: the dataset's folder.

    Raises:
        FileNotFoundError: no such folder, no description, no shards.
        ValueError: shards that cannot be read, or whose number of rows is not the described one.
    """

    def __init__(self, root: str | Path) -> None:
        # Two seconds to import, and only reading needs it.
        import datasets

        self.root = Path(root)
        self.description = read_description(self.root)
        shards = sorted(self.root.glob("data-*.parquet"))
        if not shards:
            raise FileNotFoundError(f"{self.root} has a description but no shards data-*.parquet")
        rows = sum(_count_rows(shard) for shard in shards)
        if rows != self.description["count"]:
            raise ValueError(
                f"{self.root} has {rows} samples in {len(shards)} shards, but its {DESCRIPTION} "
                f"says {self.description['count']}: finish it with the command that began it"
            )
        try:
            self._rows = datasets.Dataset.from_parquet(
                [str(shard) for shard in shards], cache_dir=str(self.root / ".cache")
            ).with_format("arrow")
        except datasets.exceptions.DatasetGenerationError as error:
            raise ValueError(f"{self.root}: a shard cannot be read ({error.__cause__})") from error

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, index: int) -> Row:
        """The stored columns of sample `index`, images still encoded."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.root} has samples 0 to {len(self) - 1}, not {index}")
        row: Row = self._rows[index].to_pylist()[0]
        return row

    def factors(self) -> list[dict[str, Any]]:
        """What each sample was made from; empty where the dataset does not say."""
        return [json.loads(text) if text else {} for text in self._rows["factors"].to_pylist()]

    def __getitem__(self, index: int) -> HandSample:
        """Sample `index`, images decoded.

        Raises:
            ValueError: image bytes that cannot be decoded; says which dataset, row and column.
        """
        return decode_row(self.row(index), where=str(self.root))


def _count_rows(shard: Path) -> int:
    """Number of rows that a Parquet file claims to have."""
    try:
        return int(pq.ParquetFile(shard).metadata.num_rows)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{shard} cannot be read as Parquet ({error}); make it anew") from error


def decode_row(row: Row, where: str = "") -> HandSample:
    """A stored row -> `HandSample` (image, mask, depth as float32 tensors, labels as float64).

    Labels keep the stored precision, so that what is computed from them stays within the
    invariant's 1e-3 px; a batch makes them float32.

    Args:
        row: columns as in `SCHEMA`; absent ones count as null.
        where: name of the dataset, for messages and for `source`.

    Raises:
        ValueError: image bytes that cannot be decoded, labels of a wrong length.
    """
    image, mask, depth = (
        None if pixels is None else torch.from_numpy(pixels)
        for pixels in (
            decode_column(row, "image", decode_image, where),
            decode_column(row, "mask", decode_mask, where),
            decode_column(row, "depth", decode_depth, where),
        )
    )
    if image is not None:
        image = image.permute(2, 0, 1).to(torch.float32).div_(255)
    return replace(decode_labels(row, where), image=image, mask=mask, depth=depth)


def decode_column(
    row: Row, name: str, decode: Callable[[bytes], Array], where: str = ""
) -> Array | None:
    """decode(row[name]), None where it is null; a failure names the dataset, row and column.

    Raises:
        ValueError: bytes that cannot be decoded.
    """
    data = row.get(name)
    if data is None:
        return None
    try:
        return decode(data)
    except (ValueError, cv2.error) as error:
        raise ValueError(
            f"{where or 'dataset'}, row {row.get('index')}, column {name!r}: {error}; "
            "make this shard anew"
        ) from error


def decode_labels(row: Row, where: str = "") -> HandSample:
    """What a row holds besides images: K, side, joints and their flags, presence, source.

    Raises:
        ValueError: a label of a wrong length.
    """
    labels: dict[str, Any] = {}
    for name, shape in _SHAPES.items():
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
    source = row.get("source") or f"{where}#{row.get('index')}"
    return HandSample(**labels, side=row.get("side"), source=source)
