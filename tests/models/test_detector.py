import pytest
import torch
from torchvision.ops import box_iou

from auxhand.models.detector import (
    RARE,
    STRIDE,
    DetectionMaps,
    HandDetector,
    cell_centres,
    decode,
)
from auxhand.models.spec import build, specification


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return HandDetector(width=16).eval()


def empty_maps(height=6, width=9):
    """Maps of one picture in which nothing is found: low presence, boxes of one cell."""
    centres = cell_centres(height, width, torch.zeros(()))
    boxes = torch.cat([centres - STRIDE / 2, centres + STRIDE / 2], -1)[None]
    return DetectionMaps(
        torch.full((1, height, width), -9.0), boxes.clone(), torch.zeros(1, height, width)
    )


def test_maps_are_an_eighth_of_the_picture(network):
    maps = network(torch.rand(2, 3, 64, 96))
    assert maps.presence.shape == maps.side.shape == (2, 8, 12)
    assert maps.boxes.shape == (2, 8, 12, 4)


def test_body_ends_with_its_deepest_map(network):
    """Stages at stride 32 would double the cost; of the network's seven, five are left."""
    assert len(network.backbone.network.blocks) == 5
    assert network.backbone.channels == (40, 112)


def test_begins_with_rare_hands_around_each_cell(network):
    maps = network(torch.rand(1, 3, 64, 64))
    assert maps.presence.sigmoid().mean().item() == pytest.approx(RARE, rel=0.5)
    centres = cell_centres(8, 8, maps.boxes)
    assert (maps.boxes[0, ..., :2] < centres).all()
    assert (maps.boxes[0, ..., 2:] > centres).all()


def test_cell_centres_count_from_a_pixels_centre():
    centres = cell_centres(2, 3, torch.zeros(()))
    assert centres[0, 0].tolist() == [3.5, 3.5]  # pixels 0 to 7
    assert centres[1, 2].tolist() == [19.5, 11.5]


def test_calibrations_follow_one_another(network):
    image = torch.rand(1, 3, 64, 64)
    before = network(image).presence
    network.calibrate(2.0, 0.5)
    network.calibrate(0.5, -1.0)
    torch.testing.assert_close(network(image).presence, 0.5 * (2.0 * before + 0.5) - 1.0)
    network.calibrate(1.0, 0.75)
    torch.testing.assert_close(network(image).presence, before, atol=1e-5, rtol=0)


def test_is_built_from_its_specification(network):
    again = build(specification(network))
    again.load_state_dict(network.state_dict())
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(again.eval()(image), network(image))


def test_decoding_gives_each_peak_once():
    maps = empty_maps()
    maps.presence[0, 1, 2], maps.presence[0, 1, 3] = 2.0, 1.0  # one peak and its neighbour
    maps.presence[0, 4, 7] = 0.0
    maps.side[0, 1, 2] = 3.0
    (found,) = decode(maps, least=0.1)
    torch.testing.assert_close(found.presence, torch.tensor([2.0, 0.0]).sigmoid())
    assert found.boxes.tolist() == [[15.5, 7.5, 23.5, 15.5], [55.5, 31.5, 63.5, 39.5]]
    torch.testing.assert_close(found.side, torch.tensor([3.0, 0.0]).sigmoid())


def test_decoding_suppresses_a_second_box_of_the_same_hand():
    maps = empty_maps()
    for column, logit in ((1, 2.0), (4, 1.0)):
        maps.presence[0, 2, column] = logit
        maps.boxes[0, 2, column] = torch.tensor([4.0, 4.0, 44.0 + column, 40.0])
    (found,) = decode(maps, least=0.1, overlap=0.5)
    assert len(found.boxes) == 1
    assert found.boxes[0, 2] == 45.0
    assert len(decode(maps, least=0.1, overlap=0.99)[0].boxes) == 2


def test_decoding_gives_no_more_than_asked_for_and_none_overlapping():
    torch.manual_seed(1)
    maps = empty_maps(24, 24)
    maps.presence.copy_(torch.randn(1, 24, 24))
    maps.boxes[..., 2:] += 20 * torch.rand(1, 24, 24, 2)
    (found,) = decode(maps, least=0.05, count=5, overlap=0.2)
    assert len(found.boxes) == 5
    assert (found.presence.diff() <= 0).all()
    assert (box_iou(found.boxes, found.boxes) - torch.eye(5)).max() <= 0.2


def test_decoding_of_nothing_is_empty():
    (found,) = decode(empty_maps())
    assert found.boxes.shape == (0, 4)
    assert found.presence.shape == found.side.shape == (0,)
