"""One's own data: images and one JSON file in the style of COCO, as mmpose and others write them.

Facts from COCO's format (cocodataset.org, "keypoint detection") and from the JSON files of mmpose
(github.com/open-mmlab/mmpose, tests/data/{freihand,onehand10k,panoptic,rhd}): images have id and
file_name, annotations image_id and keypoints u, v and a flag of each, in one list or as [21][3];
flag 0 is a joint that is not labelled, 2 one that is labelled and visible; 1 is labelled but hidden
in COCO, while mmpose writes 1 for all that are labelled. So joint_visible is told only by a file in
which 2 occurs. Whoever has 3D too writes joint_cam (mmpose; camera frame, millimetres) or
keypoints_3d, and the camera as cam_param with focal and princpt, or K, of an image or annotation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from auxhand.data.crops import CropRule
from auxhand.data.readers.files import entry, numbers, read_image, read_json, require
from auxhand.hand.skeleton import NUM_JOINTS, ORDERS, reorder
from auxhand.sample import SIDES, HandSample

IN_3D: Final = ("joint_cam", "keypoints_3d")
OF_SIDE: Final = ("hand_type", "side")


class Coco:
    """Samples of a COCO-style file (`auxhand.data.readers.reader.Reader`), one for each annotation.

    A joint is invalid where its flag is 0 or `joint_valid` of its annotation says so; its
    coordinates are then whatever the file has. An annotation without keypoints (a box alone) makes
    a sample without joints; boxes are not read. project(K, joints_xyz) equals joints_uv as well as
    the file has it (mmpose's RHD rounds to half precision: 0.1 px).

    Args:
        root: the folder of the JSON file.
        split: the JSON file's name without ".json".
        images: folder to which `file_name` is relative; None: `root`, or `root`/images if there.
        order: the joints' order, a key of `auxhand.hand.skeleton.ORDERS`.
        unit: metres in the unit of 3D joints.
    """

    NAME: ClassVar[str] = "coco"
    LAYOUT: ClassVar[str] = """\
ROOT/
  SPLIT.json       images: id, file_name [, cam_param or K]; annotations: image_id, keypoints of
                   21 x (u, v, flag) [, joint_cam or keypoints_3d, cam_param or K, hand_type or side
                   (right, left), joint_valid]
  images/          what `file_name` names (or beside the JSON file)"""
    COUNTS: ClassVar[Mapping[str, int]] = {}
    CROP: ClassVar[CropRule] = CropRule(by="joints", fraction=0.8)

    def __init__(
        self,
        root: Path,
        split: str,
        images: Path | None = None,
        order: str = "freihand",
        unit: float = 1e-3,
    ) -> None:
        if order not in ORDERS:
            raise ValueError(f"joint order {order!r} is unknown; known are {sorted(ORDERS)}")
        root = Path(root)
        require(root, [f"{split}.json"], self.LAYOUT)
        within = root / "images"
        self._images = Path(images) if images else within if within.is_dir() else root
        self._samples = _samples(read_json(root / f"{split}.json"), root, split, order, unit)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> HandSample:
        file, labels = self._samples[index]
        return replace(labels, image=read_image(self._images / file))


def _samples(
    content: Any, root: Path, split: str, order: str, unit: float
) -> list[tuple[str, HandSample]]:
    """File name and sample without image of each annotation."""
    where = str(root / f"{split}.json")
    images = {entry(image, "id", where): image for image in entry(content, "images", where)}
    annotations = entry(content, "annotations", where)
    of_image = [images.get(entry(annotation, "image_id", where)) for annotation in annotations]
    places = [f"{where}, annotation {a.get('id', i)}" for i, a in enumerate(annotations)]
    keypoints = [_keypoints(a, place) for a, place in zip(annotations, places, strict=True)]
    tells_visible = any(k is not None and bool((k[:, 2] == 2).any()) for k in keypoints)
    samples = []
    for index, (annotation, place) in enumerate(zip(annotations, places, strict=True)):
        if (image := of_image[index]) is None:
            raise ValueError(f"{place}: there is no image {annotation['image_id']}")
        xyz, K, given = _xyz(annotation, place), _K(annotation, image, place), keypoints[index]
        flags = _valid(annotation, given, place)
        visible = given[:, 2] == 2 if given is not None and tells_visible else None
        labels = HandSample(
            K=None if K is None else K.float(),
            side=_side(annotation, place),
            joints_uv=None if given is None else reorder(given[:, :2], order).float(),
            joints_xyz=None if xyz is None else reorder(xyz * unit, order).float(),
            joint_valid=None if flags is None else reorder(flags[:, None], order)[:, 0],
            joint_visible=None if visible is None else reorder(visible[:, None], order)[:, 0],
            source=f"coco/{split}/{annotation.get('id', index)}",
        )
        samples.append((str(entry(image, "file_name", where)), labels))
    return samples


def _keypoints(annotation: Any, place: str) -> Tensor | None:
    """(21, 3) u, v and flag, in the file's order."""
    if (values := annotation.get("keypoints")) is None:
        return None
    flat = isinstance(values, list) and len(values) == 3 * NUM_JOINTS
    return numbers(values, (3 * NUM_JOINTS,) if flat else (NUM_JOINTS, 3), place).view(-1, 3)


def _xyz(annotation: Any, place: str) -> Tensor | None:
    """(21, 3) in the file's unit and order."""
    for name in IN_3D:
        if annotation.get(name) is not None:
            return numbers(annotation[name], (NUM_JOINTS, 3), f"{place}, {name}")
    return None


def _valid(annotation: Any, keypoints: Tensor | None, place: str) -> Tensor | None:
    """(21,) bool in the file's order, where there are joints."""
    valid = None if keypoints is None else keypoints[:, 2] > 0
    if (values := annotation.get("joint_valid")) is not None:
        flags = numbers(values, (NUM_JOINTS,), f"{place}, joint_valid") > 0
        valid = flags if valid is None else valid & flags
    return valid


def _K(annotation: Any, image: Any, place: str) -> Tensor | None:
    """(3, 3), of the annotation or of its image."""
    for owner in (annotation, image):
        if owner.get("K") is not None:
            return numbers(owner["K"], (3, 3), f"{place}, K")
        if (camera := owner.get("cam_param")) is not None:
            focal = numbers(entry(camera, "focal", place), (2,), f"{place}, focal")
            centre = numbers(entry(camera, "princpt", place), (2,), f"{place}, princpt")
            K = torch.diag(torch.cat([focal, focal.new_ones(1)]))
            K[:2, 2] = centre
            return K
    return None


def _side(annotation: Any, place: str) -> str | None:
    for name in OF_SIDE:
        if (side := annotation.get(name)) is not None:
            if side not in SIDES:
                raise ValueError(f"{place}: {name} is {side!r}, expected 'right' or 'left'")
            return str(side)
    return None
