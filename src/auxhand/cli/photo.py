"""One photo of `auxhand predict`: its prediction, and the files that say it (docs/predict.md)."""

from __future__ import annotations

import io
import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from auxhand import viz
from auxhand.cli.results import write_result
from auxhand.data.drawn import NUMBERS, OVERLAY, VIEW
from auxhand.data.image import Photo, load_photo, printable
from auxhand.geometry.camera import intrinsics_from_focal, intrinsics_from_fov
from auxhand.hand.skeleton import JOINT_NAMES, ROOT, WRIST
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.inference.prediction import Prediction
from auxhand.inference.scene import FOV


def predict_photo(
    estimator: HandPoseEstimator,
    path: Path,
    box: tuple[float, float, float, float] | None,
    args: Namespace,
) -> tuple[Photo, list[Prediction]]:
    """The photo and the hands in it that are asked for, the most certain first.

    Raises:
        FileNotFoundError, ValueError: no photo, or a box outside of it; the message has the path.
    """
    photo = load_photo(path)
    K = None  # the estimator then assumes what `camera` says, and reads the hand as from far away
    if args.fov is not None or args.focal is not None:
        K = photo.K_from_original(camera(photo.width, photo.height, args)[0])
    if box is not None:
        x, y, width, height = box
        if not (-width < x < photo.width and -height < y < photo.height):
            raise ValueError(
                f"{printable(path)}: the box {args.box} is not in the photo of {photo.width} x "
                f"{photo.height} pixels"
            )
        box = photo.box_from_original((x - 0.5, y - 0.5, width, height))
    try:
        if args.hands != 1:
            hands = estimator.predict_hands(
                photo.pixels, args.hands, K, args.hand_size, args.threshold
            )
            return photo, hands
        hand = estimator.predict(photo.pixels, box, args.side, K, args.hand_size, args.threshold)
    except ValueError as error:
        raise ValueError(f"{printable(path)}: {error}") from error
    return photo, [] if hand is None else [hand]


def camera(width: int, height: int, args: Namespace) -> tuple[np.ndarray, str]:
    """Intrinsics (3, 3) of a picture of that size, and where they come from."""
    if args.focal is not None:
        K = intrinsics_from_focal(args.focal, width, height)
        return K.double().numpy(), "focal length given, principal point assumed at the centre"
    fov = FOV if args.fov is None else args.fov
    how = "assumed" if args.fov is None else "given"
    K = intrinsics_from_fov(fov, width, height)
    return (
        K.double().numpy(),
        f"field of view of {fov:g} degrees over the longer side {how}, "
        "principal point assumed at the centre",
    )


def summary(predictions: Sequence[Prediction]) -> str:
    """What was found, in a few words."""
    return "; ".join(map(_summary, predictions)) or "no hand found"


def _summary(prediction: Prediction) -> str:
    presence = "" if prediction.presence is None else f", presence {prediction.presence:.2f}"
    return f"{prediction.side} hand ({_side_from(prediction)}){presence}"


def _side_from(prediction: Prediction) -> str:
    scores = prediction.side_scores
    if scores is None:
        return "side given"
    return f"side estimated: score {scores['right']:.2f} as right, {scores['left']:.2f} as left"


def to_json(
    path: Path, photo: Photo, predictions: Sequence[Prediction], args: Namespace
) -> dict[str, Any]:
    """What is said about a photo: its hands, and again the first, None if none was found."""
    K, camera_from = camera(photo.width, photo.height, args)
    hands = [_hand(photo, prediction, args) for prediction in predictions]
    return {
        "photo": printable(path),
        "width_px": photo.width,
        "height_px": photo.height,
        "model": args.model,
        "camera": {"K_px": _numbers(K, 3), "source": camera_from},
        "hand": hands[0] if hands else None,
        "hands": hands,
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
    stem: Path, path: Path, photo: Photo, predictions: Sequence[Prediction], args: Namespace
) -> None:
    """Write STEM.json and, of what was found, STEM_overlay.png and STEM_3d.png, all or none; each
    file appears when it is complete, and pictures of an earlier result go.

    Raises:
        OSError: one of them cannot be written.
    """
    drawn = {OVERLAY: _overlay(photo, predictions), VIEW: _view(path, predictions)}
    pictures = {
        suffix: None if picture is None else _png(picture) for suffix, picture in drawn.items()
    }
    text = json.dumps(to_json(path, photo, predictions, args), indent=2, allow_nan=False)
    for suffix in pictures:
        write_result(stem, suffix, None)
    # The numbers first: by them the next run knows pictures for results of a run that was killed.
    write_result(stem, NUMBERS, (text + "\n").encode())
    for suffix, picture in pictures.items():
        write_result(stem, suffix, picture)


def _overlay(photo: Photo, predictions: Sequence[Prediction]) -> np.ndarray | None:
    """The photo with the hands on it; of several, each with its side."""
    drawn = [hand for hand in predictions if hand.joints_uv is not None]
    several = len(drawn) > 1
    names = [hand.side if several else "" for hand in drawn]
    return draw_hands(photo.pixels, drawn, names) if drawn else None


def draw_hands(image: np.ndarray, hands: Sequence[Prediction], names: Sequence[str]) -> np.ndarray:
    """A picture in a size for viewing with skeletons on it, the first on top, each named at its
    wrist where it has a name."""
    image, scale = viz.for_viewing(image)
    for hand, name in zip(reversed(hands), reversed(names), strict=True):
        if hand.joints_uv is None:
            continue
        uv = (hand.joints_uv + 0.5) * scale - 0.5
        z = None if hand.joints_relative is None else hand.joints_relative[:, 2]
        image = viz.draw_skeleton(image, uv, z)
        if name:
            image = viz.draw_label(image, name, tuple(uv[WRIST]))
    return image


def _view(path: Path, predictions: Sequence[Prediction]) -> np.ndarray | None:
    """The poses in 3D, one below the other."""
    views = [
        viz.draw_pose_3d(hand.joints_relative, f"{printable(path.name)}: {_summary(hand)}")
        for hand in predictions
        if hand.joints_relative is not None
    ]
    return np.concatenate(views) if views else None


def _png(picture: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "PNG", compress_level=3)
    return data.getvalue()
