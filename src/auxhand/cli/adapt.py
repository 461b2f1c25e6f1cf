"""`auxhand adapt IMAGES --out MODEL`: fit a model to one's own pictures, without labels."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from auxhand.cli.arguments import Parser
from auxhand.cli.main import complain

DIVERGED = 1
NOT_BETTER = 3
"""Exit code where adaptation did not help; the bundle then has the original weights."""


def parser() -> Parser:
    """Arguments of `auxhand adapt`."""
    parser = Parser(
        description="Fit the shipped model to your own unlabelled photos or videos of hands "
        "(SemiHand, chapter 6), or a dual-modality network of your own (chapter 7); docs/adapt.md. "
        "OUT becomes a bundle, with report.html beside it; nothing is kept outside of it. The same "
        "command again goes on where a run was interrupted. Exit code: 0 the adapted model is "
        "better and was kept; 3 it is not, and the original weights were kept; 1 training "
        "diverged; 2 a mistake in the command, or fewer than 20 usable crops.",
        epilog="example: auxhand adapt my_photos/ clip.mp4 --out my_model; "
        "auxhand predict photo.jpg --model my_model",
    )
    parser.add_argument(
        "images",
        nargs="+",
        help="photos (as of `auxhand predict`), videos, folders of them, or patterns",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the new model")
    parser.add_argument(
        "--model", default="default", help="a bundle's folder, or `default` for the shipped weights"
    )
    parser.add_argument(
        "--synthetic",
        help="a prepared dataset of labelled hands (`auxhand synth`); default: hands are rendered",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=18.0,
        help="for all of it; training gets what finding hands and rendering leave, a third at "
        "least",
    )
    parser.add_argument(
        "--workers", type=int, default=1, help="processes that make the batches, for each of two"
    )
    parser.add_argument(
        "--method",
        choices=("semihand", "dual_modality"),
        default="semihand",
        help="SemiHand, or the fine-tuning of a dual-modality network: --start",
    )
    parser.add_argument(
        "--start",
        metavar="RUN",
        help="for --method dual_modality: folder of a run of `auxhand train "
        "configs/laptop/dual_modality.yaml` or the like, or one of its checkpoints",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all randomness")
    return parser


def run(args: Namespace) -> int:
    """Adapt, and say what has become of it.

    Returns:
        0, `NOT_BETTER` or `DIVERGED`.

    Raises:
        FileNotFoundError, ValueError: see `adaptation.adapt.adapt`.
        KeyboardInterrupt: interrupted.
    """
    from auxhand.adaptation.adapt import Settings, adapt

    settings = Settings(
        tuple(args.images),
        args.model,
        args.synthetic,
        args.minutes,
        args.workers,
        args.seed,
        args.method,
        args.start,
    )
    try:
        outcome = adapt(settings, args.out)
    except FloatingPointError as error:
        complain("auxhand adapt", str(error))
        return DIVERGED
    except KeyboardInterrupt as interruption:
        if not (args.out / "bundle.json").is_file():
            raise type(interruption) from None  # what training says of its checkpoint is no matter
        kept = f"the best model so far is {args.out}; the same command goes on"
        raise type(interruption)(kept) from None
    for problem in outcome.unread:
        complain("auxhand adapt", problem)
    print(", ".join(f"{count} {name}" for name, count in outcome.pictures.items()))
    for reason in outcome.reasons:
        print(f"  {reason}")
    what = "better: adapted weights" if outcome.better else "not better: the original weights"
    print(
        f"{what}\nmodel: {args.out}\nreport: {args.out / 'report.html'} "
        f"({outcome.minutes:.1f} minutes)\nwork files, no longer needed: {args.out / 'work'}"
    )
    return 0 if outcome.better else NOT_BETTER
