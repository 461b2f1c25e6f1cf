"""Depth from channels of images, and from one camera to another."""

import cv2
import numpy as np
import pytest

from auxhand.data.readers.depth import read_red_green, register

K = np.array([[50.0, 0, 10], [0, 50.0, 8], [0, 0, 1]])
SIZE = 17, 21
HERE, AHEAD = np.eye(3), np.zeros(3)


def plane(z=0.5):
    return np.full(SIZE, z)


def test_red_and_green_are_told_apart(tmp_path):
    blue, green, red = (np.full((3, 4), value, np.uint8) for value in (7, 2, 200))
    cv2.imwrite(str(tmp_path / "depth.png"), np.dstack([blue, green, red]))
    stored = read_red_green(tmp_path / "depth.png")
    for channel, value in zip(stored, (200, 2), strict=True):
        np.testing.assert_array_equal(channel, np.full((3, 4), value, np.float64))


@pytest.mark.parametrize("pixels", [np.zeros((3, 4), np.uint8), np.zeros((3, 4, 3), np.uint16)])
def test_other_images_are_refused(tmp_path, pixels):
    cv2.imwrite(str(tmp_path / "depth.png"), pixels)
    with pytest.raises(ValueError, match=r"depth\.png: expected depth in three channels of 8 bits"):
        read_red_green(tmp_path / "depth.png")


def test_a_camera_sees_what_it_sees_itself():
    depth = np.random.default_rng(0).uniform(0.3, 0.9, SIZE)
    depth[4:6, 3] = 0  # no value
    np.testing.assert_allclose(register(depth, K, K, HERE, AHEAD, SIZE), depth, rtol=1e-6)


def test_a_camera_beside_sees_all_moved_by_f_t_over_z():
    depth = plane(0.5)
    depth[:, :11] = 0
    depth[8, 12] = 0.25
    found = register(depth, K, K, HERE, np.array([-0.05, 0, 0]), SIZE)
    expected = np.zeros(SIZE)
    expected[:, 6:16] = 0.5  # moved by -50 * 0.05 / 0.5 = -5
    expected[8, 7] = 0  # what lay behind the near pixel was not seen
    expected[8, 2] = 0.25  # moved by -10
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_nearest_of_what_meets_in_a_pixel_counts():
    depth = np.zeros(SIZE)
    depth[8, 15], depth[8, 20] = 0.5, 0.25
    found = register(depth, K, K, HERE, np.array([-0.05, 0, 0]), SIZE)
    assert found[8, 10] == 0.25
    assert np.count_nonzero(found) == 1


def test_pixels_grow_with_the_other_camera_and_leave_no_holes():
    large = np.array([[100.0, 0, 20.5], [0, 100.0, 16.5], [0, 0, 1]])
    found = register(plane(0.4), K, large, HERE, np.array([0, 0, 0.1]), (34, 42))
    seen = np.argwhere(found > 0)
    # Each pixel is twice as wide, at 4/5 of its distance from the middle: 33.6 of 42 by 27.2.
    assert (np.ptp(seen, axis=0) + 1).tolist() == pytest.approx([27.2, 33.6], abs=2.5)
    low, high = seen.min(0), seen.max(0) + 1
    np.testing.assert_allclose(found[low[0] : high[0], low[1] : high[1]], 0.5, rtol=1e-6)


def test_what_lies_behind_the_other_camera_is_not_seen():
    assert not register(plane(), K, K, HERE, np.array([0, 0, -0.6]), SIZE).any()
