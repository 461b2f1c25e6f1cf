import cv2
import numpy as np
import pytest

from auxhand.data.camera_effects import (
    blur,
    color_matrix,
    jpeg,
    lower_resolution,
    motion_blur,
    sensor_noise,
)


def test_color_matrix_closed_forms():
    image = np.random.default_rng(0).random((4, 4, 3), np.float32)

    def apply(**change):
        return cv2.transform(image, color_matrix(**change))

    np.testing.assert_allclose(apply(), image, atol=1e-6)
    np.testing.assert_allclose(apply(brightness=1.5), 1.5 * image, atol=1e-6)
    np.testing.assert_allclose(apply(contrast=0.5), 0.5 + 0.5 * (image - 0.5), atol=1e-6)
    np.testing.assert_allclose(apply(balance=(2, 1, 0.5)), image * [2, 1, 0.5], atol=1e-6)
    luma = image @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(apply(saturation=0), luma[..., None].repeat(3, 2), atol=1e-6)
    # A third of a turn takes red to green, green to blue, blue to red.
    np.testing.assert_allclose(apply(hue=2 * np.pi / 3), image[..., [2, 0, 1]], atol=1e-6)
    grey = np.full((1, 1, 3), 0.3, np.float32)
    np.testing.assert_allclose(cv2.transform(grey, color_matrix(hue=1.0)), grey, atol=1e-6)


def test_noise_has_the_stated_deviation():
    rng = np.random.default_rng(0)
    for value in (0.0, 0.5):
        noisy = sensor_noise(np.full((200, 200, 3), value, np.float32), rng, read=0.03, shot=0.1)
        assert noisy.std() == pytest.approx(np.sqrt(0.03**2 + 0.1**2 * value), rel=0.02)
        assert noisy.mean() == pytest.approx(value, abs=1e-3)


def test_what_a_camera_does_keeps_things_in_place():
    y, x = np.mgrid[:41, :41].astype(np.float32)
    spot = np.exp(-((x - 22) ** 2 + (y - 17) ** 2) / 18)[..., None].repeat(3, 2).astype(np.float32)
    changed = {
        "blur": blur(spot, 1.5),
        "motion": motion_blur(spot, 6.0, 0.7),
        "resolution": lower_resolution(spot, 0.5),
        "jpeg": jpeg(spot, 60),
    }
    for name, image in changed.items():
        weight = np.maximum(image[..., 0] - 0.05, 0)
        center = [(weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()]
        np.testing.assert_allclose(center, [22, 17], atol=0.25, err_msg=name)
        assert image.shape == spot.shape
        assert image.dtype == np.float32
    assert changed["blur"].max() < spot.max()
    flat = np.full((16, 16, 3), (0.8, 0.4, 0.1), np.float32)
    np.testing.assert_allclose(jpeg(flat, 90), flat, atol=0.02)
    np.testing.assert_allclose(motion_blur(flat, 4, 0.3), flat, atol=1e-5)
