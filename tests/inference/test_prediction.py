"""Canonical pose and viewpoint of a photo's hand."""

import pytest
import torch
from torch.testing import assert_close

from auxhand.data.crops import square_crop
from auxhand.geometry.camera import intrinsics_from_fov
from auxhand.geometry.canonical import canonical_pose, rotate
from auxhand.geometry.crop import mirror_xyz
from auxhand.geometry.pose25d import reference_length, relative
from auxhand.hand.anatomy import bone_lengths
from auxhand.hand.surface import HandSurface
from auxhand.inference.prediction import prediction_from
from auxhand.sample import HandPose

K = intrinsics_from_fov(60, 640, 480).double()
REST = HandSurface("right").rest_joints.double()


@pytest.mark.parametrize("side", ["right", "left"])
def test_canonical_pose_and_viewpoint_are_those_of_the_true_side(side):
    """What a network sees is the crop's, and always a right hand."""
    generator = torch.Generator().manual_seed(1)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    hand = (REST - REST[9]) @ (turn * turn.det()).T
    photo = (hand if side == "right" else mirror_xyz(hand)) + torch.tensor([0.1, 0.05, 0.5])
    crop = square_crop(K, (400.0, 300.0), 200.0, 64, mirror=side == "left")
    canonical, R = canonical_pose(crop.xyz_to_crop(photo))
    pose = HandPose(xyz=rotate(R, canonical), canonical=canonical, viewpoint=R)
    size = float(reference_length(REST))
    found = prediction_from(pose, crop, (64, 64), bone_lengths(REST) / size, size, 0.7, side)
    viewpoint = torch.from_numpy(found.viewpoint)
    assert_close(viewpoint @ viewpoint.T, torch.eye(3, dtype=torch.float64))
    assert viewpoint.det() > 0
    in_photo = rotate(viewpoint, torch.from_numpy(found.canonical))
    assert_close(in_photo, photo - photo[9])
    assert_close(torch.from_numpy(found.joints_relative), photo - photo[9])
    right, _ = canonical_pose(REST)
    mine = relative(torch.from_numpy(found.canonical))
    assert_close(mine, right if side == "right" else mirror_xyz(right))


def test_a_model_without_them_says_nothing_of_them():
    crop = square_crop(K, (400.0, 300.0), 200.0, 64)
    found = prediction_from(
        HandPose(xyz=REST), crop, (64, 64), bone_lengths(REST), 1.0, 0.7, "right"
    )
    assert found.canonical is None
    assert found.viewpoint is None
