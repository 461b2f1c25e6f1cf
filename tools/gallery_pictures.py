"""The pictures of docs/gallery.md: photos drawn by lot, with what the shipped model says of them.

    .venv/bin/python tools/gallery_pictures.py docs/images --photos ../shared/realdata/photos-pool \
        [--adapted MODEL ../shared/realdata/sign-digits/images]

With a model that `auxhand adapt` made of the first half of each of a folder's folders, also
adapt.jpg, photos of the second halves before and after. Photos are not distributed with AuxHand
beyond what these sheets show, none with a face.
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


def odd_photos(folder: Path) -> list[Path]:
    """Every second photo of a folder, which nothing was learnt from."""
    return sorted(folder.rglob("*.jpg"))[1::2]


def second_halves(folder: Path) -> list[Path]:
    """Photos of the second half of each folder in it."""
    each = [sorted(path.iterdir()) for path in sorted(folder.iterdir())]
    return [path for photos in each for path in photos[len(photos) // 2 :]]


def drawn_by_lot(photos: Sequence[Path]) -> list[Path]:
    """`COUNT` of the photos, in the order of a lot."""
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
    parser.add_argument(
        "--adapted", type=Path, nargs=2, metavar=("MODEL", "FOLDER"), help="see above"
    )
    args = parser.parse_args()
    estimator = HandPoseEstimator.load()
    bundled = sorted((Path(auxhand.__file__).parent / "assets" / "photos").glob("*.jpg"))
    sheets = {"bundled": bundled} | {
        name: drawn_by_lot(odd_photos(args.photos / name)) for name in SETS
    }
    pictures = {f"gallery_{name}": sheet(photos, estimator) for name, photos in sheets.items()}
    if args.adapted is not None:
        model, folder = args.adapted
        after, shown = HandPoseEstimator.load(model), drawn_by_lot(second_halves(folder))
        pictures["adapt"] = before_and_after(shown, estimator, after)
    for name, picture in pictures.items():
        with writing(args.out / f"{name}.jpg") as unfinished:
            Image.fromarray(picture).save(unfinished, "JPEG", quality=82)


if __name__ == "__main__":
    main()
