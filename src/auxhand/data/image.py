"""Pictures of any size and kind as uint8 RGB arrays, or one line that says what is wrong.

JPEG, PNG, WebP and GIF through Pillow, HEIC by its plugin (extra `heic`). Metadata that is damaged
is ignored; transparency shows white; grey, palette, 16-bit and CMYK become 8-bit RGB (16 bits by
the range in use: 10- and 12-bit cameras write such files); colour profiles are ignored; of an
animation the first frame counts, unless `Animation` reads it; bytes after a JPEG's end (motion
photos) are no part of it.

`load_photo` is for people's photos: EXIF orientation is applied, and a photo whose longer side
exceeds `MAX_SIDE` is reduced by a whole factor (in a JPEG while decoding), since no network here
sees more than a few hundred pixels of a hand; results return to the original's pixels through
`Photo`. `load_stored` is for the pictures of datasets: the pixels that labels are told in.
"""

from __future__ import annotations

import io
import os
import re
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageSequence, JpegImagePlugin, UnidentifiedImageError

from auxhand.data.drawn import is_drawn

SUFFIXES: tuple[str, ...] = (".gif", ".heic", ".heif", ".jpg", ".jpeg", ".png", ".webp")
"""File names (in lower case) that count as photos when a folder is read."""

MAX_SIDE = 4096
"""Pixels along the longer side above which a photo is reduced."""

VIDEOS: tuple[str, ...] = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
"""File names (in lower case) of videos."""

MAX_DECODED = 100_000_000
"""Pixels that may be decoded into memory, fewer where decoding keeps copies (`_weight`): with their
conversion they take up to about 700 MB."""

KINDS = "JPEG, PNG, WebP, GIF or HEIC"
"""What is read, in words."""

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
_STRIP = 256
"""Rows of a picture that are converted at once."""
_COPIES = {"WEBP": 2.5, "HEIF": 2.0}
"""Formats whose decoder keeps copies of the picture: how much more than the others they take."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what makes the picture upright; from 5 on width and height change places."""


@dataclass(frozen=True)
class Photo:
    """A decoded photo, perhaps reduced.

    Attributes:
        pixels: (h, w, 3) uint8 RGB.
        width, height: of the original in pixels, after its EXIF orientation.
        reduction: whole factor r: a pixel of `pixels` stands for r x r of the original, so that
            u -> (u + 0.5) r - 0.5 leads back.
        animated: it is the first frame of several.
    """

    pixels: np.ndarray
    width: int
    height: int
    reduction: int
    animated: bool = False

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


def load_photo(path: Path | str, max_side: int = MAX_SIDE, max_decoded: int = MAX_DECODED) -> Photo:
    """Read a JPEG, PNG, WebP, GIF or HEIC file, upright.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such an image, damaged, truncated or too large; the message is one line.
    """
    path = Path(path)
    with _readable(path) as image:
        width, height = image.size
        factor = -(-max(image.size) // max_side)
        reduction = 1
        # A progressive JPEG keeps all its coefficients in memory, whatever size it is decoded to.
        if image.format == "JPEG" and not image.info.get("progressive"):
            image.draft(image.mode, (-(-width // factor), -(-height // factor)))
            reduction = round(max(width, height) / max(image.size))
        _check_size(image, max_decoded, (width, height))
        eight, orientation = _eight_bits(image, path), _orientation(image)
        rest = -(-max(eight.size) // max_side)
        eight = _reduced(eight, rest) if rest > 1 else eight
        if orientation in _TURNS:
            eight = eight.transpose(_TURNS[orientation])
        if orientation >= 5:
            width, height = height, width
        animated = bool(getattr(image, "is_animated", False))
        return Photo(_rgb(eight), width, height, reduction * rest, animated)


def load_stored(path: Path, max_decoded: int = MAX_DECODED) -> tuple[np.ndarray, int]:
    """The pixels of a photo or BMP file as they are stored, not turned, not reduced.

    Returns:
        (h, w, 3) uint8 RGB, and the EXIF orientation (1 to 8, 1 where nothing is to be turned).

    Raises:
        FileNotFoundError, ValueError: as `load_photo`.
    """
    with _readable(path, (*_FORMATS, "BMP")) as image:
        _check_size(image, max_decoded, image.size)
        return _rgb(_eight_bits(image, path)), _orientation(image)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(h, w, 3) uint8 as stored -> as its EXIF orientation shows it."""
    if orientation not in _TURNS:
        return pixels
    return np.array(Image.fromarray(pixels).transpose(_TURNS[orientation]))


def pictures_in(
    folder: Path,
    suffixes: Sequence[str] = SUFFIXES,
    complain: Callable[[OSError], None] | None = None,
) -> list[Path]:
    """The photos of a folder and of the folders in it, sorted.

    Hidden files and folders (`._a.jpg`, `.thumbs/`) are left out, and what was drawn of results
    (`data.drawn`). Linked folders are followed, each folder once. What bears the name of a photo
    and cannot be read, like a link to nothing, is among them: who reads it says so.

    Args:
        folder: where to look.
        suffixes: how the names end (in lower case) that are looked for.
        complain: is told of each folder that cannot be listed.

    Raises:
        OSError: a folder cannot be listed, and there is no `complain`.
    """

    def refuse(error: OSError) -> None:
        raise error

    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, onerror=complain or refuse, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(place, name) for name in files if not name.startswith("."))
        found += (p for p in paths if p.suffix.lower() in suffixes and not is_drawn(p))
    return sorted(found)


class Animation:
    """The frames of an animated GIF, WebP or PNG, to be iterated over.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[tuple[np.ndarray, float]]:
        """Frames (h, w, 3) uint8 RGB, each with its time in seconds from the first one.

        Raises:
            FileNotFoundError, ValueError: as `load_photo`.
        """
        with _readable(self.path) as image:
            _check_size(image, MAX_DECODED, image.size)
            seconds = 0.0
            for frame in ImageSequence.Iterator(image):
                frame.load()
                yield _rgb(frame.convert("RGBA") if frame.mode == "P" else frame), seconds
                # Browsers, too, show frames without a duration for a tenth of a second.
                seconds += (frame.info.get("duration") or 100) / 1000


def is_animated(path: Path) -> bool:
    """Whether a file is a picture of several frames; False of what cannot be read."""
    try:
        with _readable(path) as image:
            return bool(getattr(image, "is_animated", False))
    except (OSError, ValueError):
        return False


def printable(name: str | Path) -> str:
    """A file's name as one line that can be printed and stored: bytes that are no UTF-8, and what
    would move a terminal's cursor, as `\\xe9`."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: f"\\x{ord(found[0]):02x}", text)


@contextmanager
def _readable(path: Path, formats: tuple[str, ...] = _FORMATS) -> Iterator[Image.Image]:
    """The file's image, undecoded; what goes wrong inside is a ValueError that names the file."""
    where = printable(path)
    try:
        is_file = stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        raise FileNotFoundError(2, "No such file", where) from None
    except OSError as error:  # in a folder that may not be entered, a link to itself
        raise ValueError(f"{where}: {error.strerror}") from error
    if not is_file:
        raise ValueError(f"{where}: not a file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged EXIF blocks
            with _open(path, formats) as image:
                yield image
    except UnidentifiedImageError:
        raise ValueError(f"{where}: {_what(path)}") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{where}: too large; scale it down first") from None
    except MemoryError:
        raise ValueError(f"{where}: too large for the memory; scale it down first") from None
    # Pillow's decoders raise nearly anything at a damaged file: OSError, SyntaxError, EOFError,
    # struct.error, ZeroDivisionError, ...
    except Exception as error:
        told = (isinstance(error, OSError) and error.strerror) or str(error)
        what = " ".join(told.split()) or "damaged image"
        if "truncated" in what:
            kind = "JPEG" if _begins(path)[:2] == b"\xff\xd8" else "image"
            what = f"a truncated {kind}: copy it anew"
        raise ValueError(f"{where}: {what}") from error


def _open(path: Path, formats: tuple[str, ...]) -> Image.Image:
    """The file's image, undecoded.

    JPEGs go around Pillow's limit on pixels, because they can be reduced while decoding; our own
    limit is checked before anything is decoded. A PNG whose metadata is damaged is read without.
    """
    begins = _begins(path)
    if begins[:3] == b"\xff\xd8\xff":
        return JpegImagePlugin.JpegImageFile(path)
    if _is_heic(begins):
        formats = (*formats, _heic())
    try:
        return Image.open(path, formats=formats)
    except (UnidentifiedImageError, ValueError):
        if not begins.startswith(b"\x89PNG"):
            raise
        return Image.open(io.BytesIO(_bare_png(path.read_bytes())), formats=formats)


def _begins(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(12)


def _is_heic(begins: bytes) -> bool:
    return begins[4:8] == b"ftyp" and begins[8:11].lower() in (b"hei", b"mif", b"hev")


def _heic() -> str:
    """Pillow's name of the format, whose plugin is registered.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import pillow_heif
    except ModuleNotFoundError as error:
        raise ValueError(
            'a HEIC picture: pip install "auxhand[heic]", or save it as JPEG first'
        ) from error
    pillow_heif.register_heif_opener()
    return "HEIF"


def _what(path: Path) -> str:
    """What a file is that cannot be read."""
    begins = _begins(path)
    if _is_heic(begins):
        return "a damaged HEIC picture"
    is_film = begins[4:8] == b"ftyp" or begins[:4] == b"\x1a\x45\xdf\xa3" or begins[8:12] == b"AVI "
    if is_film or path.suffix.lower() in VIDEOS:
        return "a video, not a photo; `auxhand data convert folder` reads its frames"
    return f"not a {KINDS} image"


def _bare_png(data: bytes) -> bytes:
    """A PNG without what pictures can do without, the chunks whose names begin in lower case; but
    with its transparency."""
    kept, at = [data[:8]], 8
    while at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        name = data[at + 4 : at + 8]
        if name[:1].isupper() or name == b"tRNS":
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation; 1 where the metadata has none or is damaged, in whatever way."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        return 1
    return value if value in _TURNS else 1


def _check_size(image: Image.Image, most: int, size: tuple[int, int]) -> None:
    most = int(most / _weight(image))
    if image.size[0] * image.size[1] > most:
        raise ValueError(
            f"{size[0]} x {size[1]} pixels are too many (at most {most / 1e6:.0f} million "
            "of its kind can be decoded); scale it down first"
        )


def _weight(image: Image.Image) -> float:
    """How much more memory than of a plain picture of its size decoding takes, measured."""
    if image.format in _COPIES:
        return _COPIES[image.format]
    if _has_16_bits(image):
        return 2.5 if image.has_transparency_data else 2.0
    if image.info.get("progressive"):  # all coefficients of all channels
        return 2.0 if image.mode == "CMYK" else 1.5
    return 1.0


def _has_16_bits(image: Image.Image) -> bool:
    tiles: Sequence[Any] = getattr(image, "tile", ())  # what is to be decoded, how it is stored
    return image.format == "PNG" and bool(tiles) and "16" in str(tiles[0][3])


def _eight_bits(image: Image.Image, path: Path) -> Image.Image:
    """16 bits -> 8 bits, palette -> colours: what can be averaged."""
    if _has_16_bits(image):
        return _scaled(path)
    image.load()
    if image.mode in ("P", "PA"):
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image


def _scaled(path: Path) -> Image.Image:
    """A PNG of 16 bits by the range in use, the least of 8, 10, 12, 14 and 16 bits.

    Pillow would keep the upper byte of colours alone, which is black for 8 bits in 16.
    """
    import cv2

    flags = cv2.IMREAD_UNCHANGED
    stored = cv2.imdecode(np.fromfile(path, np.uint8), flags)
    if stored is None or stored.dtype != np.uint16:
        raise ValueError("damaged image")
    eight = np.empty(stored.shape, np.uint8)
    colours = stored[..., 2::-1] if stored.ndim == 3 else stored
    bits = next(b for b in (8, 10, 12, 14, 16) if colours.max(initial=0) < 2**b)
    into = eight[..., :3] if stored.ndim == 3 else eight
    np.right_shift(colours, bits - 8, out=into, casting="unsafe")  # without copies of 16 bits
    if stored.ndim == 3 and stored.shape[2] == 4:
        np.right_shift(stored[..., 3], 8, out=eight[..., 3], casting="unsafe")
    return Image.fromarray(eight)


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    """`Image.reduce` by strips: of a transparent picture it makes a copy in whole."""
    width, height = image.size
    reduced = Image.new(image.mode, (-(-width // factor), -(-height // factor)))
    for top in range(0, height, _STRIP * factor):
        strip = image.crop((0, top, width, min(top + _STRIP * factor, height)))
        reduced.paste(strip.reduce(factor), (0, top // factor))
    return reduced


def _rgb(image: Image.Image) -> np.ndarray:
    """(h, w, 3) uint8; what is transparent is white."""
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    # By strips: conversions make copies, of which a large picture would make the peak of memory.
    for top in range(0, height, _STRIP):
        strip = image.crop((0, top, width, min(top + _STRIP, height)))
        if strip.has_transparency_data:
            strip = strip.convert("RGBA")
            strip = Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip)
        pixels[top : top + _STRIP] = np.asarray(strip.convert("RGB"))
    return pixels
