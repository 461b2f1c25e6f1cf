import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from auxhand.losses.detection import (
    DEVIATION,
    LEAST_WEIGHT,
    NARROWEST,
    box_loss,
    cell_targets,
    centre_focal_loss,
    side_map_loss,
)

STRIDE = 8


def one(*box):
    return torch.tensor([[box]], dtype=torch.float64), torch.tensor([[True]])


def test_target_is_one_in_the_cell_of_the_centre_and_a_gaussian_about_it():
    # 80 x 40 pixels about pixel (59.5, 27.5), which cell (3, 7) holds.
    targets = cell_targets(*one(19.5, 7.5, 99.5, 47.5), (8, 16), STRIDE)
    assert targets.presence[0, 3, 7] == 1
    sigma = DEVIATION * 80 / STRIDE, max(DEVIATION * 40 / STRIDE, NARROWEST)
    expected = math.exp(-((2 / sigma[0]) ** 2) / 2 - (1 / sigma[1]) ** 2 / 2)
    assert targets.presence[0, 4, 9].item() == pytest.approx(expected, rel=1e-12)
    assert (targets.presence == 1).sum() == 1


def test_centre_outside_of_the_picture_counts_for_the_nearest_cell():
    targets = cell_targets(*one(-40.0, 10.0, 10.0, 30.0), (8, 8), STRIDE)
    assert targets.presence[0, 2, 0] == 1


def test_absent_hands_have_no_target():
    boxes, _ = one(10.0, 10.0, 50.0, 50.0)
    targets = cell_targets(boxes, torch.tensor([[False]]), (8, 8), STRIDE)
    assert targets.presence.max() == 0
    assert targets.shares.max() == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_targets_are_those_of_a_loop(seed):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (3, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(4, 60, (3, 2))], 1)
    valid = np.array([True, True, seed % 2 == 0])
    targets = cell_targets(torch.tensor(boxes)[None], torch.tensor(valid)[None], (10, 12), STRIDE)
    gaussians = np.zeros((3, 10, 12))
    for n, (x0, y0, x1, y1) in enumerate(boxes):
        column = min(int(((x0 + x1) / 2 + 0.5) // STRIDE), 11)
        row = min(int(((y0 + y1) / 2 + 0.5) // STRIDE), 9)
        sx = max(DEVIATION * (x1 - x0) / STRIDE, NARROWEST)
        sy = max(DEVIATION * (y1 - y0) / STRIDE, NARROWEST)
        for r in range(10 if valid[n] else 0):
            for c in range(12):
                gaussians[n, r, c] = math.exp(
                    -(((c - column) / sx) ** 2) / 2 - ((r - row) / sy) ** 2 / 2
                )
    np.testing.assert_allclose(targets.presence[0], gaussians.max(0), atol=1e-12)
    shares = np.where(
        (gaussians.argmax(0) == np.arange(3)[:, None, None]) & (gaussians >= LEAST_WEIGHT),
        gaussians,
        0,
    )
    sums = shares.sum((1, 2), keepdims=True)
    np.testing.assert_allclose(targets.shares[0], shares / np.maximum(sums, 1e-300), atol=1e-12)


def test_focal_loss_in_closed_form():
    p = torch.tensor([[[0.7, 0.4, 0.1]]], dtype=torch.float64)
    target = torch.tensor([[[1.0, 0.5, 0.0]]], dtype=torch.float64)
    expected = -(0.3**2 * math.log(0.7) + 0.5**4 * 0.4**2 * math.log(0.6) + 0.1**2 * math.log(0.9))
    assert centre_focal_loss(p.logit(), target).item() == pytest.approx(expected, rel=1e-12)


def test_focal_loss_is_a_mean_over_centres_and_a_sum_without_any():
    logits = torch.randn(1, 4, 4, dtype=torch.float64)
    target = torch.zeros_like(logits)
    target[0, 1, 1] = 1
    twice = centre_focal_loss(logits.repeat(2, 1, 1), target.repeat(2, 1, 1))
    torch.testing.assert_close(twice, centre_focal_loss(logits, target))
    nothing = torch.zeros_like(logits)
    torch.testing.assert_close(
        centre_focal_loss(logits.repeat(2, 1, 1), nothing.repeat(2, 1, 1)),
        2 * centre_focal_loss(logits, nothing),
    )


def test_focal_loss_of_certain_mistakes_is_finite():
    logits = torch.tensor([[[-200.0, 200.0]]], requires_grad=True)
    loss = centre_focal_loss(logits, torch.tensor([[[1.0, 0.0]]]))
    loss.backward()
    assert loss.item() == pytest.approx(400.0)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_box_loss_in_closed_form():
    """Same size, moved by its width: IoU 0, hull twice as wide as both, so GIoU = 0 - 0 / 2 = 0;
    moved by half of it: IoU 1/3 and the hull is the union."""
    boxes = torch.tensor([[[0.0, 0.0, 10.0, 10.0]]], dtype=torch.float64)
    shares = torch.tensor([[[[0.25, 0.75]]]], dtype=torch.float64)
    prediction = boxes + torch.tensor([[10.0, 0, 10, 0], [5.0, 0, 5, 0]], dtype=torch.float64)
    loss = box_loss(prediction[:, None], boxes, shares)
    assert loss.item() == pytest.approx(0.25 * 1 + 0.75 * (1 - 1 / 3), abs=1e-6)


def test_losses_without_hands_are_zero_with_a_gradient():
    prediction = torch.rand(1, 2, 2, 4, requires_grad=True)
    logits = torch.zeros(1, 2, 2, requires_grad=True)
    shares, nobody = torch.zeros(1, 1, 2, 2), torch.tensor([[False]])
    total = box_loss(prediction, torch.zeros(1, 1, 4), shares)
    total = total + side_map_loss(logits, torch.zeros(1, 1), nobody, shares)
    total.backward()
    assert total == 0
    assert prediction.grad is not None
    assert prediction.grad.abs().sum() == 0


def test_side_loss_asks_only_where_the_side_is_known():
    logits = torch.tensor([[[2.0, -1.0]]], dtype=torch.float64)
    shares = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]], dtype=torch.float64)
    right = torch.tensor([[1.0, math.nan]], dtype=torch.float64)
    loss = side_map_loss(logits, right, torch.tensor([[True, False]]), shares)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2)), rel=1e-12)
    both = side_map_loss(logits, torch.ones(1, 2).double(), torch.tensor([[True, True]]), shares)
    mean = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    assert both.item() == pytest.approx(mean, rel=1e-12)


def test_gradients():
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    boxes = torch.tensor([[[2.0, 1.0, 20.0, 18.0]]], dtype=torch.float64)
    targets = cell_targets(boxes, torch.tensor([[True]]), (3, 4), STRIDE)
    assert gradcheck(lambda x: centre_focal_loss(x, targets.presence), logits)
    right, known = torch.ones(1, 1, dtype=torch.float64), torch.tensor([[True]])
    assert gradcheck(lambda x: side_map_loss(x, right, known, targets.shares), logits)
    corner = torch.rand(1, 3, 4, 2, dtype=torch.float64)
    prediction = torch.cat([corner, corner + 15 + torch.rand_like(corner)], -1).requires_grad_()
    assert gradcheck(lambda x: box_loss(x, boxes, targets.shares), prediction)
