"""Crops of photos: where they lie, and that their pixels are those of their transform."""

import math

import numpy as np
import pytest
import torch

from auxhand.inference.scene import FOV, Scene, Square, square_around


def ramp(height=60, width=80):
    """A photo whose red is three times the column and green three times the row."""
    v, u = np.mgrid[:height, :width]
    return np.stack([3 * u, 3 * v, np.zeros_like(u)], -1).astype(np.uint8)


def scene(K=None, box=None, side="auto", image=None):
    return Scene(ramp() if image is None else image, K, box, side)


def test_a_square_holds_its_points_by_their_larger_side():
    uv = np.array([[10.0, 20.0], [30.0, 25.0], [20.0, 22.0]])
    assert square_around(uv, 0.8) == Square(20.0, 22.5, 25.0)
    assert square_around(uv[:1], 0.5) == Square(10.0, 20.0, 2.0)  # a point is a pixel wide


def test_an_unknown_camera_sees_a_usual_angle():
    K = scene().K
    assert K[0, 0].item() == pytest.approx(80 / 2 / math.tan(math.radians(FOV / 2)))
    assert K[:2, 2].tolist() == [39.5, 29.5]
    assert not scene().known
    assert scene(K=np.eye(3)).known


def test_a_box_is_a_square_about_its_middle():
    assert scene(box=(10, 20, 8, 4)).box == Square(14.0, 22.0, 8)
    assert scene(box=(-7, 20, 8, 4)).box == Square(-3.0, 22.0, 8)  # partly in the photo


@pytest.mark.parametrize(
    "box", [(80, 0, 5, 5), (0, -6, 5, 5), (0, 0, 0, 5), (0, 0, 5, -1), (math.nan, 0, 5, 5)]
)
def test_a_box_outside_of_the_photo_is_refused(box):
    with pytest.raises(ValueError, match="is not in the photo of 80 x 60 pixels"):
        scene(box=box)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": np.zeros((4, 4), np.uint8)}, r"\(H, W, 3\) uint8 RGB, not \(4, 4\)"),
        ({"image": np.zeros((4, 4, 3))}, "float64"),
        ({"image": np.zeros((0, 4, 3), np.uint8)}, r"not \(0, 4, 3\)"),
        ({"side": "both"}, "side must be one of auto, "),
        ({"K": np.eye(4)}, r"K must be \(3, 3\), not \(4, 4\)"),
    ],
)
def test_what_is_no_photo_or_camera_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        scene(**arguments)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(
    ("view", "afar", "side"), [("plain", False, 30), ("corrected", True, 30), ("plain", True, 50)]
)
def test_a_crops_pixels_are_those_of_its_transform(mirrored, view, afar, side):
    """Each shows the place of the photo that A says; also where the photo is averaged first."""
    size = 24
    pixels, crop = scene().cut(Square(38.0, 30.0, side), mirrored, size, view, afar)
    assert pixels.shape == (size, size, 3)
    v, u = np.mgrid[:size, :size].reshape(2, -1)
    inverse = torch.linalg.inv(crop.A.double()).numpy()
    place = inverse @ np.stack([u, v, np.ones_like(u)])
    expected = 3 * (place[:2] / place[2]).T
    seen = pixels.reshape(-1, 3)[:, :2]
    np.testing.assert_allclose(seen, expected, atol=2.5)
    columns = pixels[..., 0].astype(int)
    assert (np.diff(columns, axis=1) <= 0).all() if mirrored else (np.diff(columns) >= 0).all()


def test_beyond_the_photo_its_border_goes_on():
    pixels, _ = scene().cut(Square(0.0, 30.0, 24.0), False, 24, "plain", False)
    assert (pixels[:, :11, 0] == 0).all()
    assert pixels[12, -1, 0] > 20
