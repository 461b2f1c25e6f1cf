"""Datasets' protocols: numbers worked out by hand."""

from dataclasses import replace

import pytest
import torch

from auxhand.data.crops import USUAL, CropRule
from auxhand.data.readers import READERS
from auxhand.evaluation.datasets import DATASETS, protocol_named
from auxhand.evaluation.protocol import PROTOCOLS, EvaluationCrops, PoseMetrics, evaluate
from auxhand.geometry.camera import project
from auxhand.geometry.pose25d import relative, to_25d
from auxhand.hand.skeleton import TIPS
from auxhand.metrics import align
from auxhand.sample import HandPose, HandSample


def hand(bone: float = 0.05, valid=None) -> HandSample:
    """Joints near (0, 0, 0.5) m whose middle proximal phalanx is `bone` metres long."""
    xyz = 0.04 * torch.randn(21, 3, generator=torch.Generator().manual_seed(0))
    xyz = xyz.double() + torch.tensor([0.0, 0.0, 0.5])
    xyz[10] = xyz[9] + torch.tensor([0.0, -bone, 0.0])
    K = torch.tensor([[200.0, 0, 32], [0, 200, 32], [0, 0, 1]], dtype=torch.float64)
    return HandSample(
        image=torch.zeros(3, 64, 64),
        K=K,
        joints_xyz=xyz,
        joints_uv=project(K, xyz),
        joint_valid=valid,
    )


def test_every_reader_that_a_chapter_evaluates_has_a_protocol():
    assert set(DATASETS) == {"rhd", "stb", "do", "freihand", "obman", "h3d", "yt3d", "hsd"}
    for name, protocol in DATASETS.items():
        assert protocol.crop == READERS[name].CROP
        assert isinstance(protocol.metrics(), PoseMetrics)
    assert DATASETS["rhd"].crop.by == "mask"
    for name in PROTOCOLS:
        assert protocol_named(name).metrics().protocol == name
    with pytest.raises(ValueError, match=r"no protocol 'mano'; there are: known_root_scale.*, do"):
        protocol_named("mano")


def test_a_bone_of_40_mm_is_told_whatever_is_true():
    """A perfect relative pose comes out 0.8 times as large where the true bone is 50 mm."""
    batch = HandSample.collate([hand(0.05)])
    xyz = HandPose(xyz=relative(batch.joints_xyz))
    away = torch.linalg.vector_norm(batch.joints_xyz - batch.joints_xyz[:, 9:10], dim=-1)
    told = evaluate(lambda _: xyz, [batch], DATASETS["h3d"].metrics())
    assert told["epe_mm"] == pytest.approx(1000 * 0.2 * float(away.mean()), rel=1e-4)
    assert told["pa_epe_mm"] < 1e-2
    assert evaluate(lambda _: xyz, [batch], DATASETS["stb"].metrics())["epe_mm"] < 1e-2
    # uv and d, lifted with 40 mm at the true root depth: depths shrink, directions stay.
    uv, d, *_ = to_25d(batch.joints_uv, batch.joints_xyz)
    pose = HandPose(uv=uv, d=d)
    values = evaluate(lambda _: pose, [batch], DATASETS["h3d"].metrics())
    z = batch.joints_xyz[:, 9:10, 2] + 0.04 * d
    lifted = torch.cat([(uv - 32) / 200, torch.ones(1, 21, 1)], -1) * z[..., None]
    away = (lifted - lifted[:, 9:10]) - (batch.joints_xyz - batch.joints_xyz[:, 9:10])
    expected = 1000 * float(torch.linalg.vector_norm(away, dim=-1).mean())
    assert values["epe_mm"] == pytest.approx(expected, rel=1e-3)


def test_fingertips_alone_need_no_root():
    valid = torch.zeros(21, dtype=torch.bool)
    valid[list(TIPS)] = True
    batch = HandSample.collate([hand(0.04, valid), hand(0.04, ~valid & valid)])
    _, d, *_ = to_25d(batch.joints_uv, batch.joints_xyz)
    # Two fingertips are predicted 10 mm off, one to either side: the centroid stays.
    moved = batch.joints_xyz.clone()
    moved[:, TIPS[0], 0] += 0.01
    moved[:, TIPS[4], 0] -= 0.01
    pose = HandPose(uv=project(batch.K, moved), d=d)
    values = evaluate(lambda _: pose, [batch], DATASETS["do"].metrics())
    assert values["epe_mm"] == pytest.approx(2 * 10 / 5, rel=2e-3)
    assert values["auc_0_100"] == pytest.approx(0.6 * 0.995 + 0.4 * 0.9, abs=0.011)
    assert values["solved"] == 1.0
    assert values["auc_20_50"] == 1.0


def test_centroids_are_brought_together():
    g = torch.Generator().manual_seed(1)
    true, predicted = torch.randn(2, 3, 21, 3, generator=g)
    valid = torch.rand(3, 21, generator=g) > 0.4
    valid[2] = False
    valid[2, 7] = True
    aligned, counted = align(predicted, true, valid, "centroid")
    for n in range(2):
        rest = (aligned[n] - true[n])[valid[n]]
        torch.testing.assert_close(rest.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
        shift = aligned[n] - predicted[n]
        torch.testing.assert_close(shift, shift[:1].expand(21, 3))
    assert torch.equal(counted[:2], valid[:2])
    assert not counted[2].any()


def test_labels_in_2d_alone_give_what_can_be_had():
    flat = replace(hand(), joints_xyz=None, K=None)
    pose = HandPose(uv=flat.joints_uv[None] + 1.0, d=torch.zeros(1, 21))
    values = evaluate(
        lambda _: HandPose(uv=pose.uv.float(), d=pose.d),
        [HandSample.collate([flat])],
        DATASETS["yt3d"].metrics(),
    )
    assert values == {"pck_05": 1.0}


def test_joints_take_less_of_a_crop_by_the_mask():
    assert CropRule("joints", 0.8).joints_fraction == 0.8
    for rule in USUAL.values():  # which show hands equally large
        assert rule.joints_fraction == pytest.approx(0.7)


def test_crops_follow_the_rule():
    mask = torch.zeros(64, 64)
    mask[10:30, 20:60] = 1
    sample = replace(hand(), mask=mask, K=None, joints_xyz=None)
    crop = EvaluationCrops([sample], 32, DATASETS["rhd"].crop)[0]
    assert float(crop.mask.sum()) == pytest.approx((0.9 * 32) ** 2 / 2, rel=0.08)
    assert EvaluationCrops([sample], 32)[0].crop.A[0, 0] != crop.crop.A[0, 0]
