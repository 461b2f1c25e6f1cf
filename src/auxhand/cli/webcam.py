"""`auxhand webcam`: the hands that a camera sees, followed and shown live (docs/predict.md)."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from auxhand.cli.arguments import Parser, add_model_options, check_model_options, hand_count
from auxhand.cli.results import OF_VIDEO, TABLE
from auxhand.data.drawn import FILM, NUMBERS

if TYPE_CHECKING:
    from auxhand.cli.clip import Clip
    from auxhand.cli.window import Window
    from auxhand.inference.video import Frame


def parser() -> Parser:
    """Arguments of `auxhand webcam`."""
    parser = Parser(
        description="Follow the hands that a camera sees, and show them in a window until it is "
        "closed (or Esc, q, Ctrl-C). With --out, write what `auxhand predict` writes of a video: "
        "webcam_overlay.mp4, webcam.parquet and webcam.json.",
        epilog="example: auxhand webcam --mirror",
    )
    parser.add_argument(
        "--source",
        type=_source,
        default="0",
        help="number of the camera, or a video file, which is read as fast as it goes",
    )
    parser.add_argument(
        "--mirror",
        action="store_true",
        help="show the picture as a mirror does; sides and numbers stay as they are",
    )
    parser.add_argument(
        "--hands", type=hand_count, default=2, metavar="N", help="how many at most, or `all`"
    )
    parser.add_argument("--seconds", type=float, help="end after so long; default: when asked to")
    parser.add_argument("--out", type=Path, help="folder of a recording; default: none is made")
    parser.add_argument("--csv", action="store_true", help="of a recording, write the CSV too")
    parser.add_argument(
        "--no-window", action="store_true", help="show nothing; for machines without a screen"
    )
    add_model_options(parser)
    return parser


def _source(text: str) -> int | Path:
    """'1' -> a camera's number; anything else -> a file.

    Raises:
        ArgumentTypeError: an address.
    """
    if "://" in text:
        raise ArgumentTypeError(f"a camera's number or a video file, not the address {text!r}")
    return int(text) if text.isascii() and text.isdigit() else Path(text)


def run(args: Namespace) -> None:
    """Follow the hands until the window is closed, the time is over, or the frames end.

    Raises:
        FileNotFoundError: no bundle, or no such video.
        ValueError: arguments out of range, no camera, no video, or no window can be shown.
        OSError: the recording cannot be written.
    """
    check_model_options(args)
    if args.seconds is not None and not args.seconds > 0:
        raise ValueError(f"--seconds must be positive, not {args.seconds}")
    if args.no_window and args.out is None:
        raise ValueError("--no-window shows nothing: name a folder for the recording by --out")

    from auxhand.cli.clip import Clip, summary, tracker, written
    from auxhand.cli.window import Window
    from auxhand.data.image import printable
    from auxhand.inference.estimator import HandPoseEstimator
    from auxhand.inference.video import Camera, Video

    live = isinstance(args.source, int)
    name = f"camera {args.source}" if live else printable(args.source)
    frames = iter(Camera(args.source) if live else Video(args.source))
    first = next(frames)
    size = first.pixels.shape[1], first.pixels.shape[0]
    with contextlib.ExitStack() as stack:
        window = None
        if not args.no_window:
            window = Window(f"AuxHand, {name} (Esc ends)")
            stack.callback(window.close)
        clip = Clip(
            tracker(HandPoseEstimator.load(args.model, args.device), size, args),
            mirrored=args.mirror,
        )
        stem = None if args.out is None else _free(args.out)
        if stem is not None:
            stack.enter_context(written(clip, stem, args.csv))
        began = time.monotonic()
        _watch(clip, itertools.chain([first], frames), window, args.seconds)
        took = time.monotonic() - began
    print(f"{name}: {summary(clip)}; {clip.frames / max(took, 1e-3):.0f} frames a second")
    if stem is not None:
        said = clip.told(name, size, args) | {"mirrored": args.mirror}
        _write(stem, said)
        print(f"results: {printable(stem)}{FILM}, {TABLE}, {NUMBERS}")


def _watch(
    clip: Clip, frames: Iterator[Frame], window: Window | None, seconds: float | None
) -> None:
    """Follow, draw and show frame by frame, until one of the ends of `run`."""
    with _stopped_by_interrupt() as stopped:
        for frame in frames:
            if seconds is not None and frame.time > seconds:
                return
            picture = clip.see(frame, drawn=window is not None)
            if window is not None and picture is not None:
                window.show(picture)
            if stopped() or (window is not None and window.closed):
                return


@contextlib.contextmanager
def _stopped_by_interrupt() -> Iterator[Callable[[], bool]]:
    """Inside, the first Ctrl-C or SIGTERM is a wish to end, which the function yielded tells, so
    that a recording is ended properly; the second one interrupts."""
    wishes: list[int] = []
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for kind, handler in before.items():
            signal.signal(kind, handler or signal.SIG_DFL)

    def wish(kind: int, _: object) -> None:
        wishes.append(kind)
        restore()

    try:
        for kind in before:
            signal.signal(kind, wish)
    except ValueError:  # not the main thread
        yield lambda: False
        return
    try:
        yield lambda: bool(wishes)
    finally:
        restore()


def _free(folder: Path) -> Path:
    """The folder's first of webcam, webcam_2, ... that no file is named by: a recording of a camera
    cannot be made again, and so is never replaced.

    Raises:
        OSError: the folder cannot be made.
    """
    from auxhand.files import sweep

    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    names = itertools.chain(["webcam"], (f"webcam_{n}" for n in itertools.count(2)))
    return next(
        folder / name
        for name in names
        if not any(os.path.lexists(folder / (name + suffix)) for suffix in OF_VIDEO)
    )


def _write(stem: Path, said: dict[str, object]) -> None:
    from auxhand.cli.results import write_result

    write_result(stem, NUMBERS, (json.dumps(said, indent=2) + "\n").encode())
