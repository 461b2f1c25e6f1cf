"""`auxhand predict PHOTO...`: the 3D pose of the hand in each photo, as pictures and numbers."""

from __future__ import annotations

import glob
import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from tqdm import tqdm

from auxhand.cli.main import complain, describe
from auxhand.files import sweep
from auxhand.inference.image import SUFFIXES

OVERLAY, VIEW, NUMBERS = "_overlay.png", "_3d.png", ".json"
PARTLY_FAILED = 1
"""Exit code where some photos could not be read, but not all."""


def parser() -> ArgumentParser:
    """Arguments of `auxhand predict`."""
    parser = ArgumentParser(
        description="Find the hand in each photo and predict its 3D pose. For each photo NAME, "
        "writes NAME_overlay.png, NAME_3d.png and NAME.json (units in the names of its entries; "
        "docs/predict.md). Exit code: 0 all photos were read, with or without a hand; 1 some could "
        "not be read; 2 none could, or a mistake in the command.",
        epilog="example: auxhand predict photos/ 'more/*.jpg' --out poses --side right",
    )
    parser.add_argument("photos", nargs="+", help="JPEG, PNG or WebP files, folders or patterns")
    parser.add_argument("--out", type=Path, default=Path("poses"), help="folder of the results")
    parser.add_argument(
        "--model", default="default", help="a bundle's folder, or `default` for the shipped weights"
    )
    parser.add_argument(
        "--box",
        metavar="X,Y,W,H",
        help="where the hand is in every photo: pixels to the right of and below its upper left "
        "corner, width, height; default: look for it",
    )
    parser.add_argument(
        "--side",
        choices=["auto", "left", "right"],
        default="auto",
        help="the person's hand; auto reads it both ways and keeps the more confident",
    )
    parser.add_argument(
        "--fov",
        type=float,
        help="field of view over the photo's longer side in degrees; default: 60",
    )
    parser.add_argument("--focal", type=float, help="focal length in pixels, instead of --fov")
    parser.add_argument(
        "--hand-size",
        type=float,
        help="metres from the middle finger's knuckle to its next joint (about a quarter of wrist "
        "to fingertip), which absolute depth depends on; default: that of a mean hand",
    )
    parser.add_argument(
        "--threshold", type=float, help="least presence that counts as a hand; default: the model's"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    return parser


def run(args: Namespace) -> int:
    """Predict all photos with one load of the model; a photo that fails does not stop the rest.

    Returns:
        0, or `PARTLY_FAILED`.

    Raises:
        FileNotFoundError: no bundle.
        ValueError: arguments out of range, or not one photo could be read.
        OSError: the results cannot be written.
    """
    box = None if args.box is None else parse_box(args.box)
    _check(args)
    photos = find_photos(args.photos, args.out)
    if not photos:
        raise ValueError(f"no JPEG, PNG or WebP photos in {', '.join(args.photos)}")

    from auxhand.cli.photo import predict_photo, summary, write_results
    from auxhand.inference.estimator import HandPoseEstimator

    estimator = HandPoseEstimator.load(args.model, args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    sweep(args.out)
    outcome: Counter[str] = Counter()
    names = unique_names(photos)
    for path, name in tqdm(
        zip(photos, names, strict=True), total=len(photos), unit="photo", disable=None
    ):
        try:
            photo, prediction = predict_photo(estimator, path, box, args)
        except (OSError, ValueError) as error:
            with tqdm.external_write_mode():
                complain("auxhand predict", describe(error))
            outcome["failed"] += 1
            continue
        write_results(args.out / name, path, photo, prediction, args)
        outcome["found" if prediction else "none"] += 1
        tqdm.write(f"{path}: {summary(prediction)}")
    if outcome["failed"] == len(photos):
        raise ValueError(f"none of the {len(photos)} photos could be read")
    print(
        f"{len(photos)} photos: {outcome['found']} hands found, {outcome['none']} without a hand, "
        f"{outcome['failed']} failed\nresults: {args.out}"
    )
    return PARTLY_FAILED if outcome["failed"] else 0


def parse_box(text: str) -> tuple[float, float, float, float]:
    """'x,y,w,h' -> numbers.

    Raises:
        ValueError: anything else, or a width or height that is not positive.
    """
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--box takes four numbers x,y,w,h, not {text!r}") from None
    if not (width > 0 and height > 0):
        raise ValueError(f"--box needs a positive width and height, not {text!r}")
    return x, y, width, height


def _check(args: Namespace) -> None:
    if args.fov is not None and args.focal is not None:
        raise ValueError("give --fov or --focal, not both")
    for option, value, low, high in (
        ("--fov", args.fov, 0, 180),
        ("--focal", args.focal, 0, float("inf")),
        ("--hand-size", args.hand_size, 0, 0.5),
    ):
        if value is not None and not low < value < high:
            unit = " metres" if option == "--hand-size" else ""
            raise ValueError(f"{option} must lie between {low} and {high}{unit}, not {value}")
    if args.threshold is not None and not 0 <= args.threshold <= 1:
        raise ValueError(f"--threshold must lie between 0 and 1, not {args.threshold}")


def find_photos(arguments: Sequence[str], out: Path) -> list[Path]:
    """Files that the arguments name, each once: files, folders (with theirs, sorted), patterns.

    A folder gives its JPEG, PNG and WebP files, without hidden ones and without pictures that an
    earlier run left in `out`. A name that is neither is kept, to be reported as missing.
    """
    photos: dict[Path, Path] = {}
    for argument in arguments:
        path = Path(argument)
        found = [path]
        if path.is_dir():
            found = [
                p
                for p in sorted(path.rglob("*"))
                if p.suffix.lower() in SUFFIXES
                and p.is_file()
                and not any(part.startswith(".") for part in p.relative_to(path).parts)
                and not (p.name.endswith((OVERLAY, VIEW)) and out.resolve() in p.resolve().parents)
            ]
        elif not path.exists() and any(c in argument for c in "*?["):
            matches = sorted(glob.glob(argument, recursive=True))
            found = [Path(m) for m in matches if Path(m).is_file()] or [path]
        for p in found:
            photos.setdefault(p.resolve(), p)
    return list(photos.values())


def unique_names(photos: Sequence[Path]) -> list[str]:
    """A name for each photo's results: its own; the folder's before it where two are alike.

    What is alike even then gets the suffix or a number. Upper and lower case count as one, as in
    some file systems.
    """
    alike = Counter(path.stem.lower() for path in photos)
    names: dict[str, str] = {}
    for path in photos:
        name = path.stem
        if alike[name.lower()] > 1:
            name = f"{path.absolute().parent.name}_{name}"
        more = (f"{name}_{n}" for n in itertools.count(2))
        choices = itertools.chain([name, f"{name}_{path.suffix[1:]}"], more)
        name = next(choice for choice in choices if choice.lower() not in names)
        names[name.lower()] = name
    return list(names.values())
