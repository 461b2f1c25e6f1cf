"""Figures of hands by factors (Fig. 4.4 to 4.6, 4.8) as rows of tiles, and the numbers in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from auxhand.geometry.canonical import canonical_pose, rotate
from auxhand.inference.synthesis import Shown, codes_of, factor_walk, pictures, transfer
from auxhand.models.disentangled import DisentangledNet
from auxhand.viz import GROUND, draw_hand, grid

REACH = 0.13
"""Metres: half the width of a drawn pose; a hand of any pose fits."""

TILE = 192
"""Pixels."""

STEP = 150
"""Milliseconds of a frame."""

COLUMNS = 8
"""Hands at random in a row."""

Tile = np.ndarray


@dataclass
class Figure:
    """Rows of tiles of one length.

    Attributes:
        rows: of uint8 RGB tiles.
        labels: what each row's first tile, or each tile of it, is.
        numbers: codes `z` (..., D), poses `xyz_m` (..., 21, 3) in metres and, where the network
            decodes them, images `image` (..., S, S, 3) uint8.
        frames: of a moving picture; none where nothing moves.
    """

    rows: list[list[Tile]]
    labels: list[list[str]]
    numbers: dict[str, np.ndarray]
    frames: list[Tile] = field(default_factory=list)

    def sheet(self) -> np.ndarray:
        """The figure, (H, W, 3) uint8 RGB."""
        tiles = [tile for row in self.rows for tile in row]
        labels = [label for row in self.labels for label in row]
        return grid(tiles, len(self.rows[0]), TILE, labels)

    def moving(self) -> bytes:
        """Its frames as a GIF that goes on and on."""
        first, *others = (Image.fromarray(frame) for frame in self.frames)
        file = BytesIO()
        first.save(file, "GIF", save_all=True, append_images=others, duration=STEP, loop=0)
        return file.getvalue()


def walk_figure(net: DisentangledNet, ends: Shown, steps: int, unit: float) -> Figure:
    """From one hand to another, one factor after the other (Fig. 4.4, 4.5).

    For each factor: the images with all else as in the first hand, as in the second, and the poses
    of the former; between what the two ends are.

    Args:
        net: decodes images, poses or both.
        ends: the two hands.
        steps: of a walk, both ends among them.
        unit: the reference length in metres.

    Raises:
        ValueError: fewer than two steps.
    """
    a, b = codes_of(net, ends)
    walks = torch.stack(
        [
            torch.stack(
                [factor_walk(net, a, b, f, steps), factor_walk(net, b, a, f, steps).flip(0)]
            )
            for f in net.factors
        ]
    )
    numbers = _numbers(net, walks, unit)
    given, skeletons = _tiles(ends.images), _skeletons(_true_poses(net, ends, unit))
    figure = Figure([], [], numbers)
    for number, factor in enumerate(net.factors):
        poses = [draw_hand(xyz, REACH, TILE) for xyz in numbers["xyz_m"][number, 0]]
        shown = list(numbers["image"][number]) if "image" in numbers else []
        rest = _others(net, factor)
        for images, end in zip(shown, "AB", strict=False):
            _append(figure, [given[0], *images, given[1]], f"{factor} A to B, {rest} {end}")
        _append(figure, [skeletons[0], *poses, skeletons[1]], f"poses, {rest} A")
        figure.frames += [
            grid([*(images[i] for images in shown), pose], 1 + len(shown), TILE)
            for i, pose in enumerate(poses)
        ]
    return figure


def transfer_figure(
    net: DisentangledNet, source: Shown, rest: Shown, factor: str, unit: float
) -> Figure:
    """A row has the factor of one hand, a column all else of another (Fig. 4.6): "pose" of some
    images, content of others.

    Args:
        net: decodes images, poses or both.
        source, rest: the hands of the rows and of the columns.
        factor: a part of z.
        unit: the reference length in metres.

    Raises:
        ValueError: no such factor.
    """
    codes = transfer(net, codes_of(net, source), codes_of(net, rest), factor)
    numbers = _numbers(net, codes, unit)
    blank = np.full((TILE, TILE, 3), GROUND, np.uint8)
    head = [blank, blank, *_tiles(rest.images)]
    figure = Figure([head], [["", "", *(len(rest.images) * [_others(net, factor)])]], numbers)
    skeletons = _skeletons(_true_poses(net, source, unit))
    for number, (image, pose) in enumerate(zip(_tiles(source.images), skeletons, strict=True)):
        made = (
            list(numbers["image"][number])
            if "image" in numbers
            else _skeletons(numbers["xyz_m"][number])
        )
        _append(figure, [image, pose, *made], factor)
    return figure


def sample_figure(net: DisentangledNet, z: Tensor, unit: float) -> Figure:
    """Hands of codes (N, D), each image with its pose below.

    Args:
        net: decodes images, poses or both.
        z: codes.
        unit: the reference length in metres.
    """
    numbers = _numbers(net, z, unit)
    kinds = [_skeletons(numbers["xyz_m"])]
    if "image" in numbers:
        kinds.insert(0, list(numbers["image"]))
    columns = min(len(z), COLUMNS)
    blank = np.full((TILE, TILE, 3), GROUND, np.uint8)
    figure = Figure([], [], numbers)
    for start in range(0, len(z), columns):
        for tiles in kinds:
            _append(figure, (tiles[start : start + columns] + columns * [blank])[:columns], "")
    return figure


@torch.no_grad()
def comparison_figure(net: DisentangledNet, hands: Shown, unit: float) -> Figure:
    """Image, canonical pose true and predicted, 3D pose true and predicted (Fig. 4.8).

    Args:
        net: of the variant "pose".
        hands: with their poses.
        unit: the reference length in metres.

    Raises:
        ValueError: a network without canonical poses, or hands without poses.
    """
    if not {"canonical", "pose"} <= set(net.decoders):
        raise ValueError("the network says nothing of canonical poses: train the variant pose")
    if hands.pose is None:
        raise ValueError("no true poses to compare with: name hands whose joints are all labelled")
    said = net(hands.images)
    true, _ = canonical_pose(hands.pose)
    columns = {
        "canonical, true": true,
        "canonical, predicted": said.canonical,
        "3D pose, true": hands.pose,
        "3D pose, predicted": said.xyz,
        "viewpoint x canonical": rotate(said.viewpoint, said.canonical),
    }
    drawn = [_skeletons(unit * pose.cpu().numpy()) for pose in columns.values()]
    rows = [list(row) for row in zip(_tiles(hands.images), *drawn, strict=True)]
    numbers = {
        name: unit * pose.cpu().numpy()
        for name, pose in (
            *(("canonical_true_m", true), ("canonical_m", said.canonical)),
            *(("xyz_true_m", hands.pose), ("xyz_m", said.xyz)),
        )
    }
    return Figure(rows, [["image", *columns]] * len(rows), numbers)


def _others(net: DisentangledNet, factor: str) -> str:
    """The other factors, in words."""
    return " and ".join(each for each in net.factors if each != factor)


def _append(figure: Figure, tiles: list[Tile], label: str) -> None:
    figure.rows.append(tiles)
    figure.labels.append([label, *(len(tiles) - 1) * [""]])


@torch.no_grad()
def _numbers(net: DisentangledNet, z: Tensor, unit: float) -> dict[str, np.ndarray]:
    """See `Figure`."""
    xyz = net.decode(z.flatten(0, -2)).xyz
    assert xyz is not None  # every variant decodes poses
    numbers = {
        "z": z.cpu().numpy(),
        "xyz_m": (unit * xyz).view(*z.shape[:-1], 21, 3).cpu().numpy(),
    }
    if "image" in net.decoders:
        numbers["image"] = _pixels(pictures(net, z))
    return numbers


@torch.no_grad()
def _true_poses(net: DisentangledNet, shown: Shown, unit: float) -> np.ndarray:
    """(N, 21, 3) metres: the told poses, or else what the codes of the hands say."""
    pose = shown.pose
    if pose is None:
        pose = net.decode(codes_of(net, shown)).xyz
    assert pose is not None
    poses: np.ndarray = unit * pose.cpu().numpy()
    return poses


def _pixels(images: Tensor) -> np.ndarray:
    """(..., 3, S, S) in [0, 1] -> (..., S, S, 3) uint8."""
    pixels: np.ndarray = (images.movedim(-3, -1) * 255 + 0.5).to(torch.uint8).cpu().numpy()
    return pixels


def _tiles(images: Tensor) -> list[Tile]:
    return list(_pixels(images))


def _skeletons(poses: np.ndarray) -> list[Tile]:
    return [draw_hand(xyz, REACH, TILE) for xyz in poses]
