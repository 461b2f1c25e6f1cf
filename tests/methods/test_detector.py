import math

import pytest
import torch

from auxhand.data.scenes import SceneBatch
from auxhand.methods.detector import DetectionWeights, Detector
from auxhand.models.detections import decode
from auxhand.models.detector import HandDetector

SIZE = 64


def batch(count=4, seed=0):
    """A bright square before noise is a hand: white in the red channel a right one."""
    generator = torch.Generator().manual_seed(seed)
    image = 0.3 * torch.rand(count, 3, SIZE, SIZE, generator=generator)
    boxes, right = torch.zeros(count, 1, 4), torch.zeros(count, 1)
    for i in range(count - 1):  # the last one has none
        x, y = torch.randint(4, 28, (2,), generator=generator).tolist()
        right[i] = i % 2
        image[i, :, y : y + 28, x : x + 28] = 0.2
        image[i, 0 if i % 2 else 2, y : y + 28, x : x + 28] = 1.0
        boxes[i, 0] = torch.tensor([x - 0.5, y - 0.5, x + 27.5, y + 27.5])
    valid = torch.ones(count, 1, dtype=torch.bool)
    valid[-1] = False
    return SceneBatch(image, boxes, valid, right, valid.clone())


@pytest.fixture
def method():
    torch.manual_seed(0)
    made = Detector(HandDetector(width=16), learning_rate=3e-3, frozen_stages=2)
    made.log = made.log_dict = lambda *arguments, **named: None
    return made


def test_stem_and_first_stages_are_frozen(method):
    network = method.network.backbone.network
    for part in (network.conv_stem, network.bn1, network.blocks[0], network.blocks[1]):
        assert not any(p.requires_grad for p in part.parameters())
    assert all(p.requires_grad for p in network.blocks[2:].parameters())
    assert all(p.requires_grad for p in method.network.tower.parameters())


def test_the_total_is_the_weighted_sum(method):
    method.eval()
    terms = method.losses(method(batch().image), batch())
    method.weights = DetectionWeights(2.0, 3.0, 0.5)
    total = method.training_step(batch(), 0)
    expected = 2 * terms["presence"] + 3 * terms["box"] + 0.5 * terms["side"]
    torch.testing.assert_close(total, expected)


def test_unknown_sides_do_not_matter(method):
    method.eval()
    data = batch()
    known = data.right_known.clone()
    known[0] = False
    one = method.losses(method(data.image), data._replace(right_known=known))["side"]
    flipped = data.right.clone()
    flipped[0] = 1 - flipped[0]
    other = data._replace(right=flipped, right_known=known)
    assert method.losses(method(data.image), other)["side"] == one


def test_learns_squares_by_heart(method):
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(
        [p for p in method.parameters() if p.requires_grad], lr=method.learning_rate
    )
    data = batch(8)
    method.train()
    for _ in range(40):
        method.on_train_epoch_start()
        loss = method.training_step(data, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    method.on_train_epoch_start()
    terms = method.losses(method(data.image), data)
    assert terms["presence"] < 0.5
    assert terms["box"] < 0.3
    assert terms["side"] < 0.3


def test_validation_counts_hands_missed_at_the_threshold(method):
    """The network is one that finds the first square alone, with certainty."""
    data = batch(4)
    maps = method(data.image)
    presence = torch.full_like(maps.presence, -9.0)
    boxes = data.boxes[:, :1, None, :].expand(-1, *maps.boxes.shape[1:3], -1)
    presence[0, 2, 2] = 9.0
    side = torch.full_like(maps.side, 9.0)
    method.forward = lambda image: maps._replace(presence=presence, boxes=boxes, side=side)
    logged = {}
    method.log_dict = lambda metrics, **named: logged.update(metrics)
    method.validation_step(data, 0, 0)
    method.validation_step(data, 0, 1)
    method.on_validation_epoch_end()
    assert logged["val/threshold"] == 0
    assert logged["val/missed"] == pytest.approx(2 / 3)
    assert logged["val/missed_rendered"] == pytest.approx(2 / 3)
    assert logged["val/side"] == 0.0  # the first is a left hand
    assert len(decode(method.forward(data.image), 0.01)[0].boxes) == 1
    logged.clear()
    method.on_validation_epoch_end()
    assert not logged


def test_side_known_nowhere_is_no_loss(method):
    data = batch()
    nowhere = data._replace(right_known=torch.zeros_like(data.right_known))
    assert method.losses(method(data.image), nowhere)["side"] == 0
    assert math.isfinite(method.training_step(nowhere, 0).item())
