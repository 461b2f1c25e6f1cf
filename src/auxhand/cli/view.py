"""`auxhand view RESULT`: a photo's or recording's hands for the viewer rerun, or as glTF."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from auxhand.cli.arguments import Parser

if TYPE_CHECKING:
    from auxhand.inference.video import Frame

RERUN, GLTF = ".rrd", ".glb"


def parser() -> Parser:
    """Arguments of `auxhand view`."""
    parser = Parser(
        description="Write what `auxhand predict` or `auxhand webcam` found for the viewer rerun: "
        "skeletons and meshes in 3D, the picture with the hands, confidence over time; or as glTF: "
        "skinned, animated hands. Needs the extra auxhand[viewer].",
        epilog="example: auxhand view out/clip.parquet --video clip.mp4 --open",
    )
    parser.add_argument(
        "result", type=Path, help="NAME.parquet of a recording or NAME.json of a photo"
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="file to write, .rrd of rerun or .glb of glTF; default: RESULT with .rrd",
    )
    parser.add_argument(
        "--video", type=Path, help="the video or photo itself, to be shown with the hands on it"
    )
    parser.add_argument("--open", action="store_true", help="open the .rrd in rerun's viewer")
    return parser


def run(args: Namespace) -> None:
    """Write the file, and open it.

    Raises:
        FileNotFoundError: no such result or video.
        ValueError: no result, a file of another kind, or options that exclude each other.
        ModuleNotFoundError: the extra is not installed.
        OSError: the file cannot be written.
    """
    out = args.result.with_suffix(RERUN) if args.out is None else args.out
    if out.suffix not in (RERUN, GLTF):
        raise ValueError(f"--out ends in {RERUN} or {GLTF}, which {out.name} does not")
    if out.suffix == GLTF and (args.open or args.video is not None):
        raise ValueError("--open and --video are for rerun: name an --out that ends in .rrd")
    if not args.result.is_file():
        raise FileNotFoundError(2, "No such file", str(args.result))

    from auxhand.data.image import printable
    from auxhand.inference.gltf import write_glb
    from auxhand.inference.motion import read_camera, read_hands
    from auxhand.inference.viewing import write_rrd

    hands = read_hands(args.result)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == GLTF:
        print(f"{printable(out)}: {write_glb(out, hands)} hands")
        return
    camera = read_camera(args.result)
    if args.video is not None and camera is None:
        raise ValueError(
            f"--video needs the camera, which {printable(args.result.with_suffix('.json'))} tells; "
            "it is not there"
        )
    pictures = () if args.video is None else _pictures(args.video)
    print(f"{printable(out)}: {write_rrd(out, hands, camera, pictures)} hands in its frames")
    if args.open:
        _open(out)


def _pictures(path: Path) -> Iterator[Frame]:
    """The frames of a video, or one of a photo."""
    from auxhand.data.image import VIDEOS, load_photo
    from auxhand.inference.video import Frame, Video

    if path.suffix.lower() in VIDEOS:
        yield from Video(path)
        return
    photo = load_photo(path, max_side=1 << 20)  # not reduced: the camera is that of all its pixels
    yield Frame(photo.pixels, 0.0, 0)


def _open(file: Path) -> None:
    """Show the file in a window of its own, which outlives this command."""
    import subprocess
    import sys

    subprocess.Popen([sys.executable, "-m", "rerun_cli", str(file)], start_new_session=True)
