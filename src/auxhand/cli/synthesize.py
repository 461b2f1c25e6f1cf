"""`auxhand synthesize walk|sample`: hands from a latent space (docs/methods/alignment.md)."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from auxhand.cli.arguments import Parser

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from auxhand.inference.latent import LatentSpace

PICTURE, NUMBERS = "hands.png", "hands.npz"
_REACH = 0.13  # metres: a hand of any pose fits
_COLUMNS = 8  # samples in a row of the picture


def parser() -> Parser:
    """Arguments of `auxhand synthesize`."""
    parser = Parser(
        prog="auxhand synthesize",  # for the usage of its parts, which is made as they are added
        description="Poses and point clouds that codes of a model's latent space stand for.",
        epilog="example: auxhand synthesize walk a.jpg b.jpg --model runs/alignment/bundle",
    )
    commands = parser.add_subparsers(dest="subcommand", required=True, metavar="walk|sample")
    walk = _common(
        commands.add_parser,
        "walk",
        "from one photo to another",
        "From the hand in one photo to that in another, in a straight line (Fig. 5.4).",
        "walk a.jpg b.jpg --model runs/alignment/bundle",
    )
    walk.add_argument("start", type=Path, help="photo")
    walk.add_argument("end", type=Path, help="photo")
    walk.add_argument("--steps", type=int, default=8, help="hands, both ends among them")
    walk.add_argument(
        "--side", choices=["auto", "left", "right"], default="auto", help="the person's true hand"
    )
    sample = _common(
        commands.add_parser,
        "sample",
        "at random",
        "Hands at random, from the prior.",
        "sample --model runs/alignment/bundle --count 16",
    )
    sample.add_argument("--count", type=int, default=16, help="hands")
    sample.add_argument("--seed", type=int, default=0, help="of the random codes")
    return parser


def _common(
    add: Callable[..., Parser], name: str, what: str, description: str, example: str
) -> Parser:
    parser = add(
        name, help=what, description=description, epilog=f"example: auxhand synthesize {example}"
    )
    parser.add_argument("--model", required=True, help="folder of a bundle with a latent space")
    parser.add_argument("--out", type=Path, default=Path("synthesized"), help="folder of results")
    return parser


def run(args: Namespace) -> None:
    """Write a picture of the hands, and the hands as numbers.

    Raises:
        FileNotFoundError: no such bundle or photo.
        ValueError: a model without latent space, a photo without a hand, numbers out of range.
    """
    from auxhand.data.image import load_photo
    from auxhand.inference.estimator import HandPoseEstimator
    from auxhand.inference.latent import LatentSpace, walk

    paths = (args.start, args.end) if args.subcommand == "walk" else ()
    # What costs little to refuse is looked at first.
    ends = [load_photo(path).pixels for path in paths]
    if not paths and args.count < 1:
        raise ValueError(f"--count must be 1 or more, not {args.count}")
    space = LatentSpace(HandPoseEstimator.load(args.model))
    if paths:
        codes = []
        for path, photo in zip(paths, ends, strict=True):
            code = space.encode(photo, args.side)
            if code is None:
                raise ValueError(f"{path}: no hand found")
            codes.append(code)
        z = walk(codes[0], codes[1], args.steps)
    else:
        z = space.sample(args.count, args.seed)
    _write(space, z, ends, args.out)


def _write(space: LatentSpace, z: Tensor, ends: list[np.ndarray], out: Path) -> None:
    """hands.png: poses above, clouds below, a walk between its photos, samples in rows. hands.npz:
    z, xyz_m and, where the model has them, cloud_m."""
    import numpy as np

    from auxhand.data.columns import encode_png
    from auxhand.files import sweep, writing
    from auxhand.viz import GROUND, draw_cloud, draw_hand, grid

    hands = space.decode(z)
    assert hands.xyz is not None
    xyz = hands.xyz.numpy() * space.estimator.hand_size
    numbers = {"z": z.numpy(), "xyz_m": xyz}
    kinds = [[draw_hand(hand, _REACH) for hand in xyz]]
    if hands.cloud is not None:
        numbers["cloud_m"] = hands.cloud.numpy()
        kinds.append([draw_cloud(cloud, _REACH) for cloud in hands.cloud.numpy()])
    if ends:
        rows = [[ends[0], *tiles, ends[1]] for tiles in kinds]
    else:
        blank = np.full_like(kinds[0][0], GROUND)
        columns = min(len(z), _COLUMNS)
        starts = range(0, len(z), columns)
        rows = [
            (tiles[i : i + columns] + columns * [blank])[:columns]
            for i in starts
            for tiles in kinds
        ]
    out.mkdir(parents=True, exist_ok=True)
    sweep(out)
    with writing(out / NUMBERS) as temporary:
        np.savez_compressed(temporary, **numbers)  # type: ignore[arg-type]
    tiles = [tile for row in rows for tile in row]
    with writing(out / PICTURE) as temporary:
        temporary.write_bytes(encode_png(grid(tiles, columns=len(rows[0]))))
    print(f"{len(z)} hands: {out / PICTURE}\nas numbers: {out / NUMBERS}")
