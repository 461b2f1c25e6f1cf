"""InterHand2.6M (Moon et al., ECCV 2020): the hands of one split, each of two being a sample.

Facts from github.com/facebookresearch/InterHand2.6M (README.md, "Annotation format") and mmpose's
sample (tests/data/interhand2.6m): three JSON files. Images have file_name, capture, camera,
frame_idx; annotations joint_valid (42). joint_3d has world_coord (42, 3) in millimetres by capture
and frame, the right hand's 21 joints, then the left's; camera has campos, camrot, focal and princpt
by capture and camera: xyz = camrot (world - campos). Joints that are not valid lie anywhere. There
are no 2D labels: joints_uv is the projection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from auxhand.data.crops import CropRule
from auxhand.data.readers.files import (
    entries,
    entry,
    numbers,
    one_of,
    read_image,
    read_json,
    require,
    told,
)
from auxhand.geometry.camera import project
from auxhand.hand.skeleton import NUM_JOINTS, reorder
from auxhand.sample import LEFT, RIGHT, HandSample

SPLITS = ("train", "val", "test")
FILES = ("data", "camera", "joint_3d")


class InterHand:
    """Samples of InterHand2.6M (`auxhand.data.readers.reader.Reader`): image, K, side, joints.

    Two hands in an image are two samples of that image.
    """

    NAME: ClassVar[str] = "interhand"
    LAYOUT: ClassVar[str] = """\
InterHand2.6M/
  annotations/SPLIT/       train, val, test
    InterHand2.6M_SPLIT_data.json
    InterHand2.6M_SPLIT_camera.json
    InterHand2.6M_SPLIT_joint_3d.json
  images/SPLIT/            what `file_name` names: Capture0/..."""
    COUNTS: ClassVar[Mapping[str, int]] = {}
    """None: what is published are numbers of images, not of hands."""
    CROP: ClassVar[CropRule] = CropRule(by="joints", fraction=0.8)
    """Our choice."""

    def __init__(self, root: Path, split: str) -> None:
        root = Path(root)
        one_of(split, SPLITS, self.NAME)
        names = [f"annotations/{split}/InterHand2.6M_{split}_{file}.json" for file in FILES]
        require(root, names, self.LAYOUT)
        data, cameras, joints = (read_json(root / name) for name in names)
        self._images = root / "images" / split
        self._samples = [
            sample
            for image, annotation, place in _pairs(data, str(root / names[0]))
            for sample in _hands(image, annotation, cameras, joints, split, place)
        ]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> HandSample:
        file, labels = self._samples[index]
        return replace(labels, image=read_image(self._images / file))


def _pairs(data: Any, where: str) -> Iterator[tuple[Any, Any, str]]:
    """Image and annotation, and what to call them."""
    images = {str(entry(image, "id", where)): image for image in entries(data, "images", where)}
    for annotation in entries(data, "annotations", where):
        place = f"{where}, annotation {entry(annotation, 'id', where)}"
        image = images.get(str(entry(annotation, "image_id", place)))
        if image is None:
            raise ValueError(f"{place}: there is no image {annotation['image_id']}")
        yield image, annotation, place


def _hands(
    image: Any, annotation: Any, cameras: Any, joints: Any, split: str, place: str
) -> Iterator[tuple[str, HandSample]]:
    """File name and sample without image of each hand that has a valid joint."""
    capture, camera, frame = (
        str(entry(image, key, place)) for key in ("capture", "camera", "frame_idx")
    )
    of_capture = entry(cameras, capture, place)
    position, R, focal, centre = (
        numbers(entry(entry(of_capture, key, place), camera, place), shape, f"{place}, {key}")
        for key, shape in (("campos", (3,)), ("camrot", (3, 3)), ("focal", (2,)), ("princpt", (2,)))
    )
    at_frame = entry(entry(joints, capture, place), frame, place)
    world = numbers(entry(at_frame, "world_coord", place), (2 * NUM_JOINTS, 3), place, finite=False)
    flags = numbers(entry(annotation, "joint_valid", place), (2 * NUM_JOINTS, 1), place)
    K = torch.diag(torch.cat([focal, focal.new_ones(1)]))
    K[:2, 2] = centre
    xyz = (world - position) @ R.mT / 1000
    for side, first in ((RIGHT, 0), (LEFT, NUM_JOINTS)):
        hand = slice(first, first + NUM_JOINTS)
        valid = reorder(flags[hand] > 0, "interhand")[:, 0]
        if not bool(valid.any()):
            continue
        ours = told(reorder(xyz[hand], "interhand"), valid)
        labels = HandSample(
            K=K.float(),
            side=side,
            joints_uv=project(K, ours).float(),
            joints_xyz=ours.float(),
            joint_valid=valid,
            source=f"interhand/{split}/{annotation['id']}/{side}",
        )
        yield str(entry(image, "file_name", place)), labels
