"""Pre-training of the dual-modality network: Eq. 7.6 and 7.7 in numbers, Table 7.2 (b)."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from two_streams import SIZE, module

from auxhand.data.depth_texture import DepthTexture
from auxhand.data.photometric import Photometric
from auxhand.data.streams import Phase, Stream
from auxhand.data.strengths import Augmentation
from auxhand.geometry.pose25d import relative
from auxhand.inference.bundle import save_bundle
from auxhand.losses.contrastive import VARIANTS
from auxhand.losses.supervision import TERMS
from auxhand.methods.dual_modality.module import DualModality
from auxhand.methods.dual_modality.objective import Objective
from auxhand.models.dual_branch import DualBranch
from auxhand.sample import HandBatch
from auxhand.training import start_from

UNTOUCHED = DepthTexture(erase_share=0.0, noise=0.0)
PLACED = Augmentation(any_rotation_share=1.0, smallest=0.72, largest=0.9, translation=0.08)
PAINTED = Augmentation(photometric=Photometric(brightness=0.4, hue=0.3, occluder_share=0.5))


def method(stage="pretrain", texture=UNTOUCHED, **options):
    torch.manual_seed(0)
    network = DualBranch("test_resnet", width=8)
    made = DualModality(network, stage, Objective(**options), depth_texture=texture)
    made.log = lambda *_, **__: None
    return made.eval()


@pytest.fixture(scope="module")
def views(hand_dataset):
    """A batch of four samples, twice: x and T x."""
    phases = [Phase(0, SIZE, augmentation=PLACED, second=PAINTED)]
    stream = Stream(str(hand_dataset), views=2, same_place=True, phases=phases)
    return next(iter(module(source=stream).train_dataloader()))


def depth_by_hand(batch):
    """The hand's depth below the root in reference lengths, pixel by pixel."""
    z, mask, joints = (value.numpy() for value in (batch.depth, batch.mask, batch.joints_xyz))
    found = np.zeros_like(z)
    for b, row, column in np.ndindex(z.shape):
        if mask[b, row, column] == 1 and z[b, row, column] > 0:
            length = np.linalg.norm(joints[b, 10] - joints[b, 9])
            found[b, row, column] = (z[b, row, column] - joints[b, 9, 2]) / length
    return torch.from_numpy(found)


def m_by_hand(pose, batch):
    """Eq. 7.1 in its own words, a mean over samples, with output pixels of 64."""
    d = relative(batch.joints_xyz)[..., 2]
    known = batch.joint_mask("joints_uv")
    joints = (pose.uv - batch.joints_uv).square().sum(-1) + 50 * (pose.d - d).square()

    def cells(label):
        return torch.nn.functional.avg_pool2d(label[:, None], SIZE // pose.mask.shape[-1])[:, 0]

    mask = (pose.mask - cells(batch.mask)).abs().mean()
    depth = (pose.depth - cells(depth_by_hand(batch))).abs().mean()
    return joints[known].mean() + 100 * mask + 50 * depth


def eta(z, z_plus, temperature=0.5):
    """Eq. 7.3 as a loop, a mean over the batch: times 140 as the sum over the chapter's."""
    total = 0.0
    for i in range(len(z)):
        others = sum(
            math.exp(z[i] @ z[k] / temperature) + math.exp(z[i] @ z_plus[k] / temperature)
            for k in range(len(z))
            if k != i
        )
        total -= math.log(math.exp(z[i] @ z_plus[i] / temperature) / others)
    return total / len(z)


@torch.no_grad()
def test_the_terms_of_eq_7_7_are_those_composed_by_hand(views):
    made = method(true_depth=1.0)
    terms = made.pretraining(views)
    batch = HandBatch.join(views)
    depth = depth_by_hand(batch)
    assert depth.abs().max() > 0.1
    branches = made.network(batch.image, depth)
    expected = sum(m_by_hand(branch.pose, batch) for branch in branches)
    assert_close(terms["supervised"], expected)

    z = [made.projection(branch.context) for branch in branches]
    (rgb, rgb_plus), (dm, dm_plus), (fusion, fusion_plus) = (p.split(4) for p in z)
    contrast = eta(rgb, rgb_plus) + eta(dm, dm_plus) + eta(rgb, fusion) + eta(rgb_plus, fusion_plus)
    assert terms["contrastive"].item() == pytest.approx(0.1 * 140 * contrast, rel=1e-5)
    assert terms.keys() == {"supervised", "contrastive"}
    assert rgb.shape == (4, 128)


def test_views_share_their_labels_and_their_crops_not_their_pictures(views):
    first, second = views
    assert torch.equal(first.joints_uv, second.joints_uv)
    assert torch.equal(first.crop.A, second.crop.A)
    covered = (first.mask > 0) & (second.mask == 0)  # erased in the picture, and in its labels
    assert (second.mask <= first.mask).all()
    assert covered.any()
    assert (first.image - second.image).abs().mean() > 0.02


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_rows_of_table_7_2_b(views, variant):
    made = method(true_depth=1.0, variant=variant)
    terms = made.pretraining(views)
    assert made.stop_gradient == (variant != "w/out SG")
    if variant == "none":
        assert terms.keys() == {"supervised"}
        assert made.projection is None
        return
    batch = HandBatch.join(views)
    branches = made.network(batch.image, depth_by_hand(batch))
    z = {
        f"{name}{sign}": half
        for name, branch in branches._asdict().items()
        for sign, half in zip(("", "_plus"), made.projection(branch.context).split(4), strict=True)
    }
    expected = sum(eta(z[first], z[second]) for first, second in VARIANTS[variant].pairs)
    assert terms["contrastive"].item() == pytest.approx(0.1 * 140 * expected, rel=1e-5)


@torch.no_grad()
def test_heatmaps_of_all_branches_may_be_taught(views):
    made = method(true_depth=1.0, heatmap_cross_entropy=3.0)
    batch = HandBatch.join(views)
    branches = made.network(batch.image, depth_by_hand(batch))
    losses = [TERMS["heatmap_cross_entropy"](branch.pose, batch) for branch in branches]
    assert_close(made.pretraining(views)["heatmaps"], 3 * sum(losses))
    assert "heatmaps" not in method(true_depth=1.0).pretraining(views)


@torch.no_grad()
def test_the_depth_branch_is_fed_the_truth_or_the_prediction(views):
    batch = HandBatch.join(views)
    rng = torch.Generator().manual_seed(0)
    rgb = method().network.see(batch.image)
    truth = depth_by_hand(batch)
    predicted = torch.nn.functional.interpolate(
        rgb.pose.depth[:, None], (SIZE, SIZE), mode="bilinear"
    )
    predicted = predicted[:, 0]
    assert_close(method(true_depth=1.0).fed(rgb, batch, 4, rng), truth)
    assert_close(method(true_depth=0.0).fed(rgb, batch, 4, rng), predicted)
    made = method(true_depth=0.5)
    found = torch.stack([made.fed(rgb, batch, 4, rng) for _ in range(40)])
    is_true = (found - truth).abs().amax((-2, -1)) < 1e-5
    is_predicted = (found - predicted).abs().amax((-2, -1)) < 1e-5
    assert (is_true ^ is_predicted).all()
    assert 0.3 < is_true.float().mean() < 0.7
    assert torch.equal(is_true[:, :4], is_true[:, 4:])  # both views of a pair
    # Where no depth is known, the prediction, whatever is drawn.
    unknown = replace(batch, valid=batch.valid | {"depth": torch.arange(8) > 0})
    found = method(true_depth=1.0).fed(rgb, unknown, 4, rng)
    assert_close(found, torch.cat([predicted[:1], truth[1:]]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_weight_learns_by_finite_gradients(views, variant):
    """None is left out either, which distributed training would refuse."""
    made = method(true_depth=0.5, texture=DepthTexture(), variant=variant)
    torch.stack(list(made.pretraining(views).values())).sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_variants_and_shares_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="variant is one of 'none', 'RGB only'"):
        Objective(variant="RGB")
    with pytest.raises(ValueError, match="true_depth lies in"):
        Objective(true_depth=1.5)
    with pytest.raises(ValueError, match="kept_share lies in"):
        Objective(kept_share=-0.1)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("form", "SimCLR", "form is one of printed, simclr"),
        ("detached", "both", "detached is one of neither, rgb, fusion"),
        ("temperature", 0, "temperature must be positive"),
        ("contrastive_batch", 0, "contrastive_batch must be positive"),
        ("epsilon", -1, "epsilon is at least 0"),
        ("mask", float("nan"), "mask is at least 0"),
    ],
)
def test_an_objective_without_a_meaning_is_refused(name, value, says):
    with pytest.raises(ValueError, match=says):
        Objective(**{name: value})


def test_the_fusion_branch_moves_the_depth_encoder_only_without_the_stop(views):
    for variant, reached in (("w/ SG", False), ("w/out SG", True)):
        made = method(true_depth=1.0, variant=variant)
        branches = []
        made.supervised = lambda said, batch, kept=branches: kept.append(said) or said[0].uv.sum()
        made.pretraining(views)
        parameters = list(made.network.depth_encoder.parameters())
        found = torch.autograd.grad(branches[0][2].uv.sum(), parameters, allow_unused=True)
        assert any(gradient is not None for gradient in found) == reached


@pytest.mark.parametrize(
    ("stage", "streams", "message"),
    [
        ("pretrain", {"source": Stream("data")}, "views: 2, same_place: true"),
        ("pretrain", {"source": Stream("data", views=2)}, "views: 2, same_place: true"),
        ("finetune", {"source": Stream("data")}, "two streams, source and target"),
        ("finetune", {"source": Stream("data"), "target": Stream("data")}, "two views"),
    ],
)
def test_a_stage_without_its_streams_is_refused(stage, streams, message):
    made, trainer = method(stage), SimpleNamespace(datamodule=SimpleNamespace(streams=streams))
    made.trainer = trainer
    with pytest.raises(ValueError, match=message):
        made.on_train_start()


def test_synchronised_batch_norms_keep_what_branches_share():
    """What two GPUs need; it runs on GPUs alone."""
    network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(method().network)
    rgb, fusion = network.body.backbone.network, network.fusion_encoder
    norms = convolutions = 0
    for one, other in zip(rgb.modules(), fusion.modules(), strict=True):
        assert not isinstance(one, torch.nn.BatchNorm2d)
        if isinstance(one, torch.nn.SyncBatchNorm):
            assert one.weight is not other.weight
            assert one.running_mean is not other.running_mean
            norms += 1
        if isinstance(one, torch.nn.Conv2d):
            assert one.weight is other.weight
            convolutions += 1
    assert min(norms, convolutions) > 4


def test_all_branches_begin_as_a_bundle_of_the_rgb_branch(tmp_path):
    """Its weights, and the batch norms and statistics that branches have of their own."""
    rgb = method().estimator()
    for value in rgb.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5)
    save_bundle(tmp_path / "bundle", rgb, SIZE, {})
    made = method()
    start_from(tmp_path / "bundle", made)
    network, body = made.network, rgb.body
    for own, expected in (
        (network.body.backbone.network, body.backbone.network),
        (network.fusion_encoder, body.backbone.network),
        (network.depth_decoder, body.deconvolutions),
        (network.fusion_decoder, body.deconvolutions),
    ):
        for name, value in expected.state_dict().items():
            assert torch.equal(own.state_dict()[name], value), name
