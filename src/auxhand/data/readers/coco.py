"""One's own data: images and one JSON file in the style of COCO, as mmpose and others write them.

Facts from COCO's format (cocodataset.org, "keypoint detection") and from the JSON files of mmpose
(github.com/open-mmlab/mmpose, tests/data/{freihand,onehand10k,panoptic,rhd}): images have id and
file_name, annotations image_id and keypoints u, v and a flag of each, in one list or as [21][3];
flag 0 is a joint that is not labelled, 2 one that is labelled and visible; 1 is labelled but hidden
in COCO, while mmpose writes 1 for all that are labelled. So joint_visible is told only by a file in
which 2 occurs. Whoever has 3D too writes joint_cam (mmpose; camera frame, millimetres) or
keypoints_3d, and the camera as cam_param with focal and princpt, or K, of an image or annotation.

A file may name its joints in categories[].keypoints. Names by anatomy (index_mcp) tell their order;
numbered ones (forefinger1) tell the fingers alone, since mmpose writes the same numbers for RHD,
whose fingers begin at the tip. Whole-body files (github.com/jin-s13/COCO-WholeBody: lefthand_kpts,
righthand_kpts; or 133 keypoints, of which the hands are 91 to 111 and 112 to 132) give a sample for
each hand that is labelled.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from auxhand.data.crops import CropRule
from auxhand.data.readers.files import entries, entry, numbers, read_json, read_labelled, require
from auxhand.hand.skeleton import FINGERS, NUM_JOINTS, ORDERS
from auxhand.sample import LEFT, RIGHT, SIDES, HandSample

IN_3D: Final = ("joint_cam", "keypoints_3d")
OF_SIDE: Final = ("hand_type", "side")
_WHOLE_BODY: Final = {LEFT: ("lefthand", 91), RIGHT: ("righthand", 112)}
_FINGER: Final = {
    "thumb": "thumb",
    **dict.fromkeys(("index", "fore", "pointer"), "index"),
    "middle": "middle",
    "ring": "ring",
    **dict.fromkeys(("pinky", "little", "small"), "pinky"),
}
_PARTS: Final = {
    "thumb": ("cmc", "mcp", "ip", "tip"),
    **dict.fromkeys(("index", "middle", "ring", "pinky"), ("mcp", "pip", "dip", "tip")),
}


@dataclass(frozen=True)
class _Hand:
    """One annotation of a hand, as the file has it.

    Attributes:
        annotation, image: its entries.
        keypoints: u, v and flag; None: a box alone.
        side: told by where the keypoints were found.
        name: of the sample.
    """

    annotation: dict[str, Any]
    image: dict[str, Any] | None
    keypoints: Any
    side: str | None
    name: str


class Coco:
    """Samples of a COCO-style file (`auxhand.data.readers.reader.Reader`), one for each annotation
    of a hand; annotations of other categories are left out.

    A joint is invalid where its flag is 0 or `joint_valid` of its annotation says so; its
    coordinates are then whatever the file has, or 0 where that is no number. An annotation without
    keypoints (a box alone) makes a sample without joints; boxes are not read. project(K,
    joints_xyz) equals joints_uv as well as the file has it (mmpose's RHD rounds to half precision:
    0.1 px). What is wrong with one annotation is said when its sample is asked for.

    Args:
        root: the folder of the JSON file.
        split: the JSON file's name without ".json".
        images: folder to which `file_name` is relative; None: `root`, or `root`/images if there.
        order: the joints' order, a key of `auxhand.hand.skeleton.ORDERS`; None: as the file names
            its joints, or else ours.
        unit: metres in the unit of 3D joints.
        side: "left" or "right", of hands whose annotation does not tell.

    Raises:
        FileNotFoundError: no such folder or file.
        ValueError: no COCO file, an image named twice, no hand, an order that contradicts the names
            of the file's joints.
    """

    NAME: ClassVar[str] = "coco"
    LAYOUT: ClassVar[str] = """\
ROOT/
  SPLIT.json       images: id, file_name [, width, height, cam_param or K]; annotations: image_id,
                   keypoints of 21 x (u, v, flag) [, joint_cam or keypoints_3d, cam_param or K,
                   hand_type or side (right, left), joint_valid] [; categories: id, keypoints]
  images/          what `file_name` names (or beside the JSON file)"""
    COUNTS: ClassVar[Mapping[str, int]] = {}
    CROP: ClassVar[CropRule] = CropRule(by="joints", fraction=0.8)

    def __init__(
        self,
        root: Path,
        split: str,
        images: Path | None = None,
        order: str | None = None,
        unit: float = 1e-3,
        side: str | None = None,
    ) -> None:
        if order is not None and order not in ORDERS:
            raise ValueError(f"joint order {order!r} is unknown; known are {sorted(ORDERS)}")
        root = Path(root)
        require(root, [f"{split}.json"], self.LAYOUT)
        within = root / "images"
        self._folders = [Path(images)] if images else [within, root] if within.is_dir() else [root]
        self._file, self._split = str(root / f"{split}.json"), split
        self._unit, self._side = unit, side
        content = read_json(root / f"{split}.json")
        self._hands = list(_hands(content, self._file))
        if not self._hands:
            raise ValueError(f"{self._file} has no annotation of a hand")
        self._order = _order(content, order, self._file)
        self._tells_visible = any(_has_visible(hand.keypoints) for hand in self._hands)

    def __len__(self) -> int:
        return len(self._hands)

    def __getitem__(self, index: int) -> HandSample:
        hand = self._hands[index]
        where = f"{self._file}, annotation {hand.name}"
        if hand.image is None:
            raise ValueError(f"{where}: there is no image {hand.annotation.get('image_id')}")
        xyz, K = _xyz(hand.annotation, where), _K(hand.annotation, hand.image, where)
        given = _keypoints(hand.keypoints, where)
        valid = _valid(hand.annotation, given, where)
        visible = given[:, 2] == 2 if given is not None and self._tells_visible else None
        labelled = torch.ones(NUM_JOINTS, dtype=torch.bool) if valid is None else valid
        return HandSample(
            image=read_labelled(self._path(hand.image, where), _size(hand.image, where)),
            K=None if K is None else K.float(),
            side=_side(hand, where) or self._side,
            joints_uv=None if given is None else self._ours(_told(given[:, :2], labelled)),
            joints_xyz=None if xyz is None else self._ours(_told(xyz * self._unit, labelled)),
            joint_valid=None if valid is None else valid[self._order],
            joint_visible=None if visible is None else visible[self._order],
            source=f"coco/{self._split}/{hand.name}",
        )

    def _ours(self, joints: Tensor) -> Tensor:
        return joints[self._order].float()

    def _path(self, image: dict[str, Any], where: str) -> Path:
        """The picture, which lies within the folder of images."""
        name = PureWindowsPath(str(entry(image, "file_name", where)))  # of either slash
        if name.anchor or ".." in name.parts:
            raise ValueError(
                f"{where}: file_name {name.as_posix()!r} leaves the folder of the images"
            )
        paths = [folder / name.as_posix() for folder in self._folders]
        # The folder may be named twice, by who calls and by the file.
        twice = [folder for folder in self._folders if name.parts[:1] == (folder.name,)]
        paths += [folder.parent / name.as_posix() for folder in twice]
        return next((path for path in paths if os.path.isfile(path)), paths[0])


def _hands(content: Any, where: str) -> Iterator[_Hand]:
    """The hands of the file, in its order.

    Raises:
        ValueError: no COCO file, an image named twice.
    """
    images: dict[str, dict[str, Any]] = {}
    for image in entries(content, "images", where):
        key = str(entry(image, "id", where))
        if key in images:
            raise ValueError(f"{where}: image id {key} occurs twice: number the images anew")
        images[key] = image
    kinds = _categories(content)
    for index, annotation in enumerate(entries(content, "annotations", where)):
        image_of = images.get(str(entry(annotation, "image_id", where)))
        name = str(annotation.get("id", index))
        if (found := list(_whole_body(annotation))) or "lefthand_kpts" in annotation:
            for side, points in found:
                yield _Hand(annotation, image_of, points, side, f"{name}_{side}")
        elif kinds.get(str(annotation.get("category_id")), True):
            yield _Hand(annotation, image_of, annotation.get("keypoints"), None, name)


def _categories(content: dict[str, Any]) -> dict[str, bool]:
    """Category -> whether it is hands; empty where the file does not tell them apart."""
    categories = content.get("categories")
    told = [c for c in categories if isinstance(c, dict)] if isinstance(categories, list) else []
    hands = {
        str(c.get("id")): "hand" in str(c.get("name", "")).lower() or len(_names(c)) == NUM_JOINTS
        for c in told
    }
    return hands if any(hands.values()) else {}


def _names(category: dict[str, Any]) -> Sequence[Any]:
    names = category.get("keypoints")
    return names if isinstance(names, list) else ()


def _whole_body(annotation: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """Side and keypoints (63 numbers) of the labelled hands of a whole body."""
    body = annotation.get("keypoints")
    for side, (name, first) in _WHOLE_BODY.items():
        points = annotation.get(f"{name}_kpts")
        if points is None and isinstance(body, list) and len(body) == 3 * 133:
            points = body[3 * first : 3 * (first + NUM_JOINTS)]
        if isinstance(points, list) and annotation.get(f"{name}_valid", True) and any(points[2::3]):
            yield side, points


def _order(content: Any, order: str | None, where: str) -> list[int]:
    """theirs[..., order, :] = ours, by the names of the joints, by the order given, or both.

    Raises:
        ValueError: the names contradict the order given.
    """
    given = None if order is None else list(ORDERS[order])
    categories = content.get("categories")
    for category in categories if isinstance(categories, list) else ():
        names = _names(category) if isinstance(category, dict) else ()
        places = [_place(str(name)) for name in names]
        told = sorted(j for j in (_joint(p) for p in places) if j is not None)
        if told != list(range(NUM_JOINTS)):
            continue
        by_name = [[_joint(p) for p in places].index(joint) for joint in range(NUM_JOINTS)]
        if given is None:
            return by_name
        numbered = all(part.isdigit() for finger, part in places if finger != "wrist")
        fingers = [places[j][0] for j in given], [places[j][0] for j in by_name]
        if given != by_name and not (numbered and fingers[0] == fingers[1]):
            raise ValueError(
                f"{where}: order {order!r} contradicts the names of its joints "
                f"({', '.join(map(str, names[:6]))}, ...): leave --order out, or correct the names"
            )
    return given or list(range(NUM_JOINTS))


def _place(name: str) -> tuple[str, str]:
    """Finger (or wrist) and part of a joint's name; ("", "") of another name."""
    name = name.lower()
    if "wrist" in name:
        return "wrist", ""
    finger = next((ours for word, ours in _FINGER.items() if word in name), "")
    part = re.search(r"cmc|mcp|pip|dip|tip|ip|[1-4](?=\D*$)", name)
    return (finger, part[0]) if finger and part else ("", "")


def _joint(place: tuple[str, str]) -> int | None:
    """Our number of a joint."""
    finger, part = place
    if finger == "wrist":
        return 0
    if finger and part.isdigit():
        return FINGERS[finger][int(part) - 1]
    if finger and part in _PARTS[finger]:
        return FINGERS[finger][_PARTS[finger].index(part)]
    return None


def _has_visible(keypoints: Any) -> bool:
    """Whether a joint has flag 2."""
    if not isinstance(keypoints, list):
        return False
    nested = bool(keypoints) and isinstance(keypoints[0], list)
    return any(p[2] == 2 for p in keypoints if len(p) == 3) if nested else 2 in keypoints[2::3]


def _told(joints: Tensor, labelled: Tensor) -> Tensor:
    """Unlabelled joints that are no numbers become zeros."""
    return joints.where(labelled[:, None] | joints.isfinite(), 0.0)


def _size(image: dict[str, Any], where: str) -> tuple[int, int] | None:
    """Width and height that the file says a picture has."""
    if image.get("width") is None or image.get("height") is None:
        return None
    width, height = (numbers(image[n], (), f"{where}, {n}").item() for n in ("width", "height"))
    return round(width), round(height)


def _keypoints(values: Any, where: str) -> Tensor | None:
    """(21, 3) u, v and flag, in the file's order."""
    if values is None:
        return None
    flat = isinstance(values, list) and len(values) == 3 * NUM_JOINTS
    shape = (3 * NUM_JOINTS,) if flat else (NUM_JOINTS, 3)
    points = numbers(values, shape, where, finite=False).view(-1, 3)
    if not bool(points[:, 2].isfinite().all()):
        raise ValueError(f"{where}: a joint's flag is not a number")
    return points


def _xyz(annotation: Any, where: str) -> Tensor | None:
    """(21, 3) in the file's unit and order."""
    for name in IN_3D:
        if annotation.get(name) is not None:
            return numbers(annotation[name], (NUM_JOINTS, 3), f"{where}, {name}", finite=False)
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


def _side(hand: _Hand, place: str) -> str | None:
    for name in OF_SIDE:
        if (side := hand.annotation.get(name)) is not None:
            if side not in SIDES:
                raise ValueError(f"{place}: {name} is {side!r}, expected 'right' or 'left'")
            return str(side)
    return hand.side
