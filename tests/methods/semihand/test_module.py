"""SemiHand on the streams it is made for: Eq. 6.1 in numbers, what it may not read, its labels."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import multiprocessing
from torch.testing import assert_close
from two_streams import SIZE, first_batch, streams, write_target

from auxhand.cli.main import main
from auxhand.data.augment import Contents
from auxhand.data.crops import CropRule
from auxhand.data.perturbation import Perturbation
from auxhand.geometry.pose25d import relative
from auxhand.geometry.similarity import move_uv
from auxhand.geometry.warp import warp_image
from auxhand.losses.consistency import PoseAndMask, cross_modal_consistency, view_consistency
from auxhand.losses.pose import heatmap_cross_entropy
from auxhand.losses.pseudo_labels import corrected, typical_lengths
from auxhand.losses.supervision import TERMS
from auxhand.methods.semihand.module import Objective, Predicted, SemiHand
from auxhand.models.cpn import FeaturePyramid
from auxhand.models.heads import Latent25D
from auxhand.models.pose_net import PoseNet
from auxhand.monitor import noise
from auxhand.sample import HandBatch, HandPose
from auxhand.training import read_checkpoint

UNIT = SIZE / 64


def semihand(**options):
    torch.manual_seed(0)
    network = PoseNet(FeaturePyramid("test_resnet", width=8), Latent25D(), presence=False)
    method = SemiHand(network, objective=Objective(**options))
    method.log = lambda *_, **__: None
    return method.eval()


@pytest.fixture(scope="module")
def pair(hand_dataset):
    """(data, source, target) of one batch."""
    data = streams(hand_dataset)
    return data, *first_batch(data)


def distance(first, second, depth=50.0):
    """Eq. 6.2 in its own words: squared pixels of 64 and depths, summed a joint, mean of joints."""
    image = ((first[0] - second[0]) / UNIT).square().sum(-1)
    return (image + depth * (first[1] - second[1]).square()).mean(-1)


def seen(method, image):
    pose = method.network(image)
    return pose.uv, pose.d, pose.mask


@torch.no_grad()
def test_the_terms_of_eq_6_1_are_those_composed_by_hand(pair):
    data, source, target = pair
    method = semihand(tau=1e9)
    method.renew(data.in_order("target"))
    terms = method.mixed(source, target)

    image = torch.cat([source.image, target.first.image])
    T = method.perturbation.draw(6, SIZE, noise(0, method, "cpu"))
    original = seen(method, image)
    moved = seen(method, warp_image(image, T, (SIZE, SIZE), padding="border"))
    d = relative(source.joints_xyz)[..., 2]
    known = source.joint_mask("joints_uv")
    joints = (original[0][:4] - source.joints_uv).square().sum(-1) / UNIT**2
    joints = joints + 50 * (original[1][:4] - d).square()
    mask = torch.nn.functional.interpolate(
        source.mask[:, None], original[2].shape[-2:], mode="area"
    )[:, 0]
    pose = joints[known].mean()
    assert_close(terms["supervised"], pose + 100 * (original[2][:4] - mask).abs().mean())
    view = view_consistency(PoseAndMask(*moved), PoseAndMask(*original), T, SIZE)
    assert_close(terms["view"], 0.1 * view)
    cross = cross_modal_consistency(original[0], original[2], SIZE).mean()
    assert_close(terms["cross_modal"], 0.1 * cross)

    # Every label is trusted, so all that could be corrected is shown with diversity augmentation.
    labels = method.labels.read(target.first.index, SIZE)
    assert labels.valid.all()
    A = target.transform.A
    p = seen(method, target.second.image)[:2]
    label = move_uv(A, labels.pose[0]), labels.pose[1]
    r = move_uv(A, labels.correction[0]), labels.correction[1]
    assert_close(terms["pseudo_labels"], (distance(p, label) + distance(r, p)).mean())

    # Nothing is trusted: the perturbed pictures, and the corrections alone.
    method.tau = -1.0
    p = moved[0][4:], moved[1][4:]
    r = move_uv(T[4:], labels.correction[0]), labels.correction[1]
    expected = distance(r, p).mean()
    assert_close(method.mixed(source, target)["pseudo_labels"], expected)
    method.objective = Objective(correction=0.25)
    assert_close(method.mixed(source, target)["pseudo_labels"], expected / 4)


@torch.no_grad()
def test_tau_is_what_a_share_of_the_labels_has(pair, tmp_path):
    data, _, _ = pair
    method = semihand(trusted_share=0.5, draws=3)
    method.renew(data.in_order("target"))
    numbers = torch.cat([batch.index for batch in data.in_order("target")])
    before = method.tau
    for _ in range(2):
        costs = method.labels.read(numbers, SIZE).cost
        assert method.tau == pytest.approx(np.quantile(costs, 0.5, method="lower"))
        assert (costs <= method.tau).float().mean() == 0.5
        for parameter in method.network.heads.parameters():
            parameter.mul_(1.5)
        method.renew(data.in_order("target"))
    assert method.tau != before, "of each iteration"
    checkpoint = {}
    method.on_save_checkpoint(checkpoint)
    other = semihand(trusted_share=0.5)
    other.on_load_checkpoint(checkpoint)
    assert other.tau == method.tau


@torch.no_grad()
def test_a_share_is_of_labels_that_could_be_corrected(pair, monkeypatch):
    def first_fails(*pose_and_template):
        r = corrected(*pose_and_template)
        return r._replace(valid=r.valid & (torch.arange(len(r.valid)) > 0))

    monkeypatch.setattr("auxhand.methods.semihand.module.corrected", first_fails)
    data, _, _ = pair
    batches = list(data.in_order("target"))
    method = semihand(trusted_share=0.5)
    method.renew(batches)
    labels = method.labels.read(torch.cat([batch.index for batch in batches]), SIZE)
    assert labels.valid.float().mean() == 0.5
    assert torch.equal(labels.trusted(method.tau), labels.valid)


@torch.no_grad()
def test_a_template_or_tau_that_is_given_counts_when_a_run_is_resumed(pair):
    data, _, _ = pair
    method, checkpoint = semihand(trusted_share=0.5), {}
    method.renew(data.in_order("target"))
    method.on_save_checkpoint(checkpoint)
    given = torch.linspace(1.0, 2.0, 20)
    other = SemiHand(method.network, objective=Objective(tau=3.0), template=given.tolist())
    other.on_load_checkpoint(checkpoint)
    assert_close(other.template, SemiHand(method.network, template=given.tolist()).template)
    assert other.tau == 3.0
    assert len(other.labels) == len(method.labels)


@torch.no_grad()
def test_a_true_mask_alone_teaches_the_pose_by_eq_6_11(pair):
    _, source, _ = pair
    method = semihand(mask_consistency=7.0)
    pose = method.network(source.image)
    true = torch.nn.functional.adaptive_avg_pool2d(source.mask, pose.mask.shape[-1])
    masks = 100 * (pose.mask - true).abs().mean()
    silent = dict.fromkeys(("joints_uv", "joints_xyz"), torch.zeros(len(source)).bool())
    weak = replace(source, valid={**source.valid, **silent})
    cross = cross_modal_consistency(pose.uv, true, SIZE).mean()
    assert_close(method.supervised([pose], weak), masks + 7 * cross)
    assert_close(method.supervised([pose], source), semihand().supervised([pose], source))


@torch.no_grad()
def test_nothing_is_perturbed_that_no_loss_looks_at(pair, monkeypatch):
    _, source, target = pair
    method = semihand(view=False, pseudo_labels=False)
    monkeypatch.setattr(method, "perturbation", None)
    assert set(method.mixed(source, target)) == {"supervised", "cross_modal"}


@torch.no_grad()
def test_a_cost_is_a_mean_over_its_draws(pair):
    data, _, _ = pair
    method = semihand(draws=3)
    batch = next(iter(data.in_order("target")))
    seen_once = method._predicted(batch, noise(0, method, "cpu"))
    method.template = typical_lengths([(*seen_once.pose, seen_once.K)])
    assert len(seen_once.perturbed) == len(seen_once.T) == 3
    costs = [
        method.judged(seen_once.pose, seen_once._replace(perturbed=[p], T=[T])).cost
        for p, T in zip(seen_once.perturbed, seen_once.T, strict=True)
    ]
    assert not torch.allclose(costs[0], costs[1])
    assert_close(method.judged(seen_once.pose, seen_once).cost, torch.stack(costs).mean(0))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"trusted_share": 1.5}, r"trusted_share lies in \[0, 1\]; got 1.5"),
        ({"draws": 0}, "draws is at least 1, got 0"),
        ({"tolerance": -0.1}, "tolerance is at least 0, got -0.1"),
        ({"consistency": math.nan}, "consistency is at least 0, got nan"),
        ({"detached": "both"}, "detached is one of neither, original, transformed; got 'both'"),
    ],
)
def test_settings_without_a_meaning_are_refused(wrong, told):
    with pytest.raises(ValueError, match=rf"objective\.{told}"):
        Objective(**wrong)


def test_parts_of_the_objective_can_be_left_out(pair):
    _, source, target = pair
    method = semihand(view=False, cross_modal=False, pseudo_labels=False)
    assert method.mixed(source, target).keys() == {"supervised"}


def test_one_trusted_sample_has_its_own_picture(pair):
    """In one pass with the plain images of both domains, whose batch norms it shares."""
    data, source, target = pair
    method = semihand(registration=False, correction=0.0)
    method.renew(data.in_order("target"))
    method.labels.cost.fill_(2.0)
    method.labels.cost[target.first.index[-1]] = 0.0
    label = method.labels.read(target.first.index[-1:], SIZE)
    with torch.no_grad():
        terms = method.mixed(source, target)
        p = seen(method, target.second.image[-1:])[:2]
    A = target.transform.A[-1:]
    expected = distance(p, (move_uv(A, label.pose[0]), label.pose[1])).sum() / len(target.first)
    assert_close(terms["pseudo_labels"], expected)
    shown = []
    method.network.body.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    method.mixed(source, target)
    plain, diverse = target
    assert [len(image) for image in shown] == [7, 6]
    assert torch.equal(shown[0], torch.cat([source.image, plain.image, diverse.image[-1:]]))


@torch.no_grad()
def test_heatmaps_may_be_taught_by_trusted_labels(pair):
    """Half of them are; beside l(p, p^), a mean over all samples."""
    data, source, target = pair
    plain, method = semihand(), semihand(label_cross_entropy=3.0)
    for each in (plain, method):
        each.renew(data.in_order("target"))
        each.labels.cost[target.first.index] = torch.tensor([0.0, 9.0])
    extra = method.mixed(source, target)["pseudo_labels"]
    extra = extra - plain.mixed(source, target)["pseudo_labels"]
    label = method.labels.read(target.first.index[:1], SIZE).pose[0]
    maps = method.network(target.second.image[:1]).heatmaps
    cells = (move_uv(target.transform.A[:1], label) + 0.5) * maps.shape[-1] / SIZE - 0.5
    expected = heatmap_cross_entropy(maps, cells, torch.ones(1, 21).bool())
    assert expected > 1
    assert_close(extra, 3 * expected / 2, rtol=1e-3, atol=0)


@torch.no_grad()
def test_labels_may_be_means_with_what_is_said_of_perturbed_images(pair):
    data, _, _ = pair
    method, plain = semihand(draws=2, averaged=True), semihand(draws=2)
    batch = next(iter(data.in_order("target")))
    mean = method._predicted(batch, noise(0, method, "cpu")).pose
    one = plain._predicted(batch, noise(0, plain, "cpu"))
    back = [move_uv(torch.linalg.inv(T), p[0]) for p, T in zip(one.perturbed, one.T, strict=True)]
    assert_close(mean[0], (one.pose[0] + sum(back)) / 3, rtol=1e-4, atol=1e-3)
    assert_close(mean[1], (one.pose[1] + sum(p[1] for p in one.perturbed)) / 3)
    assert not torch.allclose(mean[0], one.pose[0], atol=0.1)


def test_the_whole_objective_has_finite_gradients(pair):
    data, source, target = pair
    method = semihand(tau=1e9)
    method.renew(data.in_order("target"))
    torch.stack(list(method.mixed(source, target).values())).sum().backward()
    gradients = [p.grad for p in method.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("told", ["joints_uv", "mask"])
def test_supervision_takes_what_is_labelled(pair, told):
    """uv alone, or masks alone, beside whole labels; what is not told may be anything."""
    _, source, _ = pair
    method = semihand()
    valid = {
        name: torch.zeros_like(known) if "joints" in name or name == "mask" else known
        for name, known in source.valid.items()
    }
    valid[told] = source.valid[told]
    names = ("joints_uv", "joints_xyz", "mask")
    nonsense = {n: torch.full_like(getattr(source, n), 1e4) for n in names if n != told}
    weak = replace(source, valid=valid, **nonsense)
    whole = method.network(source.image)
    twice = HandPose(**{name: torch.cat([value, value]) for name, value in whole.items()})
    # As the same hands twice, where they are labelled twice.
    found = method.supervised([twice], HandBatch.join([source, weak]))
    assert_close(found, method.supervised([whole], source))
    found.backward()
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)
    alone = method.supervised([whole], weak)
    if told == "joints_uv":
        known = source.joint_mask("joints_uv")
        distance = (whole.uv - source.joints_uv).square().sum(-1) / UNIT**2
        assert_close(alone, distance[known].mean())
    else:
        mask = torch.nn.functional.interpolate(
            source.mask[:, None], whole.mask.shape[-2:], mode="area"
        )[:, 0]
        assert_close(alone, 100 * (whole.mask - mask).abs().mean())


@torch.no_grad()
def test_heatmaps_may_be_taught_beside_uv(pair):
    _, source, _ = pair
    plain, method = semihand(), semihand(heatmap_cross_entropy=3.0)
    pose = method.network(source.image)
    extra = method.supervised([pose], source) - plain.supervised([pose], source)
    assert_close(extra, 3 * TERMS["heatmap_cross_entropy"](pose, source))


@torch.no_grad()
@pytest.mark.parametrize("told", [(), ("side",), ("K", "side")])
def test_labels_of_the_target_are_not_read(pair, hand_row, hand_dataset, tmp_path, told):
    """Poisoned ones change no loss."""
    losses = []
    for name in ("whole", "poisoned"):
        rows = [hand_row(20 + i, rgba=False) for i in range(4)]
        root = write_target(tmp_path / name, rows, poisoned=name == "poisoned")
        data, method = streams(hand_dataset, root, told), semihand(tau=1e9)
        method.renew(data.in_order("target"))
        losses.append(method.mixed(*first_batch(data)))
    for name, value in losses[0].items():
        assert value.isfinite()
        assert_close(losses[1][name], value, rtol=0, atol=0)


@torch.no_grad()
def test_labels_begin_as_predictions_and_are_renewed_to_the_middle(pair):
    data, _, _ = pair
    method = semihand()
    method.renew(data.in_order("target"))
    batch = next(iter(data.in_order("target")))
    uv, d, _ = seen(method, batch.image)
    first = method.labels.read(batch.index, SIZE)
    assert_close(first.pose, (uv, d), atol=1e-4, rtol=1e-4)
    for parameter in method.network.heads.parameters():
        parameter.mul_(1.5)
    method.renew(data.in_order("target"))
    uv, d, _ = seen(method, batch.image)
    second = method.labels.read(batch.index, SIZE)
    middle = (uv + first.correction[0]) / 2, (d + first.correction[1]) / 2
    assert_close(second.pose, middle, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(second.pose[0], first.pose[0], atol=1e-2)


@torch.no_grad()
def test_a_camera_that_is_not_told_is_far_away(hand_dataset, pair):
    """K of 15 degrees over the crop; where one is told, that."""
    found = []
    for data in (pair[0], streams(hand_dataset, told=["K", "side"])):
        method = semihand()
        batch = next(iter(data.in_order("target")))
        assert batch.valid["K"].all() == (data.streams["target"].use == "weak")
        method.renew(data.in_order("target"))
        found.append((method.labels.read(batch.index, SIZE), batch.K, method.template))
    labels, _, template = found[0]
    focal = 32 / torch.tan(torch.deg2rad(torch.tensor(7.5)))
    far = torch.tensor([[focal, 0, 31.5], [0, focal, 31.5], [0, 0, 1]])
    r = corrected(*labels.pose, far.expand(2, 3, 3), template)
    assert_close(labels.correction, (r.uv, r.d), atol=1e-3, rtol=1e-3)
    labels, K, template = found[1]
    r = corrected(*labels.pose, K, template)
    assert_close(labels.correction, (r.uv, r.d), atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_a_tolerance_is_of_the_corrections(hand_dataset):
    """Of a network whose proportions are wrong everywhere, which a wide one leaves alone."""
    data, moved = streams(hand_dataset, told=["K", "side"]), []
    for tolerance in (0.0, 0.3, 1e6):
        method = semihand(tolerance=tolerance)
        method.renew(data.in_order("target"))
        batch = next(iter(data.in_order("target")))
        labels = method.labels.read(batch.index, SIZE)
        r = corrected(*labels.pose, batch.K, method.template, tolerance)
        assert_close(labels.correction, (r.uv, r.d), atol=1e-3, rtol=1e-3)
        moved.append(float((r.uv - labels.pose[0]).norm(dim=-1).mean()))
    assert moved[0] > moved[1] > moved[2]
    assert moved[2] == pytest.approx(0, abs=1e-3)


def test_crops_that_turn_the_camera_are_refused(hand_dataset):
    data = streams(hand_dataset, told=["K"])
    data.contents = Contents(crop=CropRule("mask", 0.8))
    with pytest.raises(ValueError, match=r"crop\.view=plain"):
        semihand().renew(data.in_order("target"))


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ([1.0, 2.0, 3.0], "20 lengths of bones, not 3"),
        ([1.0] * 19 + [0.0], "lengths are positive numbers"),
        ([1.0] * 19 + [float("nan")], "lengths are positive numbers"),
    ],
)
def test_a_template_has_a_length_for_every_bone(template, says):
    with pytest.raises(ValueError, match=says):
        SemiHand(semihand().network, template=template)


def test_a_template_of_its_own_is_of_confident_predictions(pair):
    """Of the half that says the same of perturbed images; the other half's bones are wrong."""
    _, batch, _ = pair
    method, count = semihand(), len(batch)
    true = relative(batch.joints_xyz)[..., 2]
    K, T, names = batch.cameras, torch.eye(3).expand(count, 3, 3), batch.source
    pose = batch.joints_uv, true
    wrong = batch.joints_uv.flip(1), true.flip(1)
    sure = Predicted(torch.arange(count), pose, K, names, [pose], [T], SIZE)
    moved = wrong[0] + 5, wrong[1]
    unsure = Predicted(torch.arange(count, 2 * count), wrong, K, names, [moved], [T], SIZE)
    expected = typical_lengths([(*pose, K)])
    assert_close(method._own_template([sure, unsure]), expected)
    assert_close(method._own_template([unsure, sure]), expected)
    assert not torch.allclose(typical_lengths([(*pose, K), (*wrong, K)]), expected)


def expect_labels(found, expected, tolerance):
    """What two checkpoints say of the pseudo-labels."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name == "images":
            assert found[name] == value != ""
        else:
            assert_close(found[name], value, rtol=tolerance, atol=tolerance)


def _renew_a_share(rank, folder, batches):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    method = semihand(trusted_share=0.5)
    method.perturbation = Perturbation(shift=0.0, turn=0.0, quarters=False)
    method.renew(batches[rank::2])
    checkpoint = {}
    method.on_save_checkpoint(checkpoint)
    torch.save(checkpoint["pseudo_labels"], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_have_the_labels_of_both(pair, tmp_path):
    data, _, _ = pair
    batches = list(data.in_order("target"))
    arguments = str(tmp_path), batches
    multiprocessing.start_processes(_renew_a_share, arguments, 2, start_method="fork")
    alone = semihand(trusted_share=0.5)
    alone.perturbation = Perturbation(shift=0.0, turn=0.0, quarters=False)
    alone.renew(batches)
    checkpoint = {}
    alone.on_save_checkpoint(checkpoint)
    for rank in range(2):
        expect_labels(torch.load(tmp_path / f"{rank}.pt"), checkpoint["pseudo_labels"], 1e-4)


def test_labels_of_other_images_are_not_gone_on_with(pair, hand_dataset):
    data, _, _ = pair
    method, again = semihand(), semihand()
    batches = list(data.in_order("target"))
    method.renew(batches)
    checkpoint = {}
    method.on_save_checkpoint(checkpoint)
    again.on_load_checkpoint(checkpoint)
    again.renew(batches)
    for other in (batches[:-1], [replace(batches[0], source=("a", "b")), *batches[1:]]):
        with pytest.raises(ValueError, match="not those that the run's pseudo-labels are of"):
            again.renew(other)


def test_pseudo_labels_survive_a_checkpoint(pair):
    data, source, target = pair
    method, again = semihand(tau=1e9), semihand(tau=1e9)
    method.renew(data.in_order("target"))
    checkpoint = {}
    method.on_save_checkpoint(checkpoint)
    again.on_load_checkpoint(checkpoint)
    assert torch.equal(again.template, method.template)
    for name, value in method.labels.state_dict().items():
        assert torch.equal(again.labels.state_dict()[name], value)
    with torch.no_grad():
        assert_close(again.mixed(source, target), method.mixed(source, target), rtol=0, atol=0)


CONFIG = """
seed_everything: 0
trainer:
  default_root_dir: {root}
  accelerator: cpu
  max_epochs: 2
  log_every_n_steps: 1
  num_sanity_val_steps: 0
  enable_progress_bar: false
  callbacks:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {{save_last: true}}
model:
  class_path: auxhand.methods.semihand.SemiHand
  init_args:
    stage: finetune
    network:
      class_path: auxhand.models.pose_net.PoseNet
      init_args:
        body:
          class_path: auxhand.models.cpn.FeaturePyramid
          init_args: {{backbone: test_resnet, width: 8}}
        head:
          class_path: auxhand.models.heads.Latent25D
        presence: false
data:
  class_path: auxhand.data.module.HandDataModule
  init_args:
    train:
      source: {{roots: {data}, batch_size: 2}}
      target:
        roots: {data}
        use: unlabelled
        batch_size: 2
        views: 2
        phases:
          - epoch: 0
            size: 64
            augmentation: {{smallest: 0.8, largest: 0.8}}
            second: {{rotation: 20.0}}
    val_count: 2
    images_per_epoch: 8
    workers: 0
    crop: {{by: mask, fraction: 0.8, view: plain}}
    phases: [{{epoch: 0, size: 64, difficulty: 0.0}}]
"""


def test_pre_training_then_fine_tuning_by_the_command(hand_dataset, tmp_path, capsys):
    path, run = tmp_path / "semihand.yaml", tmp_path / "run"
    path.write_text(CONFIG.format(root=run, data=hand_dataset))
    first = ["model.init_args.stage=pretrain", f"data.init_args.train={hand_dataset}"]
    first += [f"trainer.default_root_dir={tmp_path / 'first'}", "trainer.max_epochs=1"]
    assert main(["train", str(path), "--set", *first, "data.init_args.batch_size=4"]) == 0
    assert main(["train", str(path), "--set", f"start_from={tmp_path / 'first'}"]) == 0
    assert "left over" not in capsys.readouterr().out  # all of the first stage's weights fit
    assert (run / "bundle" / "bundle.json").is_file()
    state = read_checkpoint(run / "checkpoints" / "last.ckpt")["pseudo_labels"]
    assert state["cost"].shape == (10,)
    assert state["cost"].isfinite().all()
    # The same command finds a run that is finished, labels and all.
    assert main(["train", str(path)]) == 0


@pytest.mark.slow
def test_a_run_that_is_resumed_has_the_weights_and_labels_of_one_that_was_not(
    hand_dataset, tmp_path
):
    found = []
    for name, sittings in (("whole", (2,)), ("resumed", (1, 2))):
        path = tmp_path / f"{name}.yaml"
        path.write_text(CONFIG.format(root=tmp_path / name, data=hand_dataset))
        for epochs in sittings:
            assert main(["train", str(path), "--set", f"trainer.max_epochs={epochs}"]) == 0
        found.append(read_checkpoint(tmp_path / name / "checkpoints" / "last.ckpt"))
    whole, resumed = found
    assert_close(resumed["state_dict"], whole["state_dict"], rtol=0, atol=0, equal_nan=True)
    expect_labels(resumed["pseudo_labels"], whole["pseudo_labels"], 0)


def test_fine_tuning_without_two_views_costs_one_line(hand_dataset, tmp_path, capsys):
    path = tmp_path / "semihand.yaml"
    path.write_text(CONFIG.format(root=tmp_path / "run", data=hand_dataset))
    settings = ["--set", f"data.init_args.train={hand_dataset}", "data.init_args.batch_size=4"]
    assert main(["train", str(path), *settings]) == 2
    assert "SemiHand takes two streams, source and target" in capsys.readouterr().err
