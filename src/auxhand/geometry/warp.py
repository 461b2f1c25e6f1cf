"""Pictures seen through a crop: tensors by `warp_image`, numpy arrays by `warp` and `warp_depth`.

Pixels are as in `geometry.crop`.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from auxhand.arrays import Array
from auxhand.geometry.camera import dehomogenise
from auxhand.geometry.crop import Crop, inverse, pixel_grid
from auxhand.geometry.precision import full_precision
from auxhand.geometry.shapes import expect


@full_precision
def warp_image(
    image: Tensor,
    A: Tensor,
    size: tuple[int, int],
    mode: str = "bilinear",
    padding: str = "zeros",
    supersample: int = 1,
) -> Tensor:
    """The image seen through a homography.

    Each output pixel takes the value at its centre; where the image shrinks by much more than 2
    that aliases, and `supersample` = n averages n x n values per pixel instead.

    Args:
        image: (..., C, H, W) of a floating type.
        A: (..., 3, 3) pixels of the image -> pixels of the output, e.g. `Crop.A`.
        size: (height, width) of the output.
        mode: "bilinear", "nearest" or "bicubic".
        padding: what lies outside the image: "zeros", "border" or "reflection".
        supersample: samples per output pixel and axis.

    Returns:
        (..., C, height, width); leading dimensions of `image` and `A` are broadcast.

    Raises:
        ValueError: other shapes, or an image of integers.
    """
    expect("image", image, None, None, None)
    expect("A", A, 3, 3)
    if not image.is_floating_point():
        raise ValueError(f"image must be of a floating type, got {image.dtype}")
    height, width = size[0] * supersample, size[1] * supersample
    offset = (supersample - 1) / 2
    pixels = (pixel_grid((height, width), A) - offset) / supersample
    source = torch.cat([pixels, torch.ones_like(pixels[:, :1])], dim=-1) @ inverse(A).mT
    extent = torch.tensor([image.shape[-1], image.shape[-2]], dtype=A.dtype, device=A.device)
    grid = (2 * dehomogenise(source) + 1) / extent - 1
    grid = torch.where(source[..., 2:] > 0, grid, 2.0)
    grid = grid.reshape(*A.shape[:-2], height, width, 2).to(image)

    lead = torch.broadcast_shapes(image.shape[:-3], A.shape[:-2])  # type: ignore[no-untyped-call]
    flat = image.expand(*lead, *image.shape[-3:]).reshape(-1, *image.shape[-3:])
    grid = grid.expand(*lead, *grid.shape[-3:]).reshape(-1, *grid.shape[-3:])
    warped = grid_sample(flat, grid, mode=mode, padding_mode=padding, align_corners=False)
    if supersample > 1:
        warped = avg_pool2d(warped, supersample)
    return warped.reshape(*lead, *warped.shape[1:])


def warp(image: Array, crop: Crop, border: int = cv2.BORDER_CONSTANT) -> Array:
    """An image (H, W) or (H, W, C) as seen in the crop, bilinear.

    Where the crop shows the image more than 1.5 times smaller, it is averaged down first by the
    nearest whole factor, else fine detail would alias.
    """
    back = cv2.invert(crop.A.double().numpy())[1]
    height, width = crop.size
    # Pixels of the original per pixel of the crop: for x = B x' / w the Jacobian's determinant is
    # det B / w^3, here at the crop's centre.
    w = back[2, 0] * (width - 1) / 2 + back[2, 1] * (height - 1) / 2 + back[2, 2]
    shrink = math.sqrt(abs(cv2.determinant(back) / w**3))
    if shrink > 1.5:
        sizes = image.shape[1], image.shape[0]
        small = tuple(max(1, round(side / round(shrink))) for side in sizes)
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        sx, sy = small[0] / sizes[0], small[1] / sizes[1]
        back = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]]) @ back
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(image, back, (width, height), flags=flags, borderMode=border)


def warp_depth(depth: Array, crop: Crop) -> Array:
    """A depth map (H, W) in metres in the crop: nearest values, as depth along its own axis."""
    target = crop.size[1], crop.size[0]
    A = crop.A.double().numpy()
    warped = cv2.warpPerspective(depth.astype(np.float32), A, target, flags=cv2.INTER_NEAREST)
    return np.asarray(warped * crop.depth_scale().float().numpy())
