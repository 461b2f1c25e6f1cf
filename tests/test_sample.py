import pickle
import warnings
from dataclasses import fields, replace

import lightning
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import DataLoader, Dataset

from auxhand.geometry.camera import project
from auxhand.geometry.crop import view_crop
from auxhand.sample import HandBatch, HandPose, HandSample

SIZE = 16
OPTIONAL = (
    *("image", "K", "joints_uv", "joints_xyz", "joint_valid", "joint_visible"),
    *("depth", "mask", "presence", "cloud", "mano", "content"),
)
TENSORS = tuple(f.name for f in fields(HandBatch) if f.type == "Tensor")


def full(seed: int = 0, side: str = "right") -> HandSample:
    """A sample that has everything."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    original = torch.tensor([[500.0, 0.0, 320.0], [0.0, 500.0, 240.0], [0.0, 0.0, 1.0]])
    crop = view_crop(original, (300.0, 200.0), 120.0, SIZE, mirror=side == "left")
    xyz = crop.xyz_to_crop(0.05 * random(21, 3) + torch.tensor([-0.04, -0.06, 0.5]))
    return HandSample(
        image=random(3, SIZE, SIZE),
        K=crop.K,
        side=side,
        joints_uv=project(crop.K, xyz),
        joints_xyz=xyz,
        joint_valid=random(21) > 0.3,
        joint_visible=random(21) > 0.5,
        depth=random(SIZE, SIZE),
        mask=(random(SIZE, SIZE) > 0.5).float(),
        presence=torch.tensor(1.0),
        cloud=random(100 + seed, 3),
        mano=random(58),
        content=random(3, SIZE, SIZE),
        index=100 + seed,
        source=f"test/{seed}",
        crop=crop,
    )


def without(sample: HandSample, names) -> HandSample:
    return replace(sample, **dict.fromkeys(names))


def test_a_complete_batch_is_the_samples_stacked():
    samples = [full(0), full(1, "left")]
    batch = HandSample.collate(samples, cloud_points=40)
    assert len(batch) == 2
    for name in OPTIONAL:
        assert batch.valid[name].tolist() == [True, True]
        if name != "cloud":
            expected = torch.stack([getattr(s, name) for s in samples])
            assert torch.equal(getattr(batch, name), expected)
    assert batch.left.tolist() == [False, True]
    assert batch.valid["side"].tolist() == [True, True]
    assert batch.index.tolist() == [100, 101]
    assert batch.source == ("test/0", "test/1")
    assert batch.valid["crop"].tolist() == [True, True]
    assert torch.equal(batch.crop.A, torch.stack([s.crop.A for s in samples]))
    assert (batch.crop.size, batch.crop.mirrored.tolist()) == ((SIZE, SIZE), [False, True])
    seen = project(batch.K, batch.joints_xyz)
    assert (seen - batch.joints_uv).abs().max() < 1e-3


@given(
    st.lists(st.sets(st.sampled_from((*OPTIONAL, "side", "crop", "index"))), min_size=1, max_size=4)
)
@settings(max_examples=25, deadline=None)
def test_whatever_is_absent_is_zero_and_flagged(absent):
    samples = [without(full(i), names) for i, names in enumerate(absent)]
    batch = HandSample.collate(samples, cloud_points=8)
    for name in OPTIONAL:
        has = [name not in names for names in absent]
        assert batch.valid[name].tolist() == has
        value = getattr(batch, name)
        assert len(value) == len(samples)
        assert torch.isfinite(value.float()).all()
        for i, there in enumerate(has):
            if there and name != "cloud":
                assert torch.equal(value[i], getattr(samples[i], name))
            elif not there and name != "joint_valid":
                assert not value[i].any()
    for i, names in enumerate(absent):
        labelled = not {"joints_uv", "joints_xyz"} <= names
        if "joint_valid" in names:
            assert bool(batch.joint_valid[i].all()) == bool(batch.joint_valid[i].any()) == labelled
        for name in ("joints_uv", "joints_xyz"):
            expected = batch.joint_valid[i] if name not in names else torch.zeros(21).bool()
            assert torch.equal(batch.joint_mask(name)[i], expected)
    for name in ("side", "crop", "index"):
        assert batch.valid[name].tolist() == [name not in names for names in absent]
    expected = [-1 if "index" in names else 100 + i for i, names in enumerate(absent)]
    assert batch.index.tolist() == expected


def test_a_mean_over_a_wholly_absent_label_is_zero_not_nan():
    batch = HandSample.collate([without(full(i), ["joints_xyz"]) for i in range(3)])
    weight = batch.joint_mask("joints_xyz").float()
    loss = (batch.joints_xyz.norm(dim=-1) * weight).sum() / weight.sum().clamp_min(1)
    assert loss == 0
    assert batch.joints_xyz.shape == (3, 21, 3)


def test_samples_of_nothing_but_labels_have_no_image():
    batch = HandSample.collate(
        [without(full(i), ["image", "depth", "mask", "content"]) for i in range(2)]
    )
    assert batch.image.shape == (2, 3, 0, 0)
    assert not batch.valid["image"].any()


@pytest.mark.parametrize(("points", "wanted"), [(1000, 256), (256, 256), (100, 256), (1, 256)])
def test_clouds_are_brought_to_one_size(points, wanted):
    cloud = torch.arange(3.0 * points).view(points, 3)
    batch = HandSample.collate([HandSample(cloud=cloud), HandSample()], cloud_points=wanted)
    assert batch.cloud.shape == (2, wanted, 3)
    counts = (batch.cloud[0][:, None, 0] == cloud[None, :, 0]).sum(0)
    assert counts.sum() == wanted
    if points <= wanted:
        assert counts.max() - counts.min() <= 1
    assert batch.valid["cloud"].tolist() == [True, False]


def test_double_precision_becomes_single():
    sample = replace(full(), joints_xyz=full().joints_xyz.double(), K=full().K.double())
    batch = HandSample.collate([sample, full(1)])
    assert batch.joints_xyz.dtype == batch.K.dtype == torch.float32


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "no samples"),
        ([full(), replace(full(), image=torch.zeros(3, 8, 8))], "one image size"),
        ([replace(full(), depth=torch.zeros(8, 8))], "one image size"),
        ([HandSample(cloud=torch.zeros(0, 3))], "without points"),
    ],
)
def test_mistakes_are_named(samples, message):
    with pytest.raises(ValueError, match=message):
        HandSample.collate(samples)


def test_to_and_pin_reach_every_tensor(monkeypatch):
    batch = HandSample.collate([full(0), without(full(1), ["cloud", "joints_xyz"])])
    assert len(TENSORS) == 14
    moved = batch.to("meta")
    for name in TENSORS:
        assert getattr(moved, name).device.type == "meta"
        assert getattr(batch, name).device.type == "cpu"
    assert all(v.device.type == "meta" for v in moved.valid.values())
    assert moved.crop.A.device.type == moved.crop.mirrored.device.type == "meta"
    assert len(moved) == 2
    # Pinning itself needs an accelerator; that every tensor is asked to does not.
    asked = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda t: asked.append(t) or t)
    pinned = batch.pin_memory()
    assert len(asked) == len(TENSORS) + len(batch.valid) + 5  # with those of the crop
    assert pinned.source == batch.source


class Samples(Dataset):
    def __init__(self, count: int, absent: tuple[str, ...] = ()):
        self.count, self.absent = count, absent

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> HandSample:
        return without(full(index), self.absent)


def loader(count: int, batch_size: int, absent: tuple[str, ...] = (), workers: int = 0):
    return DataLoader(
        Samples(count, absent), batch_size, collate_fn=HandSample.collate, num_workers=workers
    )


def test_batches_come_through_worker_processes():
    for batch, expected in zip(loader(5, 2, workers=2), loader(5, 2), strict=True):
        for name in TENSORS:
            assert torch.equal(getattr(batch, name), getattr(expected, name))
        assert torch.equal(batch.crop.A, expected.crop.A)
        assert torch.equal(batch.crop.mirrored, expected.crop.mirrored)
        assert batch.crop.size == expected.crop.size


def test_a_batch_travels_as_three_tensors():
    batch = HandSample.collate([full(0), without(full(1), ["cloud", "side"])])
    assert len(batch.__getstate__()["joined"]) == 3  # numbers, flags and indices
    copy = pickle.loads(pickle.dumps(batch))
    for name in TENSORS:
        before, after = getattr(batch, name), getattr(copy, name)
        assert after.dtype == before.dtype
        assert torch.equal(after, before), name
    assert copy.valid.keys() == batch.valid.keys()
    assert all(torch.equal(copy.valid[name], flags) for name, flags in batch.valid.items())
    assert copy.source == batch.source


def test_a_sample_survives_pickling():
    sample = full(3, "left")
    copy = pickle.loads(pickle.dumps(sample))
    assert torch.equal(copy.joints_uv, sample.joints_uv)
    assert torch.equal(
        copy.crop.uv_to_original(copy.joints_uv), sample.crop.uv_to_original(sample.joints_uv)
    )


def test_batches_are_selected_and_joined():
    whole = HandSample.collate([full(0), without(full(1), ["cloud", "K"]), full(2, "left")])
    mask = torch.tensor([True, False, True])
    joined = HandBatch.join([whole.select(mask), whole.select(torch.tensor([1]))])
    assert joined.source == ("test/0", "test/2", "test/1")
    order = [0, 2, 1]
    for name in TENSORS:
        assert torch.equal(getattr(joined, name), getattr(whole, name)[order]), name
    for name, flags in whole.valid.items():
        assert torch.equal(joined.valid[name], flags[order])
    assert torch.equal(joined.crop.A, whole.crop.A[order])
    assert torch.equal(joined.crop.mirrored, whole.crop.mirrored[order])
    with pytest.raises(ValueError, match="no batches"):
        HandBatch.join([])
    with pytest.raises(ValueError, match="must have one size"):
        HandBatch.join([whole, HandSample.collate([full(0)], cloud_points=7)])


class Counter(lightning.LightningModule):
    """Counts what it is given; learns the mean position of the labelled joints."""

    def __init__(self):
        super().__init__()
        self.mean = torch.nn.Parameter(torch.zeros(21, 2))
        self.seen: list[tuple[int, int, int]] = []

    def training_step(self, batches: dict[str, HandBatch]) -> torch.Tensor:
        labelled, unlabelled = batches["labelled"], batches["unlabelled"]
        valid = [int(b.valid["joints_uv"].sum()) for b in (labelled, unlabelled)]
        self.seen.append((len(labelled), len(unlabelled), sum(valid)))
        loss = torch.zeros(())
        for batch in (labelled, unlabelled):
            weight = batch.joint_mask("joints_uv").float()
            error = (batch.joints_uv - self.mean).abs().sum(-1)
            loss = loss + (error * weight).sum() / weight.sum().clamp_min(1)
        self.log("loss", loss, batch_size=len(labelled))
        return loss

    def validation_step(self, batch: HandBatch) -> None:
        self.log(
            "distance", (batch.joints_uv - self.mean).norm(dim=-1).mean(), batch_size=len(batch)
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_labelled_and_unlabelled_data_through_a_trainer(tmp_path):
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    combined = CombinedLoader(
        {
            "labelled": loader(5, 2),
            "unlabelled": loader(8, 3, ("joints_uv", "joints_xyz", "joint_valid", "K", "cloud")),
        },
        "max_size_cycle",
    )
    module = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, combined, loader(3, 2))
    assert module.seen == [(2, 3, 2), (2, 3, 2), (1, 2, 1)]
    assert torch.isfinite(trainer.callback_metrics["loss"])
    assert torch.isfinite(trainer.callback_metrics["distance"])
    assert torch.isfinite(module.mean).all()
    assert module.mean.abs().sum() > 0


def test_pose_lists_and_moves_what_it_has():
    pose = HandPose(uv=torch.zeros(2, 21, 2), d=torch.zeros(2, 21), presence=torch.ones(2))
    assert [name for name, _ in pose.items()] == ["uv", "d", "presence"]
    moved = pose.to("meta")
    assert {value.device.type for _, value in moved.items()} == {"meta"}
    assert moved.xyz is None
