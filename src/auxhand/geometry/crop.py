"""Crops, the mirror and view correction: from the pixels and camera of an image to another's.

Pixels: an integer coordinate is a pixel's centre, so an image spans
[-0.5, W - 0.5]; resizing by s maps u to (u + 0.5) s - 0.5. Boxes (x, y, w, h) have their edges in
the same coordinates: the one around a whole image is (-0.5, -0.5, W, H).

Side: networks see right hands, so a left hand is mirrored at the crop. Mirroring an image of width
W takes u to W - 1 - u and, with M = diag(-1, 1, 1), xyz to M xyz, K to F K M (F the mirror in
pixels: f_x stays positive, c_x becomes W - 1 - c_x, skew changes sign), a rotation R to M R M.

View correction (Ch. 5.4.1): the camera turns until its axis passes through the crop's centre. The
crop is then the homography K' R K^-1 of the image, and project(K', R xyz) = uv' exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from auxhand.arrays import Doubles
from auxhand.geometry.camera import dehomogenise, rays
from auxhand.geometry.precision import full_precision
from auxhand.geometry.shapes import expect


@dataclass(frozen=True, eq=False)
class Crop:
    """How a crop, or each of B crops of one size, was made; takes pixels and points to the crop and
    back to the original.

    Invariant: project(K, xyz_to_crop(xyz)) = uv_to_crop(project(K_original, xyz)).

    Attributes (of B crops with a leading B):
        A: (3, 3) homography, pixels of the original -> pixels of the crop, with the mirror in it;
            its scale is such that points before the camera have a positive third coordinate.
        size: (height, width) of the crop in pixels.
        R: (3, 3) original camera coordinates -> crop camera coordinates: a rotation, or
            M @ rotation (determinant -1) where mirrored.
        K_original: (3, 3) intrinsics of the original image; None if unknown.
        K: (3, 3) intrinsics of the crop; None if unknown.
        mirrored: the crop shows the mirror image; of B crops (B,) bool.
    """

    A: Tensor
    size: tuple[int, int]
    R: Tensor
    K_original: Tensor | None = None
    K: Tensor | None = None
    mirrored: bool | Tensor = False

    def __len__(self) -> int:
        """B, of B crops."""
        if self.A.ndim == 2:
            raise TypeError("one crop has no length")
        return len(self.A)

    def __getitem__(self, index: int | slice | Tensor) -> Crop:
        """One of B crops, or several of them as a batch."""
        tensors = {name: None if t is None else t[index] for name, t in self.tensors()}
        mirrored = torch.as_tensor(self.mirrored)[index]
        one = mirrored.ndim == 0
        return Crop(**tensors, size=self.size, mirrored=bool(mirrored) if one else mirrored)  # type: ignore[arg-type]

    def tensors(self) -> Iterator[tuple[str, Tensor | None]]:
        """(name, matrices) of A, R, K_original and K."""
        for name in ("A", "R", "K_original", "K"):
            yield name, getattr(self, name)

    def map(self, function: Callable[[Tensor], Tensor]) -> Crop:
        """The crop with `function` of each of its tensors."""
        mapped = {name: None if t is None else function(t) for name, t in self.tensors()}
        if isinstance(self.mirrored, Tensor):
            mapped["mirrored"] = function(self.mirrored)
        return replace(self, **mapped)  # type: ignore[arg-type]

    @staticmethod
    def stack(crops: Sequence[Crop | None]) -> Crop:
        """B crops of one size as one, in single precision; matrices that are not known are
        identities, so that what is computed with them stays finite."""
        matrices = {
            name: torch.stack(
                [
                    torch.eye(3) if crop is None or t is None else t.float()
                    for crop in crops
                    for t in [getattr(crop, name, None)]
                ]
            )
            for name in ("A", "R", "K_original", "K")
        }
        size = next((crop.size for crop in crops if crop is not None), (0, 0))
        mirrored = torch.tensor([crop is not None and bool(crop.mirrored) for crop in crops])
        return Crop(**matrices, size=size, mirrored=mirrored)

    def uv_to_crop(self, uv: Tensor) -> Tensor:
        """(..., N, 2) pixels of the original -> pixels of the crop."""
        return _transform(self.A, uv)

    def uv_to_original(self, uv: Tensor) -> Tensor:
        """(..., N, 2) pixels of the crop -> pixels of the original."""
        return _transform(inverse(self.A), uv)

    def xyz_to_crop(self, xyz: Tensor) -> Tensor:
        """(..., 3) original camera coordinates -> crop camera coordinates; of B crops (B, N, 3)."""
        return _rotate(self.R, xyz)

    def xyz_to_original(self, xyz: Tensor) -> Tensor:
        """(..., 3) crop camera coordinates -> original camera coordinates; of B crops (B, N, 3)."""
        return _rotate(self.R.mT, xyz)

    def depth_scale(self) -> Tensor:
        """(height, width) factor from depth along the original axis to depth along the crop's; of B
        crops (B, height, width).

        View correction turns the optical axis, so a depth map that was warped into the crop is not
        yet depth in the crop's camera: multiply it by this. Ones for a plain crop.
        """
        height, width = self.size
        if self.K is None:
            return self.A.new_ones(*self.A.shape[:-2], height, width)
        along = self.xyz_to_original(rays(self.K, pixel_grid(self.size, self.A)))[..., 2]
        return (1 / along).view(*self.A.shape[:-2], height, width)

    def with_axes(self, R: Tensor) -> Crop:
        """The same pixels, seen by a camera whose axes are turned: points go by R instead.

        The invariant holds through K' = A K_original R^-1, which is not upper triangular.

        Args:
            R: (3, 3) original camera coordinates -> the new ones, with the mirror in it where the
                crop is mirrored.
        """
        K = None
        if self.K_original is not None:
            K = (self.A.double() @ self.K_original.double() @ R.double().mT).to(self.A.dtype)
        return replace(self, R=R, K=K)

    @full_precision
    def onto(self, other: Crop) -> Crop:
        """From this crop's pixels and camera to another crop's of the same original, exactly."""
        A, R = other.A.double() @ inverse(self.A.double()), other.R.double() @ self.R.double().mT
        mirrored = self.mirrored ^ other.mirrored
        return Crop(A.to(other.A), other.size, R.to(other.R), self.K, other.K, mirrored)

    def __getstate__(self) -> dict[str, Any]:
        """Tensors as numbers: loader workers would open a shared memory file for each tensor."""
        state = dict(self.__dict__)
        for name, value in self.__dict__.items():
            if isinstance(value, Tensor):
                state[name] = _Numbers(value.tolist(), value.dtype)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            if isinstance(value, _Numbers):
                value = torch.tensor(value.numbers, dtype=value.dtype)
            self.__dict__[name] = value


class _Numbers(NamedTuple):
    """A tensor that travels."""

    numbers: list[Any]
    dtype: torch.dtype


def plain_crop(
    center_uv: Tensor | Sequence[float],
    side_px: float | Tensor,
    size: int,
    angle: float | Tensor = 0.0,
    K: Tensor | None = None,
    mirror: bool = False,
) -> Crop:
    """A square of the image, resized, turned and mirrored; the camera stays where it looks.

    The invariant holds through K' = A K (A K M where mirrored), which is not upper triangular
    where the crop is turned, while points are at most mirrored.

    Args:
        center_uv: (2,) centre of the square, pixels of the original.
        side_px: side of the square, pixels of the original.
        size: side of the crop in pixels.
        angle: radians by which the image's content turns from +x towards +y (clockwise on screen).
        K: (3, 3) intrinsics of the original.
        mirror: mirror the crop, u' = size - 1 - u, after turning it.

    Raises:
        ValueError: a centre or K of another shape; a side or size that is not positive and finite.
    """
    center, side, dtype, device = _arguments(center_uv, side_px, size, K)
    s = size / side
    c, d = s * math.cos(angle), s * math.sin(angle)
    middle = (size - 1) / 2
    u, v = center
    rows = [[c, -d, middle - c * u + d * v], [d, c, middle - d * u - c * v], [0.0, 0.0, 1.0]]
    A, M = torch.tensor(rows, dtype=torch.float64, device=device), _mirror(mirror, device)
    if mirror:
        A[0] *= -1
        A[0, 2] += size - 1
    K_crop = None if K is None else (A @ K.double() @ M).to(dtype)
    return Crop(A.to(dtype), (size, size), M.to(dtype), K, K_crop, mirror)


def view_crop(
    K: Tensor,
    center_uv: Tensor | Sequence[float],
    side_px: float | Tensor,
    size: int,
    angle: float | Tensor = 0.0,
    mirror: bool = False,
) -> Crop:
    """A view-corrected crop (Ch. 5.4.1): what a camera sees that looks at `center_uv`.

    With R = M? Rz(angle) rotation_to_axis(K^-1 center) and K' of square pixels, principal point at
    the crop's centre and focal length f', A = K' R K^-1. f' makes `side_px` pixels of the original
    span `size` pixels at the crop's centre; since the image of a camera that looks elsewhere is
    stretched there by unequal amounts, "span" is by area: |det dA| = (size / side_px)^2 at the
    centre, that is f'^2 = (size / side_px)^2 |det K| |K^-1 center|^3.

    Args:
        K: (3, 3) intrinsics of the original.
        center_uv: (2,) pixel of the original that becomes the crop's centre.
        side_px: pixels of the original that the crop spans at its centre.
        size: side of the crop in pixels.
        angle: radians by which the image's content turns from +x towards +y (clockwise on screen).
        mirror: mirror the crop, u' = size - 1 - u, after turning it.

    Raises:
        ValueError: a centre or K of another shape; a side or size that is not positive and finite;
            a K that is not invertible.
    """
    center, side, dtype, device = _arguments(center_uv, side_px, size, K)
    # One crop is a few numbers: tensor calls would cost ten times the arithmetic.
    original = K.detach().double().cpu().numpy()
    try:
        K_inverse = np.linalg.inv(original)
    except np.linalg.LinAlgError as error:
        raise ValueError(f"K is not invertible: {original.tolist()}") from error
    ray = (K_inverse @ [*center, 1.0]).tolist()
    c, s, m = math.cos(angle), math.sin(angle), -1.0 if mirror else 1.0
    turn = np.array([[m * c, -m * s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    R = turn @ turn_to_axis(*ray)
    stretch = math.hypot(*ray) ** 3 * abs(np.linalg.det(original))
    focal, middle = size / side * math.sqrt(stretch), (size - 1) / 2
    K_crop = np.array([[focal, 0.0, middle], [0.0, focal, middle], [0.0, 0.0, 1.0]])

    def tensor(matrix: Doubles) -> Tensor:
        return torch.from_numpy(matrix).to(device, dtype)

    A = tensor(K_crop @ R @ K_inverse)
    return Crop(A, (size, size), tensor(R), K, tensor(K_crop), mirror)


def box_center_side(box: Tensor | Sequence[float], scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Centre and side of the square around a box, `scale` times its longer side.

    Args:
        box: (..., 4) as (x, y, w, h), edges in pixel coordinates: (-0.5, -0.5, W, H) is a whole
            image, so a box given by its first pixel and extent starts half a pixel before it.

    Returns:
        center_uv (..., 2) and side (...) in pixels.

    Raises:
        ValueError: another shape, or an extent that is not positive.
    """
    box = torch.as_tensor(box)
    box = box if box.is_floating_point() else box.float()
    expect("box", box, 4)
    corner, extent = box[..., :2], box[..., 2:]
    if not bool((extent > 0).all()):
        raise ValueError(f"a box (x, y, w, h) needs positive w and h, got {box.tolist()}")
    return corner + extent / 2, extent.amax(-1) * scale


def uv_box(uv: Tensor, valid: Tensor | None = None) -> Tensor:
    """(..., N, 2) pixels -> (..., 4) the box (x, y, w, h) around those that are `valid` (..., N).

    Raises:
        ValueError: other shapes, or no valid point.
    """
    expect("uv", uv, None, 2)
    low = high = uv
    if valid is not None:
        if valid.shape[-1:] != uv.shape[-2:-1]:
            raise ValueError(
                f"valid must have one flag for each uv, got {tuple(valid.shape)} and "
                f"{tuple(uv.shape)}"
            )
        if not bool(valid.any(-1).all()):
            raise ValueError("no valid point to put a box around")
        low = uv.masked_fill(~valid[..., None], math.inf)
        high = uv.masked_fill(~valid[..., None], -math.inf)
    corner = low.amin(-2)
    return torch.cat([corner, high.amax(-2) - corner], dim=-1)


def mirror_xyz(xyz: Tensor) -> Tensor:
    """(..., 3) points in the mirrored camera: M xyz."""
    expect("xyz", xyz, 3)
    return xyz * xyz.new_tensor([-1.0, 1.0, 1.0])


def mirror_R(R: Tensor) -> Tensor:
    """(..., 3, 3) rotation in the mirrored camera: M R M."""
    expect("R", R, 3, 3)
    return R * R.new_tensor([[1.0, -1.0, -1.0], [-1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]])


@full_precision
def _transform(A: Tensor, uv: Tensor) -> Tensor:
    """(..., N, 2) through a homography."""
    expect("uv", uv, 2)
    columns = A.to(uv).mT
    return dehomogenise(uv @ columns[..., :2, :] + columns[..., 2:, :])


@full_precision
def _rotate(R: Tensor, xyz: Tensor) -> Tensor:
    """R applied to (..., 3) points."""
    expect("xyz", xyz, 3)
    return xyz @ R.to(xyz).mT


def inverse(A: Tensor) -> Tensor:
    """Inverse in double precision, in the type of `A`."""
    inverse, info = torch.linalg.inv_ex(A.double())
    if bool(info.any()):
        raise ValueError("a camera matrix or homography that is not invertible")
    return inverse.to(A.dtype)


def turn_to_axis(x: float, y: float, z: float) -> Doubles:
    """`camera.rotation_to_axis` of one ray, in numbers."""
    length = math.hypot(x, y, z)
    x, y, z = x / length, y / length, z / length
    # 1 + z, which cancels in the rear half.
    w = 1 + z if z >= 0 else (x * x + y * y) / (1 - z)
    if w == 0:
        return np.diag([1.0, -1.0, -1.0])
    return np.array([[1 - x * x / w, -x * y / w, -x], [-x * y / w, 1 - y * y / w, -y], [x, y, z]])


def _mirror(mirror: bool, device: torch.device) -> Tensor:
    """M = diag(-1, 1, 1), or the identity."""
    return torch.diag(
        torch.tensor([-1.0 if mirror else 1.0, 1.0, 1.0], dtype=torch.float64, device=device)
    )


def pixel_grid(size: tuple[int, int], like: Tensor) -> Tensor:
    """(height * width, 2) coordinates of all pixels, row by row."""
    height, width = size
    v = torch.arange(height, dtype=like.dtype, device=like.device)
    u = torch.arange(width, dtype=like.dtype, device=like.device)
    return torch.stack(torch.meshgrid(u, v, indexing="xy"), dim=-1).reshape(-1, 2)


def _arguments(
    center_uv: Tensor | Sequence[float], side_px: float | Tensor, size: int, K: Tensor | None
) -> tuple[list[float], float, torch.dtype, torch.device]:
    """Checked centre and side as numbers, and the type and device of the result (those of K)."""
    if np.shape(center_uv) != (2,):
        raise ValueError(f"center_uv must have shape (2,), got {np.shape(center_uv)}")
    if K is not None and K.shape != (3, 3):
        raise ValueError(f"K must have shape (3, 3), got {tuple(K.shape)}")
    side = float(side_px)
    center = [float(x) for x in center_uv]  # a tensor would round a list to single precision
    if not (side > 0 and size > 0 and all(math.isfinite(x) for x in (side, *center))):
        raise ValueError(
            f"a crop needs a finite centre and a positive side and size, got centre {center}, "
            f"side {side}, size {size}"
        )
    like = K if K is not None else center_uv
    if not isinstance(like, Tensor):
        return center, side, torch.get_default_dtype(), torch.device("cpu")
    dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
    return center, side, dtype, like.device
