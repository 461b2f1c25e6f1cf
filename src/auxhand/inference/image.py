"""Photos of any size and kind as uint8 RGB arrays, or one line that says what is wrong.

JPEG, PNG and WebP through Pillow. EXIF orientation is applied; transparency shows white; grey,
palette, 16-bit and CMYK become 8-bit RGB; colour profiles are ignored; of an animation the first
frame counts. A photo whose longer side exceeds `MAX_SIDE` is reduced by a whole factor (in a JPEG
while decoding), since no network here sees more than a few hundred pixels of a hand; results
return to the original's pixels through `Photo`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, JpegImagePlugin, UnidentifiedImageError

SUFFIXES: tuple[str, ...] = (".jpg", ".jpeg", ".png", ".webp")
"""File names (in lower case) that count as photos when a folder is read."""

MAX_SIDE = 4096
"""Pixels along the longer side above which a photo is reduced."""

MAX_DECODED = 100_000_000
"""Pixels that may be decoded into memory (up to about 1 GB with their conversion)."""

_FORMATS = ("JPEG", "PNG", "WEBP")
_ON_ITS_SIDE = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""


@dataclass(frozen=True)
class Photo:
    """A decoded photo, perhaps reduced.

    Attributes:
        pixels: (h, w, 3) uint8 RGB.
        width, height: of the original in pixels, after its EXIF orientation.
        reduction: whole factor r: a pixel of `pixels` stands for r x r of the original, so that
            u -> (u + 0.5) r - 0.5 leads back.
    """

    pixels: np.ndarray
    width: int
    height: int
    reduction: int

    def uv_to_original(self, uv: np.ndarray) -> np.ndarray:
        """(..., 2) pixels of `pixels` -> pixels of the original."""
        return (np.asarray(uv) + 0.5) * self.reduction - 0.5

    def box_from_original(self, box: Sequence[float]) -> tuple[float, float, float, float]:
        """Box (x, y, width, height) in the original's pixels -> in those of `pixels`."""
        x, y, width, height = box
        r = self.reduction
        return (x + 0.5) / r - 0.5, (y + 0.5) / r - 0.5, width / r, height / r

    def box_to_original(self, box: Sequence[float]) -> tuple[float, float, float, float]:
        """Box (x, y, width, height) in pixels of `pixels` -> in the original's."""
        x, y, width, height = box
        r = self.reduction
        return (x + 0.5) * r - 0.5, (y + 0.5) * r - 0.5, width * r, height * r

    def K_from_original(self, K: np.ndarray) -> np.ndarray:
        """(3, 3) intrinsics in the original's pixels -> in those of `pixels`."""
        r = self.reduction
        shrink = np.array([[1 / r, 0, 0.5 / r - 0.5], [0, 1 / r, 0.5 / r - 0.5], [0, 0, 1]])
        shrunk: np.ndarray = shrink @ K
        return shrunk


def load_photo(path: Path, max_side: int = MAX_SIDE, max_decoded: int = MAX_DECODED) -> Photo:
    """Read a JPEG, PNG or WebP file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such an image, damaged, truncated or too large; the message is one line.
    """
    if not path.exists():
        raise FileNotFoundError(2, "No such file", str(path))
    if not path.is_file():
        raise ValueError(f"{path}: not a file")
    try:
        with _open(path) as image:
            return _decode(image, max_side, max_decoded)
    except UnidentifiedImageError:
        raise ValueError(f"{path}: not a JPEG, PNG or WebP image") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{path}: too large; scale it down first") from None
    # Pillow's decoders raise nearly anything at a damaged file: OSError, SyntaxError, EOFError,
    # struct.error, ZeroDivisionError, ...
    except Exception as error:
        raise ValueError(f"{path}: {' '.join(str(error).split()) or 'damaged image'}") from error


def _open(path: Path) -> Image.Image:
    """The file's image, undecoded.

    JPEGs go around Pillow's limit on pixels, because they can be reduced while decoding; our own
    limit is checked before anything is decoded.
    """
    with path.open("rb") as file:
        jpeg = file.read(3) == b"\xff\xd8\xff"
    if jpeg:
        return JpegImagePlugin.JpegImageFile(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path, formats=_FORMATS)


def _decode(image: Image.Image, max_side: int, max_decoded: int) -> Photo:
    size = image.size
    factor = -(-max(size) // max_side)
    reduction = 1
    # A progressive JPEG keeps all its coefficients in memory, whatever size it is decoded to.
    if image.format == "JPEG" and not image.info.get("progressive"):
        image.draft(image.mode, (-(-size[0] // factor), -(-size[1] // factor)))
        reduction = round(max(size) / max(image.size))
    if image.size[0] * image.size[1] > max_decoded:
        raise ValueError(
            f"{size[0]} x {size[1]} pixels are too many (at most {max_decoded / 1e6:.0f} million "
            "can be decoded); scale it down first"
        )
    image = _eight_bits(image)
    rest = -(-max(image.size) // max_side)
    image = image.reduce(rest) if rest > 1 else image
    if image.getexif().get(ExifTags.Base.Orientation) in _ON_ITS_SIDE:
        size = size[1], size[0]
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return Photo(np.array(image.convert("RGB")), size[0], size[1], reduction * rest)


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey -> 8 bits, palette -> colours: what can be averaged."""
    if image.mode.startswith("I"):
        exif = image.getexif()
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
        image.getexif().update(exif)
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image
