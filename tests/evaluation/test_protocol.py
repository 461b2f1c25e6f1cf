"""The protocols: exact for perfect predictions, equal to a numpy statement of each for others."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from auxhand.evaluation.protocol import PROTOCOLS, PoseMetrics, evaluate
from auxhand.geometry.pose25d import relative, to_25d
from auxhand.hand.skeleton import REFERENCE_BONE, ROOT
from auxhand.metrics import lift_pose
from auxhand.sample import HandBatch, HandPose, HandSample

SIZE = 64
ROUNDING = 2e-2
"""mm left over in float32 for a perfect prediction."""


def hand(seed: int) -> HandSample:
    """A hand-sized cloud of joints before the camera of a turned crop."""
    g = torch.Generator().manual_seed(seed)
    xyz = 0.04 * torch.randn(21, 3, generator=g) + torch.tensor([0.02, -0.03, 0.55])
    xyz[10] = xyz[9] + torch.tensor([0.02, -0.03, 0.01])
    turn = torch.tensor([[0.8, -0.6, 10.0], [0.6, 0.8, 5.0], [0.0, 0.0, 1.0]])
    K = turn @ torch.tensor([[220.0, 0.0, 31.0], [0.0, 230.0, 33.0], [0.0, 0.0, 1.0]])
    return HandSample(image=torch.zeros(3, SIZE, SIZE), K=K, joints_xyz=xyz, joints_uv=see(K, xyz))


def see(K: Tensor, xyz: Tensor) -> Tensor:
    uvw = xyz @ K.mT
    return uvw[..., :2] / uvw[..., 2:]


def batch_of(count: int, first: int = 0) -> HandBatch:
    return HandSample.collate([hand(first + i) for i in range(count)])


def perfect(batch: HandBatch, root: int = ROOT, bone: tuple[int, int] = REFERENCE_BONE) -> HandPose:
    uv, d, _, _ = to_25d(batch.joints_uv, batch.joints_xyz, root, bone)
    return HandPose(uv=uv, d=d)


def noisy(batch: HandBatch, seed: int = 0) -> HandPose:
    g = torch.Generator().manual_seed(seed)
    pose = perfect(batch)
    return HandPose(
        uv=pose.uv + 2 * torch.randn(pose.uv.shape, generator=g),
        d=pose.d + 0.2 * torch.randn(pose.d.shape, generator=g),
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("root", "bone"), [(ROOT, REFERENCE_BONE), (0, (0, 9))])
def test_a_perfect_prediction(protocol, root, bone) -> None:
    batch = batch_of(4)
    metrics = PoseMetrics(protocol, root, bone)
    values = evaluate(lambda b: perfect(b, root, bone), [batch], metrics)
    assert values["epe_mm"] < ROUNDING
    assert values["pa_epe_mm"] < ROUNDING
    assert values["auc_20_50"] == values["pck_05"] == 1.0
    assert values["auc_0_50"] == pytest.approx(0.995)  # strict: nothing is nearer than 0 mm
    assert values.get("solved", 1.0) == 1.0
    xyz = HandPose(xyz=relative(batch.joints_xyz, root, bone))
    assert evaluate(lambda _: xyz, [batch], PoseMetrics(protocol, root, bone))["epe_mm"] < 1e-2


def test_known_root_scale_as_stated() -> None:
    """Lift uv, d by the true root depth and length, move joint 9 onto the true one."""
    batch = batch_of(5)
    pose = noisy(batch)
    total = 0.0
    for n in range(5):
        K, true = batch.K[n].double().numpy(), batch.joints_xyz[n].double().numpy()
        length = np.linalg.norm(true[10] - true[9])
        lifted = np.zeros((21, 3))
        for k in range(21):
            u, v = pose.uv[n, k].double().numpy()
            ray = np.linalg.inv(K) @ [u, v, 1.0]
            depth = true[9, 2] + length * float(pose.d[n, k] - pose.d[n, 9])
            lifted[k] = ray / ray[2] * depth
        lifted += true[9] - lifted[9]
        total += 1000 * np.linalg.norm(lifted - true, axis=1).sum()
    values = evaluate(lambda _: pose, [batch], PoseMetrics())
    assert values["epe_mm"] == pytest.approx(total / (5 * 21), rel=1e-4)
    assert values["epe_mm"] > 1


def test_xyz_methods_are_scaled_and_moved() -> None:
    batch = batch_of(3)
    g = torch.Generator().manual_seed(0)
    xyz = relative(batch.joints_xyz) + 0.3 * torch.randn(3, 21, 3, generator=g)
    length = (batch.joints_xyz[:, 10] - batch.joints_xyz[:, 9]).norm(dim=-1)
    moved = (xyz - xyz[:, 9:10]) * length[:, None, None] + batch.joints_xyz[:, 9:10]
    expected = 1000 * (moved - batch.joints_xyz).norm(dim=-1).mean()
    values = evaluate(lambda _: HandPose(xyz=xyz), [batch], PoseMetrics())
    assert values["epe_mm"] == pytest.approx(expected.item(), rel=1e-5)
    assert "pck_05" not in values


def test_what_the_depths_are_relative_to_does_not_matter() -> None:
    batch = batch_of(3)
    pose = noisy(batch)
    shifted = replace(pose, d=pose.d + 0.7)
    one, other = (evaluate(lambda _, p=p: p, [batch], PoseMetrics()) for p in (pose, shifted))
    assert one == pytest.approx(other, rel=1e-4)


def test_closed_form_leaves_out_what_it_cannot_solve_and_says_so() -> None:
    towards = hand(1)
    xyz = towards.joints_xyz.clone()
    xyz[10] = xyz[9] * (1 - 0.03 / xyz[9].norm())  # the reference bone points at the camera
    towards = replace(towards, joints_xyz=xyz, joints_uv=see(towards.K, xyz))
    batch = HandSample.collate([hand(0), towards])
    pose = noisy(batch)
    pose.uv[1] = batch.joints_uv[1]
    both = evaluate(lambda _: pose, [batch], PoseMetrics("closed_form_root"))
    solved = lift_pose(pose, batch, closed_form=True).solved
    assert solved.tolist() == [True, False]
    assert both["solved"] == 0.5
    first = HandPose(uv=pose.uv[:1], d=pose.d[:1])
    alone = evaluate(lambda _: first, [batch_of(1)], PoseMetrics("closed_form_root"))
    assert both["epe_mm"] == pytest.approx(alone["epe_mm"], rel=1e-5)
    assert "solved" not in evaluate(lambda _: pose, [batch], PoseMetrics())


def test_closed_form_does_not_see_the_true_root_depth() -> None:
    """The same crop of a hand at another distance (K zoomed) gives the same pose in metres."""
    batch = batch_of(4)
    pose = noisy(batch)
    lifted = lift_pose(pose, batch, closed_form=True)
    further = replace(batch, joints_xyz=batch.joints_xyz + torch.tensor([0.0, 0.0, 0.4]))
    torch.testing.assert_close(lift_pose(pose, further, closed_form=True).xyz, lifted.xyz)


def test_alignments_are_ordered_in_squared_distance() -> None:
    batch = batch_of(6)
    pose = noisy(batch)
    squares = {}
    for protocol in ("known_root_scale", "scale_fitted", "procrustes"):
        metrics = PoseMetrics(protocol)
        squares[protocol] = evaluate(lambda _: pose, [batch], metrics)["epe_mm"]
    assert squares["procrustes"] < squares["scale_fitted"] < squares["known_root_scale"]
    pa = evaluate(lambda _: pose, [batch], PoseMetrics())["pa_epe_mm"]
    assert pa == pytest.approx(squares["procrustes"], rel=1e-5)


def test_unlabelled_joints_and_samples_do_not_count() -> None:
    labelled = hand(0)
    valid = torch.ones(21, dtype=torch.bool)
    valid[3] = False
    samples = [
        replace(labelled, joint_valid=valid),
        HandSample(image=torch.zeros(3, SIZE, SIZE)),  # nothing known
        replace(hand(2), joint_valid=~torch.eye(21, dtype=torch.bool)[9]),  # no root: 2D only
        replace(hand(3), K=None),  # cannot be lifted: 2D only
    ]
    batch = HandSample.collate(samples)
    pose = noisy(batch)
    metrics = PoseMetrics()
    metrics.update(pose, batch)
    assert metrics.in_3d["epe_mm"].count == 20
    assert metrics.pck_05.count == 20 + 20 + 21
    assert torch.isfinite(torch.tensor(list(metrics.compute().values()))).all()


def test_absent_columns() -> None:
    batch = batch_of(2)
    only_2d = evaluate(lambda b: HandPose(uv=b.joints_uv), [batch], PoseMetrics())
    assert only_2d == {"pck_05": 1.0}
    unlabelled = HandSample.collate([HandSample(image=torch.zeros(3, SIZE, SIZE))] * 2)
    pose = HandPose(uv=torch.zeros(2, 21, 2), d=torch.zeros(2, 21))
    assert evaluate(lambda _: pose, [unlabelled], PoseMetrics()) == {}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_batches_of_any_size_give_the_same(protocol) -> None:
    batch = batch_of(7)
    pose = noisy(batch)
    whole = PoseMetrics(protocol)
    whole.update(pose, batch)
    parts = PoseMetrics(protocol)
    for low, high in ((0, 1), (1, 5), (5, 7)):
        part = HandSample.collate([hand(i) for i in range(low, high)])
        parts.update(HandPose(uv=pose.uv[low:high], d=pose.d[low:high]), part)
    assert parts.compute() == pytest.approx(whole.compute(), rel=1e-4)
    for one, other in zip(parts.pck_curve(), whole.pck_curve(), strict=True):
        torch.testing.assert_close(one, other)


def test_protocol_must_exist() -> None:
    with pytest.raises(ValueError, match="no protocol 'iccv'; there are: known_root_scale"):
        PoseMetrics("iccv")
