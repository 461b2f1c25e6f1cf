import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from auxhand.geometry.crop import plain_crop, view_crop
from auxhand.geometry.warp import warp_image

WIDTH, HEIGHT = 640, 480


def smooth_image(channels: int = 3) -> torch.Tensor:
    v, u = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    waves = [np.sin(u / (30 + 9 * c)) * np.cos(v / (40 - 7 * c)) for c in range(channels)]
    return torch.from_numpy(np.stack(waves).astype(np.float32))


@given(
    center=st.tuples(st.floats(100, 500), st.floats(80, 400)),
    side=st.floats(40, 300),
    angle=st.floats(-math.pi, math.pi),
    mirror=st.booleans(),
)
@settings(max_examples=10, deadline=None)
def test_warp_agrees_with_opencv(center, side, angle, mirror):
    K = torch.tensor([[500.0, 3, 300], [0, 510, 200], [0, 0, 1]], dtype=torch.float64)
    crop = view_crop(K, center, side, 48, angle, mirror)
    image = smooth_image()
    height, width = crop.size
    expected = cv2.warpPerspective(
        image.permute(1, 2, 0).numpy(), crop.A.numpy(), (width, height), flags=cv2.INTER_LINEAR
    )
    warped = warp_image(image, crop.A, crop.size).permute(1, 2, 0).numpy()
    inside = cv2.warpPerspective(
        np.ones((HEIGHT, WIDTH), np.float32), crop.A.numpy(), (width, height)
    )
    difference = np.abs(warped - expected)[inside == 1]
    # OpenCV rounds source positions to 1/32 pixel.
    assert difference.size == 0 or difference.max() < 0.5 / 32 * 2 * 0.06 + 1e-3


def test_identity_and_integer_shift_copy_pixels():
    image = torch.rand(2, 1, 9, 7, generator=torch.Generator().manual_seed(0))
    A = torch.eye(3)
    torch.testing.assert_close(warp_image(image, A, (9, 7)), image, atol=1e-5, rtol=0)
    A = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0], [0.0, 0.0, 1.0]])
    moved = warp_image(image, A, (9, 7))
    torch.testing.assert_close(moved[..., :8, 2:], image[..., 1:, :5], atol=1e-5, rtol=0)
    assert moved[..., :, 0].abs().max() < 1e-5


def test_resizing_by_warp_is_interpolation_without_aligned_corners():
    image = smooth_image()[:, :64, :64]
    A = plain_crop((31.5, 31.5), 64.0, 160).A
    warped = warp_image(image, A, (160, 160), padding="border")
    expected = interpolate(image[None], (160, 160), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(warped, expected, atol=1e-4, rtol=0)


def test_supersampling_averages_what_a_pixel_covers():
    noise = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0))
    A = plain_crop((31.5, 31.5), 64.0, 16).A
    expected = torch.nn.functional.avg_pool2d(noise[None], 4)[0]
    warped = warp_image(noise, A, (16, 16), supersample=4)
    torch.testing.assert_close(warped, expected, atol=1e-4, rtol=0)


def test_a_homography_per_image_and_one_for_all():
    images = torch.stack([smooth_image()[:, :40, :50], smooth_image()[:, 40:80, 50:100]])
    A = torch.stack([plain_crop((20.0, 20.0), 30.0, 16, a).A for a in (0.0, 1.0)])
    each = warp_image(images, A, (16, 16))
    assert each.shape == (2, 3, 16, 16)
    for i in range(2):
        torch.testing.assert_close(each[i], warp_image(images[i], A[i], (16, 16)))
    torch.testing.assert_close(warp_image(images, A[0], (16, 16))[0], each[0])
    torch.testing.assert_close(
        warp_image(images[0], A, (16, 16))[1], warp_image(images[0], A[1], (16, 16))
    )


def test_what_lies_behind_the_camera_is_outside_the_image():
    K = torch.tensor([[20.0, 0.0, 15.5], [0.0, 20.0, 15.5], [0.0, 0.0, 1.0]])
    wide = torch.tensor([[4.0, 0.0, 63.5], [0.0, 4.0, 15.5], [0.0, 0.0, 1.0]])
    sideways = torch.tensor([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    out = warp_image(torch.ones(1, 32, 32), wide @ sideways @ torch.linalg.inv(K), (32, 128))
    assert torch.isfinite(out).all()
    behind = out[0, :, :64] if out[0, :, :64].max() < out[0, :, 64:].max() else out[0, :, 64:]
    assert behind.abs().max() == 0
    assert out.max() == pytest.approx(1.0)


def test_warp_is_differentiable():
    image = torch.rand(1, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    A = plain_crop(torch.tensor([2.6, 2.7], dtype=torch.float64), 3.1, 4, 0.3).A
    image.requires_grad_()
    A.requires_grad_()
    assert torch.autograd.gradcheck(lambda i, a: warp_image(i, a, (4, 4)), (image, A))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(8, 8), "image must have shape"),
        (torch.zeros(1, 8, 8, dtype=torch.uint8), "floating"),
    ],
)
def test_mistakes_are_named(image, message):
    with pytest.raises(ValueError, match=message):
        warp_image(image, torch.eye(3), (4, 4))
