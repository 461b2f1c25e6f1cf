import warnings
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from auxhand.geometry.camera import project
from auxhand.geometry.pose25d import relative
from auxhand.losses.cloud import chamfer, earth_movers
from auxhand.methods.alignment import Alignment, Networks, Weights
from auxhand.methods.alignment.encoding import features_of
from auxhand.methods.alignment.modalities import CLOUD_UNIT, MODALITIES
from auxhand.methods.alignment.strategy import lessons, parse_pairs
from auxhand.models.gaussian import Gaussian
from auxhand.monitor import noise as noise_of
from auxhand.sample import HandBatch, HandSample

SMALL = Networks(
    backbone="test_resnet",
    latent=6,
    points=16,
    cloud_widths=(8,),
    cloud_features=8,
    folding_width=8,
    pose_width=16,
    cells=8,
    map_width=4,
    heatmap_sigma=1.0,
)
TABLE_5_1 = [
    ("S1", "R2P"),
    ("S2", "R2HP"),
    ("S2", "R2CP"),
    ("S2", "R2CHP"),
    ("S3", "RC2CHP"),
    ("S4", "RC2CHP"),
]


def sample(seed: int, without: tuple[str, ...] = ()) -> HandSample:
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(3, 64, 64, generator=generator)
    K = torch.tensor([[120.0, 0, 31.5], [0, 120, 31.5], [0, 0, 1]])
    xyz = 0.1 * torch.rand(21, 3, generator=generator) + torch.tensor([-0.05, -0.05, 0.4])
    mask = torch.zeros(64, 64)
    mask[10:50, 20:40] = 1
    whole = HandSample(
        image=image,
        K=K,
        side="right",
        joints_uv=project(K, xyz),
        joints_xyz=xyz,
        depth=mask * 0.4 + mask * 0.05 * torch.rand(64, 64, generator=generator),
        mask=mask,
        cloud=0.1 * torch.rand(16, 3, generator=generator),
    )
    return replace(whole, **dict.fromkeys(without))


def partial_pose() -> HandSample:
    """One that lacks a joint."""
    valid = torch.ones(21, dtype=torch.bool)
    valid[3] = False
    return replace(sample(0), joint_valid=valid)


POSE = ("joints_uv", "joints_xyz")


def batch(*without: tuple[str, ...]) -> HandBatch:
    samples = [sample(i, fields) for i, fields in enumerate(without)]
    return HandSample.collate(samples, cloud_points=16)


class Alone(Alignment):
    """A method at a step of its training, without a trainer."""

    at, steps = 0, 100

    @property
    def global_step(self) -> int:
        return self.at


def method(strategy="S4", pairs="RC2CHP", **arguments) -> Alignment:
    torch.manual_seed(0)
    return Alone(strategy, pairs, SMALL, **arguments)


def normal(q: Gaussian) -> Normal:
    return Normal(q.mu, (0.5 * q.logvar).exp())


PRIOR = Normal(torch.zeros(()), torch.ones(()))


@pytest.mark.parametrize(("strategy", "pairs"), TABLE_5_1)
def test_every_row_of_table_5_1_learns_and_predicts(strategy, pairs):
    net = method(strategy, pairs, weights=Weights(cloud=0.1))  # random points are learnt last
    data = batch((), (), ())
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for net.at in range(35):
        loss = net.objective(net.observe(data))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert all(p.grad is not None for p in net.parameters())  # nothing is trained for nothing
    pose = net.eval()(data.image)
    assert_close(pose.xyz[:, 9], torch.zeros(3, 3))
    assert (pose.uv is None) == ("H" not in pairs)
    assert (pose.cloud is None) == ("C" not in pairs.split("2")[1])


def test_s1_is_equation_5_1():
    net, data = method("S1", "R2P", beta=(1e-2, 1.0)), batch((), ())
    net.at = 50
    q = net.encode("R", net.observe(data)).q
    z = q.sample(noise_of(net.seed, net))
    poses = net.decoders["P"](z)
    target = relative(data.joints_xyz)
    likelihood = -(poses - target).flatten(1).norm(dim=1).mean()
    divergence = kl_divergence(normal(q), PRIOR).sum(1).mean()
    assert_close(net.objective(net.observe(data)), -(likelihood - 0.1 * divergence))


def test_s2_weighs_its_reconstructions_as_equation_5_10():
    net = method("S2", "R2CHP", weights=Weights(heatmap=0.02, cloud=3.0))
    data = batch((), ())
    seen = net.observe(data)
    q = net.encode("R", seen)
    z = q.q.sample(noise_of(net.seed, net))
    cloud, maps = net.decoders["C"](z), net.decoders["H"](z)
    centred = (data.cloud - data.cloud.mean(1, keepdim=True)) / CLOUD_UNIT
    v, u = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    cells = (data.joints_uv + 0.5) / 8 - 0.5
    square = (u - cells[..., 0, None, None]) ** 2 + (v - cells[..., 1, None, None]) ** 2
    heat = (maps - (-square / 2).exp()).flatten(2).norm(dim=2).sum(1).mean()
    pose = (net.decoders["P"](z) - relative(data.joints_xyz)).flatten(1).norm(dim=1).mean()
    centimetres = [points * CLOUD_UNIT * 100 for points in (cloud, centred)]
    clouds = (chamfer(*centimetres) + earth_movers(*centimetres)).mean()
    found = net.reconstruction({"R": q}, seen)["R"]
    assert_close(found, pose + 0.02 * heat + 3.0 * clouds)


def test_s3_is_equation_5_3():
    net, data = method("S3", "RC2CHP", beta_prime=0.7, beta=(0.5, 0.5)), batch((), ())
    seen = net.observe(data)
    alone, joint = net.encode_jointly(seen)
    recon = net.reconstruction({"R": alone, "joint": joint}, seen)
    kl = [kl_divergence(normal(q.q), PRIOR).sum(1).mean() for q in (alone, joint)]
    apart = kl_divergence(normal(joint.q), normal(alone.q)).sum(1).mean()
    expected = recon["R"] + recon["joint"] + 0.5 * sum(kl) + 0.7 * apart
    assert_close(net.objective(seen), expected)


def test_s4_is_equation_5_4():
    """Three likelihoods; divergences of the unimodal posteriors only."""
    net, data = method(beta=(0.5, 0.5)), batch((), ())
    seen = net.observe(data)
    experts = {letter: net.encode(letter, seen) for letter in "RC"}
    joint = net.posterior(seen, "RC")
    precision = [(-e.q.logvar).exp() for e in experts.values()]
    mu = sum(e.q.mu * t for e, t in zip(experts.values(), precision, strict=True)) / sum(precision)
    assert_close(joint.q.mu, mu)
    assert_close(joint.q.logvar, -sum(precision).log())
    recon = net.reconstruction({**experts, "joint": joint}, seen)
    kl = [kl_divergence(normal(e.q), PRIOR).sum(1).mean() for e in experts.values()]
    assert_close(net.objective(seen), sum(recon.values()) + 0.5 * sum(kl))


def test_spurr_trains_one_pair_a_step_by_turns():
    net, data = method("Spurr", "RP2RP"), batch((), ())
    trained = []
    for net.at in range(5):
        net.zero_grad()
        net.terms = {}
        net.objective(net.observe(data)).backward()
        trained.append(
            {
                f"{kind}{letter}"
                for kind, modules in (("q", net.encoders), ("p", net.decoders))
                for letter, module in modules.items()
                if any(p.grad is not None for p in module.parameters())
            }
        )
    assert trained[:4] == [{"qR", "pR"}, {"qR", "pP"}, {"qP", "pR"}, {"qP", "pP"}]
    assert trained[4] == trained[0]


MIXED = ((), POSE, ("cloud",), ("image",), ("cloud", "joints_uv"), ())
HAVE = {"R": {0, 1, 2, 4, 5}, "C": {0, 1, 3, 5}, "H": {0, 2, 3, 5}, "P": {0, 2, 3, 4, 5}}
COMPLETE = {0, 1, 5}


@pytest.mark.parametrize("strategy", ["S3", "S4"])
def test_each_term_is_a_mean_over_the_samples_that_have_what_it_compares(strategy):
    """Against each sample encoded, decoded and compared by itself. The joint posterior counts for
    samples with both modalities."""
    net = method(strategy, beta=(0.5, 0.5), beta_prime=0.7).eval()  # statistics would tie samples
    net.objective(net.observe(batch(*MIXED)))
    terms, net.terms = net.terms, {}

    known = {"R": HAVE["R"], "C": HAVE["C"], "joint": COMPLETE}
    if strategy == "S3":
        del known["C"]
    generator = noise_of(net.seed, net)
    noise = {name: torch.randn(len(MIXED), 6, generator=generator) for name in known}
    alone = [net.observe(HandSample.collate([sample(i)], 16)) for i in range(len(MIXED))]
    q = {
        name: [
            net.encode_jointly(one)[name == "joint"].q
            if strategy == "S3"
            else net.posterior(one, "RC" if name == "joint" else name).q
            for one in alone
        ]
        for name in known
    }
    z = {n: [g.mu + (0.5 * g.logvar).exp() * noise[n][i] for i, g in enumerate(q[n])] for n in q}

    def mean(rows, value):
        return torch.stack([value(i) for i in sorted(rows)]).mean()

    total = torch.zeros(())
    for name in known:
        for letter, weight in {"C": 1.0, "H": 0.01, "P": 1.0}.items():
            term = mean(
                known[name] & HAVE[letter],
                lambda i, n=name, m=letter: MODALITIES[m].loss(
                    net.decoders[m](z[n][i]), alone[i][m], SMALL
                ),
            )
            assert_close(terms[f"{name}2{letter}"], term)
            total = total + weight * term
        if not (strategy == "S4" and name == "joint"):
            kl = mean(known[name], lambda i, n=name: kl_divergence(normal(q[n][i]), PRIOR).sum())
            assert_close(terms[f"kl_{name}"], kl)
            total = total + 0.5 * kl
    if strategy == "S3":
        apart = mean(
            COMPLETE, lambda i: kl_divergence(normal(q["joint"][i]), normal(q["R"][i])).sum()
        )
        assert_close(terms["kl_between"], apart)
        total = total + 0.7 * apart
    assert_close(net.objective(net.observe(batch(*MIXED))), total)


@pytest.mark.parametrize("strategy", ["S3", "S4"])
def test_networks_are_given_nothing_that_is_not_there(strategy):
    """Zeros in the place of what samples lack would count in batch normalisation."""
    net, data = method(strategy), batch(*MIXED)
    given = {}
    for kind, networks in (("q", net.encoders), ("p", net.decoders)):
        for letter, module in networks.items():
            inner = features_of(net.encoders[letter]) if kind == "q" else module
            inner.register_forward_pre_hook(
                lambda _, args, name=kind + letter: given.update({name: args[0]})
            )
    net.objective(net.observe(data)).backward()
    assert torch.equal(given["qR"], data.image[sorted(HAVE["R"])])
    seen = net.observe(data)
    assert torch.equal(given["qC"], seen["C"].value[sorted(HAVE["C"])])
    posteriors = [HAVE["R"], COMPLETE] + ([HAVE["C"]] if strategy == "S4" else [])
    for letter in "CHP":
        assert len(given["p" + letter]) == sum(len(rows & HAVE[letter]) for rows in posteriors)
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_a_missing_expert_has_precision_0():
    net = method("S4").eval()
    seen = net.observe(batch(*MIXED))
    joint = net.posterior(seen, "RC")
    assert joint.valid.all()
    for row, letter in ((2, "R"), (3, "C"), (4, "R")):
        alone = net.encode(letter, seen).q
        assert_close(joint.q.mu[row], alone.mu[row])
        assert_close(joint.q.logvar[row], alone.logvar[row])
    joint = method("S3").eval().posterior(seen, "RC")  # which only complete pairs have
    assert joint.valid.nonzero()[:, 0].tolist() == sorted(COMPLETE)


def test_a_pose_that_lacks_joints_is_decoded_and_not_encoded():
    net = method("S4", "RP2HP").eval()
    data = HandSample.collate([partial_pose(), sample(1)], cloud_points=16)
    seen = net.observe(data)
    assert net.encode("P", seen).valid.tolist() == [False, True]
    net.objective(seen)
    z = net.encode("R", seen).q.sample(noise_of(net.seed, net))
    away = net.decoders["P"](z) - relative(data.joints_xyz)
    away[0, 3] = 0
    assert_close(net.terms["R2P"], away.flatten(1).norm(dim=1).mean())


def test_maps_have_a_weight_of_their_own():
    net = method("S2", "R2MP", weights=Weights(map=0.5))
    seen = net.observe(batch((), ()))
    found = net.reconstruction({"R": net.encode("R", seen)}, seen)["R"]
    assert_close(found, net.terms["R2P"] + 0.5 * net.terms["R2M"])


def test_weakly_labelled_samples_train_rc2c_alone():
    """Fig. 5.8: samples without pose move encoders and the decoder of clouds, and no other."""
    net = method("S4", "RC2CHP")
    net.objective(net.observe(batch(POSE, POSE))).backward()
    moved = {
        name: any(bool(p.grad is not None and p.grad.any()) for p in module.parameters())
        for name, module in [
            *net.encoders.items(),
            *(("2" + k, m) for k, m in net.decoders.items()),
        ]
    }
    assert moved == {"R": True, "C": True, "2C": True, "2H": False, "2P": False}
    # Not even in the statistics of its batch normalisation.
    fresh = method("S4", "RC2CHP").decoders["H"].state_dict()
    for name, value in net.decoders["H"].state_dict().items():
        assert torch.equal(value, fresh[name])


def test_pairs_of_other_modalities_train_from_other_datasets():
    """A batch without a single image still trains C2CP and P2CP."""
    net = method("S4", "RCP2CHP")
    depth_only = ("image", "joints_uv")
    net.objective(net.observe(batch(depth_only, depth_only))).backward()
    moved = {
        letter: any(bool(p.grad is not None and p.grad.any()) for p in module.parameters())
        for letter, module in net.encoders.items()
    }
    assert moved == {"R": False, "C": True, "P": True}


def test_where_the_root_lies_is_no_part_of_a_cloud():
    data = batch((), ())
    moved = replace(data, cloud=data.cloud + torch.tensor([0.3, -0.2, 0.5]))
    here, there = (MODALITIES["C"].observe(one, SMALL).value for one in (data, moved))
    assert_close(here.mean(dim=1), torch.zeros(2, 3), atol=1e-5, rtol=0)
    assert_close(there, here, atol=1e-5, rtol=0)
    assert_close(here[:, 1] - here[:, 0], (data.cloud[:, 1] - data.cloud[:, 0]) / CLOUD_UNIT)


@pytest.mark.parametrize("letter", list("RCHPDM"))
def test_every_modality_is_compared_with_itself(letter):
    """Its loss is zero for the true value, and grows with the difference."""
    data = batch((), ())
    modality, seen = MODALITIES[letter], MODALITIES[letter].observe(data, SMALL)
    if letter == "H":
        v, u = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
        uv = seen.value[..., None, None]
        true = (-((u - uv[:, :, 0]) ** 2 + (v - uv[:, :, 1]) ** 2) / 2).exp()
    else:
        true = seen.value
    assert_close(modality.loss(true, seen, SMALL), torch.zeros(2), atol=1e-4, rtol=0)
    small, large = (modality.loss(true + shift, seen, SMALL) for shift in (0.01, 0.1))
    assert (small > 0).all()
    assert (small < large).all()


@pytest.mark.parametrize("pairs", ["RD2DMP", "RM2MP", "RDM2RP"])
def test_depth_maps_and_masks_come_for_free(pairs):
    net = method("S4", pairs)
    net.objective(net.observe(batch((), ()))).backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize(
    ("strategy", "pairs", "message"),
    [
        ("S4", "RH2CHP", r"no encoder for H \(heatmaps\)"),
        ("S1", "R2HP", "one modality to one"),
        ("S2", "RC2P", "one modality to others"),
        ("S3", "R2CHP", "at least two modalities"),
        ("S3", "CR2CHP", "R first"),
        ("S4", "R2P", r"at least two modalities to others \(Alg. 5.3\), like RC2CHP"),
        ("Spurr", "RP2P", "at least two modalities to at least two"),
        ("S1", "C2P", "R must be among those before the 2"),
        ("S1", "R2C", "P among those behind it"),
        ("S4", "RR2P", "twice"),
        ("S4", "RX2P", "pairs must be like RC2CHP"),
        ("S4", "RCP", "pairs must be like RC2CHP"),
    ],
)
def test_impossible_combinations_are_refused_before_anything_is_built(strategy, pairs, message):
    with pytest.raises(ValueError, match=message):
        Alignment(strategy, pairs)
    with pytest.raises(ValueError, match=message):
        parse_pairs(pairs, strategy)


def test_inputs_that_a_strategy_cannot_be_given_are_refused():
    data = batch((), ())
    s4 = method("S4", "RC2CHP").eval()
    poses = [s4.predict(data, inputs).xyz for inputs in ("R", "C", "RC")]
    assert_close(poses[0], s4(data.image).xyz)
    assert not torch.allclose(poses[0], poses[1])
    with pytest.raises(ValueError, match="no encoder for P"):
        s4.predict(data, "RP")
    s3 = method("S3", "RC2CHP").eval()
    s3.predict(data, "RC")
    with pytest.raises(ValueError, match="only together"):
        s3.predict(data, "C")


def test_a_posterior_that_collapses_is_reported_once_as_it_happens():
    net = method("S1", "R2P")
    for head in (net.encoders["R"].heads.mu, net.encoders["R"].heads.logvar):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    seen = net.observe(batch((), ()))
    with warnings.catch_warnings():  # as it may be when it begins
        warnings.simplefilter("error")
        net.objective(seen)
    net.at = 300
    with pytest.warns(UserWarning, match="step 300: the posterior of R has collapsed"):
        net.objective(seen)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.objective(seen)
        with torch.no_grad():
            net.encoders["R"].heads.mu.bias.fill_(1.0)
        net.objective(seen)
        assert net.terms["active_R"] == 6


def test_data_without_a_modality_of_the_strategy_are_refused():
    net, data = method(), batch(("cloud",), ("cloud",))
    seen = net.observe(data)
    for _ in range(49):
        net.lessons.check(partial(lessons, net.strategy, net.pairs, seen))
    with pytest.raises(ValueError, match=r"first 50 batches has C \(point cloud\)"):
        net.lessons.check(partial(lessons, net.strategy, net.pairs, seen))
    resumed = method()  # counts its own batches
    resumed.at = 1000
    resumed.lessons.check(partial(lessons, resumed.strategy, resumed.pairs, seen))


def test_encoders_that_no_sample_can_be_given_to_are_reported():
    """Poses that always lack a joint, images and clouds of different hands."""
    poses = HandSample.collate([partial_pose()], cloud_points=16)
    apart = batch(("image",), ("cloud",))
    for net, data, lacking in (
        (method("Spurr", "RP2RP"), poses, r"has P \(pose\) with all its joints: "),
        (method("S3"), apart, "has R and C together: "),
    ):
        seen = net.observe(data)
        for _ in range(49):
            net.lessons.check(partial(lessons, net.strategy, net.pairs, seen))
        with pytest.raises(ValueError, match=lacking):
            net.lessons.check(partial(lessons, net.strategy, net.pairs, seen))
    net = method("S4")  # which learns R2C and C2C from such data, and joins nothing
    for _ in range(60):
        net.lessons.check(partial(lessons, net.strategy, net.pairs, net.observe(apart)))


def test_beta_must_be_positive():
    with pytest.raises(ValueError, match="beta must be positive"):
        method(beta=(0.0, 1e-3))


def test_every_posterior_has_noise_of_its_own(monkeypatch):
    net, data = method(), batch((), ())
    codes = []
    decode = net.decoders["P"].forward
    monkeypatch.setattr(net.decoders["P"], "forward", lambda z: codes.append(z) or decode(z))
    seen = net.observe(data)
    same = net.encode("R", seen)
    net.reconstruction({"one": same, "other": same}, seen)
    one, other = codes[0].chunk(2)
    assert not torch.allclose(one, other)


def test_poses_from_clouds_alone_have_no_pixels():
    net = method().eval()
    data = batch((), ())
    with_images = net.predict(data, "C")
    assert with_images.uv is not None
    pictures = ("image", "depth", "mask")
    without = net.predict(batch(pictures, pictures), "C")
    assert without.uv is None
    assert_close(without.xyz, with_images.xyz)


def test_samples_without_the_inputs_are_not_predicted():
    with pytest.raises(ValueError, match="no sample may lack C"):
        method().eval().predict(batch((), ("cloud",)), "C")


def test_depth_maps_are_of_the_hand_alone():
    data = batch((), ("mask",))
    wall = torch.where(data.depth > 0, data.depth, 2.0)
    seen = MODALITIES["D"].observe(replace(data, depth=wall), SMALL).value
    assert not seen[0, 0][data.mask[0] == 0].any()
    assert_close(seen[0, 0][data.mask[0] > 0].mean(), torch.tensor(0.0), atol=1e-4, rtol=0)
    assert seen[1].all()  # where there is no mask, all that has a depth


def test_noise_is_a_function_of_seed_step_and_process(monkeypatch):
    net = method()
    q = Gaussian(torch.zeros(2, 6), torch.zeros(2, 6))
    first = q.sample(noise_of(net.seed, net))
    assert torch.equal(q.sample(noise_of(net.seed, net)), first)
    net.at = 1
    assert not torch.equal(q.sample(noise_of(net.seed, net)), first)
    assert not torch.equal(q.sample(noise_of(1, method())), first)
    monkeypatch.setattr(Alone, "global_rank", 1)  # another process of the same training
    assert not torch.equal(q.sample(noise_of(0, method())), first)
