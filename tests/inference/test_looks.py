"""Looks at one square, turned, from which the same joints are told."""

import math
from dataclasses import replace

import pytest
import torch

from auxhand.geometry.crop import plain_crop
from auxhand.inference.looks import LOOKS, STAGES, Hand, Look, Request, decide, median_of
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


def test_the_median_of_two_is_their_mean():
    looks = [look(0.3, off=2.0), look(0.1, off=-4.0)]
    median = median_of(looks)
    seen = median.crop.uv_to_original(median.pose.uv.double())
    torch.testing.assert_close(seen, UV + torch.tensor([-1.0, 0.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(median.pose.d, torch.linspace(-1, 1, 21) - 1.0)
    assert median.pose.d.dtype == median.pose.uv.dtype == torch.float32
    longer = float((UV.amax(0) - UV.amin(0)).max())
    torch.testing.assert_close(
        median.spread.mean(), torch.tensor(3.0 / longer), atol=0.1 / longer, rtol=0.1
    )


def seen(request, off=0.0, left=0.5):
    """What a network says of a request, off by so many pixels of the photo."""
    square = request.square
    centre = torch.tensor([square.u, square.v], dtype=torch.float64)
    crop = plain_crop(centre, square.side, 96, request.angle, mirror=request.mirrored)
    told = {"left": torch.tensor(left), "confidence": torch.full((21,), 0.5)}
    return Look(request, crop, HandPose(uv=crop.uv_to_crop(UV + off).float(), **told))


def stages(asked="auto", clear=True, wrong=(), off=4.0, thorough=False, tells_side=True):
    """A right hand, and the requests of each stage; the looks turned upright whose numbers are in
    `wrong` are off."""
    told = Hand(Request(0, SQUARE, False), asked, tells_side, False, thorough)
    wanted = []
    for stage in STAGES:
        requests = told.wanted(stage)
        wanted.append(requests)
        if requests:
            ways = len({request.mirrored for request in requests})
            before = sum(len(each) for each in wanted[1:-1])
            looks = []
            for number, request in enumerate(requests):
                left = (0.999 if request.mirrored else 0.001) if clear else 0.5
                turned = len(wanted) > 1 and before + number % (len(requests) // ways) in wrong
                looks.append(seen(request, off * turned, left))
            told.see(stage, looks)
    return told, wanted


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ({}, [2, 1, 0, 0]),
        ({"wrong": (0,), "off": 2.0}, [2, 1, 2, 0]),
        ({"wrong": (0, 1)}, [2, 1, 2, 2]),
        ({"thorough": True}, [2, 1, 2, 2]),
        ({"clear": False}, [2, 2, 4, 4]),
        ({"tells_side": False}, [2, 2, 4, 4]),
        ({"asked": "right"}, [1, 1, 0, 0]),
        ({"asked": "left", "wrong": (0, 1)}, [1, 1, 2, 2]),
    ],
)
def test_what_is_settled_is_not_asked_again(given, counts):
    told, wanted = stages(**given)
    assert [len(requests) for requests in wanted] == counts
    mirrored = {request.mirrored for request in [r for each in wanted[1:] for r in each]}
    open_side = not (given.get("clear", True) and given.get("tells_side", True))
    assert mirrored == ({False, True} if open_side else {given.get("asked") == "left"})
    # the crop of the look that is upright; the median is right where fewer than half are off
    assert told.reading.look.request.angle == wanted[1][0].angle
    torch.testing.assert_close(told.reading.look.photo_uv, UV, atol=1e-3, rtol=0)


def test_where_all_looks_are_taken_the_turned_ones_count_alone():
    told, wanted = stages("right", wrong=(0, 1))
    first = seen(Request(0, SQUARE, False))
    looks = [request for each in wanted[1:] for request in each]
    for request, (angle, size) in zip(looks, LOOKS, strict=True):
        assert request.angle == pytest.approx(first.upright + angle)
        assert request.square.side == pytest.approx(SQUARE.side * size)
    five = [seen(request, 4.0 * (number < 2)) for number, request in enumerate(looks)]
    expected = median_of(five)
    torch.testing.assert_close(told.reading.look.pose.uv, expected.pose.uv)
    torch.testing.assert_close(told.reading.look.spread, expected.spread)


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


def way(side, left, confidence):
    """A look at a hand as one of `side`, which says how probably a left one is seen."""
    seen = look(0.0, mirrored=side == "left")
    told = {"left": torch.tensor(left), "confidence": torch.full((21,), confidence)}
    return replace(seen, pose=replace(seen.pose, **told))


def test_a_side_is_decided_by_what_is_said_and_by_how_well_the_hand_is_read():
    ways = [way("right", 0.4, 0.5), way("left", 0.4, 0.6)]
    reading = decide(ways, "auto", tells_side=True)
    # left: 0.4 as it is, 0.6 mirrored
    right, left = 0.5**0.3 * 0.5**6, 0.5**0.3 * 0.6**6
    assert reading.scores == pytest.approx(
        {"right": right / (right + left), "left": left / (right + left)}, rel=1e-5
    )
    assert (reading.side, reading.look) == ("left", ways[1])


def test_a_network_that_tells_no_side_is_judged_by_its_scores():
    ways = [way("right", 0.0, 0.9), way("left", 0.0, 0.2)]
    reading = decide(ways, "auto", tells_side=False)
    assert reading.scores == pytest.approx({"right": 0.9, "left": 0.2})
    assert reading.side == "right"


def test_a_given_side_is_not_judged_unless_asked():
    ways = [way("left", 0.3, 0.5)]
    assert decide(ways, "left", True).scores is None
    judged = decide(ways, "left", True, judge=True)
    assert judged.side == "left"
    assert judged.scores == pytest.approx({"left": 0.7, "right": 0.3})
