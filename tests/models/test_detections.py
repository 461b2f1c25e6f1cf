import torch
from torchvision.ops import box_iou

from auxhand.models.detections import STRIDE, DetectionMaps, decode
from auxhand.models.detector import cell_centres


def empty_maps(height=6, width=9):
    """Maps of one picture in which nothing is found: low presence, boxes of one cell."""
    centres = cell_centres(height, width, torch.zeros(()))
    boxes = torch.cat([centres - STRIDE / 2, centres + STRIDE / 2], -1)[None]
    return DetectionMaps(
        torch.full((1, height, width), -9.0), boxes.clone(), torch.zeros(1, height, width)
    )


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
