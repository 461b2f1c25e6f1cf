"""Disentangled VAEs: Eq. 4.2 to 4.8 and Alg. 4.1, 4.2 against loops over samples."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from lightning import LightningDataModule, Trainer
from torch.distributions import Normal, kl_divergence
from torch.nn import functional
from torch.testing import assert_close
from torch.utils.data import DataLoader

from auxhand.geometry.canonical import canonical_pose, rotate
from auxhand.geometry.pose25d import relative
from auxhand.methods.dvae import DisentangledVAE, Networks, Weights
from auxhand.methods.dvae.posterior import others
from auxhand.methods.dvae.variables import (
    IMAGE_UNIT,
    observe_canonical,
    observe_pose,
    observe_viewpoint,
)
from auxhand.methods.dvae.variant import VARIANTS
from auxhand.models.gaussian import Gaussian
from auxhand.monitor import noise
from auxhand.sample import HandBatch, HandSample

SMALL = Networks(backbone="test_resnet", dimensions=4, width=16, layers=2, cells=8, map_width=4)
STAGES = [(variant, stage) for variant in VARIANTS for stage in ("disentangle", "embed")]
PRIOR = Normal(torch.zeros(()), torch.ones(()))
POSE = ("joints_uv", "joints_xyz")


def sample(seed: int, *without: str) -> HandSample:
    generator = torch.Generator().manual_seed(seed)
    whole = HandSample(
        image=torch.rand(3, 64, 64, generator=generator),
        side="right",
        joints_xyz=0.1 * torch.rand(21, 3, generator=generator) + torch.tensor([0, 0, 0.4]),
        content=torch.rand(3, 64, 64, generator=generator),
        source=f"made/{seed}",
    )
    return replace(whole, **dict.fromkeys(without))


def batch(*without: tuple[str, ...]) -> HandBatch:
    return HandSample.collate([sample(i, *fields) for i, fields in enumerate(without)])


class Alone(DisentangledVAE):
    """A method at a step of its training, without a trainer."""

    at = 0

    @property
    def global_step(self) -> int:
        return self.at


def method(variant="pose", stage="disentangle", beta=0.01, **arguments) -> DisentangledVAE:
    torch.manual_seed(0)
    return Alone(variant, stage, beta, SMALL, **arguments)


def kl(q) -> torch.Tensor:
    return kl_divergence(Normal(q.mu, (0.5 * q.logvar).exp()), PRIOR).sum(1)


def square(a, b) -> torch.Tensor:
    return (a - b).square().flatten(1).sum(1)


@pytest.mark.parametrize(("variant", "stage"), STAGES)
def test_every_stage_of_every_variant_learns(variant, stage):
    net, data = method(variant, stage, beta=1e-3), batch((), (), ())
    seen = net.observe(data)
    parameters = [p for part in net.learning for p in part.parameters()]
    optimizer = torch.optim.Adam(parameters, 3e-3)
    losses = []
    for net.at in range(25):
        loss = net.objective(seen)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # Fixed decoders that nothing has taught reach few images.
    assert losses[-1] < (0.9 if stage == "disentangle" else 0.98) * losses[0]
    assert all(p.grad is not None for p in parameters)  # nothing is trained for nothing
    assert all(p.grad is None for p in net.parameters() if not p.requires_grad)


def test_the_pose_variant_is_equation_4_2():
    net, data = method(beta=0.3, weights=Weights(x=2.0, y=0.5)).eval(), batch((), ())
    pose = relative(data.joints_xyz)
    canonical, R = canonical_pose(data.joints_xyz)
    assert_close(rotate(R, canonical), pose)
    q1, q2 = net.network.specify("canonical", canonical), net.network.specify("viewpoint", R)
    generator = noise(0, net)
    z1, z2 = q1.sample(generator), q2.sample(generator)
    decoders = net.network.decoders
    elbo = (
        -2.0 * square(decoders["pose"](torch.cat([z1, z2], 1)), pose)
        - 0.5 * square(decoders["canonical"](z1), canonical)
        - 0.5 * square(decoders["viewpoint"](z2), R)
        - 0.3 * (kl(q1) + kl(q2))
    )
    assert_close(net.objective(net.observe(data)), -elbo.mean())


def test_pictures_are_compared_in_steps_of_8_bits():
    net, data = method("synthesis", beta=100.0).eval(), batch((), ())
    pose, tags = relative(data.joints_xyz), data.content
    q1, q2 = net.network.specify("pose", pose), net.network.specify("content", tags)
    generator = noise(0, net)
    z1, z2 = q1.sample(generator), q2.sample(generator)
    decoders = net.network.decoders
    image = functional.avg_pool2d(data.image, 8)
    elbo = (
        -square(255 * decoders["image"](torch.cat([z1, z2], 1)), 255 * image)
        - 0.01 * square(decoders["pose"](z1), pose)
        - 0.01 * square(255 * decoders["content"](z2), 255 * functional.avg_pool2d(tags, 8))
        - 100 * (kl(q1) + kl(q2))
    )
    assert_close(net.objective(net.observe(data)), -elbo.mean())
    assert pytest.approx(1 / 255) == IMAGE_UNIT


def test_without_tags_pose_is_decoded_from_all_of_z_as_equation_4_6():
    net, data = method("untagged", beta=100.0).eval(), batch((), ())
    pose = relative(data.joints_xyz)
    q1, u = net.network.specify("pose", pose), net.network.specify("content", data.image)
    generator = noise(0, net)
    z = torch.cat([q1.sample(generator), u.sample(generator)], 1)
    image = functional.avg_pool2d(data.image, 8)
    elbo = (
        -square(255 * net.network.decoders["image"](z), 255 * image)
        - 0.01 * square(net.network.decoders["pose"](z), pose)
        - 100 * (kl(q1) + kl(u))
    )
    assert_close(net.objective(net.observe(data)), -elbo.mean())


def test_embedding_is_equation_4_4_of_poses_and_4_8_of_images():
    net, data = method(stage="embed", beta=0.3).eval(), batch((), ())
    pose = relative(data.joints_xyz)
    canonical, R = canonical_pose(data.joints_xyz)
    generator = noise(0, net)
    elbo = 0.0
    for variable, value in (("pose", pose), ("image", data.image)):
        q = net.network.embed(variable, value)
        z = q.sample(generator)
        decoders = net.network.decoders
        elbo = (
            elbo
            + (
                -square(decoders["pose"](z), pose)  # x, and never the image
                - 0.01 * square(decoders["canonical"](z[:, :4]), canonical)
                - 0.01 * square(decoders["viewpoint"](z[:, 4:]), R)
                - 0.3 * kl(q)
            )
        )
    assert "image" not in net.network.decoders
    assert_close(net.objective(net.observe(data)), -elbo.mean())


class Batches(LightningDataModule):
    """The same batches every epoch."""

    def __init__(self, *batches):
        super().__init__()
        self.batches = list(batches)

    def train_dataloader(self):
        return DataLoader(self.batches, batch_size=None)

    def val_dataloader(self):
        return DataLoader(self.batches, batch_size=None)


def trainer(folder, epochs=1, **options) -> Trainer:
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    return Trainer(
        default_root_dir=folder, max_epochs=epochs, accelerator="cpu", **quiet, **options
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_embedding_changes_no_decoder_bit_by_bit(variant, tmp_path):
    torch.manual_seed(0)
    net = DisentangledVAE(variant, "embed", 0.01, SMALL, learning_rate=1e-2)
    before = deepcopy(net.network.state_dict())
    trainer(tmp_path).fit(net, Batches(batch((), ()), batch((), ())))
    after = net.network.state_dict()
    for name, value in before.items():
        fixed = not name.startswith("embeddings.")
        if fixed:
            assert torch.equal(value, after[name]), name
    moved = [n for n in before if not torch.equal(before[n], after[n])]
    assert any("running_mean" in n for n in moved)
    assert any(n.endswith("weight") for n in moved)


def test_inner_steps_of_algorithm_4_2_change_pose_networks_alone(tmp_path):
    def trained(steps):
        torch.manual_seed(0)
        net = DisentangledVAE("untagged", "disentangle", 0.01, SMALL, independence_steps=steps)
        trainer(tmp_path).fit(net, Batches(batch((), (), ())))
        return net.network.state_dict()

    without, with_inner = trained(0), trained(2)
    differ = {n for n in without if not torch.equal(without[n], with_inner[n])}
    assert all(n.startswith(("encoders.pose.", "decoders.pose.")) for n in differ)
    for part in ("encoders.pose.", "decoders.pose."):
        assert any(n.startswith(part) for n in differ)


def test_inner_steps_that_diverge_end_the_training(tmp_path):
    """They are taken outside the step whose loss and weights `Monitor` watches."""
    net = DisentangledVAE("untagged", "disentangle", 0.01, SMALL, learning_rate=1e10)
    with pytest.raises(FloatingPointError, match="step 1: the loss of an inner step is not finite"):
        trainer(tmp_path).fit(net, Batches(batch((), (), ())))


def test_inner_steps_take_the_content_of_other_samples():
    net, data = method("untagged", weights=Weights(y=0.5)).eval(), batch((), (), (), POSE)
    seen = net.observe(data)
    net.objective(seen)
    _, posteriors, generator = net.outer
    state = generator.get_state()
    objective = net.independence(seen, posteriors, generator)
    generator.set_state(state)
    own = net.network.specify("pose", relative(data.joints_xyz[:3]))
    # The fourth sample has no pose: its noise is drawn, but not used.
    z1 = own.mu + (0.5 * own.logvar).exp() * torch.randn(4, 4, generator=generator)[:3]
    content = posteriors["content"].q.sample(generator)
    order = others(torch.tensor([True, True, True, False]), generator)[:3]
    assert not (order == torch.arange(3)).any()
    decoded = net.network.decoders["pose"](torch.cat([z1, content[order]], 1))
    assert_close(objective, 0.5 * square(decoded, relative(data.joints_xyz[:3])).mean())
    net.zero_grad()
    objective.backward()
    learnt = {
        n.split(".")[1] + n.split(".")[2] for n, p in net.named_parameters() if p.grad is not None
    }
    assert learnt == {"encoderspose", "decoderspose"}


def test_a_sample_that_lacks_something_teaches_the_rest(monkeypatch):
    """Its terms are left out, those of the others are what they would be alone."""
    monkeypatch.setattr(Gaussian, "sample", lambda q, generator=None: q.mu)
    for stage in ("disentangle", "embed"):
        net = method(stage=stage).eval()
        alone = net.objective(net.observe(batch(())))
        lacking = batch((), ("image", *POSE))
        assert_close(net.objective(net.observe(lacking)), alone)


def palm_only() -> HandBatch:
    """A sample whose viewpoint is known, and no pose."""
    valid = torch.zeros(21, dtype=torch.bool)
    valid[[0, 9, 17]] = True
    return HandSample.collate([replace(sample(0), joint_valid=valid)])


def test_a_palm_tells_the_viewpoint_and_no_pose():
    known = palm_only()
    assert observe_viewpoint(known).valid.all()
    assert not observe_pose(known).valid.any()
    assert not observe_canonical(known).valid.any()
    assert_close(observe_viewpoint(known).value, canonical_pose(known.joints_xyz)[1])
    line = replace(known, joints_xyz=torch.arange(63.0).view(1, 21, 3))
    assert not observe_viewpoint(line).valid.any()  # no frame


def test_weak_labels_train_the_viewpoint_of_images_alone():
    """q_x^ with p_y2, weighed as an x: nothing of the canonical pose is asked, nor drawn to its
    prior."""
    net = method(stage="embed", beta=0.3).eval()
    weak = batch(())
    seen = net.observe({"weak": weak})
    q = net.network.embed("image", weak.image)
    generator = noise(0, net)
    torch.randn(1, 8, generator=generator)  # of poses, which are not known
    z = q.sample(generator)
    R = canonical_pose(weak.joints_xyz)[1]
    viewpoint = type(q)(q.mu[:, 4:], q.logvar[:, 4:])
    decoded = net.network.decoders["viewpoint"](z[:, 4:])
    expected = square(decoded, R) + 0.3 * kl(viewpoint)
    assert_close(net.objective(seen), expected.mean())


def test_weak_labels_have_a_bound_of_their_own():
    """Labelled and weak samples are not averaged: the objective is the sum of theirs."""
    net = method(stage="embed").eval()
    net.variant = replace(net.variant, embedded=("image",))
    parts = {"labelled": batch((), ()), "weak": HandSample.collate([sample(5)])}
    net.terms = {}
    both = net.objective(net.observe(parts))
    assert {"image2pose", "weak_image2viewpoint"} <= net.terms.keys()
    assert not {"weak_image2pose", "weak_image2canonical"} & net.terms.keys()
    terms = net.terms
    whole = terms["image2pose"] + 0.01 * (terms["image2canonical"] + terms["image2viewpoint"])
    kl_whole = terms["kl_image_canonical"] + terms["kl_image_viewpoint"]
    weak = terms["weak_image2viewpoint"] - 0.01 * terms["kl_weak_image_viewpoint"]
    assert_close(both, -(whole - 0.01 * kl_whole + weak))


@pytest.mark.parametrize("stage", ["disentangle", "embed"])
def test_streams_tell_what_they_say_and_no_more(stage):
    """Poses of weak samples and images of unpaired ones may be anything."""
    net = method(stage=stage).eval()
    data = {"labelled": batch(()), "weak": batch(()), "unpaired": batch(())}
    expected = net.objective(net.observe(data))
    fingers = data["weak"].joints_xyz.clone()
    fingers[:, [1, 2, 3, 4, 6, 7, 8, 11, 12]] += 3.0
    poisoned = {
        "labelled": data["labelled"],
        "weak": replace(data["weak"], joints_xyz=fingers),
        "unpaired": replace(data["unpaired"], image=torch.full((1, 3, 64, 64), torch.nan)),
    }
    assert_close(net.objective(net.observe(poisoned)), expected)
    with pytest.raises(ValueError, match="'synthetic'"):
        net.observe({"synthetic": batch(())})


def test_streams_without_pictures_are_learnt_from_beside_others():
    net = method("synthesis").eval()
    seen = net.observe({"labelled": batch(()), "unpaired": batch(("image", "content"))})
    assert seen["image"].value.shape == seen["content"].value.shape == (2, 3, 64, 64)
    assert seen["content"].valid.tolist() == [True, False]
    assert net.objective(seen).isfinite()
    small = HandSample.collate([replace(sample(0), image=torch.rand(3, 32, 32), content=None)])
    with pytest.raises(ValueError, match=r"one size, got .*32.*64"):
        net.observe({"labelled": batch(()), "weak": small})


def test_unpaired_poses_teach_all_of_the_first_stage_but_images():
    net, data = method().eval(), batch((), ())
    assert_close(net.objective(net.observe({"unpaired": data})), net.objective(net.observe(data)))
    assert not net.observe({"unpaired": data})["image"].valid.any()


@pytest.mark.parametrize(("variant", "stage"), STAGES)
def test_images_are_asked_for_where_they_are_learnt_from(variant, stage):
    net = method(variant, stage)
    seen = net.observe(batch(("image", "content"), ("image", "content")))
    assert net.needs.picture == (
        "RGB image" in net.teaching(seen) or "tag image" in net.teaching(seen)
    )
    assert net.needs.picture == ((variant, stage) != ("pose", "disentangle"))


def test_training_ends_with_a_network_for_its_stage(tmp_path):
    torch.manual_seed(0)
    data = batch((), ())
    first = DisentangledVAE("pose", "disentangle", 0.01, SMALL)
    run = trainer(tmp_path, epochs=2)
    run.fit(first, Batches(data))
    assert run.callback_metrics["val/epe_mm"] > 0
    assert run.callback_metrics["train/active_factors_canonical"] <= 4
    with pytest.raises(ValueError, match="stage: embed"):
        first.estimator()(data.image)
    second = DisentangledVAE("pose", "embed", 0.01, SMALL)
    second.load_state_dict(first.state_dict())
    trainer(tmp_path).fit(second, Batches(data))
    second.eval()
    pose = second.estimator()(data.image)
    assert_close(pose.xyz, second(data.image).xyz)
    assert pose.viewpoint.shape == (2, 3, 3)
    assert not second.estimator().encoders
    assert set(DisentangledVAE("untagged", "embed", 0.01, SMALL).estimator().encoders) == {
        "pose",
        "content",
    }


def test_an_estimator_leaves_fixed_networks_as_they_are():
    net = method("synthesis", "embed").train()
    net.estimator()
    assert not any(m.training for m in net.network.decoders.modules())
    assert all(m.training for m in net.network.embeddings.modules())


def test_data_without_what_is_to_be_learnt_are_refused(tmp_path):
    net = DisentangledVAE("synthesis", "disentangle", 100.0, SMALL)
    data = Batches(batch(("content",)))
    with pytest.raises(ValueError, match="tag image"):
        trainer(tmp_path).fit(net, data)
    net = DisentangledVAE("untagged", "disentangle", 100.0, SMALL)
    with pytest.raises(ValueError, match="accumulate_grad_batches"):
        trainer(tmp_path, accumulate_grad_batches=2).fit(net, Batches(batch(())))


def test_more_than_two_factors(monkeypatch):
    """The theory holds for any N: x of three factors."""
    three = replace(
        VARIANTS["synthesis"],
        factors={"canonical": "canonical", "viewpoint": "viewpoint", "content": "content"},
        decoded={y: (y,) for y in ("canonical", "viewpoint", "content")},
    )
    monkeypatch.setitem(VARIANTS, "synthesis", three)
    for stage in ("disentangle", "embed"):
        net = method("synthesis", stage)
        assert net.network.latent == 12
        net.objective(net.observe(batch((), ()))).backward()
