"""What readers take from files, and how they say what is wrong with them."""

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from auxhand.data.readers import files

NAN = float("nan")


def test_what_a_layout_lacks_is_listed(tmp_path):
    (tmp_path / "images").mkdir()
    files.require(tmp_path, ["images"], "images/")
    with pytest.raises(FileNotFoundError, match=r"has no a\.json, b; expected:\nimages/ and more"):
        files.require(tmp_path, ["images", "a.json", "b"], "images/ and more")
    with pytest.raises(FileNotFoundError, match=r"no folder .*gone; expected the dataset"):
        files.require(tmp_path / "gone", [], "images/")


@pytest.fixture
def turned(tmp_path):
    """A picture of 4 x 2 pixels, left half black, which EXIF turns to 2 x 4."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[:, 2:] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    return tmp_path / "a.png"


def test_a_picture_has_the_pixels_that_its_labels_are_told_in(turned):
    stored, upright = (files.read_labelled(turned, size) for size in ((4, 2), (2, 4)))
    assert stored.tolist() == [[[0, 0, 1, 1]] * 2] * 3
    assert upright.tolist() == [[[0, 0], [0, 0], [1, 1], [1, 1]]] * 3  # a quarter clockwise
    with pytest.raises(ValueError, match=r"is 4 x 2 pixels, but its entry says 5 x 2"):
        files.read_labelled(turned, (5, 2))
    with pytest.raises(ValueError, match=r"turned by its EXIF orientation \(6\)"):
        files.read_image(turned)


def test_images_that_are_none_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*gone\.png"):
        files.read_pixels(tmp_path / "gone.png")
    for content in (b"", b"no picture"):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.png is no image that can be read"):
            files.read_pixels(tmp_path / "a.png")


@pytest.mark.parametrize("text", ["{", "[" * 100_000, b"\xff\xfe\x00"])
def test_json_that_is_none_is_named(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=r"a\.json is no JSON"):
        files.read_json(tmp_path / "a.json")


def test_numbers_are_of_their_shape():
    found = files.numbers([[1, 2.5], [3, "4"]], (2, 2), "a")
    assert torch.equal(found, torch.tensor([[1, 2.5], [3, 4]]).double())
    given = np.ones((2, 2), np.float32)
    found = files.numbers(given, (2, 2), "a")
    given[:] = 5
    assert (found == 1).all()  # a copy
    unknown = files.numbers([None, 1.0], (2,), "a", finite=False)
    assert unknown.isnan().tolist() == [True, False]


@pytest.mark.parametrize(
    "values",
    [[1.0], [1.0, 2.0, 3.0], [[1.0], [2.0]], "ab", None, {"x": 1}, ["a", "b"], [1.0, NAN], [[], 1]],
)
def test_what_is_not_that_many_numbers_is_refused(values):
    with pytest.raises(ValueError, match=r"entry 3: expected .*numbers of shape \(2,\)"):
        files.numbers(values, (2,), "entry 3")


def test_joints_that_are_unknown_lie_before_the_camera():
    joints = torch.tensor([[1.0, 2, 3], [NAN, 2, 3], [4, 5, 6], [NAN, NAN, NAN]])
    valid = torch.tensor([True, False, False, True])
    found = files.told(joints, valid)
    assert found[:3].tolist() == [[1, 2, 3], [0, 2, 3], [4, 5, 6]]
    assert found[3].isnan().all()  # told as known: whoever looks at it is to see


def test_entries_are_there_or_named():
    assert files.entries({"a": [1]}, "a", "x") == [1]
    assert files.entry({"a": 0}, "a", "x") == 0
    for record in ({}, [], None):
        with pytest.raises(ValueError, match="x: expected a dictionary with 'a'"):
            files.entry(record, "a", "x")
    with pytest.raises(ValueError, match="x: 'a' is no list, but 'text'"):
        files.entries({"a": "text"}, "a", "x")
    assert files.one_of("test", ("train", "test"), "rhd") == "test"
    with pytest.raises(ValueError, match="rhd has no split 'val'; it has: train, test"):
        files.one_of("val", ("train", "test"), "rhd")


def test_a_second_image_has_as_many_pixels(tmp_path):
    image, mask = torch.zeros(3, 4, 6), np.zeros((4, 6))
    assert files.same_size(image, mask, tmp_path) is mask
    with pytest.raises(ValueError, match=r"mask\.png is 5 x 4 pixels, but the colour image 6 x 4"):
        files.same_size(image, mask[:, :5], tmp_path / "mask.png")


def test_endless_values_are_shown_in_brief():
    endless = []
    endless.append(endless)
    assert files.brief([1, 2]) == "[1, 2]"
    for value in (endless, "x" * 1000, [[list(range(99))] * 99] * 99):
        assert len(files.brief(value)) <= 80
