"""`auxhand predict PHOTO...`: the 3D pose of the hands in each photo or video, as pictures and
numbers."""

from __future__ import annotations

import glob
import os
import re
import sys
from argparse import ArgumentTypeError, Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from auxhand.cli.arguments import Parser
from auxhand.cli.main import complain, describe
from auxhand.cli.results import (
    FILM,
    NUMBERS,
    OF_PHOTO,
    OF_VIDEO,
    OVERLAY,
    TABLE,
    VIEW,
    check_free,
    remove_results,
    unique_names,
)

if TYPE_CHECKING:
    from auxhand.inference.estimator import HandPoseEstimator

PARTLY_FAILED = 1
"""Exit code where some photos could not be read, but not all."""


def parser() -> Parser:
    """Arguments of `auxhand predict`."""
    parser = Parser(
        description="Find the hands in each photo and predict their 3D poses. For each photo NAME, "
        "writes NAME_overlay.png, NAME_3d.png and NAME.json (units in the names of its entries; "
        "docs/predict.md); hands of a video are followed: NAME_overlay.mp4, NAME.parquet and "
        "NAME.json. Exit code: 0 all photos were read, with or without a hand; 1 some could not be "
        "read; 2 none could, or a mistake in the command.",
        epilog="example: auxhand predict photos/ 'more/*.jpg' --out poses --side right",
    )
    # `--box -10,0,50,50` is a number's start, no option's.
    parser._negative_number_matcher = re.compile(r"^-[\d.]")
    parser.add_argument(
        "photos", nargs="+", help="JPEG, PNG or WebP files, folders or patterns; video files"
    )
    parser.add_argument("--out", type=Path, default=Path("poses"), help="folder of the results")
    parser.add_argument(
        "--model", default="default", help="a bundle's folder, or `default` for the shipped weights"
    )
    parser.add_argument(
        "--hands",
        type=hand_count,
        default=1,
        metavar="N",
        help="of a photo at most, the most certain ones; `all`: all that are found",
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
    parser.add_argument("--csv", action="store_true", help="of a video, write NAME.csv too")
    parser.add_argument(
        "--smoothing",
        type=smoothing,
        default="1.5,5",
        metavar="HZ,BETA",
        help="of a video: cutoff of the joints' One-Euro filter at rest, and hertz added per "
        "hand's length a second; `off`: none",
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    return parser


def run(args: Namespace) -> int:
    """Predict all photos with one load of the model; a photo that fails does not stop the rest.

    Returns:
        0, or `PARTLY_FAILED`.

    Raises:
        FileNotFoundError: no bundle.
        ValueError: arguments out of range, or not one photo could be answered.
        OSError: the results cannot be written.
    """
    box = None if args.box is None else parse_box(args.box)
    _check(args)
    photos, problems = find_photos(args.photos, args.out)
    for problem in problems:
        complain("auxhand predict", problem)
    if not photos:
        raise ValueError(f"no JPEG, PNG or WebP photos in {', '.join(args.photos)}")

    from tqdm import tqdm

    from auxhand.data.image import printable
    from auxhand.files import sweep
    from auxhand.inference.estimator import HandPoseEstimator

    estimator = HandPoseEstimator.load(args.model, args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    sweep(args.out)
    outcome: Counter[str] = Counter(failed=len(problems))
    names = unique_names(photos)
    for path, name in tqdm(
        zip(photos, names, strict=True), total=len(photos), unit="photo", disable=None
    ):
        try:
            found = _answer(estimator, path, args.out / name, box, args)
        except (OSError, ValueError, MemoryError) as error:
            with tqdm.external_write_mode():
                complain("auxhand predict", _about(path, error))
            outcome["failed"] += 1
            continue
        outcome["video" if _is_video(path) else "photo"] += 1
        outcome["hands"] += found.hands
        outcome["none"] += found.hands == 0
        say(f"{printable(path)}: {found.summary}")
    if not outcome["photo"] + outcome["video"]:
        raise ValueError(f"none of the {outcome['failed']} photos could be answered")
    say(_closing(outcome, args.out))
    return PARTLY_FAILED if outcome["failed"] else 0


def _closing(outcome: Counter[str], out: Path) -> str:
    """What became of all photos and videos, and where the results are."""
    from auxhand.data.image import printable

    total = outcome["photo"] + outcome["video"] + outcome["failed"]
    kinds = "photos and videos" if outcome["video"] else "photos"
    films = f"; of videos NAME{FILM}, NAME{TABLE}" if outcome["video"] else ""
    return (
        f"{total} {kinds}: {outcome['hands']} hands found, {outcome['none']} without a hand, "
        f"{outcome['failed']} failed\nresults: {printable(out)} (overlays NAME{OVERLAY}, 3D views "
        f"NAME{VIEW}, numbers NAME{NUMBERS}{films})"
    )


class Found(NamedTuple):
    """What was found in a photo or video: how many hands, and in a few words."""

    hands: int
    summary: str


def _is_video(path: Path) -> bool:
    from auxhand.data.image import VIDEOS

    return path.suffix.lower() in VIDEOS


def _answer(
    estimator: HandPoseEstimator,
    path: Path,
    stem: Path,
    box: tuple[float, float, float, float] | None,
    args: Namespace,
) -> Found:
    """Predict one photo or video and write its results; where that fails there are none, no older
    ones."""
    video = _is_video(path)
    suffixes = OF_VIDEO if video else OF_PHOTO
    check_free(stem, suffixes)
    try:
        return (
            _video(estimator, path, stem, args)
            if video
            else _photo(estimator, path, stem, box, args)
        )
    except BaseException:
        remove_results(stem, suffixes)
        raise


def _photo(
    estimator: HandPoseEstimator,
    path: Path,
    stem: Path,
    box: tuple[float, float, float, float] | None,
    args: Namespace,
) -> Found:
    from auxhand.cli.photo import predict_photo, summary, write_results

    photo, predictions = predict_photo(estimator, path, box, args)
    write_results(stem, path, photo, predictions, args)
    return Found(len(predictions), summary(predictions))


def _video(estimator: HandPoseEstimator, path: Path, stem: Path, args: Namespace) -> Found:
    """See `clip.predict_clip`.

    Raises:
        ValueError: a box or side was given, which are those of one photo's hand.
    """
    from auxhand.cli.clip import predict_clip

    if args.box is not None or args.side != "auto":
        raise ValueError(f"{path}: --box and --side are for photos; a video's hands are followed")
    return Found(*predict_clip(estimator, path, stem, args))


def _about(path: Path, error: Exception) -> str:
    """What went wrong with a photo, which is named."""
    from auxhand.data.image import printable

    if isinstance(error, MemoryError):
        return f"{printable(path)}: too large for the memory; scale it down first"
    if isinstance(error, OSError) and error.filename is None:
        return f"{printable(path)}: {error.strerror or error}"
    return describe(error)


def say(text: str) -> None:
    """Print a line; where nobody reads it (`| head -1`) or it finds no room, the work goes on."""
    from tqdm import tqdm

    try:
        tqdm.write(text)
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            complain("auxhand predict", f"nothing more can be printed: {error.strerror}")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def hand_count(text: str) -> int | None:
    """'2' -> 2; 'all' -> None.

    Raises:
        ArgumentTypeError: anything else, or a number below 1.
    """
    if text == "all":
        return None
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"a positive number of hands, or all, not {text!r}")
    return int(text)


def smoothing(text: str) -> tuple[float | None, float]:
    """'1.5,5' -> numbers; 'off' -> None and 0.

    Raises:
        ArgumentTypeError: anything else, a cutoff that is not positive, or a negative beta.
    """
    if text == "off":
        return None, 0.0
    try:
        cutoff, beta = (float(part) for part in text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"two numbers HZ,BETA, or off, not {text!r}") from None
    if not (0 < cutoff < float("inf") and 0 <= beta < float("inf")):
        raise ArgumentTypeError(f"a positive HZ and a BETA from 0 on, not {text!r}")
    return cutoff, beta


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
    for option, given in (("--box", args.box is not None), ("--side", args.side != "auto")):
        if given and args.hands != 1:
            raise ValueError(f"{option} is that of one hand: leave it out, or --hands")
    if args.threshold is not None and not 0 <= args.threshold <= 1:
        raise ValueError(f"--threshold must lie between 0 and 1, not {args.threshold}")


def find_photos(arguments: Sequence[str], out: Path) -> tuple[list[Path], list[str]]:
    """Files that the arguments name, each once: files, folders (with theirs, sorted), patterns.

    A folder gives its JPEG, PNG and WebP files (see `pictures_in`), without pictures that an
    earlier run left in `out`. A name that is neither is kept, to be reported as missing.

    Returns:
        The files, and what could not be looked into, a line each.
    """
    from auxhand.data.image import SUFFIXES, pictures_in, printable

    photos: dict[str, Path] = {}
    problems: list[str] = []

    def unlisted(error: OSError) -> None:
        problems.append(f"{printable(error.filename)}: cannot be listed ({error.strerror})")

    results = os.path.realpath(out)
    for argument in arguments:
        path = Path(argument)
        found = [path]
        if re.match(r"[a-z]+://", argument):
            problems.append(f"{argument}: an address; download the photo first")
            continue
        if os.path.isdir(argument):
            found = [
                p
                for p in pictures_in(path, SUFFIXES, unlisted)
                if not (
                    p.name.endswith((OVERLAY, VIEW))
                    and os.path.realpath(p).startswith(f"{results}{os.sep}")
                )
            ]
        elif not os.path.lexists(argument) and any(c in argument for c in "*?["):
            matches = sorted(glob.glob(argument, recursive=True))
            found = [Path(m) for m in matches if os.path.isfile(m)] or [path]
        for p in found:
            photos.setdefault(os.path.realpath(p), p)
    return list(photos.values()), problems
