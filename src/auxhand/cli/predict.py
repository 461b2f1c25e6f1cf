"""`auxhand predict PHOTO...`: the 3D pose of the hands in each photo or video, as pictures and
numbers."""

from __future__ import annotations

import glob
import os
import re
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from auxhand.cli.arguments import (
    Parser,
    add_model_options,
    check_model_options,
    hand_count,
)
from auxhand.cli.main import complain
from auxhand.cli.results import TABLE, unique_names
from auxhand.data.drawn import FILM, NUMBERS, OVERLAY, VIEW

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
        "photos",
        nargs="+",
        help="JPEG, PNG, WebP, GIF or HEIC files and videos, folders of them, or patterns",
    )
    parser.add_argument("--out", type=Path, default=Path("poses"), help="folder of the results")
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
    add_model_options(parser)
    parser.add_argument(
        "--video", action="store_true", help="read animated GIF, WebP and PNG files as videos"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="leave out what has all its results, of the same model, in --out already",
    )
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="let the machines of a Ray cluster predict (extra auxhand[ray]); all must see the "
        "folders; local starts one here",
    )
    parser.add_argument(
        "--workers", type=int, default=2, help="processes of a cluster that is started here"
    )
    parser.add_argument("--csv", action="store_true", help="of a video, write NAME.csv too")
    return parser


def run(args: Namespace) -> int:
    """Predict all photos with one load of the model; a photo that fails does not stop the rest.

    Returns:
        0, or `PARTLY_FAILED`.

    Raises:
        FileNotFoundError: no bundle.
        ValueError: arguments out of range, or not one photo could be answered.
        ModuleNotFoundError, ConnectionError: no Ray, or no cluster.
        OSError: the results cannot be written.
    """
    box = None if args.box is None else parse_box(args.box)
    _check(args)
    photos, problems = find_photos(args.photos, args.out)
    for problem in problems:
        complain("auxhand predict", problem)
    if not photos:
        from auxhand.data.image import KINDS

        raise ValueError(f"no {KINDS} photos and no videos in {', '.join(args.photos)}")

    if args.cluster is not None:
        from auxhand.synth.cluster import check_cluster

        check_cluster(args.cluster)  # before anything is written

    from tqdm import tqdm

    from auxhand.cli.work import Work, answers
    from auxhand.files import sweep

    names = unique_names(photos)
    work = Work(photos, [args.out / name for name in names], box, args)
    _ = work.estimator  # what is wrong with the model is said before anything is written
    args.out.mkdir(parents=True, exist_ok=True)
    sweep(args.out)
    outcome: Counter[str] = Counter(failed=len(problems))
    for answer in tqdm(answers(work), total=len(photos), unit="photo", disable=None):
        outcome[answer.kind] += 1
        if answer.kind == "failed":
            with tqdm.external_write_mode():
                complain("auxhand predict", answer.said)
            continue
        outcome["hands"] += answer.hands
        outcome["none"] += answer.hands == 0
        say(answer.said)
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


def say(text: str) -> None:
    """Print a line beside the progress bar, at once."""
    from tqdm import tqdm

    tqdm.write(text)
    sys.stdout.flush()


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
    check_model_options(args)
    if args.workers < 1:
        raise ValueError(f"--workers must be at least 1, not {args.workers}")
    for option, given in (("--box", args.box is not None), ("--side", args.side != "auto")):
        if given and args.hands != 1:
            raise ValueError(f"{option} is that of one hand: leave it out, or --hands")


def find_photos(arguments: Sequence[str], out: Path) -> tuple[list[Path], list[str]]:
    """Files that the arguments name, each once: files, folders (with theirs, sorted), patterns.

    A folder gives its photos and videos (see `pictures_in`), without those that an earlier run left
    in `out`. A name that is neither is kept, to be reported as missing.

    Returns:
        The files, and what could not be looked into, a line each.
    """
    from auxhand.data.image import SUFFIXES, VIDEOS, pictures_in, printable

    photos: dict[str, Path] = {}
    problems: list[str] = []

    def unlisted(error: OSError) -> None:
        problems.append(f"{printable(error.filename)}: cannot be listed ({error.strerror})")

    results = os.path.realpath(out)
    for argument in arguments:
        path = Path(argument)
        found = [path]
        if re.match(r"[A-Za-z]+://", argument):
            problems.append(f"{argument}: an address; download the photo first")
            continue
        if os.path.isdir(argument):
            found = [
                p
                for p in pictures_in(path, (*SUFFIXES, *VIDEOS), unlisted)
                if not (
                    p.name.endswith((OVERLAY, VIEW, FILM))
                    and os.path.realpath(p).startswith(f"{results}{os.sep}")
                )
            ]
        elif not os.path.lexists(argument) and any(c in argument for c in "*?["):
            matches = sorted(glob.glob(argument, recursive=True))
            found = [Path(m) for m in matches if os.path.isfile(m)] or [path]
        for p in found:
            photos.setdefault(os.path.realpath(p), p)
    return list(photos.values()), problems
