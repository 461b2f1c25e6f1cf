"""Looks at one square, turned, from which the same joints are told."""

import math
from dataclasses import replace

import pytest
import torch

from auxhand.geometry.crop import plain_crop
from auxhand.inference.looks import Look, Request, median_of
from auxhand.inference.scene import Square
from auxhand.sample import HandPose

SQUARE = Square(50.0, 40.0, 60.0)
UV = torch.rand(21, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 40 + 30


def look(angle, off=0.0, mirrored=False):
    """What a network says that is off by so many pixels of the photo, to the right and in depth."""
    centre = torch.tensor([SQUARE.u, SQUARE.v], dtype=torch.float64)
    crop = plain_crop(centre, SQUARE.side, 96, angle, mirror=mirrored)
    uv = crop.uv_to_crop(UV + torch.tensor([off, 0.0]))
    d = torch.linspace(-1, 1, 21) + off
    pose = HandPose(uv=uv.float(), d=d, confidence=torch.full((21,), 0.5 + off / 100))
    return Look(Request(0, SQUARE, mirrored, None, angle), crop, pose)


def test_the_median_is_that_of_the_photo_in_the_first_crop():
    looks = [look(0.3, off=8.0), look(0.1, off=1.0), look(0.5, off=-9.0)]
    median = median_of(looks)
    assert median.crop is looks[0].crop
    seen = median.crop.uv_to_original(median.pose.uv.double())
    # along the first crop's axes, to which the photo's x is not parallel
    shift = (seen - UV).mean(0)
    torch.testing.assert_close(shift, torch.tensor([1.0, 0.0]).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(median.pose.d, torch.linspace(-1, 1, 21) + 1.0)
    torch.testing.assert_close(median.pose.confidence, torch.full((21,), 0.5))
    box = looks[0].crop.uv_to_crop(UV).aminmax(dim=0)
    longer = (box.max - box.min).max() * SQUARE.side / 96
    spread = torch.full((21,), float((7 + 0 + 10) / 3 / longer))
    torch.testing.assert_close(median.spread, spread, atol=1e-4, rtol=0)


@pytest.mark.parametrize("mirrored", [False, True])
def test_turned_by_upright_the_knuckle_is_above_the_wrist(mirrored):
    first = look(0.7, mirrored=mirrored)
    turned = look(first.upright, mirrored=mirrored)
    x, y = (turned.pose.uv[9] - turned.pose.uv[0]).tolist()
    assert abs(x) < 1e-3 * abs(y)
    assert y < 0


def test_the_score_is_presence_times_confidence():
    seen = look(0.0)
    assert seen.score == pytest.approx(0.5)
    with_presence = replace(seen, pose=replace(seen.pose, presence=torch.tensor(0.4)))
    assert with_presence.score == pytest.approx(0.2)
    assert math.isclose(replace(seen, pose=HandPose(uv=seen.pose.uv)).score, 1.0)
