"""Metrics against closed forms, an independent numpy implementation, and any split of the poses."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from auxhand.hand.skeleton import ROOT
from auxhand.metrics import (
    AUC,
    EPE,
    PCK,
    PCKCurve,
    Spread,
    align,
    auc,
    distances,
    epe,
    pck,
    pck_curve,
)

METRICS_3D = [EPE, PCKCurve, AUC]


def poses(seed: int, count: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """Predicted and true poses in metres, some 15 mm apart, and which joints are valid."""
    g = torch.Generator().manual_seed(seed)
    true = 0.05 * torch.randn(count, 21, 3, generator=g) + torch.tensor([0.0, 0.0, 0.6])
    predicted = true + 0.012 * torch.randn(count, 21, 3, generator=g)
    valid = torch.rand(count, 21, generator=g) < 0.9
    return predicted, true, valid


def rotation(generator: torch.Generator) -> Tensor:
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    return q * torch.linalg.det(q)


def test_epe_of_known_distances() -> None:
    true = torch.zeros(2, 2, 3)
    predicted = torch.tensor([[[3.0, 4, 0], [0, 0, 1]], [[0, 2, 0], [6, 0, 0]]])
    assert epe(predicted, true) == (5 + 1 + 2 + 6) / 4
    valid = torch.tensor([[True, False], [True, True]])
    assert epe(predicted, true, valid) == (5 + 2 + 6) / 3
    assert epe(predicted, true, torch.zeros(2, 2, dtype=torch.bool)).isnan()


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(1, 21, 3\).*\(1, 20, 3\)"):
        distances(torch.zeros(1, 21, 3), torch.zeros(1, 20, 3))


def test_pck_is_strict() -> None:
    true = torch.zeros(1, 4, 2)
    predicted = torch.tensor([[[0.0, 0], [1, 0], [0, 2], [3, 0]]])
    assert pck(predicted, true, 2.0) == 0.5
    assert pck(predicted, true, 2.0001) == 0.75
    assert pck(predicted, true, 0.0) == 0.0
    per_hand = torch.tensor([[3.5]])
    valid = torch.tensor([[True, False, True, True]])
    assert pck(predicted, true, per_hand, valid) == 1.0


def test_auc_closed_forms() -> None:
    """One error e: the curve is a step at e, whose area is (b - e) / (b - a) up to half a step."""
    thresholds = torch.linspace(20, 50, 301)
    true = torch.zeros(1, 1, 3)
    for error in (0.0, 23.0, 35.05, 49.0, 60.0):
        predicted = torch.tensor([[[error, 0.0, 0.0]]])
        curve = pck_curve(predicted, true, thresholds)
        exact = min(max((50 - error) / 30, 0.0), 1.0)
        assert auc(thresholds, curve) == pytest.approx(exact, abs=0.5 * 0.1 / 30 + 1e-6)
    straight = (thresholds - 20) / 30
    assert auc(thresholds, straight) == pytest.approx(0.5, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_numpy_says_the_same(seed: int) -> None:
    predicted, true, valid = poses(seed)
    p, t, v = predicted.double().numpy(), true.double().numpy(), valid.numpy()
    p = p + (t[:, 9:10] - p[:, 9:10])
    error = [
        1000 * np.sqrt(((p[n, k] - t[n, k]) ** 2).sum())
        for n in range(len(t))
        for k in range(21)
        if v[n, k] and v[n, 9]
    ]
    thresholds = np.linspace(20, 50, 101)
    curve = [np.mean([e < limit for e in error]) for limit in thresholds]
    metrics = {"epe": EPE(), "curve": PCKCurve(20, 50), "auc": AUC(20, 50)}
    for metric in metrics.values():
        metric.update(predicted, true, valid)
    assert metrics["epe"].compute() == pytest.approx(np.mean(error), rel=1e-4)
    # An error within rounding of a threshold may fall on either side of it.
    atol = 2.0 / len(error)
    np.testing.assert_allclose(metrics["curve"].compute().numpy(), curve, atol=atol)
    area = np.trapezoid(curve, thresholds) / 30
    assert metrics["auc"].compute() == pytest.approx(area, abs=1e-3)


def test_the_root_counts_with_error_zero() -> None:
    true = torch.zeros(1, 21, 3)
    predicted = torch.ones(1, 21, 3)
    predicted[0, :, 0] += 0.021
    predicted[0, 9, 0] -= 0.021
    metric = EPE()
    metric.update(predicted, true)
    assert metric.compute() == pytest.approx(21 * 20 / 21, rel=1e-5)


def test_a_pose_without_its_root_does_not_count() -> None:
    predicted, true, valid = poses(3)
    valid[:] = True
    valid[4:, 9] = False
    some, first = EPE(), EPE()
    some.update(predicted, true, valid)
    first.update(predicted[:4], true[:4])
    assert some.compute() == pytest.approx(first.compute().item(), rel=1e-6)


def test_scale_and_procrustes_forgive_what_they_say() -> None:
    g = torch.Generator().manual_seed(0)
    true = torch.randn(6, 21, 3, generator=g, dtype=torch.float64)
    turned = 0.7 * true @ rotation(g).mT + torch.tensor([0.1, -0.2, 0.3])
    scaled = 1.7 * true + torch.tensor([0.1, -0.2, 0.3])
    everything = torch.ones(6, 21, dtype=torch.bool)
    for source, how in ((turned, "procrustes"), (scaled, "scale"), (scaled, "procrustes")):
        aligned, counted = align(source, true, everything, how)
        assert counted.all()
        assert (aligned - true).abs().max() < 1e-9
    assert epe(align(turned, true, everything, "scale")[0], true) > 0.1
    mirrored = true * torch.tensor([-1.0, 1, 1])
    assert epe(align(mirrored, true, everything, "procrustes")[0], true) > 0.1


def test_alignment_fits_the_valid_joints_alone() -> None:
    g = torch.Generator().manual_seed(1)
    true = torch.randn(5, 21, 3, generator=g, dtype=torch.float64)
    moved = 1.3 * true @ rotation(g).mT + 0.4
    valid = torch.rand(5, 21, generator=g) < 0.7
    valid[4] = False
    valid[4, :2] = True
    wrong = torch.where(valid[..., None], moved, torch.full_like(moved, float("nan")))
    aligned, counted = align(wrong, true, valid, "procrustes")
    assert (aligned - true)[valid & counted].abs().max() < 1e-9
    assert torch.equal(counted[:4], valid[:4])
    assert not counted[4].any()  # two joints fit anything


@pytest.mark.parametrize("metric_class", METRICS_3D)
@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 12), max_size=5), st.integers(0, 100))
def test_any_split_gives_the_same(metric_class: type, cuts: list[int], seed: int) -> None:
    """Batches of any size, and processes whose states are reduced, as under DDP."""
    predicted, true, valid = poses(seed)
    whole = metric_class(align="procrustes")
    whole.update(predicted, true, valid)
    edges = [0, *sorted(cuts), 12]
    processes = [metric_class(align="procrustes") for _ in range(2)]
    for number, (low, high) in enumerate(pairwise(edges)):
        processes[number % 2].update(predicted[low:high], true[low:high], valid[low:high])
    processes[0].merge_state(processes[1])
    torch.testing.assert_close(processes[0].compute(), whole.compute(), rtol=1e-5, atol=1e-6)


def test_pck_of_fractions_of_a_size() -> None:
    true = torch.zeros(2, 3, 2)
    predicted = torch.zeros(2, 3, 2)
    predicted[0, :, 0] = torch.tensor([4.9, 5.0, 5.1])
    predicted[1, :, 1] = torch.tensor([9.9, 10.0, 11.0])
    valid = torch.tensor([[True, True, True], [True, False, True]])
    metric = PCK(0.05)
    metric.update(predicted, true, torch.tensor([100.0, 200.0]), valid)
    assert metric.compute() == pytest.approx(2 / 5)
    one_size = PCK(0.05)
    one_size.update(predicted, true, 200.0)
    assert one_size.compute() == pytest.approx(4 / 6)


def test_thresholds_must_be_a_range() -> None:
    with pytest.raises(ValueError, match="no range"):
        AUC(50, 20)


def test_nan_is_seen_and_never_near() -> None:
    predicted, true = torch.full((1, 21, 3), float("nan")), torch.zeros(1, 21, 3)
    error, curve = EPE(), PCKCurve()
    error.update(predicted, true)
    curve.update(predicted, true)
    assert error.compute().isnan()
    assert not curve.compute().any()


def test_spread_is_the_ratio_of_the_deviations() -> None:
    predicted, true, _ = poses(4, 50)
    everywhere = torch.ones(50, 21, dtype=torch.bool)
    shrunk = 0.25 * true + torch.tensor([0.3, -0.1, 0.2])  # where the hand is does not count
    found = Spread()
    found.update(shrunk[:20], true[:20], everywhere[:20])
    found.update(shrunk[20:], true[20:], everywhere[20:])
    assert found.compute().item() == pytest.approx(0.25, abs=1e-6)
    found = Spread()
    found.update(predicted, true, everywhere)
    deviations = [
        np.sqrt((pose - pose[:, ROOT, None]).double().numpy().var(axis=0).sum())
        for pose in (predicted, true)
    ]
    assert found.compute().item() == pytest.approx(deviations[0] / deviations[1], rel=1e-5)


def test_spread_is_zero_for_one_pose_and_leaves_out_what_is_not_valid() -> None:
    predicted, true, _ = poses(5, 30)
    valid = torch.ones(30, 21, dtype=torch.bool)
    valid[3, 7], valid[4, ROOT] = False, False
    one, wild = Spread(), Spread()
    one.update(predicted[:1].expand_as(true), true, valid)
    assert one.compute().item() == pytest.approx(0.0, abs=1e-6)
    predicted[3, 7], predicted[4] = torch.nan, torch.inf
    wild.update(predicted, true, valid)
    assert wild.compute().isfinite()
