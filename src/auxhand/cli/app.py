"""`auxhand app`: a page in the browser that answers as `auxhand predict` does (docs/app.md)."""

from __future__ import annotations

import contextlib
import json
import threading
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auxhand.cli.arguments import Parser, add_model_options, check_model_options
from auxhand.cli.results import OF_PHOTO, OF_VIDEO, unique_names
from auxhand.cli.view import GLTF
from auxhand.data.drawn import FILM, NUMBERS, OVERLAY

if TYPE_CHECKING:
    from auxhand.app import Answer, Question
    from auxhand.inference.estimator import HandPoseEstimator


def parser() -> Parser:
    """Arguments of `auxhand app`."""
    parser = Parser(
        description="Serve a page, to this machine alone, that finds the hands in a photo, a clip "
        "or a picture of the webcam: overlay, 3D view, joints, JSON. Ctrl-C ends it. Needs the "
        "extra auxhand[app].",
        epilog="example: auxhand app --open",
    )
    parser.add_argument(
        "--port", type=int, help="to listen at; default: the first free one from 7860 on"
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    add_model_options(parser, several=True)
    return parser


def run(args: Namespace) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Raises:
        ModuleNotFoundError: the extra is not installed.
        FileNotFoundError: no bundle.
        ValueError: arguments out of range, or a port that is taken.
    """
    check_model_options(args)
    if args.port is not None and not 0 < args.port < 65536:
        raise ValueError(f"--port must lie between 1 and 65535, not {args.port}")
    try:
        import pygltflib  # noqa: F401

        from auxhand.app import serving
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed: pip install 'auxhand[app]'"
        ) from error
    from auxhand.inference.estimator import HandPoseEstimator

    models = list(dict.fromkeys(args.model or ["default"]))
    estimators = {name: HandPoseEstimator.load(name, args.device) for name in models}
    photos = sorted((Path(__file__).parents[1] / "assets" / "photos").glob("*.jpg"))
    with serving(lambda asked: answer(estimators, asked, args), models, photos, args.port) as url:
        print(f"{url} (Ctrl-C ends)", flush=True)
        if args.open:
            import webbrowser

            webbrowser.open(url)
        with contextlib.suppress(KeyboardInterrupt):
            _wait()


def _wait() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    threading.Event().wait()


def answer(estimators: Mapping[str, HandPoseEstimator], asked: Question, args: Namespace) -> Answer:
    """What `auxhand predict` says of a photo or clip, with its files and glTF of its hands.

    Raises:
        ValueError: it cannot be answered; the message names the file, not where it lies.
    """
    from auxhand.cli.work import about
    from auxhand.data.image import VIDEOS, is_animated, printable

    path, estimator = asked.file, estimators[asked.model]
    stem = asked.folder / unique_names([path])[0]
    given = {"model": asked.model, "hands": asked.hands, "box": None, "side": "auto", "csv": True}
    options = Namespace(**vars(args) | given)
    moving = path.suffix.lower() in VIDEOS or is_animated(path)
    try:
        if moving:
            from auxhand.cli.clip import predict_clip

            said = predict_clip(estimator, path, stem, options, path.name, asked.watch)[1]
        else:
            from auxhand.cli.photo import predict_photo, summary, write_results

            photo, hands = predict_photo(estimator, path, None, options)
            write_results(stem, Path(path.name), photo, hands, options)
            said = summary(hands)
        return _answer(said, stem, moving)
    except (OSError, ValueError, MemoryError) as error:
        raise ValueError(about(path, error).replace(printable(path), path.name)) from error


def _answer(said: str, stem: Path, moving: bool) -> Answer:
    """The answer that lies in the files of a result."""
    from auxhand.app import Answer
    from auxhand.inference.gltf import write_glb
    from auxhand.inference.motion import read_hands

    named = {
        suffix: stem.with_name(stem.name + suffix)
        for suffix in (*(OF_VIDEO if moving else OF_PHOTO), GLTF)
    }
    with contextlib.suppress(ValueError):  # no hand, or none in 3D
        write_glb(named[GLTF], read_hands(named[NUMBERS]))
    files = {suffix: path for suffix, path in named.items() if path.is_file()}
    numbers = json.loads(files[NUMBERS].read_bytes())
    return Answer(
        said,
        numbers,
        files.get(FILM if moving else OVERLAY),
        files.get(GLTF),
        [] if moving else _joints(numbers),
        list(files.values()),
    )


def _joints(numbers: Mapping[str, Any]) -> list[list[Any]]:
    """A row of `auxhand.app.COLUMNS` for each joint of a photo's hands."""
    return [
        [
            f"{hand['side']} {number}",
            name,
            *(joint["uv_px"] or [None] * 2),
            *(joint["camera_m"] or [None] * 3),
            joint["confidence"],
        ]
        for number, hand in enumerate(numbers["hands"])
        for name, joint in hand["joints"].items()
    ]
