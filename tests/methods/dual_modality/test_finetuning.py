"""Fine-tuning of the dual-modality network: Eq. 7.8 to 7.10 in numbers, what it may not read."""

import pytest
import torch
from torch.testing import assert_close
from two_streams import SIZE, first_batch, streams, write_target

from auxhand.data.augment import Contents
from auxhand.data.crops import CropRule
from auxhand.data.perturbation import Perturbation
from auxhand.geometry.similarity import move_uv
from auxhand.geometry.warp import warp_image
from auxhand.hand.anatomy import BONE_RANGES
from auxhand.losses.consistency import OUTPUT_CELLS, MultiModal, multimodal_distance
from auxhand.losses.pseudo_labels import Averaged, rectified
from auxhand.losses.supervision import TERMS, multimodal_loss, relative_depth
from auxhand.methods.dual_modality.module import DualModality
from auxhand.methods.dual_modality.objective import Objective
from auxhand.models.dual_branch import DualBranch
from auxhand.monitor import noise


def method(template=None, **options):
    torch.manual_seed(0)
    network = DualBranch("test_resnet", width=8)
    objective = Objective(true_depth=1.0, **options)
    made = DualModality(network, "finetune", objective, template=template)
    made.log = lambda *_, **__: None
    return made.eval()


@pytest.fixture(scope="module")
def pair(hand_dataset):
    return first_batch(streams(hand_dataset))


@pytest.fixture(scope="module")
def told(hand_dataset):
    """The target's truth beside its pictures, which the method does not see."""
    names = ["K", "side", "joints_uv", "joints_xyz", "mask"]
    return first_batch(streams(hand_dataset, told=names))


def heard(branch):
    p = branch.pose
    return MultiModal(p.uv, p.d, p.mask, p.depth)


def l_by_hand(first, second):
    """Eq. 6.2 in its own words, a mean over joints, at 64 pixels."""
    image = (first[0] - second[0]).square().sum(-1)
    return (image + 50 * (first[1] - second[1]).square()).mean(-1)


def larger(depth):
    return torch.nn.functional.interpolate(depth[:, None], (SIZE, SIZE), mode="bilinear")[:, 0]


@torch.no_grad()
def test_heatmaps_of_labelled_crops_may_be_taught(pair):
    source, target = pair
    made = method(heatmap_cross_entropy=3.0)
    branches = made.network(source.image, relative_depth(source)[0])
    losses = [TERMS["heatmap_cross_entropy"](branch.pose, source) for branch in branches]
    assert_close(made.finetuning(source, target)["heatmaps"], 3 * sum(losses))


@torch.no_grad()
def test_the_terms_of_eq_7_10_are_those_composed_by_hand(pair):
    source, target = pair
    made = method(epsilon=1e9)
    terms = made.finetuning(source, target)

    T = Perturbation(shift=2.0, together=True).draw(2, SIZE, noise(0, made, "cpu"))
    weak = warp_image(target.first.image, T, (SIZE, SIZE), padding="border")
    strong, network = target.second.image, made.network
    branches = [heard(b) for b in network(source.image, relative_depth(source)[0])]
    assert_close(terms["supervised"], sum(multimodal_loss(y, source) for y in branches))

    seen = {}
    for name, image in (("weak", weak), ("strong", strong)):
        rgb = network.see(image)
        fused = network.fuse(image, larger(rgb.pose.depth))
        seen[name] = [heard(b) for b in (rgb, *fused)]
    agreed = [multimodal_distance(y[0], y[2], SIZE) for y in seen.values()]
    assert_close(terms["distillation"], 0.2 * torch.cat(agreed).mean())

    focal = 32 / torch.tan(torch.deg2rad(torch.tensor(7.5)))
    K = T @ torch.tensor([[focal, 0, 31.5], [0, focal, 31.5], [0, 0, 1]])
    rgb, _, fusion = seen["weak"]
    poses = []
    for y in (rgb, fusion):
        r = rectified(y.uv, y.d, K)
        poses += [(y.uv, y.d), (r.uv, r.d)]
        assert r.valid.all()
    label = sum(p[0] for p in poses) / 4, sum(p[1] for p in poses) / 4
    A = target.transform.A.float() @ T.double().inverse().float()
    carried = move_uv(A, label[0]), label[1]
    expected = sum(l_by_hand((y.uv, y.d), carried).mean() for y in seen["strong"])
    assert_close(terms["pseudo_labels"], expected, rtol=1e-2, atol=0)

    # C(r) is the variance, and what is above epsilon does not teach.
    variance = sum(l_by_hand(p, label) for p in poses) / 4
    found = made.pseudo_label([rgb, fusion], K, SIZE)
    assert_close(found.variance, variance, rtol=1e-2, atol=0)
    lower, upper = sorted(variance.tolist())
    kept = int(variance.argmin())
    one = sum(l_by_hand((y.uv, y.d), carried)[kept] / 2 for y in seen["strong"])
    for surer in ({"epsilon": (lower + upper) / 2}, {"kept_share": 0.5}, {"kept_share": 0.0}):
        made.objective = Objective(true_depth=1.0, **surer)
        assert_close(made.finetuning(source, target)["pseudo_labels"], one, rtol=1e-2, atol=0)


@pytest.mark.parametrize(("share", "kept"), [(0.0, 1), (0.4, 2), (0.75, 4), (1.0, 4)])
def test_a_share_of_a_batch_is_kept_the_surest_first(share, kept):
    made, told = method(kept_share=share), {}
    made.log = lambda name, value, **_: told.update({name: float(value)})
    variance = torch.tensor([4.0, torch.inf, 9.0, 1.0, 7.0])
    uv = torch.ones(5, 21, 2) * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])[:, None, None]
    maps = torch.zeros(5, 4, 4)
    y = MultiModal(torch.zeros(5, 21, 2), torch.zeros(5, 21), maps, maps)
    label = Averaged(uv, torch.zeros(5, 21), variance)
    found = made.pseudo_labelling([y, y, y], label, OUTPUT_CELLS)
    assert told["train/kept"] == pytest.approx(kept / 5), "never what could not be corrected"
    squared = torch.tensor([4.0, 1.0, 5.0, 3.0]).square() * 2  # the surest first
    assert_close(found, 3 * squared[:kept].sum() / 5)


def test_a_label_is_carried_to_where_its_joints_are(told):
    """From the weak crop through the plain one into the strong one."""
    _, target = told
    T = Perturbation(shift=2.0, together=True).draw(2, SIZE, torch.Generator().manual_seed(3))
    weak = move_uv(T, target.first.joints_uv)
    A = target.transform.A.float() @ torch.linalg.inv(T)
    assert_close(move_uv(A, weak), target.second.joints_uv, rtol=0, atol=1e-3)


@torch.no_grad()
def test_a_pose_that_cannot_be_corrected_is_no_label(told):
    _, target = told
    batch, made = target.first, method()
    xyz = batch.joints_xyz
    d = (xyz[..., 2] - xyz[:, 9:10, 2]) / (xyz[:, 10] - xyz[:, 9]).norm(dim=-1)[:, None]
    maps = torch.zeros(2, 4, 4)
    uv = batch.joints_uv.clone()
    uv[1], d[1] = uv[1, 9], torch.linspace(-2, 2, 21)  # all of it along the optical axis
    y = MultiModal(uv, d, maps, maps)
    variance = made.pseudo_label([y, y], batch.cameras, SIZE).variance
    assert variance.isfinite().tolist() == [True, False]


def test_a_template_gives_its_lengths():
    lengths = torch.linspace(0.02, 0.06, 20).tolist()
    found = method(template=lengths).ranges
    assert_close(found[:, 0], torch.tensor(lengths) / lengths[9])
    assert torch.equal(found[:, 0], found[:, 1])
    assert torch.equal(method().ranges, BONE_RANGES)
    with pytest.raises(ValueError, match="20 lengths of bones, not 3"):
        method(template=[1.0, 2.0, 3.0])


def test_parts_of_the_objective_can_be_left_out(pair):
    names = method(distillation=0.0).finetuning(*pair).keys()
    assert names == {"supervised", "pseudo_labels"}
    names = method(pseudo_labels=0.0).finetuning(*pair).keys()
    assert names == {"supervised", "distillation"}


@pytest.mark.parametrize("detached", ["neither", "rgb", "fusion"])
def test_every_weight_learns_by_finite_gradients(pair, detached):
    made = method(epsilon=1e9, detached=detached)
    torch.stack(list(made.finetuning(*pair).values())).sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@torch.no_grad()
def test_labels_of_the_target_are_not_read(hand_row, hand_dataset, tmp_path):
    """Poisoned ones change no loss."""
    losses = []
    for name in ("whole", "poisoned"):
        rows = [hand_row(20 + i, rgba=False) for i in range(4)]
        root = write_target(tmp_path / name, rows, poisoned=name == "poisoned")
        losses.append(method(epsilon=1e9).finetuning(*first_batch(streams(hand_dataset, root))))
    for name, value in losses[0].items():
        assert value.isfinite()
        assert_close(losses[1][name], value, rtol=0, atol=0)


def test_crops_that_turn_the_camera_are_refused(hand_dataset):
    data = streams(hand_dataset, told=["K"])
    data.contents = Contents(depth="hand", crop=CropRule("mask", 0.8))
    with pytest.raises(ValueError, match=r"crop\.view=plain"):
        method().finetuning(*first_batch(data))
