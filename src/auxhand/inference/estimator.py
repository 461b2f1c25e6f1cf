"""From a photo to the 3D pose of the hand in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import torch

from auxhand.data.crops import View, square_crop
from auxhand.geometry.camera import CROP_FOV, intrinsics_from_fov
from auxhand.geometry.crop import Crop
from auxhand.geometry.pose25d import reference_length
from auxhand.hand.anatomy import bone_lengths
from auxhand.hand.surface import HandSurface
from auxhand.inference.bundle import Bundle, load_bundle
from auxhand.inference.detection import Square, best_squares, settled, square_around, windows
from auxhand.inference.prediction import FLESH, Prediction, prediction_from
from auxhand.sample import LEFT, RIGHT, SIDES, HandPose

Side = Literal["auto", "left", "right"]
Box = Sequence[float]

DEFAULT = "default"
"""Name of the model that AuxHand ships; a folder of that name is ./default."""

FOV = 60.0
"""Degrees over the photo's longer side, where the camera is not known."""

CANDIDATES = 2
"""Windows that are followed up."""

LOOKS = 4
"""Crops per candidate at most, each around the joints found in the one before."""

CHUNK = 32
"""Crops per forward pass at most."""

SMALLEST = 8
"""Pixels: a photo with a shorter side than that shows no hand."""

_MIRRORED: dict[str, tuple[bool, ...]] = {RIGHT: (False,), LEFT: (True,), "auto": (False, True)}
"""The ways a crop is read for each side that may be asked for: as it is, mirrored."""


class _Scene:
    """A photo and what is asked about it."""

    def __init__(
        self, image: np.ndarray, K: np.ndarray | None, box: Box | None, side: Side
    ) -> None:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(
                f"a photo must be (H, W, 3) uint8 RGB, not {image.shape} {image.dtype}"
            )
        if side not in _MIRRORED:
            raise ValueError(f"side must be one of {', '.join(_MIRRORED)}, not {side!r}")
        self.height, self.width = image.shape[:2]
        self.known = K is not None
        self.side, self.box = side, None if box is None else self._square(box)
        if K is None:
            self.K = intrinsics_from_fov(FOV, self.width, self.height).double()
        elif np.shape(K) == (3, 3):
            self.K = torch.as_tensor(K, dtype=torch.float64)
        else:
            raise ValueError(f"K must be (3, 3), not {np.shape(K)}")
        self._reduced = {1: image}

    def _square(self, box: Box) -> Square:
        """The square around a box that lies at least partly in the photo."""
        x, y, w, h = box
        inside = -w < x + 0.5 < self.width and -h < y + 0.5 < self.height
        if not (w > 0 and h > 0 and inside and math.isfinite(x + y + w + h)):
            raise ValueError(
                f"the box x, y, width, height = {x:g}, {y:g}, {w:g}, {h:g} is not in the photo "
                f"of {self.width} x {self.height} pixels"
            )
        return Square(x + w / 2, y + h / 2, max(w, h))

    def cut(
        self, square: Square, mirrored: bool, size: int, view: View, afar: bool
    ) -> tuple[np.ndarray, Crop]:
        """(size, size, 3) uint8 and the crop that it is; `afar`: see `CROP_FOV`.

        Sampled as in `geometry.warp.warp`: bilinear, averaged down first by the nearest whole
        factor where it would alias, the border repeated beyond the photo.
        """
        K = self.K
        if afar:
            focal = square.side / 2 / math.tan(math.radians(CROP_FOV) / 2)
            K = K.new_tensor([[focal, 0, square.u], [0, focal, square.v], [0, 0, 1]])
        crop = square_crop(K, square[:2], square.side, size, mirror=mirrored, view=view)
        shrink = square.side / size
        image = self._reduce(round(shrink) if shrink > 1.5 else 1)
        sx, sy = self.width / image.shape[1], self.height / image.shape[0]
        to_photo = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
        A, target = crop.A.numpy() @ to_photo, (size, size)
        pixels = cv2.warpPerspective(
            image, A, target, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return pixels, crop

    def _reduce(self, factor: int) -> np.ndarray:
        if factor not in self._reduced:
            size = max(1, round(self.width / factor)), max(1, round(self.height / factor))
            self._reduced[factor] = cv2.resize(self._reduced[1], size, interpolation=cv2.INTER_AREA)
        return self._reduced[factor]


class _Request(NamedTuple):
    """A crop to look at: of which photo, where, and whether mirrored (read as a left hand)."""

    photo: int
    square: Square
    mirrored: bool


@dataclass(frozen=True, eq=False)
class _View:
    """What the network says about a crop; the tensors of `pose` have no batch dimension."""

    request: _Request
    crop: Crop
    pose: HandPose

    @property
    def presence(self) -> float:
        """1 if the model does not say."""
        return 1.0 if self.pose.presence is None else float(self.pose.presence)

    @property
    def score(self) -> float:
        """Presence times mean confidence, as far as the model gives them."""
        confidence = self.pose.confidence
        return self.presence * (1.0 if confidence is None else float(confidence.mean()))

    @property
    def joints_uv(self) -> np.ndarray:
        """(21, 2) pixels of the photo."""
        assert self.pose.uv is not None
        uv: np.ndarray = self.crop.uv_to_original(self.pose.uv.double()).numpy()
        return uv


class HandPoseEstimator:
    """Predicts the 3D pose of one hand per photo, with a network loaded once.

        estimator = HandPoseEstimator.load()
        prediction = estimator.predict(image)

    Photos are (H, W, 3) uint8 RGB of any size, upright. Pixel coordinates have integers at the
    pixels' centres; a box is (x, y, width, height), (-0.5, -0.5, W, H) being the whole photo.
    Lengths are metres; axes are an OpenCV camera's: x right, y down, z forward.

    A side is the person's true hand, in a photo that is not mirrored itself. A network that says
    which side it sees is given crops as they are. Another one sees right hands: a left hand's crop
    is mirrored, its pose mirrored back, and with side "auto" every crop is read both ways, of which
    in the end the way of higher score (presence x mean confidence) counts.

    Without a box the hand is looked for: windows of three sizes in one batch, the best of them
    followed up by crops around the joints found until they settle; below a presence of `threshold`
    no hand was found. A box is that of the hand's outline; the crop around it is looked at once,
    and there always is a prediction.

    Absolute depth cannot be seen: it follows from the camera (`K`; by default a field of view of 60
    degrees over the longer side) and the hand's size (`hand_size`, the length of the middle
    finger's first bone, joints 9-10; by default that of the mean hand of `hand.surface`), as the
    depth at which all bones together come closest to a mean hand's lengths.

    Args:
        bundle: the network.
        device: where it runs.
        finder: finds the hand and its side for a network that cannot (without presence or uv);
            this network is then asked about the final crop alone.

    Raises:
        ValueError: no such device.
    """

    def __init__(
        self, bundle: Bundle, device: str = "cpu", finder: HandPoseEstimator | None = None
    ) -> None:
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError("no CUDA device is available here; use the device cpu")
        self.bundle = bundle
        self.finder = finder
        self.device = torch.device(device)
        network = bundle.network.to(self.device).eval()
        self.network = network.to(memory_format=torch.channels_last)
        hand = HandSurface("right").rest_joints.double()
        self.hand_size = float(reference_length(hand))
        self._proportions = bone_lengths(hand) / self.hand_size

    @staticmethod
    def load(model: str | PathLike[str] = DEFAULT, device: str = "cpu") -> HandPoseEstimator:
        """The estimator of a bundle's folder, or of the weights that AuxHand ships ("default").

        A network that cannot find hands gets the shipped one as its finder, if that is there.

        Raises:
            FileNotFoundError: no such bundle, or the default one is not installed.
            ValueError: a bundle that cannot be read (`load_bundle`), or no such device.
        """
        shipped = Path(str(files("auxhand") / "assets" / "default"))
        if model == DEFAULT and not shipped.is_dir():
            raise FileNotFoundError(
                f"the default weights are not installed ({shipped}); name a bundle, as "
                "`auxhand train` writes it (for `auxhand predict`: --model FOLDER)"
            )
        folder = shipped if model == DEFAULT else Path(model)
        estimator = HandPoseEstimator(load_bundle(folder), device)
        if model != DEFAULT and shipped.is_dir() and not estimator.finds:
            estimator.finder = HandPoseEstimator.load(DEFAULT, device)
        return estimator

    @cached_property
    def finds(self) -> bool:
        """Whether the network says where a hand is: presence and uv."""
        return self._blank.presence is not None and self._blank.uv is not None

    @cached_property
    def tells_side(self) -> bool:
        """Whether the network says which hand it sees."""
        return self._blank.left is not None

    @cached_property
    def _blank(self) -> HandPose:
        """What the network says of a black crop: which fields it has."""
        size = self.bundle.input_size
        return self._run([np.zeros((size, size, 3), np.uint8)])[0]

    def _ways(self, side: Side) -> tuple[bool, ...]:
        """The ways a crop is read: as it is, mirrored."""
        return (False,) if self.tells_side else _MIRRORED[side]

    def _afar(self, scene: _Scene) -> bool:
        """Whether a photo's crops are read as from far away (`CROP_FOV`); only depth asks it."""
        return self._blank.d is not None and not scene.known

    def predict(
        self,
        image: np.ndarray,
        box: Box | None = None,
        side: Side = "auto",
        K: np.ndarray | None = None,
        hand_size: float | None = None,
        threshold: float | None = None,
    ) -> Prediction | None:
        """The hand in a photo.

        Args:
            image: (H, W, 3) uint8 RGB.
            box: (x, y, width, height) of the hand in pixels; without it the hand is looked for.
            side: the person's true hand, "left" or "right"; "auto" decides.
            K: (3, 3) intrinsics in pixels of the photo; by default see above.
            hand_size: metres from the middle finger's first knuckle to its second (joints 9-10).
            threshold: least presence of a hand that is looked for; by default the bundle's.

        Returns:
            the prediction, or None if no hand was found.

        Raises:
            ValueError: an image, box, side, K or hand size that is none; a network that cannot
                find hands, without finder, box and side.
        """
        Ks = None if K is None else [K]
        return self.predict_many([image], [box], [side], Ks, hand_size, threshold)[0]

    def predict_many(
        self,
        images: Sequence[np.ndarray],
        boxes: Sequence[Box | None] | None = None,
        sides: Sequence[Side] | None = None,
        Ks: Sequence[np.ndarray] | None = None,
        hand_size: float | None = None,
        threshold: float | None = None,
    ) -> list[Prediction | None]:
        """As `predict`, one hand for each of several photos, whose crops share forward passes."""
        count = len(images)
        boxes, sides = boxes or [None] * count, sides or ["auto"] * count
        hand_size = self.hand_size if hand_size is None else hand_size
        threshold = self.bundle.presence_threshold if threshold is None else threshold
        if not 0 < hand_size < math.inf:
            raise ValueError(f"the hand's size must be a positive number of metres: {hand_size}")
        scenes = [
            _Scene(image, None if Ks is None else Ks[i], boxes[i], sides[i])
            for i, image in enumerate(images)
        ]
        if not self.finds and self.finder is not None:
            found = self.finder.predict_many(images, boxes, sides, Ks, hand_size, threshold)
            return self._predict_found(scenes, found, hand_size)
        if not (self.finds or all(scene.box and scene.side != "auto" for scene in scenes)):
            raise ValueError("this model cannot find hands: give the hand's box and its side")
        views = self._follow(scenes, self._starts(scenes))
        return [
            self._decide(scene, [v for v in views if v.request.photo == i], hand_size, threshold)
            for i, scene in enumerate(scenes)
        ]

    def _starts(self, scenes: Sequence[_Scene]) -> list[_Request]:
        """The first crops to follow: around the boxes, or the best windows."""
        search = [
            _Request(photo, square, mirrored)
            for photo, scene in enumerate(scenes)
            if scene.box is None and min(scene.width, scene.height) >= SMALLEST
            for square in windows(scene.width, scene.height)
            for mirrored in self._ways(scene.side)
        ]
        views = self._look(scenes, search)
        starts = []
        for photo, scene in enumerate(scenes):
            if scene.box is not None:
                u, v, extent = scene.box
                squares = [Square(u, v, extent / (1 + 2 * FLESH) / self.bundle.fraction)]
            else:
                mine = [view for view in views if view.request.photo == photo]
                seen = [view.request.square for view in mine]
                best = best_squares(seen, [view.score for view in mine], CANDIDATES)
                squares = [seen[i] for i in best]
            starts += [_Request(photo, s, m) for s in squares for m in self._ways(scene.side)]
        return starts

    def _follow(self, scenes: Sequence[_Scene], starts: Sequence[_Request]) -> list[_View]:
        """For each start the last view of crops around the joints found, until they settle.

        A box that was given stays the only look: crops around joints that lie too close together
        would only shrink. A crop that lost the hand (less than half the score of the one before) is
        not taken.
        """
        views = self._look(scenes, starts)
        moving = [i for i, view in enumerate(views) if scenes[view.request.photo].box is None]
        for _ in range(LOOKS - 1):
            requests = {i: self._next(scenes[views[i].request.photo], views[i]) for i in moving}
            following = {i: request for i, request in requests.items() if request is not None}
            moving = []
            for i, view in zip(
                following, self._look(scenes, list(following.values())), strict=True
            ):
                if view.score >= 0.5 * views[i].score:
                    views[i] = view
                    moving.append(i)
        return views

    def _next(self, scene: _Scene, view: _View) -> _Request | None:
        """The crop around a view's joints, if it differs and lies in the photo."""
        if view.pose.uv is None:
            return None
        square = square_around(view.joints_uv, self.bundle.fraction)
        inside = 0 <= square.u < scene.width and 0 <= square.v < scene.height
        if not inside or settled(view.request.square, square):
            return None
        return view.request._replace(square=square)

    def _look(self, scenes: Sequence[_Scene], requests: Sequence[_Request]) -> list[_View]:
        views = []
        for start in range(0, len(requests), CHUNK):
            chunk = requests[start : start + CHUNK]
            size = self.bundle.input_size
            view = self.bundle.view
            cuts = [
                scenes[r.photo].cut(r.square, r.mirrored, size, view, self._afar(scenes[r.photo]))
                for r in chunk
            ]
            poses = self._run([pixels for pixels, _ in cuts])
            views += [
                _View(request, crop, pose)
                for request, (_, crop), pose in zip(chunk, cuts, poses, strict=True)
            ]
        return views

    @torch.inference_mode()
    def _run(self, crops: Sequence[np.ndarray]) -> list[HandPose]:
        """(S, S, 3) uint8 crops -> their poses, without batch dimension, on the CPU."""
        images = torch.from_numpy(np.stack(crops)).to(self.device).permute(0, 3, 1, 2)
        pose: HandPose = self.network(images.float().div_(255))
        pose = replace(pose, heatmaps=None).to("cpu")
        return [
            HandPose(**{name: value[i] for name, value in pose.items()}) for i in range(len(crops))
        ]

    def _decide(
        self, scene: _Scene, views: Sequence[_View], hand_size: float, threshold: float
    ) -> Prediction | None:
        """The view of highest score, if it counts as a hand."""
        best = max(views, key=lambda view: view.score, default=None)
        if best is None or (scene.box is None and best.presence < threshold):
            return None
        if scene.side != "auto":
            return self._prediction(scene, best, hand_size, scene.side)
        if best.pose.left is not None:
            left = float(best.pose.left)
            scores = {RIGHT: 1 - left, LEFT: left}
        else:
            scores = {
                side: max(v.score for v in views if v.request.mirrored == (side == LEFT))
                for side in SIDES
            }
        side = max(scores, key=lambda side: scores[side])
        return self._prediction(scene, best, hand_size, side, scores)

    def _prediction(
        self,
        scene: _Scene,
        view: _View,
        hand_size: float,
        side: str,
        scores: dict[str, float] | None = None,
    ) -> Prediction:
        return prediction_from(
            view.pose,
            view.crop,
            self._proportions,
            hand_size,
            self.bundle.fraction,
            side,
            scene.K if self._afar(scene) else None,
            scores,
        )

    def _predict_found(
        self, scenes: Sequence[_Scene], found: Sequence[Prediction | None], hand_size: float
    ) -> list[Prediction | None]:
        """One look at the hands that the finder found."""
        predictions: list[Prediction | None] = [None] * len(scenes)
        requests = [
            _Request(
                i,
                square_around(hand.joints_uv, self.bundle.fraction),
                hand.side == LEFT and not self.tells_side,
            )
            for i, hand in enumerate(found)
            if hand is not None and hand.joints_uv is not None
        ]
        for view in self._look(scenes, requests):
            hand = found[view.request.photo]
            assert hand is not None
            own = self._prediction(scenes[view.request.photo], view, hand_size, hand.side)
            predictions[view.request.photo] = replace(
                own, presence=hand.presence, side_scores=hand.side_scores
            )
        return predictions
