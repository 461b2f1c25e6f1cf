"""One photo of `auxhand predict`: its prediction, and the files that say it (docs/predict.md)."""

from __future__ import annotations

import io
import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from auxhand import viz
from auxhand.cli.results import NUMBERS, OVERLAY, VIEW, write_result
from auxhand.data.image import Photo, load_photo, printable
from auxhand.geometry.camera import intrinsics_from_focal, intrinsics_from_fov
from auxhand.hand.skeleton import JOINT_NAMES, ROOT
from auxhand.inference.estimator import FOV, HandPoseEstimator
from auxhand.inference.prediction import Prediction


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
        if not (-width < x < photo.width and -height < y < photo.height):
            raise ValueError(
                f"{printable(path)}: the box {args.box} is not in the photo of {photo.width} x "
                f"{photo.height} pixels"
            )
        box = photo.box_from_original((x - 0.5, y - 0.5, width, height))
    try:
        prediction = estimator.predict(
            photo.pixels, box, args.side, K, args.hand_size, args.threshold
        )
    except ValueError as error:
        raise ValueError(f"{printable(path)}: {error}") from error
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


def summary(prediction: Prediction | None) -> str:
    """What was found, in a few words."""
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
        "photo": printable(path),
        "width_px": photo.width,
        "height_px": photo.height,
        "model": args.model,
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
    """Write STEM.json and, of what was found, STEM_overlay.png and STEM_3d.png, all or none; each
    file appears when it is complete, and pictures of an earlier result go.

    Raises:
        OSError: one of them cannot be written.
    """
    overlay, view = None, None
    if prediction is not None and prediction.joints_uv is not None:
        image, scale = viz.for_viewing(photo.pixels)
        z = None if prediction.joints_relative is None else prediction.joints_relative[:, 2]
        overlay = viz.draw_skeleton(image, (prediction.joints_uv + 0.5) * scale - 0.5, z)
    if prediction is not None and prediction.joints_relative is not None:
        view = viz.draw_pose_3d(
            prediction.joints_relative, f"{printable(path.name)}: {summary(prediction)}"
        )
    text = json.dumps(to_json(path, photo, prediction, args), indent=2, allow_nan=False)
    # The numbers last: where they are, the pictures are.
    for suffix, picture in ((OVERLAY, overlay), (VIEW, view)):
        write_result(stem, suffix, None if picture is None else _png(picture))
    write_result(stem, NUMBERS, (text + "\n").encode())


def _png(picture: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "PNG", compress_level=3)
    return data.getvalue()
