"""`auxhand predict PHOTO...`: the 3D pose of the hand in each photo, as pictures and numbers."""

from __future__ import annotations

import glob
import io
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import ArgumentParser, Namespace
from PIL import Image
from tqdm import tqdm

from auxhand import viz
from auxhand.cli.main import complain, describe
from auxhand.geometry.camera import intrinsics_from_focal, intrinsics_from_fov
from auxhand.hand.skeleton import JOINT_NAMES, ROOT
from auxhand.inference.estimator import FOV, HandPoseEstimator
from auxhand.inference.image import SUFFIXES, Photo, load_photo
from auxhand.inference.prediction import Prediction

OVERLAY, VIEW, NUMBERS = "_overlay.png", "_3d.png", ".json"


def parser() -> ArgumentParser:
    """Arguments of `auxhand predict`."""
    parser = ArgumentParser(
        description="Find the hand in each photo and predict its 3D pose. For each photo NAME, "
        "writes NAME_overlay.png, NAME_3d.png and NAME.json (units in the names of its entries).",
        epilog="example: auxhand predict photos/ 'more/*.jpg' --out poses --side right",
    )
    parser.add_argument("photos", nargs="+", help="JPEG, PNG or WebP files, folders or patterns")
    parser.add_argument("--out", type=Path, default=Path("poses"), help="folder of the results")
    parser.add_argument("--model", type=Path, help="folder of a bundle; default: shipped weights")
    parser.add_argument(
        "--box",
        metavar="X,Y,W,H",
        help="where the hand is, in pixels of every photo; default: look for it",
    )
    parser.add_argument(
        "--side",
        choices=["auto", "left", "right"],
        default="auto",
        help="the person's hand; auto reads it both ways and keeps the more confident",
    )
    parser.add_argument(
        "--fov",
        type=float,
        help="field of view over the photo's longer side in degrees; default: 60",
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
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    return parser


def run(args: Namespace) -> None:
    """Predict all photos with one load of the model; a photo that fails does not stop the rest.

    Raises:
        FileNotFoundError: no bundle.
        ValueError: arguments out of range, or not one photo could be read.
        OSError: the results cannot be written.
    """
    box = None if args.box is None else parse_box(args.box)
    _check(args)
    photos = find_photos(args.photos, args.out)
    if not photos:
        raise ValueError(f"no JPEG, PNG or WebP photos in {', '.join(args.photos)}")

    estimator = HandPoseEstimator.load(args.model, args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    outcome: Counter[str] = Counter()
    names = unique_names(photos)
    for path, name in tqdm(
        zip(photos, names, strict=True), total=len(photos), unit="photo", disable=None
    ):
        try:
            photo, prediction = predict_photo(estimator, path, box, args)
        except (OSError, ValueError) as error:
            with tqdm.external_write_mode():
                complain("auxhand predict", describe(error))
            outcome["failed"] += 1
            continue
        write_results(args.out / name, path, photo, prediction, args)
        outcome["found" if prediction else "none"] += 1
        tqdm.write(f"{path}: {_summary(prediction)}")
    if outcome["failed"] == len(photos):
        raise ValueError(f"none of the {len(photos)} photos could be read")
    print(
        f"{len(photos)} photos: {outcome['found']} hands found, {outcome['none']} without a hand, "
        f"{outcome['failed']} failed\nresults: {args.out}"
    )


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
    if args.fov is not None and args.focal is not None:
        raise ValueError("give --fov or --focal, not both")
    for option, value, low, high in (
        ("--fov", args.fov, 0, 180),
        ("--focal", args.focal, 0, float("inf")),
        ("--hand-size", args.hand_size, 0, 0.5),
    ):
        if value is not None and not low < value < high:
            unit = " metres" if option == "--hand-size" else ""
            raise ValueError(f"{option} must lie between {low} and {high}{unit}, not {value}")
    if args.threshold is not None and not 0 <= args.threshold <= 1:
        raise ValueError(f"--threshold must lie between 0 and 1, not {args.threshold}")


def find_photos(arguments: Sequence[str], out: Path) -> list[Path]:
    """Files that the arguments name, each once: files, folders (with theirs, sorted), patterns.

    A folder gives its JPEG, PNG and WebP files, without hidden ones and without pictures that an
    earlier run left in `out`. A name that is neither is kept, to be reported as missing.
    """
    photos: dict[Path, Path] = {}
    for argument in arguments:
        path = Path(argument)
        found = [path]
        if path.is_dir():
            found = [
                p
                for p in sorted(path.rglob("*"))
                if p.suffix.lower() in SUFFIXES
                and p.is_file()
                and not any(part.startswith(".") for part in p.relative_to(path).parts)
                and not (p.name.endswith((OVERLAY, VIEW)) and out.resolve() in p.resolve().parents)
            ]
        elif not path.exists() and any(c in argument for c in "*?["):
            matches = sorted(glob.glob(argument, recursive=True))
            found = [Path(m) for m in matches if Path(m).is_file()] or [path]
        for p in found:
            photos.setdefault(p.resolve(), p)
    return list(photos.values())


def unique_names(photos: Sequence[Path]) -> list[str]:
    """A name for each photo's results: its own; the folder's before it where two are alike.

    What is alike even then gets the suffix or a number. Upper and lower case count as one, as in
    some file systems.
    """
    alike = Counter(path.stem.lower() for path in photos)
    names: dict[str, str] = {}
    for path in photos:
        name = path.stem
        if alike[name.lower()] > 1:
            name = f"{path.absolute().parent.name}_{name}"
        more = (f"{name}_{n}" for n in itertools.count(2))
        choices = itertools.chain([name, f"{name}_{path.suffix[1:]}"], more)
        name = next(choice for choice in choices if choice.lower() not in names)
        names[name.lower()] = name
    return list(names.values())


def predict_photo(
    estimator: HandPoseEstimator,
    path: Path,
    box: tuple[float, float, float, float] | None,
    args: Namespace,
) -> tuple[Photo, Prediction | None]:
    """The photo and the hand in it.

    Raises:
        FileNotFoundError, ValueError: no photo, or a box outside of it; the message has the path.
    """
    photo = load_photo(path)
    K = photo.K_from_original(_camera(photo, args)[0])
    if box is not None:
        x, y, width, height = box
        box = photo.box_from_original((x - 0.5, y - 0.5, width, height))
    try:
        prediction = estimator.predict(
            photo.pixels, box, args.side, K, args.hand_size, args.threshold
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return photo, prediction


def _camera(photo: Photo, args: Namespace) -> tuple[np.ndarray, str]:
    """Intrinsics (3, 3) of the original photo, and where they come from."""
    if args.focal is not None:
        K = intrinsics_from_focal(args.focal, photo.width, photo.height)
        return K.double().numpy(), "focal length given, principal point assumed at the centre"
    fov = FOV if args.fov is None else args.fov
    how = "assumed" if args.fov is None else "given"
    K = intrinsics_from_fov(fov, photo.width, photo.height)
    return (
        K.double().numpy(),
        f"field of view of {fov:g} degrees over the longer side {how}, "
        "principal point assumed at the centre",
    )


def _summary(prediction: Prediction | None) -> str:
    if prediction is None:
        return "no hand found"
    presence = "" if prediction.presence is None else f", presence {prediction.presence:.2f}"
    return f"{prediction.side} hand ({_side_from(prediction)}){presence}"


def _side_from(prediction: Prediction) -> str:
    scores = prediction.side_scores
    if scores is None:
        return "side given"
    return f"side estimated: score {scores['right']:.2f} as right, {scores['left']:.2f} as left"


def to_json(
    path: Path, photo: Photo, prediction: Prediction | None, args: Namespace
) -> dict[str, Any]:
    """What is said about a photo; the hand is None if none was found."""
    K, camera_from = _camera(photo, args)
    return {
        "photo": str(path),
        "width_px": photo.width,
        "height_px": photo.height,
        "model": "default" if args.model is None else str(args.model),
        "camera": {"K_px": _numbers(K, 3), "source": camera_from},
        "hand": None if prediction is None else _hand(photo, prediction, args),
    }


def _hand(photo: Photo, prediction: Prediction, args: Namespace) -> dict[str, Any]:

    uv, confidence = prediction.joints_uv, prediction.confidence
    columns = {
        "uv_px": None if uv is None else _numbers(photo.uv_to_original(uv), 2),
        "relative_m": _numbers(prediction.joints_relative, 5),
        "camera_m": _numbers(prediction.joints_xyz, 5),
        "confidence": _numbers(confidence, 4),
    }
    x, y, width, height = photo.box_to_original(prediction.box)
    return {
        "side": prediction.side,
        "side_source": _side_from(prediction),
        "presence": _numbers(prediction.presence, 4),
        "box_px": _numbers({"x": x, "y": y, "width": width, "height": height}, 2),
        "box_source": "around the joints, with a margin" if uv is not None else "the crop",
        "hand_size_m": round(prediction.hand_size, 5),
        "hand_size_source": "mean hand assumed" if args.hand_size is None else "given",
        "root_joint": JOINT_NAMES[ROOT],
        "axes": "x right, y down, z away from the camera",
        "joints": {
            name: {key: None if v is None else v[j] for key, v in columns.items()}
            for j, name in enumerate(JOINT_NAMES)
        },
    }


def _numbers(value: Any, digits: int) -> Any:
    """Arrays, dictionaries and numbers as rounded plain numbers."""
    if value is None:
        return None
    if isinstance(value, dict):
        return {key: round(float(v), digits) for key, v in value.items()}
    return np.round(value, digits).tolist()


def write_results(
    stem: Path, path: Path, photo: Photo, prediction: Prediction | None, args: Namespace
) -> None:
    """Write STEM.json and, of what was found, STEM_overlay.png and STEM_3d.png; each file appears
    when it is complete, and pictures of an earlier result go."""
    overlay, view = None, None
    if prediction is not None and prediction.joints_uv is not None:
        image, scale = viz.for_viewing(photo.pixels)
        z = None if prediction.joints_relative is None else prediction.joints_relative[:, 2]
        overlay = viz.draw_skeleton(image, (prediction.joints_uv + 0.5) * scale - 0.5, z)
    if prediction is not None and prediction.joints_relative is not None:
        view = viz.draw_pose_3d(prediction.joints_relative, f"{path.name}: {_summary(prediction)}")
    text = json.dumps(to_json(path, photo, prediction, args), indent=2, allow_nan=False)
    _write(stem, NUMBERS, (text + "\n").encode())
    for suffix, picture in ((OVERLAY, overlay), (VIEW, view)):
        _write(stem, suffix, None if picture is None else _png(picture))


def _png(picture: np.ndarray) -> bytes:

    data = io.BytesIO()
    Image.fromarray(picture).save(data, "PNG", compress_level=3)
    return data.getvalue()


def _write(stem: Path, suffix: str, data: bytes | None) -> None:
    """Write under a temporary name, then rename; no data: no file."""
    target = stem.with_name(stem.name + suffix)
    if data is None:
        target.unlink(missing_ok=True)
        return
    scratch = target.with_name(f".{target.name}.part")
    try:
        scratch.write_bytes(data)
        scratch.replace(target)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
