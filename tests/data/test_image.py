"""Photos of every kind become RGB arrays or one line."""

import contextlib
import io
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from auxhand.data.image import (
    MAX_DECODED,
    Animation,
    is_animated,
    load_photo,
    load_stored,
    pictures_in,
    printable,
    upright,
)

RED, BLUE = (200, 30, 30), (30, 30, 200)


def two_tone(width=40, height=24):
    """Red left half, blue right half."""
    pixels = np.full((height, width, 3), BLUE, np.uint8)
    pixels[:, : width // 2] = RED
    return Image.fromarray(pixels)


def save(image, path, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_formats(tmp_path, suffix):
    photo = load_photo(save(two_tone(), tmp_path / f"a.{suffix}"))
    assert photo.pixels.shape == (24, 40, 3)
    assert photo.pixels.dtype == np.uint8
    assert (photo.width, photo.height, photo.reduction) == (40, 24, 1)
    np.testing.assert_allclose(photo.pixels[12, 5], RED, atol=12)
    np.testing.assert_allclose(photo.pixels[12, 35], BLUE, atol=12)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (3, lambda a: a[::-1, ::-1]),
        (6, lambda a: np.rot90(a, -1)),
        (8, lambda a: np.rot90(a, 1)),
        (5, lambda a: np.transpose(a, (1, 0, 2))),
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("max_side", [4096, 20])
def test_exif_orientation(tmp_path, orientation, upright, suffix, max_side):
    image = two_tone()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    photo = load_photo(save(image, tmp_path / f"a.{suffix}", exif=exif), max_side)
    expected = upright(np.asarray(image))
    assert (photo.height, photo.width) == expected.shape[:2]
    r = photo.reduction
    assert r == (1 if max_side == 4096 else 2)
    difference = np.abs(photo.pixels.astype(int) - expected[::r, ::r])
    assert np.median(difference) <= 12


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("L", "jpg"), ("L", "png"), ("1", "png"), ("CMYK", "jpg"), ("P", "png"), ("LA", "png")],
)
def test_modes(tmp_path, mode, suffix):
    image = two_tone().convert(mode)
    photo = load_photo(save(image, tmp_path / f"a.{suffix}"))
    assert photo.pixels.shape == (24, 40, 3)
    np.testing.assert_allclose(photo.pixels[12, 5], image.convert("RGB").getpixel((5, 12)), atol=12)


@pytest.mark.parametrize("max_side", [4096, 20])
def test_sixteen_bits(tmp_path, max_side):
    values = np.full((24, 40), 65535, np.uint16)
    values[:, :20] = 128 * 256
    photo = load_photo(save(Image.fromarray(values), tmp_path / "a.png"), max_side)
    assert photo.pixels[5, 1].tolist() == [128] * 3
    assert photo.pixels[5, -1].tolist() == [255] * 3


@pytest.mark.parametrize("palette", [False, True])
def test_transparency_shows_white(tmp_path, palette):
    image = two_tone().convert("RGBA")
    alpha = np.zeros((24, 40), np.uint8)
    alpha[:, 20:] = 255
    image.putalpha(Image.fromarray(alpha))
    image = image.quantize(4) if palette else image
    photo = load_photo(save(image, tmp_path / "a.png"))
    assert photo.pixels[10, 5].tolist() == [255] * 3
    np.testing.assert_allclose(photo.pixels[10, 30], BLUE, atol=2)


def test_one_pixel(tmp_path):
    photo = load_photo(save(two_tone(1, 1), tmp_path / "a.png"))
    assert photo.pixels.shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("suffix", "mode"), [("jpg", "RGB"), ("png", "RGB"), ("png", "P"), ("png", "RGBA")]
)
def test_large_photos_are_reduced_and_results_return(tmp_path, suffix, mode):
    pixels = np.zeros((600, 1000, 3), np.uint8)
    pixels[300:350, 700:760] = 255
    image = Image.fromarray(pixels).convert(mode)
    photo = load_photo(save(image, tmp_path / f"a.{suffix}"), max_side=100)
    # A JPEG is decoded at 1/8, then reduced by the least whole factor.
    assert photo.reduction == (16 if suffix == "jpg" else 10)
    assert photo.pixels.shape == (-(-600 // photo.reduction), -(-1000 // photo.reduction), 3)
    assert (photo.width, photo.height) == (1000, 600)
    v, u = (c.mean() for c in np.nonzero(photo.pixels[..., 0] > 127))
    np.testing.assert_allclose(photo.uv_to_original([u, v]), [729.5, 324.5], atol=8)
    box = (699.5, 299.5, 60.0, 50.0)
    np.testing.assert_allclose(photo.box_to_original(photo.box_from_original(box)), box)
    K = np.array([[900.0, 3, 480], [0, 880, 310], [0, 0, 1]])
    point = np.array([0.1, -0.2, 0.7])
    original, reduced = K @ point, photo.K_from_original(K) @ point
    np.testing.assert_allclose(
        photo.uv_to_original(reduced[:2] / reduced[2]), original[:2] / original[2]
    )


def test_a_transparent_photo_is_reduced_as_by_pillow(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (1291, 30, 4), np.uint8)
    image = Image.fromarray(pixels)
    photo = load_photo(save(image, tmp_path / "a.png"), max_side=500)
    reduced = image.reduce(3)
    shown = Image.alpha_composite(Image.new("RGBA", reduced.size, "white"), reduced)
    np.testing.assert_array_equal(photo.pixels, np.asarray(shown.convert("RGB")))


def test_sixteen_bits_of_many_rows_keep_their_colours_and_transparency(tmp_path):
    stored = np.zeros((600, 2, 4), np.uint16)
    stored[..., :3] = 16 * (np.arange(600)[:, None, None] % 256) + [0, 1, 2]  # 12 bits, BGR
    stored[..., 3] = 65535
    stored[300:, 1, 3] = 0
    cv2.imwrite(str(tmp_path / "a.png"), stored)
    pixels = load_photo(tmp_path / "a.png").pixels
    expected = np.repeat((np.arange(600) % 256)[:, None, None], 3, axis=2).repeat(2, axis=1)
    expected[300:, 1] = 255
    np.testing.assert_array_equal(pixels, expected)


def test_too_many_pixels_are_refused_before_decoding(tmp_path):
    image = Image.new("1", (20_000, 20_000))
    path = save(image, tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: .*too (large|many)") as error:
        load_photo(path)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="30 x 20 pixels are too many"):
        load_photo(save(two_tone(30, 20), tmp_path / "b.png"), max_decoded=500)


PEAKS = """if True:
    import os, sys
    from pathlib import Path
    import cv2
    from auxhand.data.image import load_photo

    def peak(*paths):
        child = os.fork()
        if not child:
            for path in paths:
                load_photo(Path(path), max_side=2800)
            os._exit(0)
        _, status, usage = os.wait4(child, 0)
        assert status == 0
        return usage.ru_maxrss

    nothing = peak()  # this process' own measure has that of its parent in it
    for path in sys.argv[1:]:
        print(peak(path) - nothing)
"""
"""Kilobytes that decoding each file takes at most."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="no such measure of memory")
def test_what_may_be_decoded_takes_at_most_700_megabytes(tmp_path):
    width, height = 4200, 2800
    blank = np.full((height, width, 3), 90, np.uint8)
    image, kinds = Image.fromarray(blank), {}
    for name, weight, options in (
        ("a.png", 1, {"compress_level": 1}),
        ("b.jpg", 1.5, {"progressive": True, "subsampling": 0}),
        ("c.webp", 2.5, {"method": 0}),
    ):
        kinds[save(image, tmp_path / name, **options)] = weight
    image.putalpha(100)
    kinds[save(image, tmp_path / "d.png", compress_level=1)] = 1
    sixteen = np.asarray(image, np.uint16) * 200
    for name, pixels, weight in (("e.png", sixteen[..., :3], 2), ("f.png", sixteen, 2.5)):
        cv2.imwrite(str(tmp_path / name), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        kinds[tmp_path / name] = weight
    command = [sys.executable, "-c", PEAKS, *map(str, kinds)]
    # In pages of 2 MB, which tests may have and `predict` has not, memory is rounded up.
    small = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env=small)
    for line, weight in zip(ended.stdout.split(), kinds.values(), strict=True):
        most = MAX_DECODED / weight  # pixels of its kind
        assert 1024 * int(line) / (width * height) * most < 700e6


def test_a_huge_jpeg_is_reduced_while_decoding(tmp_path):
    path = save(Image.new("L", (20_000, 20_000), 90), tmp_path / "a.jpg")
    photo = load_photo(path, max_side=2500)
    assert (photo.width, photo.height, photo.reduction) == (20_000, 20_000, 8)
    assert photo.pixels.shape == (2500, 2500, 3)


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No such file.*a\.jpg"):
        load_photo(tmp_path / "a.jpg")


def broken_files():
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (60, 60, 3), dtype=np.uint8))
    for suffix in ("jpeg", "png", "webp"):
        data = io.BytesIO()
        noise.save(data, suffix)
        whole = data.getvalue()
        for share in (0.1, 0.5, 0.9):
            yield f"{suffix} {share}", whole[: int(len(whole) * share)]
    yield "text", b"not an image\n" * 100
    yield "empty", b""
    yield "magic only", b"\xff\xd8\xff"
    yield "gif", b"GIF89a" + bytes(50)


@pytest.mark.parametrize(("name", "data"), list(broken_files()))
def test_broken_files_are_one_line(tmp_path, name, data):
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.jpg: ") as error:
        load_photo(path)
    assert "\n" not in str(error.value)


def test_damaged_bytes_never_escape(tmp_path):
    """Random damage gives a photo or a ValueError."""
    rng = np.random.default_rng(1)
    path = tmp_path / "a.jpg"
    for suffix in ("jpeg", "png", "webp"):
        data = io.BytesIO()
        two_tone().save(data, suffix)
        for _ in range(60):
            damaged = np.frombuffer(data.getvalue(), np.uint8).copy()
            where = rng.integers(0, len(damaged), 6)
            damaged[where] = rng.integers(0, 256, 6)
            path.write_bytes(damaged.tobytes())
            with contextlib.suppress(ValueError):
                assert load_photo(path, max_decoded=10_000_000).pixels.ndim == 3


def test_a_folder_is_not_a_photo(tmp_path):
    with pytest.raises(ValueError, match="not a file"):
        load_photo(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg"])
@pytest.mark.parametrize("block", [b"garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*"])
def test_damaged_metadata_is_ignored(tmp_path, suffix, block):
    photo = load_photo(save(two_tone(), tmp_path / f"a.{suffix}", exif=block))
    np.testing.assert_allclose(photo.pixels[12, 5], RED, atol=12)


def test_metadata_with_a_wrong_checksum_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = save(two_tone(), tmp_path / "a.png", exif=exif)
    data = bytearray(path.read_bytes())
    data[data.index(b"eXIf") + 6] ^= 255
    path.write_bytes(bytes(data))
    np.testing.assert_array_equal(load_photo(path).pixels, np.asarray(two_tone()))


@pytest.mark.parametrize("name", ["pHYs", "gAMA", "cHRM", "sRGB", "tEXt", "zTXt", "iCCP", "quRk"])
def test_what_a_png_can_do_without_may_be_damaged(tmp_path, name):
    whole = save(two_tone().quantize(2), tmp_path / "a.png", transparency=0).read_bytes()
    expected = load_photo(tmp_path / "a.png").pixels
    damaged = b"\0\0\0\1" + name.encode() + b"x" + bytes(4)
    (tmp_path / "a.png").write_bytes(whole[:33] + damaged + whole[33:])
    np.testing.assert_array_equal(load_photo(tmp_path / "a.png").pixels, expected)
    assert expected[0, 0].tolist() != expected[0, -1].tolist()


def test_damaged_metadata_is_not_talked_about(tmp_path, recwarn):
    path = save(two_tone(), tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff1234")
    assert load_photo(path).pixels.shape == (24, 40, 3)
    assert [str(warning.message) for warning in recwarn] == []


def test_what_cannot_be_read_in_a_folder_is_among_its_photos(tmp_path):
    (tmp_path / "dead.jpg").symlink_to("gone.jpg")
    (tmp_path / "loop.png").symlink_to("loop.png")
    save(two_tone(), tmp_path / "whole.png")
    assert [p.name for p in pictures_in(tmp_path)] == ["dead.jpg", "loop.png", "whole.png"]
    with pytest.raises(FileNotFoundError, match=r"No such file.*dead\.jpg"):
        load_photo(tmp_path / "dead.jpg")
    with pytest.raises(ValueError, match=r"loop\.png: Too many levels of symbolic links$"):
        load_photo(tmp_path / "loop.png")


def test_a_name_is_one_line():
    assert printable("a\n\x1b[31mb\x7f") == "a\\x0a\\x1b[31mb\\x7f"
    assert printable(os.fsdecode(b"caf\xe9/\xc3\xa9")) == "caf\\xe9/\u00e9"


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("colour", [False, True])
def test_sixteen_bits_are_scaled_by_the_range_in_use(tmp_path, bits, colour):
    """Cameras of 10 and 12 bits write 16-bit files without shifting their values."""
    values = np.full((24, 40), 2**bits - 1, np.uint16)
    values[:, :20] = 2 ** (bits - 1)
    stored = np.stack([values, values // 2, values * 0], -1)[..., ::-1] if colour else values
    assert cv2.imwrite(str(tmp_path / "a.png"), stored)
    for pixels in (load_photo(tmp_path / "a.png").pixels, load_stored(tmp_path / "a.png")[0]):
        assert pixels[5, 1].tolist() == ([128, 64, 0] if colour else [128] * 3)
        assert pixels[5, -1].tolist() == ([255, 127, 0] if colour else [255] * 3)


def test_bytes_after_the_end_of_a_jpeg_are_no_part_of_it(tmp_path):
    """Motion photos have a film behind the picture."""
    path = save(two_tone(), tmp_path / "a.jpg")
    expected = load_photo(path).pixels
    path.write_bytes(path.read_bytes() + b"\0\0\0\x18ftypmp42" + bytes(5000))
    np.testing.assert_array_equal(load_photo(path).pixels, expected)
    np.testing.assert_array_equal(load_stored(path)[0], expected)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.mp4", b"\0\0\0\x18ftypmp42" + bytes(90), "a video, not a photo"),
        ("a.jpg", b"\x1a\x45\xdf\xa3" + bytes(90), "a video, not a photo"),
        ("a.jpg", b"RIFF\0\0\0\0AVI " + bytes(90), "a video, not a photo"),
        ("a.jpg", b"II*\0" + bytes(90), "not a JPEG, PNG, WebP, GIF or HEIC image"),
    ],
)
def test_what_is_no_photo_is_named(tmp_path, name, data, says):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=says):
        load_photo(tmp_path / name)


def test_stored_pixels_are_not_turned(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    pixels, orientation = load_stored(save(two_tone(), tmp_path / "a.png", exif=exif))
    np.testing.assert_array_equal(pixels, np.asarray(two_tone()))
    assert orientation == 6
    np.testing.assert_array_equal(upright(pixels, 6), np.rot90(pixels, -1))


def test_heic(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    wide = two_tone()
    heif = pillow_heif.from_pillow(wide)
    heif.save(tmp_path / "a.heic", quality=95)
    heif.save(tmp_path / "turned.heic", quality=95, exif=exif.tobytes())
    plain, turned = (load_photo(tmp_path / name) for name in ("a.heic", "turned.heic"))
    assert (plain.width, plain.height, plain.animated) == (*wide.size, False)
    np.testing.assert_allclose(plain.pixels[12, 5], RED, atol=12)
    expected = np.rot90(plain.pixels, -1).astype(int)
    assert np.abs(expected - turned.pixels).mean() < 2
    damaged = (tmp_path / "a.heic").read_bytes()[:200]
    (tmp_path / "b.heic").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"b\.heic: "):
        load_photo(tmp_path / "b.heic")
    assert pictures_in(tmp_path) == sorted(tmp_path.iterdir())


def test_heic_without_its_plugin_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(90))
    with pytest.raises(ValueError, match=r'a\.heic: a HEIC picture: pip install "auxhand\[heic\]"'):
        load_photo(tmp_path / "a.heic")


COLOURS = ["red", "lime", "blue"]


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_animations(tmp_path, suffix):
    frames = [Image.new("RGB", (40, 24), colour) for colour in COLOURS]
    path, still = tmp_path / f"a.{suffix}", tmp_path / f"still.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=[80, 120, 200], **options
    )
    frames[0].save(still)
    photo = load_photo(path)
    assert (photo.animated, load_photo(still).animated) == (True, False)
    assert (is_animated(path), is_animated(still)) == (True, False)
    assert photo.pixels[3, 3].tolist() == [255, 0, 0]
    read = list(Animation(path))
    assert [seconds for _, seconds in read] == pytest.approx([0, 0.08, 0.2])
    for (pixels, _), frame in zip(read, frames, strict=True):
        np.testing.assert_array_equal(pixels, np.asarray(frame))


def test_what_cannot_be_read_is_no_animation(tmp_path):
    (tmp_path / "a.gif").write_bytes(b"GIF89a")
    assert not is_animated(tmp_path / "a.gif")
    assert not is_animated(tmp_path / "nowhere.gif")
    with pytest.raises(ValueError, match=r"a\.gif: "):
        list(Animation(tmp_path / "a.gif"))
