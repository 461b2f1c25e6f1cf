"""`auxhand data check|convert NAME ROOT`: public datasets, and one's own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auxhand.cli.arguments import Parser

if TYPE_CHECKING:
    from auxhand.data.convert import Bad, Findings
    from auxhand.data.readers.reader import Reader
    from auxhand.sample import HandSample

_TILE = 200


def parser() -> Parser:
    """Arguments of `auxhand data`."""
    parser = Parser(
        prog="auxhand data",  # for the usage of its parts, which is made as they are added
        description="Read a dataset in the layout in which it is published (docs/data.md).",
        epilog="example: auxhand data check freihand FreiHAND_pub_v2 --split evaluation",
    )
    commands = parser.add_subparsers(dest="subcommand", required=True, metavar="check|convert")
    check = _common(
        commands.add_parser,
        "check",
        "what is missing or corrupt",
        "Find what is missing or corrupt, count, and draw a contact sheet.",
    )
    check.add_argument("--limit", type=int, help="look at this many samples, evenly spaced, alone")
    check.add_argument(
        "--sheet", type=Path, default=Path("check.png"), help="contact sheet of 24 samples"
    )
    convert = _common(
        commands.add_parser,
        "convert",
        "write a prepared dataset",
        "Write a prepared dataset, which training and evaluation read. The same command again goes "
        "on where a run was interrupted.",
    )
    convert.add_argument("out", type=Path, help="folder of the prepared dataset")
    convert.add_argument("--size", type=int, default=256, help="side of the stored squares, pixels")
    convert.add_argument(
        "--margin",
        type=float,
        default=1.5,
        help="side of the stored squares over that of the protocol's crop",
    )
    bad = convert.add_mutually_exclusive_group()
    bad.add_argument(
        "--skip-bad",
        action="store_true",
        help="leave out samples that cannot be read, or whose labels cannot be",
    )
    bad.add_argument(
        "--keep-implausible",
        action="store_true",
        help="take labels as they are where they cannot be those of a hand in its picture",
    )
    return parser


def _common(add: Callable[..., Parser], name: str, what: str, description: str) -> Parser:
    parser = add(name, help=what, description=description)
    parser.add_argument("name", help="dataset: one of the names of docs/data.md")
    parser.add_argument("root", type=Path, help="its folder (folder: of photos, or a video file)")
    parser.add_argument(
        "--split", help="default: the dataset's first; coco: name of the JSON file without .json"
    )
    parser.add_argument("--images", type=Path, help="coco alone: folder of the images")
    parser.add_argument(
        "--order", help="coco alone: name of the order of its joints; default: as the file says"
    )
    parser.add_argument(
        "--unit", type=float, help="coco alone: metres in the unit of its 3D joints; default: 0.001"
    )
    parser.add_argument(
        "--side", choices=("left", "right"), help="coco alone: of hands whose side it does not tell"
    )
    parser.add_argument("--step", type=int, help="folder alone: every N-th frame of a video")
    parser.add_argument(
        "--camera", help="stb alone: SK (colour and depth), BB_left or BB_right (stereo)"
    )
    parser.add_argument("--mano", type=Path, help="yt3d and obman: the user's MANO_RIGHT.pkl")
    return parser


def run(args: Namespace) -> None:
    """Check or convert.

    Raises:
        FileNotFoundError: a folder, annotation file or image that is missing.
        ValueError: no such dataset or split, damaged annotations, bad samples, another dataset in
            OUT.
    """
    from auxhand.data.convert import BadSamples, convert

    _check_numbers(args)
    reader, split = _open(args)
    name = f"{args.name} {split}"
    if args.subcommand == "convert":
        about = {"dataset": args.name, "split": split, "maker": "auxhand data convert"}
        about |= {
            "options": {n: _told(v) for n, v in _given(args).items()},
            "origin": _told(args.root),
        }
        bad: Bad = "skip" if args.skip_bad else "keep" if args.keep_implausible else "refuse"
        try:
            out = convert(reader, args.out, about, args.size, args.margin, bad=bad)
        except BadSamples as error:
            print("\n".join(f"  {line}" for line in error.lines), file=sys.stderr)
            raise ValueError(
                f"{name}: {len(error.lines)} things are wrong, see above: mend them and run this "
                "again, or leave those samples out by --skip-bad, in another folder than this"
            ) from None
        count, skipped = _written(out)
        left_out = f" ({skipped} bad ones left out)" if skipped else ""
        print(f"{count} samples of {name}{left_out}: {out}")
        return
    bad_samples = _check(reader, name, reader.COUNTS.get(split), args.limit, args.sheet)
    if bad_samples:
        raise ValueError(
            f"{name}: {bad_samples} samples cannot be read, or their labels cannot be; see above"
        )


def _check_numbers(args: Namespace) -> None:
    """Check the options that are numbers.

    Raises:
        ValueError: one is out of its range.
    """
    for option, least, most in (("limit", 1, inf), ("size", 16, 4096), ("margin", 1, 10)):
        value = getattr(args, option, None)
        if value is not None and not least <= value <= most:
            allowed = f"at least {least}" if most == inf else f"between {least} and {most}"
            raise ValueError(f"--{option} must be {allowed}, not {value}")


def _written(out: Path) -> tuple[int, int]:
    """Samples of a prepared dataset, and how many were left out when it was made."""
    from auxhand.data.store import read_description

    description = read_description(out)
    return description["count"], description.get("skipped", 0)


_OPTIONS = ("images", "order", "unit", "side", "step", "camera", "mano")
"""What only some datasets take."""


def _open(options: Namespace) -> tuple[Reader, str]:
    """The reader that the arguments name, and its split.

    Raises:
        ValueError: no such dataset, or an option that it does not take.
    """
    from inspect import Parameter, signature

    from auxhand.data.readers import READERS

    if options.name not in READERS:
        raise ValueError(f"no dataset {options.name!r}; there are: {', '.join(READERS)}")
    kind = READERS[options.name]
    given = _given(options)
    parameters = signature(kind).parameters
    if unknown := given.keys() - parameters.keys():
        raise ValueError(f"{options.name} takes no --{', --'.join(sorted(unknown))}")
    default = parameters["split"].default
    split = options.split or next(iter(kind.COUNTS), default)
    if split is Parameter.empty:
        raise ValueError(f"{options.name} needs --split; expected:\n{kind.LAYOUT}")
    return kind(options.root, split, **given), split


def _given(options: Namespace) -> dict[str, Any]:
    """Those of `_OPTIONS` that are given."""
    given = {name: getattr(options, name) for name in _OPTIONS}
    return {name: value for name, value in given.items() if value is not None}


def _told(value: Any) -> Any:
    """An option as the dataset's description tells it: of a path a number, not where it lies."""
    if not isinstance(value, Path):
        return value
    return hashlib.sha256(os.fsencode(os.path.realpath(value))).hexdigest()[:16]


def _check(reader: Reader, name: str, published: int | None, limit: int | None, sheet: Path) -> int:
    """Read, print what is found, draw; returns the number of bad samples."""
    from tqdm import tqdm

    from auxhand.data.convert import Findings, evenly, look

    indices = evenly(len(reader), limit)
    drawn = {indices[i] for i in evenly(len(indices), 24)}
    shown: list[tuple[str, dict[str, Any]]] = []
    findings = Findings()
    looked = look(reader, indices, findings)
    for index, sample, _ in tqdm(looked, total=len(indices), unit="sample"):
        if sample is not None and index in drawn:
            side = f", {sample.side}" if sample.side else ""
            caption = f"{(sample.source or str(index)).rpartition('/')[2]}{side}"
            with contextlib.suppress(ValueError):  # labels that cannot be drawn are named below
                shown.append((caption, _tiles(sample, reader)))
    print(_report(name, len(reader), published, findings))
    if shown:
        from auxhand.data.columns import encode_png
        from auxhand.files import sweep, writing

        sheet.parent.mkdir(parents=True, exist_ok=True)
        sweep(sheet.parent, {sheet.name})
        with writing(sheet) as temporary:
            temporary.write_bytes(encode_png(_sheet(shown)))
        print(f"contact sheet: {sheet}")
    return findings.bad


def _report(name: str, count: int, published: int | None, findings: Findings) -> str:
    import numpy as np

    lines = [f"{name}: {count} samples" + ("" if published is None else f", published {published}")]
    if published is not None and count != published:
        lines[0] += f": {'missing' if count < published else 'more'} {abs(count - published)}"
    lines += [f"  {field}: {n} of {findings.looked}" for field, n in findings.fields.items()]
    if findings.reprojection:
        median, most = np.median(findings.reprojection), max(findings.reprojection)
        lines.append(
            f"  project(K, xyz) - uv, worst joint: median {median:.3f}, most {most:.3f} px"
        )
    lines += [f"  {problem}" for problem in findings.problems]
    return "\n".join(lines)


def _sheet(shown: Sequence[tuple[str, dict[str, Any]]]) -> Any:
    """A contact sheet of samples, by name: of each what any of them has, once."""
    import numpy as np

    from auxhand.viz import grid

    kinds = [kind for kind in _KINDS if any(kind in pictures for _, pictures in shown)]
    none = np.zeros((_TILE, _TILE, 3), np.uint8)
    tiles = [pictures.get(kind, none) for _, pictures in shown for kind in kinds]
    labels = [
        name if kind == kinds[0] else kind if kind in pictures else f"no {kind}"
        for name, pictures in shown
        for kind in kinds
    ]
    columns = min(12 // len(kinds) * len(kinds), len(tiles))
    return grid(tiles, columns, cell=_TILE, labels=labels)


_KINDS = ("joints", "mask", "depth")
"""Pictures of a sample; the first one shows the photo alone where there are no joints."""


def _tiles(sample: HandSample, reader: Reader) -> dict[str, Any]:
    """Pictures of a sample as it would be converted: with its skeleton, and, where it has them, its
    mask and its depth."""
    import numpy as np

    from auxhand.data.convert import prepare
    from auxhand.viz import draw_mask, draw_skeleton

    row = prepare(sample, reader.CROP, _TILE)
    image, uv = row["image"], row["joints_uv"]
    pictures = {"joints": image}
    if uv is not None:
        valid = np.ones(len(uv), bool) if row["joint_valid"] is None else row["joint_valid"]
        z = None if row["joints_xyz"] is None else row["joints_xyz"][:, 2]
        pictures["joints"] = draw_skeleton(image, np.where(valid[:, None], uv, np.nan), z)
    if row["mask"] is not None:
        pictures["mask"] = draw_mask(image, row["mask"])
    if row["depth"] is not None:
        depth = row["depth"]
        there = depth > 0
        near, far = np.percentile(depth[there], [2, 98]) if there.any() else (0.0, 1.0)
        grey = 255 - 215 * np.clip((depth - near) / max(far - near, 1e-6), 0, 1)
        pictures["depth"] = np.repeat(np.where(there, grey, 0).astype(np.uint8)[..., None], 3, 2)
    return pictures
