"""What is known about a hand crop (`HandSample`, `HandBatch`) and what a network says (`HandPose`).

Units and frames: lengths in metres; `uv` in pixels of the crop, an integer
coordinate being a pixel's centre; `xyz` in the OpenCV frame of the crop's camera (x right, y down,
z forward), so that project(K, joints_xyz) = joints_uv. `side` is the person's true hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from auxhand.geometry.camera import CROP_FOV, intrinsics_from_fov
from auxhand.geometry.crop import Crop
from auxhand.hand.skeleton import NUM_JOINTS

RIGHT, LEFT = "right", "left"
SIDES: tuple[str, str] = (RIGHT, LEFT)
MANO_PARAMETERS = 16 * 3 + 10

_TensorFunction = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class HandSample:
    """One hand crop with whatever is known about it; what a dataset does not have is `None`.

    Attributes:
        image: (3, H, W) float32 RGB in [0, 1].
        K: (3, 3) intrinsics in pixels of `image`.
        side: "right" or "left", the person's true hand; None if unknown.
        joints_uv: (21, 2) pixels of `image`.
        joints_xyz: (21, 3) metres, in the camera frame of `K`.
        joint_valid: (21,) bool, joints whose labels can be trusted.
        joint_visible: (21,) bool, joints that nothing hides from the camera.
        depth: (H, W) metres along z, 0 = no value.
        mask: (H, W) float32 in {0, 1}, 1 = hand.
        presence: () float32, 1 = a hand to be estimated is here, 0 = none is.
        cloud: (N, 3) metres, visible surface, in the camera frame of `K`.
        mano: (58,) pose and shape of the MANO model (Ch. 2.4.2): axis-angles of its 16 joints in
            its own order, the whole hand's in the camera frame of `K` first, the fingers' about its
            mean pose, radians; then 10 shape coefficients.
        content: (3, H, W) float32, a tag image, which shares with `image` what is not pose (Ch.
            4.3.3).
        index: the sample's number in its stream, the same at every visit.
        source: where the sample comes from (dataset and index or file).
        crop: the transform from the original image and camera to this crop.
    """

    image: Tensor | None = None
    K: Tensor | None = None
    side: str | None = None
    joints_uv: Tensor | None = None
    joints_xyz: Tensor | None = None
    joint_valid: Tensor | None = None
    joint_visible: Tensor | None = None
    depth: Tensor | None = None
    mask: Tensor | None = None
    presence: Tensor | None = None
    cloud: Tensor | None = None
    mano: Tensor | None = None
    content: Tensor | None = None
    index: int | None = None
    source: str = ""
    crop: Crop | None = None

    @staticmethod
    def collate(samples: Sequence[HandSample], cloud_points: int = 256) -> HandBatch:
        """Stack samples into a batch; fields that a sample lacks are zeros flagged as invalid.

        Clouds are brought to `cloud_points` points by taking evenly spaced entries (repeating some
        where there are too few); a random choice belongs to the dataset, which knows its seed.

        Raises:
            ValueError: no samples, or images, depths and masks of different sizes.
        """
        if not samples:
            raise ValueError("cannot make a batch of no samples")
        height, width = _common_size(samples)
        shapes: dict[str, tuple[int, ...]] = {
            "image": (3, height, width),
            "K": (3, 3),
            "joints_uv": (NUM_JOINTS, 2),
            "joints_xyz": (NUM_JOINTS, 3),
            "depth": (height, width),
            "mask": (height, width),
            "presence": (),
            "cloud": (cloud_points, 3),
            "mano": (MANO_PARAMETERS,),
            # Rare, and as large as the images.
            "content": (3, height, width)
            if any(s.content is not None for s in samples)
            else (3, 0, 0),
        }
        tensors: dict[str, Tensor] = {}
        valid: dict[str, Tensor] = {}
        for name, shape in shapes.items():
            values = [getattr(s, name) for s in samples]
            if name == "cloud":
                values = [None if v is None else _resample(v, cloud_points) for v in values]
            valid[name] = torch.tensor([v is not None for v in values])
            tensors[name] = torch.stack(
                [torch.zeros(shape) if v is None else v.to(torch.float32) for v in values]
            )
        for name in ("joint_valid", "joint_visible"):
            flags = [getattr(s, name) for s in samples]
            valid[name] = torch.tensor([v is not None for v in flags])
            tensors[name] = torch.stack(
                [torch.zeros(NUM_JOINTS, dtype=torch.bool) if v is None else v for v in flags]
            )
        labelled = valid["joints_uv"] | valid["joints_xyz"]
        unstated = labelled & ~valid["joint_valid"]
        tensors["joint_valid"] = tensors["joint_valid"] | unstated[:, None]
        valid["side"] = torch.tensor([s.side is not None for s in samples])
        tensors["left"] = torch.tensor([s.side == LEFT for s in samples])
        valid["crop"] = torch.tensor([s.crop is not None for s in samples])
        valid["index"] = torch.tensor([s.index is not None for s in samples])
        tensors["index"] = torch.tensor([-1 if s.index is None else s.index for s in samples])
        return HandBatch(
            **tensors,
            valid=valid,
            source=tuple(s.source for s in samples),
            crop=Crop.stack([s.crop for s in samples]),
        )


def _common_size(samples: Sequence[HandSample]) -> tuple[int, int]:
    """(height, width) shared by all pictures; (0, 0) where there are none."""
    sizes = {
        tuple(value.shape[-2:])
        for s in samples
        for value in (s.image, s.depth, s.mask, s.content)
        if value is not None
    }
    if len(sizes) > 1:
        raise ValueError(f"samples of one batch must have one image size, got {sorted(sizes)}")
    height, width = next(iter(sizes), (0, 0))
    return height, width


def _resample(cloud: Tensor, count: int) -> Tensor:
    """(N, 3) -> (count, 3) by evenly spaced entries."""
    if len(cloud) == 0:
        raise ValueError("a cloud without points: give None instead")
    index = torch.arange(count, device=cloud.device) * len(cloud) // count
    return cloud[index]


@dataclass(frozen=True)
class HandBatch:
    """B samples; shapes are those of `HandSample` with a leading B.

    `valid[name]` is (B,) bool: does the sample have that field. A field that is invalid is zeros;
    an `index` -1, the matrices of a `crop` identities. `crop` is one `Crop` of B.
    `joint_valid` is (B, 21) bool: labelled joints that can be trusted (all of them where a dataset
    gives joints and says nothing else). `left` is (B,) bool, meaningful where `valid["side"]`.
    """

    image: Tensor
    K: Tensor
    left: Tensor
    joints_uv: Tensor
    joints_xyz: Tensor
    joint_valid: Tensor
    joint_visible: Tensor
    depth: Tensor
    mask: Tensor
    presence: Tensor
    cloud: Tensor
    mano: Tensor
    content: Tensor
    index: Tensor
    valid: dict[str, Tensor]
    source: tuple[str, ...]
    crop: Crop

    def __len__(self) -> int:
        return len(self.source)

    @property
    def cameras(self) -> Tensor:
        """(B, 3, 3) intrinsics; where none are told, as from far away (`camera.CROP_FOV`)."""
        size = self.image.shape[-1]
        far = intrinsics_from_fov(CROP_FOV, size, size).to(self.K)
        return torch.where(self.valid["K"][:, None, None], self.K, far)

    @property
    def turned(self) -> Tensor:
        """(B,) bool, whether the crop's camera looks elsewhere than the image's: two such crops of
        an image differ by more than a similarity of their pixels."""
        return self.valid["crop"] & (self.crop.R[:, 2, 2] < 1 - 1e-6)

    @property
    def shown_left(self) -> Tensor:
        """(B,) bool, whether the hand looks like a left one in the crop: the mirror turns sides."""
        return self.left ^ (self.crop.mirrored & self.valid["crop"])

    def _map(self, function: _TensorFunction) -> HandBatch:
        tensors: dict[str, Any] = {
            f.name: function(value)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        valid = {name: function(flags) for name, flags in self.valid.items()}
        return replace(self, **tensors, valid=valid, crop=self.crop.map(function))

    def select(self, rows: Tensor) -> HandBatch:
        """The samples of those numbers, or of that mask (B,), as a batch."""
        numbers = rows.nonzero()[:, 0] if rows.dtype == torch.bool else rows
        chosen = self._map(lambda t: t[numbers])
        return replace(chosen, source=tuple(self.source[i] for i in numbers.tolist()))

    @staticmethod
    def join(batches: Sequence[HandBatch]) -> HandBatch:
        """Batches of one image size as one, in their order.

        Raises:
            ValueError: no batches, or images or clouds of different sizes.
        """
        if not batches:
            raise ValueError("cannot make a batch of no batches")
        if len({(b.image.shape[1:], b.cloud.shape[1:], b.content.shape[1:]) for b in batches}) > 1:
            raise ValueError(
                "batches that are joined must have one size of images, clouds and content"
            )
        # Each sees the tensors of all batches in the same order.
        listed: list[list[Tensor]] = [[] for _ in batches]
        for tensors, batch in zip(listed, batches, strict=True):
            batch._map(lambda t, tensors=tensors: tensors.append(t) or t)  # type: ignore[misc]
        columns = iter(zip(*listed, strict=True))
        joined = batches[0]._map(lambda _: torch.cat(next(columns)))
        return replace(joined, source=tuple(s for b in batches for s in b.source))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> HandBatch:
        """The batch with its tensors on `device`."""
        return self._map(lambda t: t.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> HandBatch:
        """The batch in page-locked memory; called by PyTorch's loader."""
        return self._map(lambda t: t.pin_memory())

    def __getstate__(self) -> dict[str, Any]:
        """Tensors of one type as one: loader workers would open a shared memory file for each."""
        rest = dict(self.__dict__)
        tensors = {
            name: rest.pop(name)
            for name, value in self.__dict__.items()
            if isinstance(value, Tensor)
        }
        rest["valid"] = tuple(self.valid)
        tensors["valid"] = torch.stack(list(self.valid.values()))
        joined = {
            dtype: torch.cat([t.flatten() for t in tensors.values() if t.dtype == dtype])
            for dtype in {t.dtype for t in tensors.values()}
        }
        return {
            "rest": rest,
            "joined": joined,
            "layout": [(k, t.dtype, t.shape) for k, t in tensors.items()],
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        rest, layout = state["rest"], state["layout"]
        tensors: dict[str, Any] = {}
        for dtype, data in state["joined"].items():
            mine = [(name, shape) for name, kind, shape in layout if kind == dtype]
            parts = data.split([shape.numel() for _, shape in mine])
            tensors |= {
                name: part.view(shape) for (name, shape), part in zip(mine, parts, strict=True)
            }
        tensors["valid"] = dict(zip(rest.pop("valid"), tensors["valid"], strict=True))
        self.__dict__.update(rest, **tensors)

    def joint_mask(self, name: str) -> Tensor:
        """(B, 21) bool: joints whose label in field `name` ("joints_uv", "joints_xyz") is valid."""
        return self.joint_valid & self.valid[name][:, None]


class Views(NamedTuple):
    """Two pictures of each of B visits; sample i of both shows the same stored hand."""

    first: HandBatch
    second: HandBatch

    @property
    def transform(self) -> Crop:
        """B transforms from the first pictures' pixels and cameras to the second ones'.

        `warp_image(first.image, transform.A, transform.size)` shows the first as the second does;
        it means something where both have a crop (`valid["crop"]`).
        """
        return self.first.crop.onto(self.second.crop)

    @staticmethod
    def collate(pairs: Sequence[tuple[HandSample, HandSample]], cloud_points: int = 256) -> Views:
        """`HandSample.collate` of the first and of the second ones."""
        first, second = zip(*pairs, strict=True)
        return Views(
            HandSample.collate(first, cloud_points), HandSample.collate(second, cloud_points)
        )


class Observation(NamedTuple):
    """A modality or another variable of B samples, for methods that encode whatever there is.

    Attributes:
        value: (B, ...), what its encoder takes.
        valid: (B,) bool, samples that have it.
        joints: (B, 21) bool, joints whose values count; None where there are no joints.
    """

    value: Tensor
    valid: Tensor
    joints: Tensor | None = None

    @property
    def complete(self) -> Tensor:
        """(B,) bool, samples that can be encoded: those that have it, with all joints."""
        return self.valid if self.joints is None else self.valid & self.joints.all(dim=1)

    def repeated(self, times: int) -> Observation:
        """The B samples `times` over."""
        value = self.value.repeat(times, *[1] * (self.value.ndim - 1))
        joints = None if self.joints is None else self.joints.repeat(times, 1)
        return Observation(value, self.valid.repeat(times), joints)

    def rows(self, rows: slice | Tensor) -> Observation:
        """Those samples alone."""
        joints = None if self.joints is None else self.joints[rows]
        return Observation(self.value[rows], self.valid[rows], joints)


Seen = dict[str, Observation]
"""What there is of several of them, by their names."""


@dataclass(frozen=True)
class HandPose:
    """What a network says about B crops; what a method does not have is `None`.

    Attributes:
        uv: (B, 21, 2) pixels of the crop.
        d: (B, 21) depth relative to the root, in reference lengths (Ch. 2.3.2, Eq. 3.1).
        xyz: (B, 21, 3) position relative to the root, in reference lengths, crop camera's axes.
        confidence: (B, 21) in [0, 1].
        presence: (B,) in [0, 1], probability that a hand to be estimated is in the crop.
        left: (B,) in [0, 1], probability that the hand in the crop, as it is shown, is a left one;
            its pose is then worth nothing, since networks see right hands.
        mask: (B, h, w) in [0, 1].
        depth: (B, h, w) relative to the root, in reference lengths.
        heatmaps: (B, 21, h, w).
        cloud: (B, N, 3) metres, about its centroid.
        model: (B, P) parameters h of a hand surface model (Eq. 2.4), for its regulariser.
        canonical: (B, 21, 3) canonical pose relative to the root, in reference lengths (Ch. 4.3.3).
        viewpoint: (B, 3, 3) the rotation from the canonical pose to the crop camera's axes.
    """

    uv: Tensor | None = None
    d: Tensor | None = None
    xyz: Tensor | None = None
    confidence: Tensor | None = None
    presence: Tensor | None = None
    left: Tensor | None = None
    mask: Tensor | None = None
    depth: Tensor | None = None
    heatmaps: Tensor | None = None
    cloud: Tensor | None = None
    model: Tensor | None = None
    canonical: Tensor | None = None
    viewpoint: Tensor | None = None

    def items(self) -> Iterator[tuple[str, Tensor]]:
        """(name, tensor) of the fields that are there, in a fixed order (the outputs in ONNX)."""
        for f in fields(self):
            value = getattr(self, f.name)
            if value is not None:
                yield f.name, value

    def to(self, device: torch.device | str) -> HandPose:
        """The pose with its tensors on `device`."""
        return replace(self, **{name: value.to(device) for name, value in self.items()})
