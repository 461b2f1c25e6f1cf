"""Files of public datasets: read, or refused with a message that names the file and the layout."""

from __future__ import annotations

import json
import os
import reprlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from auxhand.arrays import Array
from auxhand.data.image import load_stored, printable, upright


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
    """A colour image as (3, H, W) float32 RGB in [0, 1]. Published pictures are not turned by EXIF;
    one that is has been changed since, and nothing tells whether its labels fit it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is no image, a truncated or turned one.
    """
    return read_labelled(path, None)


def read_labelled(path: Path, size: tuple[int, int] | None) -> Tensor:
    """A colour image as (3, H, W) float32 RGB in [0, 1], in the pixels that its labels are told in.

    Those are the stored pixels, except where the labels' own `size` is that of the picture as its
    EXIF orientation turns it.

    Args:
        path: the file.
        size: width and height that the labels say the picture has; None: nothing is said.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is no image, or a truncated one; a picture of another size; one that
            is turned by EXIF where the size does not tell whether its labels are.
    """
    pixels, orientation = load_stored(_there(path))
    turned = upright(pixels, orientation)
    fits = [p for p in (pixels, turned) if size is None or (p.shape[1], p.shape[0]) == size]
    if size is not None and not fits:
        raise ValueError(
            f"{printable(path)} is {pixels.shape[1]} x {pixels.shape[0]} pixels, but its entry "
            f"says {size[0]} x {size[1]}: its labels are for another picture"
        )
    if orientation != 1 and len(fits) == 2:
        raise ValueError(
            f"{printable(path)} is turned by its EXIF orientation ({orientation}), and its size "
            "does not tell whether its labels are too: save it without, as labelled"
        )
    return image_tensor(fits[0])


def _there(path: Path) -> Path:
    """`path`, if there is such a file."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no file {printable(path)}")
    return path


def image_tensor(image: Array) -> Tensor:
    """(H, W, 3) uint8 RGB -> (3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(image).permute(2, 0, 1).to(torch.float32).div_(255)


def read_pixels(path: Path, flags: int = cv2.IMREAD_UNCHANGED) -> Array:
    """The pixels of an image file as OpenCV has them (BGR).

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is no image, or a truncated one.
    """
    data = read_bytes(path)
    if data[:2] == b"\xff\xd8":
        load_stored(path)  # OpenCV fills what is missing of a JPEG with grey and says nothing
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if pixels is None:
        raise ValueError(f"{path} is no image that can be read, or a truncated one: copy it anew")
    return pixels


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        FileNotFoundError: no such file.
    """
    return _there(path).read_bytes()


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is no JSON.
    """
    try:
        return json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error}): copy it anew") from error


def numbers(values: Any, shape: tuple[int, ...], where: str, finite: bool = True) -> Tensor:
    """Labels as a float64 tensor of a shape.

    Args:
        values: nested lists of numbers, or an array.
        shape: what is expected.
        where: file and entry, for messages.
        finite: refuse what is not; otherwise null becomes NaN, for `plausible` to judge.

    Raises:
        ValueError: something else than that many numbers.
    """
    try:
        if not _fits(values, shape):  # what is nested deeper or wider is not even looked at
            raise ValueError
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"{where}: expected numbers of shape {shape}, got {brief(values)}"
        ) from error
    if array.shape != shape or (finite and not np.isfinite(array).all()):
        raise ValueError(f"{where}: expected finite numbers of shape {shape}, got {array.shape}")
    return torch.from_numpy(array.copy())


def _fits(values: Any, shape: tuple[int, ...]) -> bool:
    """Whether nested lists, or arrays in them, have a shape."""
    if hasattr(values, "shape"):
        return tuple(values.shape) == shape
    if not shape:
        return values is None or isinstance(values, (bool, int, float, str))
    if not isinstance(values, (list, tuple)) or len(values) != shape[0]:
        return False
    return all(_fits(value, shape[1:]) for value in values)


def told(joints: Tensor, valid: Tensor) -> Tensor:
    """(21, 3) of which joints that are not valid and no numbers lie where they disturb no
    computation: before the camera, at 1."""
    return joints.where(valid[:, None] | joints.isfinite(), joints.new_tensor([0.0, 0.0, 1.0]))


def entries(record: Any, name: str, where: str) -> list[Any]:
    """The list `record[name]`.

    Raises:
        ValueError: no dictionary, or it has no such entry, or that is no list.
    """
    if not isinstance(values := entry(record, name, where), list):
        raise ValueError(f"{where}: {name!r} is no list, but {brief(values)}")
    return values


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
        raise ValueError(f"{where}: expected a dictionary with {name!r}, got {brief(record)}")
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


def brief(value: Any) -> str:
    """At most 80 characters of a value whose whole text may be endless."""
    shortener = reprlib.Repr()
    shortener.maxlevel = 2
    return shortener.repr(value)[:80]
