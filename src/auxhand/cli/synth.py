"""`auxhand synth OUT --count N --seed S`: a labelled, multi-modal dataset of rendered hands."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from auxhand.cli.arguments import Parser

if TYPE_CHECKING:
    from auxhand.synth.factory import Job


def parser() -> Parser:
    """Arguments of `auxhand synth`."""
    parser = Parser(
        description="Render hands with all their labels into a prepared dataset (docs/data.md). "
        "The same command again goes on where a run was interrupted.",
        epilog="example: auxhand synth hands --count 2000 --seed 0",
    )
    parser.add_argument("out", type=Path, help="folder of the dataset")
    parser.add_argument("--count", type=int, required=True, help="number of samples")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other hands")
    parser.add_argument("--size", type=int, default=128, help="side of the images in pixels")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument(
        "--shard",
        default="0/1",
        metavar="I/N",
        help="make every N-th file alone, from the I-th: N machines make the dataset together",
    )
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="let the machines of a Ray cluster make the files (extra auxhand[ray]); all must see "
        "the folders; local starts one here",
    )
    parser.add_argument(
        "--config",
        type=Path,
        nargs="*",
        default=[],
        help="YAML of the factors (configs/synth/); what a later file says wins",
    )
    parser.add_argument("--backgrounds", type=Path, help="folder of photos to put hands before")
    parser.add_argument(
        "--renderer",
        choices=["raster", "pathtrace"],
        default="raster",
        help="pathtrace is slow and looks like another camera (extra auxhand[pathtrace])",
    )
    parser.add_argument(
        "--no-cutouts",
        action="store_true",
        help="keep no RGBA of the hand: training then takes the pictures as they are",
    )
    parser.add_argument(
        "--vary",
        nargs="+",
        default=[],
        metavar="FACTOR",
        help="make groups of hands that differ in these factors alone, such as pose wrist view: "
        "one content in other poses (docs/methods/dvae.md)",
    )
    parser.add_argument("--each", type=int, default=4, help="hands of a group, with --vary")
    parser.add_argument(
        "--preview",
        action="store_true",
        help="no dataset: draw the samples with their skeletons as one sheet, OUT.png",
    )
    return parser


def run(args: Namespace) -> None:
    """Make the dataset, or a preview of it, and say where it is.

    Raises:
        FileNotFoundError: no such configuration, no such folder of backgrounds.
        ValueError: a configuration that does not fit, or a folder with another dataset.
        ModuleNotFoundError: path tracing or Ray is not installed.
        ConnectionError: no cluster at the address.
        OSError: the folder cannot be written to.
    """
    from auxhand.synth.config_file import load_config
    from auxhand.synth.factory import Job, generate

    job = Job(
        args.count,
        args.seed,
        args.size,
        load_config(*args.config),
        args.backgrounds,
        renderer=args.renderer,
        cutouts=not args.no_cutouts,
        vary=tuple(args.vary),
        each=args.each,
    )
    if args.preview:
        if args.out.name in ("", ".."):
            raise ValueError(f"{args.out} is no name for a preview: name a file")
        sheet = args.out if args.out.suffix == ".png" else Path(f"{args.out}.png")
        print(f"{args.count} hands: {draw_preview(sheet, job)}")
        return
    share = _share(args.shard)
    out = generate(args.out, job, args.workers, share=share, cluster=args.cluster)
    which = "" if args.shard == "0/1" else f" (share {args.shard})"
    print(f"{args.count} hands of {args.size} x {args.size} pixels{which}: {out}")


def _share(text: str) -> tuple[int, int]:
    """ "1/4" -> (1, 4).

    Raises:
        ValueError: another form.
    """
    first, slash, count = text.partition("/")
    if not (slash and first.isdecimal() and count.isdecimal()):
        raise ValueError(f"--shard takes I/N, for example 0/4 to 3/4, got {text!r}")
    return int(first), int(count)


def draw_preview(path: Path, job: Job) -> Path:
    """A sheet (PNG) of all samples of a job, each with its skeleton, pose, side and view.

    Raises:
        OSError: the file cannot be written.
    """
    import numpy as np

    from auxhand.data.columns import decode_image, encode_png
    from auxhand.files import sweep, writing
    from auxhand.synth.factory import make_sample
    from auxhand.viz import draw_skeleton, grid

    pictures, labels = [], []
    for index in range(job.count):
        row, factors = make_sample(job, index), job.factors(index)
        xyz = np.array(row["joints_xyz"]).reshape(-1, 3)
        uv = np.array(row["joints_uv"]).reshape(-1, 2)
        pictures.append(draw_skeleton(decode_image(row["image"]), uv, xyz[:, 2]))
        labels.append(f"{index} {factors.pose.name}, {factors.side}")
    sheet = encode_png(grid(pictures, cell=max(192, job.size), labels=labels))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, {path.name})
        with writing(path) as temporary:
            temporary.write_bytes(sheet)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error
    return path
