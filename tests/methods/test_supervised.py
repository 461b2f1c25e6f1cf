import pytest
import torch
from torch.testing import assert_close

from auxhand.geometry.camera import project
from auxhand.geometry.canonical import canonical_pose
from auxhand.geometry.pose25d import relative
from auxhand.losses.supervision import LossWeights, Supervision
from auxhand.methods.supervised import Supervised
from auxhand.models.cpn import FeaturePyramid
from auxhand.models.heads import Heatmap, Latent25D
from auxhand.models.pose_net import PoseNet
from auxhand.sample import HandBatch, HandPose, HandSample


def network(head=None):
    torch.manual_seed(0)
    return PoseNet(FeaturePyramid("test_resnet", width=8), head or Latent25D())


def sample(seed: int, labelled: bool = True) -> HandSample:
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(3, 64, 64, generator=generator)
    if not labelled:
        return HandSample(image=image, presence=torch.tensor(0.0))
    K = torch.tensor([[120.0, 0, 31.5], [0, 120, 31.5], [0, 0, 1]])
    xyz = 0.1 * torch.rand(21, 3, generator=generator) + torch.tensor([-0.05, -0.05, 0.4])
    return HandSample(
        image=image,
        K=K,
        side="right",
        joints_uv=project(K, xyz),
        joints_xyz=xyz,
        mask=torch.ones(64, 64),
        presence=torch.tensor(1.0),
    )


def batch(*labelled: bool) -> HandBatch:
    return HandSample.collate([sample(i, flag) for i, flag in enumerate(labelled)])


WEIGHTS = LossWeights(pose_25d=10, heatmap_cross_entropy=0.05, mask_cross_entropy=0.1, presence=0.1)


def true_pose(data: HandBatch) -> HandPose:
    xyz = relative(data.joints_xyz)
    return HandPose(uv=data.joints_uv, d=xyz[..., 2], xyz=xyz)


def test_the_true_pose_costs_nothing_and_a_shift_costs_what_it_is():
    data = batch(True, True)
    weights = LossWeights(pose_25d=1, depth=0.5, uv_squared=1, d_squared=1, xyz_squared=1)
    method = Supervised(network(), weights)
    truth = true_pose(data)
    for term in method.supervision.terms(truth, data).values():
        assert_close(term, torch.tensor(0.0), atol=1e-10, rtol=0)
    shifted = HandPose(uv=truth.uv + 6.4, d=truth.d + 0.3, xyz=truth.xyz + 0.1)
    losses = method.supervision.terms(shifted, data)
    assert losses["pose_25d"].item() == pytest.approx(2 * 0.1 + 0.5 * 0.3, rel=1e-4)
    assert losses["uv_squared"].item() == pytest.approx(2 * 0.1**2, rel=1e-4)
    assert losses["d_squared"].item() == pytest.approx(0.3**2, rel=1e-4)
    assert losses["xyz_squared"].item() == pytest.approx(3 * 0.1**2, rel=1e-4)


def test_zimmermann_and_brox_compare_canonical_pose_and_viewpoint():
    data = batch(True, False)
    data.joint_valid[0, 4] = False
    canonical, R = canonical_pose(data.joints_xyz)
    supervision = Supervision(LossWeights(canonical_squared=1, viewpoint_squared=1))
    angle = torch.tensor(0.3)
    turn = torch.eye(3)
    turn[:2, :2] = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
    off = canonical + torch.tensor([0.3, 0.0, 0.4])
    off[0, 4] += 100  # not labelled
    terms = supervision.terms(HandPose(canonical=off, viewpoint=R @ turn), data)
    assert_close(terms["canonical_squared"], torch.tensor(0.25))
    # |R T - R|^2 of a turn by a: 4 (1 - cos a).
    assert_close(terms["viewpoint_squared"], 4 * (1 - angle.cos()))
    assert supervision.labelled(data).tolist() == [True, False]
    # Without the palm there is no frame.
    data.joint_valid[0, 17] = False
    terms = supervision.terms(HandPose(canonical=off, viewpoint=R @ turn), data)
    assert all(term == 0 for term in terms.values())


def test_samples_without_labels_do_not_change_the_loss_of_the_others():
    both, alone = batch(True, False), batch(True)
    method = Supervised(network(), WEIGHTS).eval()
    with torch.no_grad():
        pose = method(both.image)
        first = HandPose(**{name: value[:1] for name, value in pose.items()})
    with_unlabelled, without = (
        method.supervision.terms(pose, both),
        method.supervision.terms(first, alone),
    )
    for name in ("pose_25d", "heatmap_cross_entropy", "mask_cross_entropy"):
        assert_close(with_unlabelled[name], without[name])


def test_a_batch_without_any_label_has_a_finite_gradient():
    method = Supervised(network(), WEIGHTS)
    data = batch(False, False)
    losses = method.supervision.terms(method(data.image), data)
    sum(losses.values()).backward()
    gradients = [p.grad for p in method.parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() for g in gradients)
    assert losses["pose_25d"].item() == 0


def test_a_term_that_the_head_cannot_serve_is_named():
    method = Supervised(network(Heatmap()), LossWeights(pose_25d=1))
    data = batch(True, True)
    with pytest.raises(ValueError, match="needs d"):
        method.supervision.terms(method(data.image), data)


def test_weights_of_zero_are_refused():
    with pytest.raises(ValueError, match="nothing to train"):
        Supervised(network(), LossWeights())


def test_two_hands_are_learnt_by_heart():
    method = Supervised(network(), WEIGHTS)
    data = batch(True, True)
    optimizer = torch.optim.AdamW(method.parameters(), 3e-3)
    for _ in range(60):
        losses = method.supervision.terms(method(data.image), data)
        loss = sum(method.supervision.weights[name] * term for name, term in losses.items())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pose = method(data.image)
    assert (pose.uv - data.joints_uv).norm(dim=-1).mean() < 3
    assert (pose.d - relative(data.joints_xyz)[..., 2]).abs().mean() < 0.3
