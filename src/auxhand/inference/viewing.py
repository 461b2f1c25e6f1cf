"""Hands in motion for the viewer rerun (extra `viewer`): skeletons, meshes, pictures, curves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch

from auxhand.files import writing
from auxhand.hand.fitting import fit_hand
from auxhand.hand.skeleton import BONES, JOINT_NAMES
from auxhand.inference.motion import PictureCamera, SeenHand
from auxhand.inference.video import Frame

CLOCK: Final = "time"
"""Name of the timeline, seconds from the first frame."""

_JPEG = 85
_COLOURS = ((230, 97, 1), (94, 60, 153), (35, 139, 69), (33, 113, 181))
"""Of the hands, by their numbers."""


def write_rrd(
    path: Path,
    hands: Iterable[SeenHand],
    camera: PictureCamera | None = None,
    pictures: Iterable[Frame] = (),
) -> int:
    """Write hands for rerun.

    Entities: `hands/N/joints`, `/skeleton` and `/mesh` (metres, axes of the camera: x right, y
    down, z away), `camera` with its picture and `camera/hands/N` in its pixels, and the curves
    `presence/N` and `confidence/N` (21 joints).

    Args:
        path: of the .rrd file, which appears when it is complete.
        hands: in the order of their frames.
        camera: that sees them; None: no image plane.
        pictures: frames of the video, drawn on the image plane.

    Returns:
        how many hands were written, of all frames.

    Raises:
        ModuleNotFoundError: rerun is not installed.
        OSError: the file cannot be written.
    """
    rr = _rerun()
    with writing(path) as unfinished:
        stream = rr.RecordingStream("auxhand")
        stream.save(str(unfinished))
        stream.log("/", rr.ViewCoordinates.RDF, static=True)
        if camera is not None:
            size = [camera.width, camera.height]
            pinhole = rr.Pinhole(image_from_camera=camera.K, resolution=size)
            stream.log("camera", pinhole, static=True)
        for frame in pictures:
            stream.set_time(CLOCK, duration=frame.time)
            stream.log("camera", _picture(rr, frame.pixels))
        count = _log_hands(rr, stream, hands)
        stream.flush()
        stream.disconnect()
    return count


def _log_hands(rr: Any, stream: Any, hands: Iterable[SeenHand]) -> int:
    """Frame by frame; a hand that is in a frame no more disappears."""
    count, before = 0, dict[int, str]()
    for _, seen in groupby(hands, lambda hand: hand.frame):
        now = list(seen)
        stream.set_time(CLOCK, duration=now[0].time)
        for hand in now:
            for name, what in _entities(rr, hand, before.get(hand.identity) != hand.side):
                stream.log(name, what)
        for lost in before.keys() - {hand.identity for hand in now}:
            for name in (f"hands/{lost}", f"camera/hands/{lost}"):
                stream.log(name, rr.Clear(recursive=True))
        before = {hand.identity: hand.side for hand in now}
        count += len(now)
    return count


def _entities(rr: Any, hand: SeenHand, first: bool) -> Iterator[tuple[str, Any]]:
    """What is logged of a hand: its name and rerun's archetype. `first`: it was not in the frame
    before, or of the other side."""
    n, colour = hand.identity, _COLOURS[hand.identity % len(_COLOURS)]
    lines = np.array(BONES)
    if np.isfinite(hand.xyz).all():
        fitted = fit_hand(torch.from_numpy(hand.xyz), "left" if hand.side == "left" else "right")
        label = f"{hand.side} {n}"
        yield (
            f"hands/{n}/joints",
            rr.Points3D(hand.xyz, radii=0.003, colors=colour, labels=[label], show_labels=False),
        )
        yield f"hands/{n}/skeleton", rr.LineStrips3D(hand.xyz[lines], radii=0.0015, colors=colour)
        yield f"hands/{n}/mesh", _mesh(rr, *fitted.mesh(), first)
    if np.isfinite(hand.uv).all():
        yield f"camera/hands/{n}", rr.LineStrips2D(hand.uv[lines], radii=1.5, colors=colour)
    if np.isfinite(hand.presence):
        yield f"presence/{n}", rr.Scalars(hand.presence)
    if np.isfinite(hand.confidence).all():
        if first:
            yield f"confidence/{n}", rr.SeriesLines(names=list(JOINT_NAMES))
        yield f"confidence/{n}", rr.Scalars(hand.confidence)


def _mesh(rr: Any, vertices: torch.Tensor, faces: torch.Tensor, first: bool) -> Any:
    """A surface; its triangles and colour stay what they were where it is not the first one."""
    places, corners = vertices.float().numpy(), faces.numpy()
    moving = {"vertex_positions": places, "vertex_normals": _normals(places, corners)}
    if not first:
        return rr.Mesh3D.from_fields(**moving)
    return rr.Mesh3D(**moving, triangle_indices=corners, albedo_factor=(224, 172, 145, 255))


def _normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals: those of the triangles about a vertex, weighted by their areas."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    each = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normals, faces[:, k], each)
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12))


def _picture(rr: Any, pixels: np.ndarray) -> Any:
    """(H, W, 3) uint8 RGB as JPEG, which keeps the file of a long video small."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG])
    return rr.EncodedImage(contents=data.tobytes(), media_type="image/jpeg")


def _rerun() -> Any:
    try:
        import rerun
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "rerun is not installed: pip install 'auxhand[viewer]'"
        ) from error
    return rerun
