"""How commands take their arguments. It imports nothing slow: `--help` answers at once."""

from __future__ import annotations

import argparse
from argparse import ArgumentTypeError
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """A parser for which a mistake is a ValueError, and whose help shows the options' defaults."""

    def __init__(self, **options: Any) -> None:
        """Options as those of `argparse.ArgumentParser`."""
        super().__init__(formatter_class=_Help, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print with the usage.

        Raises:
            ValueError: always.
        """
        raise ValueError(message)


class _Help(argparse.HelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        says_nothing = action.default in (None, False, argparse.SUPPRESS) or action.default == []
        if says_nothing or not action.option_strings or action.help is None:
            return action.help
        return f"{action.help} (default: %(default)s)"


def add_model_options(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """Options of what looks for hands: the model (or `several`, a list), the camera, the hand, the
    smoothing."""
    bundle = "a bundle's folder, or `default` for the shipped weights"
    if several:
        parser.add_argument("--model", action="append", help=f"{bundle}; may be given again")
    else:
        parser.add_argument("--model", default="default", help=bundle)
    parser.add_argument(
        "--fov", type=float, help="field of view over the longer side in degrees; default: 60"
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
    parser.add_argument(
        "--smoothing",
        type=smoothing,
        default="1.5,5",
        metavar="HZ,BETA",
        help="of hands in motion: cutoff of the joints' One-Euro filter at rest, and hertz added "
        "per hand's length a second; `off`: none",
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")


def check_model_options(args: argparse.Namespace) -> None:
    """Check the options of `add_model_options`.

    Raises:
        ValueError: one is out of its range, or two exclude each other.
    """
    if args.fov is not None and args.focal is not None:
        raise ValueError("give --fov or --focal, not both")
    for option, value, low, high in (
        ("--fov", args.fov, 1, 179),
        ("--focal", args.focal, 1, 1_000_000),
        ("--hand-size", args.hand_size, 0.005, 0.5),
    ):
        # What no camera and no hand has would be calculated with, to numbers that are none.
        if value is not None and not low <= value <= high:
            unit = " metres" if option == "--hand-size" else ""
            raise ValueError(f"{option} must lie between {low} and {high}{unit}, not {value}")
    if args.threshold is not None and not 0 <= args.threshold <= 1:
        raise ValueError(f"--threshold must lie between 0 and 1, not {args.threshold}")


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
