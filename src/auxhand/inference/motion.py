"""Results of `auxhand predict` and `auxhand webcam`, read back: hands of a photo or recording."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from auxhand.data.image import printable
from auxhand.hand.skeleton import JOINT_NAMES
from auxhand.inference.recording import COLUMNS, ROWS


class SeenHand(NamedTuple):
    """A hand in a frame.

    Attributes:
        frame: its number, 0 in a photo.
        time: seconds from the first frame.
        identity: number of the hand.
        side: "left" or "right".
        presence: in [0, 1], NaN where the model gives none.
        uv: (21, 2) pixels.
        xyz: (21, 3) metres from the camera, NaN where the model gives none.
        confidence: (21,) in [0, 1], NaN where the model gives none.
    """

    frame: int
    time: float
    identity: int
    side: str
    presence: float
    uv: np.ndarray
    xyz: np.ndarray
    confidence: np.ndarray


class PictureCamera(NamedTuple):
    """The camera of a photo or recording: K (3, 3) in pixels of its width and height."""

    K: np.ndarray
    width: int
    height: int


def read_hands(path: Path) -> Iterator[SeenHand]:
    """The hands of a result, in the order of its frames; of a recording they are read by the
    thousand.

    Args:
        path: NAME.parquet of a recording, or NAME.json of a photo or (with NAME.parquet beside it)
            of a recording.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no result.
    """
    if path.suffix != ".json":
        yield from _of_table(path)
        return
    said = _json(path)
    if "video" in said:
        yield from _of_table(path.with_suffix(".parquet"))
        return
    try:
        for identity, hand in enumerate(said["hands"]):
            joints = [hand["joints"][name] for name in JOINT_NAMES]
            uv, xyz, confidence = (
                np.array([_known(joint[key], width) for joint in joints])
                for key, width in (("uv_px", 2), ("camera_m", 3), ("confidence", 1))
            )
            if hand["side"] not in ("left", "right"):
                raise ValueError(f"no side {hand['side']!r}")
            presence = float("nan") if hand["presence"] is None else float(hand["presence"])
            yield SeenHand(0, 0.0, identity, hand["side"], presence, uv, xyz, confidence[:, 0])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{printable(path)}: no result of auxhand predict ({error})") from error


def read_camera(path: Path) -> PictureCamera | None:
    """The camera that NAME.json tells of a result NAME.json or NAME.parquet; None without it.

    Raises:
        ValueError: a JSON that is no result.
    """
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return None
    said = _json(beside)
    try:
        K = np.array(said["camera"]["K_px"], float).reshape(3, 3)
        return PictureCamera(K, int(said["width_px"]), int(said["height_px"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{printable(beside)}: no result of auxhand predict ({error})") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{printable(path)}: no JSON ({error})") from error
    if not isinstance(said, dict) or not {"photo", "video"} & said.keys():
        raise ValueError(f"{printable(path)}: no result of auxhand predict")
    return said


def _known(values: Any, width: int) -> np.ndarray:
    return np.full(width, np.nan) if values is None else np.array(values, float).reshape(width)


def _of_table(path: Path) -> Iterator[SeenHand]:
    import pyarrow as pa
    from pyarrow import parquet as pq

    where = printable(path)
    if not path.is_file():
        raise FileNotFoundError(2, "No such file", where)
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{where}: neither Parquet nor JSON of auxhand predict") from error
    with file:
        _check_columns(file.schema_arrow, where)
        try:
            yield from _of_batches(file.iter_batches(ROWS, columns=list(COLUMNS)))
        except (pa.ArrowException, OSError, TypeError) as error:
            raise ValueError(f"{where} is damaged ({error}): make it anew") from error


def _check_columns(schema: Any, where: str) -> None:
    """Check a table's columns.

    Raises:
        ValueError: one is missing, twice there, or of another kind than `recording.parquet` writes.
    """
    from pyarrow import types

    def is_number(kind: Any) -> bool:
        return bool(types.is_integer(kind) or types.is_floating(kind))

    kinds = {"frame": types.is_integer, "hand": types.is_integer, "side": _is_text}
    for name in COLUMNS:
        places = schema.get_all_field_indices(name)
        if len(places) != 1:
            what = f"{len(places)} columns" if places else "no column"
            raise ValueError(f"{where}: no result of auxhand predict: {what} {name}")
        kind = schema.field(places[0]).type
        if not kinds.get(name, is_number)(kind):
            raise ValueError(f"{where}: no result of auxhand predict: {name} is of kind {kind}")


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind))


def _of_batches(batches: Any) -> Iterator[SeenHand]:
    """Hands of a table's rows.

    Raises:
        TypeError: a row that does not say whose hand it is, and when.
    """
    for batch in batches:
        uv, xyz, confidence = (
            _columns(batch, kinds)
            for kinds in (
                ("u_px", "v_px"),
                ("camera_x_m", "camera_y_m", "camera_z_m"),
                ("confidence",),
            )
        )
        heads = ("frame", "time_s", "hand", "side", "presence")
        rows = zip(*(batch.column(name).to_pylist() for name in heads), strict=True)
        for i, (frame, time, identity, side, presence) in enumerate(rows):
            if None in (frame, time, identity) or side not in ("left", "right"):
                raise TypeError("a row without frame, time, hand or side")
            sure = float("nan") if presence is None else presence
            yield SeenHand(frame, time, identity, side, sure, uv[i], xyz[i], confidence[i, :, 0])


def _columns(batch: Any, kinds: tuple[str, ...]) -> np.ndarray:
    """(N, 21, len(kinds)) numbers of the joints, NaN where there are none."""
    names = [f"{joint}_{kind}" for joint, kind in product(JOINT_NAMES, kinds)]
    columns = [batch.column(name).to_numpy(zero_copy_only=False) for name in names]
    return np.stack(columns, 1).astype(float).reshape(-1, len(JOINT_NAMES), len(kinds))
