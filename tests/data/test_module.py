import json
from dataclasses import replace

import lightning
import pytest
import torch

from auxhand.data.augment import EASY, HARD
from auxhand.data.module import HandDataModule, Phase, Schedule
from auxhand.data.sampler import Key, KeySampler
from auxhand.data.store import PreparedDataset, shard_path, write_description, write_shard
from auxhand.sample import HandBatch


def make(root, **arguments):
    defaults = {
        "val_count": 2,
        "batch_size": 4,
        "workers": 0,
        "phases": [Phase(0, 32, 0.0), Phase(2, 48, 1.0)],
        "seed": 5,
    }
    return HandDataModule(str(root), **{**defaults, **arguments})


def epoch_of(loader, epoch):
    loader.sampler.set_epoch(epoch)
    return list(loader)


def same(a: HandBatch, b: HandBatch) -> bool:
    return (
        torch.equal(a.image, b.image)
        and torch.equal(a.joints_uv, b.joints_uv)
        and torch.equal(a.mask, b.mask)
        and a.source == b.source
    )


class Probe(lightning.LightningModule):
    """Trains one number, and writes down what it was given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen, self.validated = [], []

    def training_step(self, batch, _):
        self.seen.append((self.current_epoch, batch))
        return self.weight * batch.image.mean()

    def validation_step(self, batch, _):
        if not self.trainer.sanity_checking:
            self.validated.append((self.current_epoch, tuple(batch.image.shape)))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(folder, epochs, **options):
    return lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def test_schedule_knows_the_phase_of_each_epoch():
    schedule = Schedule([Phase(0, 64, 0.0), Phase(3, 96, 0.5), Phase(5, 128)])
    assert [schedule.number(e) for e in range(7)] == [0, 0, 0, 1, 1, 2, 2]
    for phases in ([], [Phase(1, 64)], [Phase(0, 64), Phase(0, 96)], [Phase(0, 64), Phase(-1, 1)]):
        with pytest.raises(ValueError, match="phases must begin"):
            Schedule(phases)
    with pytest.raises(ValueError, match="difficulty"):
        Schedule([Phase(0, 64, 1.5)])


def test_a_phase_may_have_an_augmentation_of_its_own(hand_dataset):
    wide = replace(EASY, smallest=0.2, largest=0.2)
    schedule = Schedule([Phase(0, 32), Phase(1, 32, augmentation=wide)])
    assert schedule.augmentations == (HARD, wide)


def test_clouds_are_as_large_as_asked(hand_dataset):
    data = make(hand_dataset, cloud_points=40)
    batch = next(iter(data.train_dataloader()))
    assert batch.cloud.shape == (4, 40, 3)
    assert (batch.valid["cloud"] == batch.valid["joints_xyz"]).all()


def test_batches_follow_the_schedule_and_never_repeat(hand_dataset):
    loader = make(hand_dataset).train_dataloader()
    first, again, third = epoch_of(loader, 0), epoch_of(loader, 0), epoch_of(loader, 2)
    assert len(first) == 2  # 10 samples, incomplete batch left out
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert first[0].image.shape == (4, 3, 32, 32)
    assert third[0].image.shape == (4, 3, 48, 48)
    assert not same(first[0], epoch_of(loader, 1)[0])
    assert all("10" not in b.source[0] and "11" not in b.source[0] for b in first)


def test_any_number_of_workers_gives_the_same_batches(hand_dataset):
    alone = make(hand_dataset, images_per_epoch=12).train_dataloader()
    shared = make(hand_dataset, images_per_epoch=12, workers=2).train_dataloader()
    for epoch in (1, 2):  # across a change of phase, workers living on
        expected, got = epoch_of(alone, epoch), epoch_of(shared, epoch)
        assert len(expected) == len(got) == 3
        assert all(same(a, b) for a, b in zip(expected, got, strict=True))


def test_held_out_samples_are_evaluation_crops(hand_dataset):
    module = make(hand_dataset)
    loader = module.val_dataloader()
    (batch,) = epoch_of(loader, 0)
    assert batch.source == ("fake/10", "fake/11")
    assert batch.image.shape == (2, 3, 32, 32)
    assert epoch_of(loader, 2)[0].image.shape == (2, 3, 48, 48)
    whole = make(hand_dataset, val=str(hand_dataset), val_count=None)
    assert len(whole.evaluation_set) == 12
    assert len(whole.training_set) == 12


def test_several_datasets_are_one(hand_dataset):
    both = HandDataModule([str(hand_dataset)] * 2, val_count=2, phases=[Phase(0, 32)])
    data = both.training_set
    assert len(data) == 22
    sample = data[Key(0, 0, 10)]
    assert sample.source in ("fake/0", "background")


def test_mistakes_are_said_plainly(hand_dataset, tmp_path):
    with pytest.raises(ValueError, match="hold samples out"):
        HandDataModule(str(hand_dataset))
    with pytest.raises(ValueError, match="leaves nothing to train on"):
        make(hand_dataset, val_count=12).train_dataloader()
    with pytest.raises(ValueError, match="do not fill a batch"):
        make(hand_dataset, batch_size=64).train_dataloader()
    with pytest.raises(FileNotFoundError, match="no dataset folder"):
        make(tmp_path / "nowhere").prepare_data()


def test_a_resumed_run_sees_what_it_would_have_seen(hand_dataset, tmp_path):
    whole = Probe()
    trainer(tmp_path, 3).fit(whole, make(hand_dataset))
    assert [shape for _, shape in whole.validated] == [(2, 3, 32, 32)] * 2 + [(2, 3, 48, 48)]

    begun = trainer(tmp_path, 1)
    begun.fit(Probe(), make(hand_dataset))
    begun.save_checkpoint(tmp_path / "begun.ckpt")
    resumed = Probe()
    trainer(tmp_path, 3).fit(resumed, make(hand_dataset), ckpt_path=tmp_path / "begun.ckpt")
    later = [(epoch, batch) for epoch, batch in whole.seen if epoch > 0]
    assert [e for e, _ in resumed.seen] == [e for e, _ in later]
    assert all(same(a, b) for (_, a), (_, b) in zip(later, resumed.seen, strict=True))


def test_dataset_rows_are_those_that_were_written(hand_dataset, hand_row):
    dataset = PreparedDataset(hand_dataset)
    assert dataset.row(7) == hand_row(7)


def test_phases_of_upright_views_draw_from_those(tmp_path, hand_row):
    kinds = ["upright", "any", "any", "upright", "upright", "any"]
    rows = [
        hand_row(i) | {"factors": json.dumps({"view": {"kind": kind}})}
        for i, kind in enumerate(kinds)
    ]
    write_shard(shard_path(tmp_path, 0), rows)
    write_description(tmp_path, len(rows))
    phases = [Phase(0, 32, views="upright"), Phase(1, 32)]
    data = make(tmp_path, val_count=1, phases=phases).training_set
    sampler = KeySampler(len(data), 3, order_seed=0, pool=data.pool)
    assert sorted(key.sample for key in sampler) == [0, 3, 4]
    sampler.set_epoch(1)
    assert len({key.sample for key in sampler} | {0, 1, 2, 3, 4}) == 5
    assert data.pool(1).tolist() == [0, 1, 2, 3, 4]


def test_upright_views_that_no_dataset_has_are_refused(hand_dataset):
    phases = [Phase(0, 32, views="upright")]
    with pytest.raises(ValueError, match="upright"):
        make(hand_dataset, phases=phases).training_set.pool(0)


def test_the_first_samples_are_those_that_count(hand_dataset):
    few = make(hand_dataset, train_count=3)
    assert len(few.training_set) == 3
    assert len(few.evaluation_set) == 2
    both = HandDataModule(
        [str(hand_dataset)] * 2, val_count=2, train_count=11, batch_size=1, workers=0
    )
    assert [len(part.rows) for part in both.training_set.parts] == [10, 1]
    for count in (0, 11):
        with pytest.raises(ValueError, match="train_count must lie in 1 to 10"):
            _ = make(hand_dataset, train_count=count).training_set


def test_weakly_labelled_samples_have_surfaces_and_no_pose(hand_dataset):
    whole = replace(EASY, absent_share=0, misplaced_share=0, other_side_share=0)
    data = make(
        hand_dataset,
        labelled_count=4,
        labelled_share=0.5,
        crop_by="mask",
        cloud_points=16,
        images_per_epoch=24,
        phases=[Phase(0, 32, augmentation=whole)],
    )
    labelled_places = {f"fake/{i}" for i in range(4)}
    seen = []
    for batch in epoch_of(data.train_dataloader(), 0):
        assert batch.valid["joints_xyz"].sum() == 2  # half of every batch
        assert batch.valid["cloud"].all()
        for place, known in zip(batch.source, batch.valid["joints_xyz"].tolist(), strict=True):
            assert (place in labelled_places) == known
            seen.append(place)
    counts = {place: seen.count(place) for place in set(seen)}
    assert len(counts) == 10
    assert {counts[place] for place in labelled_places} == {3}  # 12 of 24 keys, 4 samples
    assert {counts[place] for place in set(counts) - labelled_places} == {2}


def test_without_a_share_labelled_samples_come_as_they_are(hand_dataset):
    data = make(hand_dataset, labelled_count=4, crop_by="mask", images_per_epoch=20)
    keys = [key.sample for key in data.train_dataloader().sampler]
    assert sorted(keys) == sorted([*range(10)] * 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labelled_count": 3}, "no joints to crop by"),
        ({"labelled_share": 0.5}, "beside a labelled_count"),
        ({"labelled_count": 3, "labelled_share": 1.5, "crop_by": "mask"}, "share in"),
    ],
)
def test_weak_labels_that_cannot_be_are_refused(hand_dataset, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(hand_dataset, **arguments)


def test_validation_clouds_are_the_same_every_time(hand_dataset):
    data = make(hand_dataset, cloud_points=32, crop_by="mask", view="labels")
    first, second = (epoch_of(data.val_dataloader(), epoch)[0] for epoch in (0, 1))
    assert first.valid["cloud"].all()
    assert torch.equal(first.cloud, second.cloud)
    # In the crop's frame, as the joints are: the hand's lines are drawn from joint to joint.
    nearest = torch.cdist(first.cloud, first.joints_xyz).amin(1)
    assert nearest.median() < 0.02


def test_a_mixture_needs_both_kinds(hand_dataset):
    data = make(hand_dataset, labelled_count=10, labelled_share=0.5, crop_by="mask")
    with pytest.raises(ValueError, match="all are labelled"):
        data.train_dataloader()
