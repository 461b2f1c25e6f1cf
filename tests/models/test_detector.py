import pytest
import torch

from auxhand.models.detector import RARE, HandDetector, cell_centres
from auxhand.models.spec import build, specification


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return HandDetector(width=16).eval()


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
