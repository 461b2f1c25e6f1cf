"""The constant baselines are the means they say they are."""

from dataclasses import replace

import pytest
import torch

from auxhand.evaluation.baselines import mean_hand, mean_pose, true_uv_mean_depth
from auxhand.evaluation.protocol import PoseMetrics, evaluate
from auxhand.geometry.pose25d import relative
from auxhand.sample import HandBatch, HandSample

SIZE = 32


def samples(count: int, spread: float = 0.04) -> list[HandSample]:
    g = torch.Generator().manual_seed(0)
    K = torch.tensor([[100.0, 0.0, 15.5], [0.0, 100.0, 15.5], [0.0, 0.0, 1.0]])
    still = 0.04 * torch.randn(21, 3, generator=g) + torch.tensor([0.0, 0.0, 0.6])
    hands = []
    for _ in range(count):
        xyz = still + spread * torch.randn(21, 3, generator=g)
        uv = (xyz @ K.mT)[:, :2] / xyz[:, 2:]
        hands.append(
            HandSample(image=torch.zeros(3, SIZE, SIZE), K=K, joints_xyz=xyz, joints_uv=uv)
        )
    return hands


def batch_of(hands: list[HandSample]) -> HandBatch:
    return HandSample.collate(hands)


def test_mean_of_the_labelled_joints() -> None:
    hands = samples(6)
    valid = torch.ones(21, dtype=torch.bool)
    valid[4] = False
    hands[2] = replace(hands[2], joint_valid=valid)
    batches = [batch_of(hands[:4]), batch_of(hands[4:])]
    mean = mean_hand(batches)
    poses = torch.stack([relative(h.joints_xyz) for h in hands])
    expected = poses.mean(dim=0)
    expected[4] = poses[[0, 1, 3, 4, 5], 4].mean(dim=0)
    torch.testing.assert_close(mean.xyz, expected, rtol=1e-4, atol=1e-5)
    whole = mean_hand([batch_of(hands)])
    torch.testing.assert_close(whole.xyz, mean.xyz)
    torch.testing.assert_close(whole.uv, mean.uv)


def test_predictions() -> None:
    batch = batch_of(samples(5))
    mean = mean_hand([batch])
    constant = mean_pose(mean)(batch)
    torch.testing.assert_close(constant.xyz[0], mean.xyz)
    torch.testing.assert_close(constant.uv[3], batch.joints_uv.mean(dim=0), rtol=1e-4, atol=1e-3)
    flat = true_uv_mean_depth(mean)(batch)
    torch.testing.assert_close(flat.uv, batch.joints_uv)
    torch.testing.assert_close(flat.d[2], relative(batch.joints_xyz)[..., 2].mean(dim=0))


def test_on_hands_that_do_not_move_both_are_perfect() -> None:
    batch = batch_of(samples(4, spread=0.0))
    mean = mean_hand([batch])
    for predict in (mean_pose(mean), true_uv_mean_depth(mean)):
        values = evaluate(predict, [batch], PoseMetrics())
        assert values["epe_mm"] < 1e-2
        assert values["pck_05"] == 1.0


def test_true_2d_helps() -> None:
    batch = batch_of(samples(20, spread=0.02))
    mean = mean_hand([batch])
    constant = evaluate(mean_pose(mean), [batch], PoseMetrics())
    flat = evaluate(true_uv_mean_depth(mean), [batch], PoseMetrics())
    assert flat["epe_mm"] < constant["epe_mm"]
    assert flat["pck_05"] == 1.0


def test_nothing_to_average() -> None:
    unlabelled = HandSample.collate([HandSample(image=torch.zeros(3, SIZE, SIZE))])
    with pytest.raises(ValueError, match="labelled nowhere"):
        mean_hand([unlabelled])
