"""Files of public datasets: read, or refused with a message that names the file and the layout."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]


def require(root: Path, needed: Collection[str], layout: str) -> None:
    """Check that files and folders of a dataset are where its layout has them.

    Args:
        root: the dataset's folder.
        needed: paths within it.
        layout: the tree that is expected, for the message.

    Raises:
        FileNotFoundError: the folder, or something in it, is not there.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}; expected the dataset there:\n{layout}")
    missing = [path for path in needed if not (root / path).exists()]
    if missing:
        raise FileNotFoundError(f"{root} has no {', '.join(missing)}; expected:\n{layout}")


def read_image(path: Path) -> Tensor:
    """A colour image as (3, H, W) float32 RGB in [0, 1], its EXIF orientation ignored: labels of
    datasets are for the stored pixels.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is no image, or a truncated one.
    """
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    return to_tensor(cv2.cvtColor(read_pixels(path, flags), cv2.COLOR_BGR2RGB))


def to_tensor(image: Array) -> Tensor:
    """(H, W, 3) uint8 RGB -> (3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(image).permute(2, 0, 1).to(torch.float32).div_(255)


def read_pixels(path: Path, flags: int = cv2.IMREAD_UNCHANGED) -> Array:
    """The pixels of an image file as OpenCV has them (BGR).

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is no image, or a truncated one.
    """
    data = read_bytes(path)
    if data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[-64:]:
        # OpenCV fills what is missing of a JPEG with grey and says nothing.
        raise ValueError(f"{path} is a truncated JPEG: copy it anew")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if pixels is None:
        raise ValueError(f"{path} is no image that can be read, or a truncated one: copy it anew")
    return pixels


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        FileNotFoundError: no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    return path.read_bytes()


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is no JSON.
    """
    try:
        return json.loads(read_bytes(path))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}): copy it anew") from error


def numbers(values: Any, shape: tuple[int, ...], where: str) -> Tensor:
    """Labels as a float64 tensor of a shape.

    Raises:
        ValueError: something else than that many finite numbers.
    """
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{where}: expected numbers of shape {shape}, got {values!r:.80}"
        ) from error
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"{where}: expected finite numbers of shape {shape}, got {array.shape}")
    return torch.from_numpy(array.copy())


def one_of(split: str, splits: Collection[str], dataset: str) -> str:
    """`split`, if the dataset has it.

    Raises:
        ValueError: it has not.
    """
    if split not in splits:
        raise ValueError(f"{dataset} has no split {split!r}; it has: {', '.join(splits)}")
    return split


def entry(record: Any, name: str, where: str) -> Any:
    """`record[name]` of a JSON or pickled dictionary.

    Raises:
        ValueError: no dictionary, or it has no such entry.
    """
    if not isinstance(record, dict) or name not in record:
        raise ValueError(f"{where}: expected a dictionary with {name!r}, got {record!r:.80}")
    return record[name]


def same_size(image: Tensor, other: Array, path: Path) -> Array:
    """`other`, if it has as many rows and columns as `image` (3, H, W).

    Raises:
        ValueError: it has not; `path` is the file it is from.
    """
    if other.shape[:2] != image.shape[1:]:
        raise ValueError(
            f"{path} is {other.shape[1]} x {other.shape[0]} pixels, but the colour image "
            f"{image.shape[2]} x {image.shape[1]}: copy both anew"
        )
    return other
