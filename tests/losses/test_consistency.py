"""Consistency losses against loops of their equations; gradients; what they are blind to."""

import math

import numpy as np
import pytest
import torch

from auxhand.geometry.similarity import move_maps, move_uv, similarity
from auxhand.hand.primitives import hand_circles, rendered_mask
from auxhand.losses.consistency import (
    MultiModal,
    PoseAndMask,
    cross_modal_consistency,
    data_to_model,
    model_to_data,
    multimodal_distance,
    pose_distance,
    self_distillation,
    view_consistency,
)


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)).double()


def a_hand(cells):
    """(1, 21, 2) joints of an open hand in the middle of `cells` x `cells` pixels."""
    uv = [[0.5, 0.85]]
    for finger, angle in enumerate((-0.9, -0.35, -0.05, 0.2, 0.5)):
        for k in range(4):
            length = (0.14, 0.3, 0.31, 0.29, 0.26)[finger] + 0.085 * k
            uv.append([0.5 + length * math.sin(angle), 0.85 - length * math.cos(angle)])
    return torch.tensor([uv], dtype=torch.float64) * cells


def test_distance_equals_the_loop_of_eq_6_2():
    uv, d = random(2, 3, 21, 2), random(2, 3, 21, seed=1)
    expected = np.zeros(3)
    for b in range(3):
        for j in range(21):
            expected[b] += ((uv[0, b, j] - uv[1, b, j]) / 2).square().sum() / 21
            expected[b] += 50 * (d[0, b, j] - d[1, b, j]) ** 2 / 21
    found = pose_distance((uv[0], d[0]), (uv[1], d[1]), unit=2.0)
    np.testing.assert_allclose(found.numpy(), expected)


def test_tau_means_the_same_at_any_size():
    """1.2 of 64 pixels off in each joint is 1.44, in crops of 64 as of 256 pixels."""
    d = torch.zeros(1, 21)
    for size in (64, 256):
        uv = torch.zeros(1, 21, 2)
        off = uv + torch.tensor([1.2 * size / 64, 0.0])
        assert pose_distance((uv, d), (off, d), size / 64).item() == pytest.approx(1.44)


def views(size=32, cells=16):
    """f(x) of two crops, T, and the f(T x) that a perfectly consistent network says."""
    original = PoseAndMask(random(2, 21, 2) * size, random(2, 21), random(2, cells, cells, seed=2))
    A = similarity(size, torch.tensor([0.03, math.pi / 2]).double(), 2 * random(2, 2, seed=3))
    mask, inside = move_maps(A, original.mask, size)
    return PoseAndMask(move_uv(A, original.uv), original.d, mask), original, A, inside


def test_view_consistency_is_zero_where_predictions_follow():
    transformed, original, A, _ = views()
    assert view_consistency(transformed, original, A, 32).item() == pytest.approx(0, abs=1e-12)


def test_view_consistency_is_the_sum_of_eq_6_10():
    transformed, original, A, inside = views()
    off = PoseAndMask(transformed.uv + 1.0, transformed.d + 0.1, transformed.mask + 0.25)
    expected = 2 / (32 / 64) ** 2 + 50 * 0.1**2 + 0.25
    found = view_consistency(off, original, A, 32)
    assert found.item() == pytest.approx(expected)
    blind = off._replace(mask=torch.where(inside, off.mask, 9.0))  # not seen in the original
    assert view_consistency(blind, original, A, 32).item() == pytest.approx(expected)


@pytest.mark.parametrize("detached", ["neither", "original", "transformed"])
def test_the_detached_side_gets_no_gradient(detached):
    transformed, original, A, _ = views()
    sides = {
        "transformed": PoseAndMask(*((t + 0.1).requires_grad_() for t in transformed)),
        "original": PoseAndMask(*(t.clone().requires_grad_() for t in original)),
    }
    view_consistency(*sides.values(), A, 32, detached=detached).backward()
    for name, side in sides.items():
        for tensor in side:
            assert (tensor.grad is None) == (name == detached)


def test_gradients_of_view_consistency():
    transformed, original, A, _ = views(size=12, cells=6)
    tensors = [t.clone().requires_grad_() for t in (*transformed, *original)]
    tensors[0] = (transformed.uv + 0.3).requires_grad_()
    tensors[2] = (transformed.mask + 0.2).requires_grad_()

    def loss(*t):
        return view_consistency(PoseAndMask(*t[:3]), PoseAndMask(*t[3:]), A, 12)

    assert torch.autograd.gradcheck(loss, tensors)


def test_model_to_data_is_eq_6_12():
    uv, w = a_hand(24), random(1, 24, 24)
    centres, radii = hand_circles(uv)
    expected = (rendered_mask(centres, radii, 24, 24) - w).abs().sum() / 24**2
    assert model_to_data(uv, w, 24).item() == pytest.approx(expected.item())


def test_data_to_model_equals_the_loop_of_eq_6_13_and_6_14():
    cells = 16
    uv, w = a_hand(cells), random(1, cells, cells, seed=5)
    centres, radii = (t[0].numpy() for t in hand_circles(uv))
    total = 0.0
    for y in range(cells):
        for x in range(cells):
            gaps = np.hypot(*(np.array([x, y]) - centres).T) - radii
            total += max(gaps.min(), 0) if w[0, y, x] > 0.5 else max((-gaps).max(), 0)
    expected = total / cells**2 * 64 / cells
    assert data_to_model(uv, w, cells).item() == pytest.approx(expected)


def test_cross_modal_consistency_is_least_for_the_hand_of_the_mask():
    cells = 64
    uv = a_hand(cells)
    mask = rendered_mask(*hand_circles(uv), cells, cells, softness=0)
    at = cross_modal_consistency(uv, mask, cells).item()
    assert at < 0.02
    for shift in ([3.0, 0.0], [0.0, -3.0], [-2.0, 2.0]):
        assert cross_modal_consistency(uv + torch.tensor(shift), mask, cells).item() > 3 * at


def test_cross_modal_consistency_is_the_same_for_maps_of_any_size():
    """A hand that is off by a share of its crop costs about the same at 32 and at 64 cells."""
    costs = []
    for cells in (32, 64):
        uv = a_hand(256)
        mask = rendered_mask(*hand_circles(a_hand(cells)), cells, cells, softness=0)
        costs.append(cross_modal_consistency(uv + 16.0, mask, 256).item())
    assert costs[0] == pytest.approx(costs[1], rel=0.15)


def test_the_mask_gets_no_gradient_the_pose_does():
    uv, mask = a_hand(32).requires_grad_(), random(1, 32, 32).requires_grad_()
    cross_modal_consistency(uv, mask, 32).sum().backward()
    assert mask.grad is None
    assert uv.grad.abs().max() > 0


def test_gradients_of_cross_modal_consistency():
    uv, mask = a_hand(10).requires_grad_(), (random(1, 10, 10) > 0.5).double()
    assert torch.autograd.gradcheck(lambda p: cross_modal_consistency(p, mask, 10), uv)


def said(seed):
    """What a branch says of 3 crops of 128 pixels, in maps of 5 cells."""
    shapes = ((3, 21, 2), (3, 21), (3, 5, 5), (3, 5, 5))
    return MultiModal(*(random(*shape, seed=seed + k) for k, shape in enumerate(shapes)))


def test_multimodal_distance_equals_the_loop_of_eq_7_1():
    y, gt = said(0), said(10)
    for b in range(3):
        expected = 0.0
        for j in range(21):
            expected += sum(((y.uv[b, j, k] - gt.uv[b, j, k]) / 2) ** 2 for k in range(2)) / 21
            expected += 50 * (y.d[b, j] - gt.d[b, j]) ** 2 / 21
        for row in range(5):
            for column in range(5):
                cell = b, row, column
                expected += 100 * abs(y.mask[cell] - gt.mask[cell]) / 25
                expected += 50 * abs(y.depth[cell] - gt.depth[cell]) / 25
        assert multimodal_distance(y, gt, 128)[b].item() == pytest.approx(float(expected))


def test_self_distillation_is_the_mean_of_eq_7_9():
    rgb, fusion = said(0), said(10)
    expected = multimodal_distance(rgb, fusion, 128).mean()
    torch.testing.assert_close(self_distillation(rgb, fusion, 128), expected)
    assert self_distillation(rgb, rgb, 128) == 0


@pytest.mark.parametrize("detached", ["neither", "rgb", "fusion"])
def test_the_side_of_self_distillation_that_gets_no_gradient(detached):
    sides = {
        name: MultiModal(*(t.requires_grad_() for t in said(seed)))
        for name, seed in (("rgb", 0), ("fusion", 10))
    }
    self_distillation(**sides, size=128, detached=detached).backward()
    for name, side in sides.items():
        for tensor in side:
            assert (tensor.grad is None) == (name == detached)


def test_gradients_of_self_distillation():
    tensors = [t.requires_grad_() for t in (*said(0), *said(10))]

    def loss(*t):
        return self_distillation(MultiModal(*t[:4]), MultiModal(*t[4:]), 128)

    assert torch.autograd.gradcheck(loss, tensors, fast_mode=True)
