"""`auxhand synthesize walk|sample|transfer|compare`: hands from a latent space.

docs/methods/alignment.md and docs/methods/dvae.md show what comes of it.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from auxhand.cli.arguments import Parser

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from auxhand.inference.figures import Figure
    from auxhand.inference.latent import LatentSpace
    from auxhand.inference.synthesis import Shown
    from auxhand.models.disentangled import DisentangledNet

PICTURE, MOVING, NUMBERS = "hands.png", "hands.gif", "hands.npz"
_HANDS = "photo, or number of a sample of --data"


def parser() -> Parser:
    """Arguments of `auxhand synthesize`."""
    parser = Parser(
        prog="auxhand synthesize",  # for the usage of its parts, which is made as they are added
        description="Images, poses and point clouds that codes of a model's latent space stand "
        "for. Of a disentangled model each factor moves alone.",
        epilog="example: auxhand synthesize walk a.jpg b.jpg --model runs/alignment/bundle",
    )
    names = "walk|sample|transfer|compare"
    commands = parser.add_subparsers(dest="subcommand", required=True, metavar=names)
    walk = _common(
        commands.add_parser,
        "walk",
        "from one hand to another",
        "From the hand in one photo to that in another, in a straight line (Fig. 5.4); of a "
        "disentangled model one factor after the other (Fig. 4.4, 4.5).",
        "walk a.jpg b.jpg --model runs/alignment/bundle",
    )
    walk.add_argument("start", help=_HANDS)
    walk.add_argument("end", help=_HANDS)
    walk.add_argument("--steps", type=int, default=8, help="hands, both ends among them")
    sample = _common(
        commands.add_parser,
        "sample",
        "at random",
        "Hands at random, from the prior.",
        "sample --model runs/alignment/bundle --count 16",
    )
    sample.add_argument("--count", type=int, default=16, help="hands")
    sample.add_argument("--seed", type=int, default=0, help="of the random codes")
    transfer = _common(
        commands.add_parser,
        "transfer",
        "poses of some hands, content of others",
        "Images with the pose of one hand and the content of another (Fig. 4.6).",
        "transfer --pose 0 5 --content 2 9 --data data/domains/groups-test --model "
        "runs/dvae_synthesis_embed/bundle",
    )
    transfer.add_argument("--pose", nargs="+", required=True, metavar="HAND", help=_HANDS)
    transfer.add_argument("--content", nargs="+", required=True, metavar="HAND", help=_HANDS)
    compare = _common(
        commands.add_parser,
        "compare",
        "canonical and 3D poses, true and predicted",
        "Canonical and 3D poses of samples, true and predicted (Fig. 4.8).",
        "compare 0 1 2 --data data/domains/source-test --model runs/dvae_embed/bundle",
    )
    compare.add_argument("hands", nargs="+", metavar="HAND", help="number of a sample of --data")
    for command in (walk, transfer, compare):
        command.add_argument("--data", type=Path, help="prepared dataset that hands are taken from")
    for command in (walk, transfer):
        command.add_argument(
            "--side",
            choices=["auto", "left", "right"],
            default="auto",
            help="the person's true hand in photos",
        )
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
    """Write a picture of the hands, a moving one of a walk by factors, and the hands as numbers.

    Raises:
        FileNotFoundError: no such bundle, photo or dataset.
        ValueError: a model without latent space or factors, a photo without a hand, numbers out of
            range.
    """
    from auxhand.files import check_writable
    from auxhand.inference.estimator import HandPoseEstimator
    from auxhand.inference.latent import LatentSpace
    from auxhand.models.disentangled import DisentangledNet

    # What costs little to refuse is looked at first.
    names = _named(args)
    if args.subcommand == "sample" and args.count < 1:
        raise ValueError(f"--count must be 1 or more, not {args.count}")
    if args.subcommand == "compare" and args.data is None:
        raise ValueError("name the dataset that has the true poses: --data")
    check_writable(args.out)
    photos = _look_up(names, getattr(args, "data", None))
    space = LatentSpace(HandPoseEstimator.load(args.model))
    if isinstance(space.network, DisentangledNet):
        _write_figure(_figure(args, space, space.network, photos), args.out)
    elif args.subcommand == "sample":
        _write(space, space.sample(args.count, args.seed), [], args.out)
    elif args.subcommand == "walk" and photos:
        _walk(args, space, photos)
    else:
        raise ValueError(
            f"{args.model} has no factors; a disentangled VAE has (auxhand train "
            "configs/laptop/dvae.yaml, or dvae_synthesis.yaml)"
        )


# ---- which hands ----


def _named(args: Namespace) -> list[str]:
    """The hands that a command names, in the order of its arguments."""
    fields = {"walk": ("start", "end"), "transfer": ("pose", "content"), "compare": ("hands",)}
    named = [getattr(args, field) for field in fields.get(args.subcommand, ())]
    return [name for each in named for name in ([each] if isinstance(each, str) else each)]


def _look_up(names: Sequence[str], data: Path | None) -> dict[str, np.ndarray]:
    """Photos by their names; none where hands are samples of a dataset.

    Raises:
        FileNotFoundError: no such photo, or dataset.
        ValueError: no photo, or no number of a sample.
    """
    if data is None:
        from auxhand.data.image import load_photo

        return {name: load_photo(Path(name)).pixels for name in names}
    from auxhand.data.store import read_description

    count = read_description(data)["count"]
    for name in names:
        if not (name.isdecimal() and int(name) < count):
            raise ValueError(f"{name!r} is no sample of {data}, which has 0 to {count - 1}")
    return {}


def _shown(
    space: LatentSpace, names: Sequence[str], photos: Mapping[str, np.ndarray], args: Namespace
) -> Shown:
    """The hands as the network sees them.

    Raises:
        ValueError: a photo without a hand, or a sample without an image.
    """
    import torch

    from auxhand.data.crops import evaluation_crop
    from auxhand.data.store import PreparedDataset
    from auxhand.inference.synthesis import Shown
    from auxhand.losses.supervision import relative_pose
    from auxhand.sample import HandSample

    if not photos:
        dataset, bundle = PreparedDataset(args.data), space.estimator.bundle
        crops = [
            evaluation_crop(dataset[int(name)], bundle.input_size, bundle.crop) for name in names
        ]
        batch = HandSample.collate(crops).to(space.estimator.device)
        pose, valid = relative_pose(batch)
        return Shown(batch.image, pose if valid.all() else None)
    return Shown(torch.stack([_found(space.crop(photos[n], args.side), n) for n in names]))


def _found(hand: Tensor | None, name: str) -> Tensor:
    if hand is None:
        raise ValueError(f"{name}: no hand found")
    return hand


# ---- models with factors ----


def _figure(
    args: Namespace,
    space: LatentSpace,
    net: DisentangledNet,
    photos: Mapping[str, np.ndarray],
) -> Figure:
    from auxhand.inference.figures import (
        comparison_figure,
        sample_figure,
        transfer_figure,
        walk_figure,
    )

    unit = space.estimator.hand_size
    if args.subcommand == "sample":
        z = space.sample(args.count, args.seed).to(space.estimator.device)
        return sample_figure(net, z, unit)
    if args.subcommand == "transfer":
        poses, contents = (
            _shown(space, names, photos, args) for names in (args.pose, args.content)
        )
        return transfer_figure(net, poses, contents, "pose", unit)
    shown = _shown(space, _named(args), photos, args)
    if args.subcommand == "compare":
        return comparison_figure(net, shown, unit)
    return walk_figure(net, shown, args.steps, unit)


def _write_figure(figure: Figure, out: Path) -> None:
    from auxhand.files import writing

    _write_files(figure.sheet(), figure.numbers, out)
    if figure.frames:
        with writing(out / MOVING) as temporary:
            temporary.write_bytes(figure.moving())
        print(f"moving: {out / MOVING}")


# ---- models of one latent space ----


def _walk(args: Namespace, space: LatentSpace, photos: Mapping[str, np.ndarray]) -> None:
    from auxhand.inference.latent import walk

    ends = [photos[name] for name in _named(args)]
    start, end = (
        _found(space.encode(photo, args.side), name)
        for name, photo in zip(_named(args), ends, strict=True)
    )
    _write(space, walk(start, end, args.steps), ends, args.out)


def _write(space: LatentSpace, z: Tensor, ends: list[np.ndarray], out: Path) -> None:
    """hands.png: poses above, clouds below, a walk between its photos, samples in rows. hands.npz:
    z, xyz_m and, where the model has them, cloud_m."""
    import numpy as np

    from auxhand.inference.figures import COLUMNS, REACH
    from auxhand.viz import GROUND, draw_cloud, draw_hand, grid

    hands = space.decode(z)
    assert hands.xyz is not None
    xyz = hands.xyz.numpy() * space.estimator.hand_size
    numbers = {"z": z.numpy(), "xyz_m": xyz}
    kinds = [[draw_hand(hand, REACH) for hand in xyz]]
    if hands.cloud is not None:
        numbers["cloud_m"] = hands.cloud.numpy()
        kinds.append([draw_cloud(cloud, REACH) for cloud in hands.cloud.numpy()])
    if ends:
        rows = [[ends[0], *tiles, ends[1]] for tiles in kinds]
    else:
        blank = np.full_like(kinds[0][0], GROUND)
        columns = min(len(z), COLUMNS)
        starts = range(0, len(z), columns)
        rows = [
            (tiles[i : i + columns] + columns * [blank])[:columns]
            for i in starts
            for tiles in kinds
        ]
    tiles = [tile for row in rows for tile in row]
    _write_files(grid(tiles, columns=len(rows[0])), numbers, out)


def _write_files(picture: np.ndarray, numbers: Mapping[str, np.ndarray], out: Path) -> None:
    import numpy as np

    from auxhand.data.columns import encode_png
    from auxhand.files import sweep, writing

    out.mkdir(parents=True, exist_ok=True)
    sweep(out)
    with writing(out / NUMBERS) as temporary:
        np.savez_compressed(temporary, **numbers)  # type: ignore[arg-type]
    with writing(out / PICTURE) as temporary:
        temporary.write_bytes(encode_png(picture))
    print(f"hands: {out / PICTURE}\nas numbers: {out / NUMBERS}")
