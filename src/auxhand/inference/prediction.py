"""What is said about the hand in a photo, and how it follows from what a network says of a crop."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from auxhand.geometry.camera import project
from auxhand.geometry.crop import Crop, mirror_xyz, turn_to_axis, uv_box
from auxhand.geometry.pose25d import lift
from auxhand.hand.fitting import FittedHand, fit_hand
from auxhand.hand.skeleton import ROOT
from auxhand.inference import formats
from auxhand.inference.placement import fill_crop, root_depth, translation
from auxhand.sample import LEFT, HandPose

FLESH = 0.08
"""How far a hand reaches beyond its joints, in longer sides of their box (fingertips, edge of the
palm, the heel of the hand below the wrist joint)."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The hand in a photo.

    Pixels are the photo's; lengths are metres; axes are those of the photo's camera (x right, y
    down, z forward); joints are in the order of `hand.skeleton`.

    Attributes:
        joints_uv: (21, 2) pixels; of a model that gives 3D alone, the projection of `joints_xyz`.
        joints_relative: (21, 3) relative to the root joint 9, under the stated hand size and
            camera; None if the model gives 2D alone.
        joints_xyz: (21, 3) before the camera, under the stated hand size and camera; None where
            `joints_relative` is. project(K, joints_xyz) = joints_uv for 2.5D models whose camera
            was given, and for models that give 3D alone, whose hand is placed to fill the crop; for
            2.5D models without a camera it is as near as an assumed camera allows.
        confidence: (21,) in [0, 1]; None if the model gives none.
        presence: probability that the crop shows a hand; None if the model gives none.
        side: "left" or "right", the person's true hand.
        side_scores: how well the photo reads as a right and as a left hand, of which the higher one
            decided: probabilities of either or, of a network that says no side, presence x
            confidence of the crop read both ways. None if the side was given, but for
            `predict_many(once=True)`.
        mask: (h, w) in [0, 1], over the crop; None if the model gives none.
        canonical: (21, 3) the canonical pose relative to the root (Ch. 4.3.3); None if the model
            gives none. A left hand's is the mirror image of a right one's.
        viewpoint: (3, 3) the rotation from the canonical pose to the photo's axes; None if the
            model gives none.
        box: (x, y, width, height) around the hand: that of the joints, grown on all sides by
            `FLESH` of its longer side; the crop's square if there are no joints.
        K: (3, 3) intrinsics, given or assumed.
        hand_size: length of the middle finger's first bone (9-10), given or assumed.
        crop: from the photo to what the network saw.
        photo_size: (width, height) of the photo in pixels.
        spread: (21,) how far the looks at the hand differ: the mean distance of their joints from
            the median, in longer sides of the joints' box. None of a hand that was looked at once.
    """

    joints_uv: np.ndarray | None
    joints_relative: np.ndarray | None
    joints_xyz: np.ndarray | None
    confidence: np.ndarray | None
    presence: float | None
    side: str
    side_scores: dict[str, float] | None
    mask: np.ndarray | None
    box: tuple[float, float, float, float]
    K: np.ndarray
    hand_size: float
    crop: Crop
    photo_size: tuple[int, int]
    spread: np.ndarray | None = None
    canonical: np.ndarray | None = None
    viewpoint: np.ndarray | None = None

    def photo_mask(self, width: int, height: int) -> np.ndarray | None:
        """(height, width) float32: the mask in the photo, 0 outside the crop."""
        if self.mask is None:
            return None
        rows, columns = self.mask.shape
        sx, sy = columns / self.crop.size[1], rows / self.crop.size[0]
        to_mask = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
        return cv2.warpPerspective(
            self.mask.astype(np.float32),
            to_mask @ self.crop.A.numpy(),
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )

    def to_mediapipe(self) -> formats.MediaPipeHand:
        """The hand as MediaPipe gives it, see `formats.to_mediapipe`.

        Raises:
            ValueError: the model gives 2D alone.
        """
        xyz, width_height = self._needed(self.joints_xyz), self.photo_size
        assert self.joints_uv is not None
        scores = self.side_scores
        score = 1.0 if scores is None else scores[self.side] / max(sum(scores.values()), 1e-12)
        return formats.to_mediapipe(self.joints_uv, xyz, self.K, width_height, self.side, score)

    def to_mano_order(self) -> np.ndarray:
        """(21, 3) `joints_xyz` in the order of MANO: its 16 joints, then the five fingertips.

        Raises:
            ValueError: the model gives 2D alone.
        """
        return formats.to_mano_order(self._needed(self.joints_xyz))

    def to_openpose(self) -> dict[str, list[float]]:
        """The hand's entries of a person in OpenPose's JSON, see `formats.to_openpose`.

        Raises:
            ValueError: the model gives no pixels.
        """
        return formats.to_openpose(self._needed(self.joints_uv), self.confidence, self.side)

    def angles(self) -> dict[str, formats.Angles]:
        """Flexion and abduction of 15 joints in degrees, by name, see `formats.angles`.

        Raises:
            ValueError: the model gives 2D alone.
        """
        return formats.angles(self._needed(self.joints_relative), self.side)

    def retargeting(self) -> np.ndarray:
        """(21, 3) metres for dex-retargeting, see `formats.retargeting`.

        Raises:
            ValueError: the model gives 2D alone.
        """
        return formats.retargeting(self._needed(self.joints_relative), self.side)

    def to_hand(self) -> FittedHand:
        """Pose and shape of `hand.surface` that come closest to `joints_xyz`.

        Raises:
            ValueError: the model gives 2D alone.
        """
        joints = torch.from_numpy(self._needed(self.joints_xyz))
        return fit_hand(joints, "left" if self.side == LEFT else "right")

    def _needed(self, joints: np.ndarray | None) -> np.ndarray:
        if joints is None:
            raise ValueError("this model predicts no such joints: 2D alone, or none")
        return joints


def prediction_from(
    pose: HandPose,
    crop: Crop,
    photo_size: tuple[int, int],
    proportions: Tensor,
    hand_size: float,
    fraction: float,
    side: str,
    K: Tensor | None = None,
    side_scores: dict[str, float] | None = None,
    spread: Tensor | None = None,
) -> Prediction:
    """What a network's pose says about the photo that the crop is of.

    Args:
        pose: of one crop, its tensors without the batch dimension, on the CPU.
        crop: in double precision, with intrinsics.
        photo_size: (width, height) of the photo.
        proportions: (20,) lengths of a mean hand's bones, in lengths of its reference bone; they
            decide on the absolute depth of a 2.5D pose.
        hand_size: length of the reference bone, metres.
        fraction: share of the crop's side that the joints' box takes; it decides on the place of a
            3D pose without pixels.
        side: see `Prediction`.
        K: (3, 3) intrinsics that are assumed for the photo, of whose camera the crop knows nothing:
            the crop was read as from far away. None: the crop's own are the photo's.
        side_scores, spread: see `Prediction`.
    """
    assert crop.K_original is not None
    pose = HandPose(**{name: value.double() for name, value in pose.items()})
    if K is None:
        relative, absolute = _joints(pose, crop, proportions, hand_size, fraction)
    else:
        relative, absolute = _joints_from_afar(pose, crop, proportions, hand_size, K)
    uv = None if pose.uv is None else crop.uv_to_original(pose.uv)
    if uv is None and absolute is not None:
        uv = project(crop.K_original, absolute)
    canonical, viewpoint = _canonical(pose, crop, hand_size)
    return Prediction(
        joints_uv=_array(uv),
        joints_relative=_array(relative),
        joints_xyz=_array(absolute),
        confidence=_array(pose.confidence),
        presence=None if pose.presence is None else float(pose.presence),
        side=side,
        side_scores=side_scores,
        mask=_array(pose.mask),
        box=_box(_outline(crop)) if uv is None else _box(uv, FLESH),
        K=(crop.K_original if K is None else K).numpy(),
        hand_size=hand_size,
        crop=crop,
        photo_size=photo_size,
        spread=_array(spread),
        canonical=_array(canonical),
        viewpoint=_array(viewpoint),
    )


def _canonical(pose: HandPose, crop: Crop, hand_size: float) -> tuple[Tensor | None, Tensor | None]:
    """Canonical pose in metres, and viewpoint in the photo's axes, of the hand's true side: with
    the crop's axes A, a mirror M in them, A^T R C = (A^T R M) (M C)."""
    canonical, viewpoint = pose.canonical, pose.viewpoint
    if canonical is not None:
        canonical = hand_size * (canonical - canonical[ROOT])
        canonical = mirror_xyz(canonical) if crop.mirrored else canonical
    if viewpoint is not None:
        # `mirror_xyz` of rows: R M.
        viewpoint = crop.R.to(viewpoint).mT @ viewpoint
        viewpoint = mirror_xyz(viewpoint) if crop.mirrored else viewpoint
    return canonical, viewpoint


def _joints(
    pose: HandPose, crop: Crop, proportions: Tensor, hand_size: float, fraction: float
) -> tuple[Tensor | None, Tensor | None]:
    """Joints (21, 3) in the photo's camera, metres: relative to the root, and absolute."""
    assert crop.K is not None
    if pose.uv is not None and pose.d is not None:
        z = root_depth(pose.uv, pose.d, crop.K, proportions * hand_size, hand_size)
        absolute = lift(pose.uv, pose.d, crop.K, z, z.new_tensor(hand_size))
        absolute = crop.xyz_to_original(absolute)
        return absolute - absolute[ROOT], absolute
    if pose.xyz is None:
        return None, None
    relative = (pose.xyz - pose.xyz[ROOT]) * hand_size
    if pose.uv is None:
        absolute = relative + fill_crop(relative, crop.K, crop.size[0], fraction)
    else:
        absolute = relative + translation(pose.uv, relative, crop.K)
    return crop.xyz_to_original(relative), crop.xyz_to_original(absolute)


def _joints_from_afar(
    pose: HandPose, crop: Crop, proportions: Tensor, hand_size: float, K: Tensor
) -> tuple[Tensor, Tensor]:
    """As `_joints`, of a 2.5D pose whose crop was read as from far away.

    What the crop says holds for a camera that looks at its centre; the photo's, by `K`, looks
    elsewhere, and sees the hand at the distance that its pixels ask for.
    """
    assert pose.uv is not None
    assert pose.d is not None
    assert crop.K is not None
    z = root_depth(pose.uv, pose.d, crop.K, proportions * hand_size, hand_size)
    seen = crop.xyz_to_original(lift(pose.uv, pose.d, crop.K, z, z.new_tensor(hand_size)))
    middle = [*_outline(crop).mean(0).tolist(), 1.0]
    turn = turn_to_axis(*(np.linalg.inv(K.numpy()) @ middle).tolist())
    relative = (seen - seen[ROOT]) @ torch.from_numpy(turn)
    uv = crop.uv_to_original(pose.uv)
    return relative, relative + translation(uv, relative, K)


def _outline(crop: Crop) -> Tensor:
    """(4, 2) the crop's corners in the photo."""
    h, w = crop.size
    corners = [[-0.5, -0.5], [w - 0.5, -0.5], [-0.5, h - 0.5], [w - 0.5, h - 0.5]]
    return crop.uv_to_original(crop.A.new_tensor(corners))


def _box(uv: Tensor, margin: float = 0.0) -> tuple[float, float, float, float]:
    """(x, y, width, height) around points, grown by `margin` longer sides."""
    x, y, width, height = uv_box(uv).tolist()
    m = margin * max(width, height)
    return x - m, y - m, width + 2 * m, height + 2 * m


def _array(value: Tensor | None) -> np.ndarray | None:
    return None if value is None else value.numpy()
