"""From a photo to the 3D pose of the hands in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from auxhand.geometry.pose25d import reference_length
from auxhand.hand.anatomy import bone_lengths
from auxhand.hand.surface import HandSurface
from auxhand.inference.bundle import (
    DEFAULT,
    FINDER,
    Bundle,
    bundle_folder,
    onnx_of,
    open_bundle,
    shipped,
)
from auxhand.inference.finder import Finder, FoundHand
from auxhand.inference.looks import STAGES, Hand, Look, Reading, Request, Stage
from auxhand.inference.prediction import FLESH, Prediction, prediction_from
from auxhand.inference.runtime import run_with_onnx, run_with_torch
from auxhand.inference.scene import Box, Scene, Side, Square, square_around
from auxhand.models.detections import DETECTOR
from auxhand.sample import LEFT, HandPose

CHUNK = 32
"""Crops per forward pass at most."""

SMALLEST = 8
"""Pixels: a photo with a shorter side than that shows no hand."""


class HandPoseEstimator:
    """Predicts the 3D poses of hands in photos, with networks loaded once.

        estimator = HandPoseEstimator.load()
        prediction = estimator.predict(image)

    Photos are (H, W, 3) uint8 RGB of any size, upright. Pixel coordinates have integers at the
    pixels' centres; a box is (x, y, width, height), (-0.5, -0.5, W, H) being the whole photo.
    Lengths are metres; axes are an OpenCV camera's: x right, y down, z forward.

    Without a box the hands are looked for, by a detector (`finder`) that sees the whole photo once;
    what it is less certain of than its threshold is no hand. A box is that of the hand's outline.
    The network looks at a square crop around the box, and then, where it tells joints in pixels, at
    squares about the same centre that are turned so that the hand is upright and then by the angles
    of `LOOKS`, of its sizes: one, and two and two more while looks differ (`STAGES`). Their median
    counts.

    A side is the person's true hand, in a photo that is not mirrored itself. Networks see right
    hands: a left hand's crop is mirrored. Where the side is not given, the crop is read both as it
    is and mirrored, and the reading of higher score (presence x mean confidence) counts; of a
    network that says which side it sees, score^6 times the side's probability^0.3.

    Absolute depth cannot be seen: it follows from the camera (`K`; by default a field of view of 60
    degrees over the longer side) and the hand's size (`hand_size`, the length of the middle
    finger's first bone, joints 9-10; by default that of the mean hand of `hand.surface`), as the
    depth at which all bones together come closest to a mean hand's lengths.

    Args:
        bundle: the network.
        device: where it runs.
        finder: finds the hands; without it boxes must be given.
        guide: says where a hand is and of which side, for a network that tells no sides apart
            (without side, presence and confidence); this network is then asked about one crop.
        onnx: the same network as `write_onnx` wrote it, to be run instead.

    Attributes:
        thorough: whether every hand gets all of `LOOKS`, so that `Prediction.spread` is of as many
            looks for all hands; False.

    Raises:
        ValueError: no such device, or a network that finds hands instead of joints.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: str = "cpu",
        finder: Finder | None = None,
        guide: HandPoseEstimator | None = None,
        onnx: Path | None = None,
    ) -> None:
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError("no CUDA device is available here; use the device cpu")
        if bundle.network_class == DETECTOR:
            raise ValueError("this model finds hands; a pose needs one that predicts joints")
        self.bundle = bundle
        self.finder = finder
        self.guide = guide
        self.device = torch.device(device)
        if onnx is None:
            self._run = run_with_torch(bundle.network.eval(), device)
        else:
            self._run = run_with_onnx(onnx)
        hand = HandSurface("right").rest_joints.double()
        self.hand_size = float(reference_length(hand))
        self._proportions = bone_lengths(hand) / self.hand_size
        self.thorough = False

    @staticmethod
    def load(model: str | PathLike[str] = DEFAULT, device: str = "cpu") -> HandPoseEstimator:
        """The estimator of a bundle's folder, or of the weights that AuxHand ships ("default").

        It finds hands with the shipped finder. On the CPU it runs in ONNX Runtime where that is
        installed and the bundle has a file for it. A network that tells no sides apart gets the
        shipped one as its guide, if that is there.

        Raises:
            FileNotFoundError: no such bundle, or the default one is not installed.
            ValueError: a bundle that cannot be read (`load_bundle`), or no such device.
        """
        folder, seeing = bundle_folder(model), shipped(FINDER)
        onnx = onnx_of(folder) if device == "cpu" else None
        bundle = open_bundle(folder)
        finder = Finder.load(seeing) if seeing.is_dir() else None
        estimator = HandPoseEstimator(bundle, device, finder, onnx=onnx)
        if model != DEFAULT and shipped(DEFAULT).is_dir() and not estimator.tells_sides_apart:
            estimator.guide = HandPoseEstimator.load(DEFAULT, device)
        return estimator

    @cached_property
    def tells_sides_apart(self) -> bool:
        """Whether the network says anything by which the side can be decided."""
        blank = self._blank
        said = blank.left, blank.presence, blank.confidence
        return any(value is not None for value in said)

    @cached_property
    def tells_side(self) -> bool:
        """Whether the network says which hand it sees."""
        return self._blank.left is not None

    @cached_property
    def _blank(self) -> HandPose:
        """What the network says of a black crop: which fields it has."""
        size = self.bundle.input_size
        return self._poses([np.zeros((size, size, 3), np.uint8)])[0]

    def predict(
        self,
        image: np.ndarray,
        box: Box | None = None,
        side: Side = "auto",
        K: np.ndarray | None = None,
        hand_size: float | None = None,
        threshold: float | None = None,
    ) -> Prediction | None:
        """The hand in a photo; of several that are looked for, the most certain one.

        Args:
            image: (H, W, 3) uint8 RGB.
            box: (x, y, width, height) of the hand in pixels; without it the hand is looked for.
            side: the person's true hand, "left" or "right"; "auto" decides.
            K: (3, 3) intrinsics in pixels of the photo; by default see above.
            hand_size: metres from the middle finger's first knuckle to its second (joints 9-10).
            threshold: least presence of a hand that is looked for; by default the finder's.

        Returns:
            the prediction, or None if no hand was found.

        Raises:
            ValueError: an image, box, side, K or hand size that is none; a hand that is to be found
                without a finder, or whose side cannot be told.
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
        once: bool = False,
    ) -> list[Prediction | None]:
        """As `predict`, one hand for each of several photos, whose crops share forward passes.

        Args:
            once: as to follow hands through a video: without the further looks at hands turned
                upright, a half to a sixth of the time where boxes and sides are given, and less
                accurate. A given side is how a crop is read, and `side_scores` what this reading
                says of it.
            images, boxes, sides, Ks, hand_size, threshold: see `predict`, one for each photo.
        """
        count = len(images)
        boxes, sides = boxes or [None] * count, sides or ["auto"] * count
        scenes = [
            Scene(image, None if Ks is None else Ks[i], boxes[i], sides[i])
            for i, image in enumerate(images)
        ]
        hands = self._predict(scenes, 1, hand_size, threshold, once)
        return [mine[0] if mine else None for mine in hands]

    def predict_hands(
        self,
        image: np.ndarray,
        count: int | None = None,
        K: np.ndarray | None = None,
        hand_size: float | None = None,
        threshold: float | None = None,
        once: bool = False,
    ) -> list[Prediction]:
        """The hands in a photo, the most certain first.

        Args:
            count: of hands at most; None: all that are found.
            once: see `predict_many`; `HandTracker` looks again in the next frame.
            image, K, hand_size, threshold: see `predict`.

        Raises:
            ValueError: see `predict`.
        """
        return self._predict([Scene(image, K, None, "auto")], count, hand_size, threshold, once)[0]

    def _predict(
        self,
        scenes: Sequence[Scene],
        count: int | None,
        hand_size: float | None,
        threshold: float | None,
        once: bool = False,
    ) -> list[list[Prediction]]:
        """Up to `count` hands of each scene."""
        hand_size = self.hand_size if hand_size is None else hand_size
        if not 0 < hand_size < math.inf:
            raise ValueError(f"the hand's size must be a positive number of metres: {hand_size}")
        if not self.tells_sides_apart and any(scene.side == "auto" for scene in scenes):
            if self.guide is None:
                raise ValueError("this model cannot tell sides apart: give the hand's side")
            guided = self.guide._predict(scenes, count, hand_size, threshold, once)
            return self._guided(scenes, guided, hand_size)
        seen = [
            Hand(
                Request(photo, square, mirrored=False, found=found),
                scene.side,
                self.tells_side,
                once,
                self.thorough,
            )
            for photo, scene in enumerate(scenes)
            for square, found in self._places(scene, count, threshold)
        ]
        for stage in STAGES[:1] if once or self._blank.uv is None else STAGES:
            self._see(scenes, seen, stage)
        hands: list[list[Prediction]] = [[] for _ in scenes]
        for hand in seen:
            photo = hand.reading.look.request.photo
            hands[photo].append(self._prediction(scenes[photo], hand.reading, hand_size))
        return hands

    def _see(self, scenes: Sequence[Scene], hands: Sequence[Hand], stage: Stage) -> None:
        """One stage of looks, in passes that all hands share."""
        wanted = [hand.wanted(stage) for hand in hands]
        looks = iter(self._look(scenes, [request for each in wanted for request in each]))
        for hand, requests in zip(hands, wanted, strict=True):
            if requests:
                hand.see(stage, [next(looks) for _ in requests])

    def _places(
        self, scene: Scene, count: int | None, threshold: float | None
    ) -> list[tuple[Square, FoundHand | None]]:
        """The squares to look at: about the given box, or about the hands that are found.

        Raises:
            ValueError: a hand is to be found, and there is no finder.
        """
        if scene.box is not None:
            return [(self._around(scene.box), None)]
        if self.finder is None:
            raise ValueError("no finder is installed that looks for hands: give the hand's box")
        if min(scene.width, scene.height) < SMALLEST:
            return []
        found = self.finder.find(scene.image, threshold, count)[:count]
        return [(self._around(scene.square(hand.box)), hand) for hand in found]

    def _around(self, box: Square) -> Square:
        """The crop's square for the square about a hand's outline."""
        return box._replace(side=box.side / (1 + 2 * FLESH) / self.bundle.fraction)

    def _afar(self, scene: Scene) -> bool:
        """Whether a photo's crops are read as from far away (`CROP_FOV`); only depth asks it."""
        return self._blank.d is not None and not scene.known

    def _look(self, scenes: Sequence[Scene], requests: Sequence[Request]) -> list[Look]:
        looks = []
        for start in range(0, len(requests), CHUNK):
            chunk = requests[start : start + CHUNK]
            size = self.bundle.input_size
            view = self.bundle.view
            cuts = [
                scenes[r.photo].cut(
                    r.square, r.mirrored, size, view, self._afar(scenes[r.photo]), r.angle
                )
                for r in chunk
            ]
            poses = self._poses([pixels for pixels, _ in cuts])
            looks += [
                Look(request, crop, pose)
                for request, (_, crop), pose in zip(chunk, cuts, poses, strict=True)
            ]
        return looks

    def _poses(self, crops: Sequence[npt.NDArray[np.uint8]]) -> list[HandPose]:
        """(S, S, 3) uint8 crops -> their poses, without batch dimension, on the CPU."""
        images = np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
        said = {name: torch.from_numpy(value) for name, value in self._run(images).items()}
        return [
            HandPose(**{name: value[i] for name, value in said.items()}) for i in range(len(crops))
        ]

    def _prediction(self, scene: Scene, reading: Reading, hand_size: float) -> Prediction:
        look = reading.look
        prediction = prediction_from(
            look.pose,
            look.crop,
            (scene.width, scene.height),
            self._proportions,
            hand_size,
            self.bundle.fraction,
            reading.side,
            scene.K if self._afar(scene) else None,
            reading.scores,
            look.spread,
        )
        found = look.request.found
        return prediction if found is None else replace(prediction, presence=found.presence)

    def _guided(
        self, scenes: Sequence[Scene], guided: Sequence[Sequence[Prediction]], hand_size: float
    ) -> list[list[Prediction]]:
        """One look at each of the hands that the guide told of."""
        hands = [(photo, hand) for photo, mine in enumerate(guided) for hand in mine]
        requests = [
            Request(
                photo,
                square_around(hand.joints_uv, self.bundle.fraction),
                hand.side == LEFT,
            )
            for photo, hand in hands
            if hand.joints_uv is not None
        ]
        predictions: list[list[Prediction]] = [[] for _ in scenes]
        for look, (photo, hand) in zip(self._look(scenes, requests), hands, strict=True):
            reading = Reading(look, hand.side, hand.side_scores)
            own = self._prediction(scenes[photo], reading, hand_size)
            predictions[photo].append(replace(own, presence=hand.presence))
        return predictions
