"""The pictures of docs/gallery.md: photos drawn by lot, with what the shipped model says of them.

    .venv/bin/python tools/gallery_pictures.py docs/images --photos ../shared/realdata/photos-pool \
        [--adapted MODEL]

With a model that `auxhand adapt` made of the even photos of "everyday", also adapt.jpg, photos
before and after.
Photos are not distributed with AuxHand beyond what these sheets show, none with a face.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

import auxhand
from auxhand.cli.photo import draw_hands
from auxhand.data.image import load_photo
from auxhand.files import writing
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.viz import grid

COLUMNS, CELL, COUNT, SEED = 4, 200, 12, 0
SETS = ("everyday", "letters")
"""Folders of the pool."""


def drawn_by_lot(folder: Path) -> list[Path]:
    """`COUNT` photos of a folder, in the order of a lot, of odd number: none is learnt from."""
    photos = sorted(folder.rglob("*.jpg"))[1::2]
    return [photos[row] for row in np.random.default_rng(SEED).permutation(len(photos))[:COUNT]]


def sheet(photos: Sequence[Path], estimator: HandPoseEstimator) -> np.ndarray:
    """(H, W, 3) uint8: photos with the hand that is found, its side and presence below."""
    pictures, labels = [], []
    for path in photos:
        image = load_photo(path).pixels
        hand = estimator.predict(image)
        pictures.append(draw_hands(image, [hand] if hand else [], [""] if hand else []))
        labels.append(f"{hand.side} {hand.presence:.2f}" if hand else "no hand found")
    return grid(pictures, COLUMNS, CELL, labels)


def before_and_after(
    photos: Sequence[Path], before: HandPoseEstimator, after: HandPoseEstimator
) -> np.ndarray:
    """(H, W, 3) uint8: pairs of the same photo with what two models say of the hand that the first
    one finds."""
    pictures, labels = [], []
    for path in photos:
        image = load_photo(path).pixels
        if hand := before.predict(image):
            pictures.append(draw_hands(image, [hand], [""]))
            again = after.predict(image, hand.box, hand.side)
            pictures.append(draw_hands(image, [again], [""]))
            labels += ["before", "after"]
    return grid(pictures, COLUMNS, CELL, labels)


def main() -> None:
    """Write the sheets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--adapted", type=Path, help="folder of a model that adapt has made")
    args = parser.parse_args()
    estimator = HandPoseEstimator.load()
    bundled = sorted((Path(auxhand.__file__).parent / "assets" / "photos").glob("*.jpg"))
    sheets = {"bundled": bundled} | {name: drawn_by_lot(args.photos / name) for name in SETS}
    pictures = {f"gallery_{name}": sheet(photos, estimator) for name, photos in sheets.items()}
    if args.adapted is not None:
        after = HandPoseEstimator.load(args.adapted)
        pictures["adapt"] = before_and_after(sheets["everyday"], estimator, after)
    for name, picture in pictures.items():
        with writing(args.out / f"{name}.jpg") as unfinished:
            Image.fromarray(picture).save(unfinished, "JPEG", quality=82)


if __name__ == "__main__":
    main()
