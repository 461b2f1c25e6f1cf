import json
import shutil
from dataclasses import replace

import lightning
import numpy as np
import pytest
import torch

from auxhand.data.columns import decode_mask, encode_png
from auxhand.data.crops import CropRule, evaluation_crop
from auxhand.data.module import HandDataModule
from auxhand.data.photometric import Photometric
from auxhand.data.sampler import Key, KeySampler
from auxhand.data.store import PreparedDataset, shard_path, write_description, write_shard
from auxhand.data.streams import Phase, Stream
from auxhand.data.strengths import EASY, Augmentation
from auxhand.geometry.warp import warp_image
from auxhand.sample import HandBatch

WHOLE = replace(EASY, absent_share=0, misplaced_share=0, other_side_share=0)
"""Every crop is about its hand."""


def make(root, **arguments):
    defaults = {
        "val_count": 2,
        "batch_size": 4,
        "workers": 0,
        "phases": [Phase(0, 32, 0.0), Phase(2, 48, 1.0)],
        "seed": 5,
    }
    return HandDataModule(**{"train": str(root), **defaults, **arguments})


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
    assert len(whole.training_sets["labelled"]) == 12


def test_several_datasets_are_one(hand_dataset):
    both = HandDataModule([str(hand_dataset)] * 2, val_count=2, phases=[Phase(0, 32)])
    data = both.training_sets["labelled"]
    assert len(data) == 20  # what is held out is trained on under no name
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


def test_phases_of_upright_viewpoints_draw_from_those(tmp_path, hand_row):
    kinds = ["upright", "any", "any", "upright", "upright", "any"]
    rows = [
        hand_row(i) | {"factors": json.dumps({"view": {"kind": kind}})}
        for i, kind in enumerate(kinds)
    ]
    write_shard(shard_path(tmp_path, 0), rows)
    write_description(tmp_path, len(rows))
    phases = [Phase(0, 32, viewpoints="upright"), Phase(1, 32)]
    data = make(tmp_path, val_count=1, phases=phases).training_sets["labelled"]
    sampler = KeySampler(len(data), 3, order_seed=0, pool=data.pool)
    assert sorted(key.sample for key in sampler) == [0, 3, 4]
    sampler.set_epoch(1)
    assert len({key.sample for key in sampler} | {0, 1, 2, 3, 4}) == 5
    assert data.pool(1).tolist() == [0, 1, 2, 3, 4]


def test_upright_viewpoints_that_no_dataset_has_are_refused(hand_dataset):
    phases = [Phase(0, 32, viewpoints="upright")]
    with pytest.raises(ValueError, match="upright"):
        make(hand_dataset, phases=phases).training_sets["labelled"].pool(0)


def test_a_stream_takes_the_samples_it_names(hand_dataset, tmp_path):
    root, other = str(hand_dataset), str(tmp_path / "other")
    shutil.copytree(root, other)

    def rows(roots=root, **stream):
        data = make(root, train={"a": Stream(roots, **stream)}, batch_size=1).training_sets["a"]
        return [(part.rows.start, part.rows.stop) for part in data.parts]

    assert rows() == [(0, 10)]  # without the two that are held out
    assert rows(count=3) == [(0, 3)]
    assert rows(start=3) == [(3, 10)]
    assert rows(start=3, count=4) == [(3, 7)]
    assert rows([root, other], start=8, count=5) == [(8, 10), (0, 3)]
    assert rows([root, other], start=11) == [(1, 12)]
    for count, start in ((0, 0), (11, 0), (8, 3), (None, 10), (1, -1)):
        with pytest.raises(ValueError, match="a stream takes 1 to"):
            rows(start=start, count=count)


def test_an_index_names_a_sample_at_every_visit(hand_dataset):
    data = make(hand_dataset, phases=[Phase(0, 32, augmentation=WHOLE)])
    for epoch in (0, 3):
        for batch in epoch_of(data.train_dataloader(), epoch):
            assert batch.source == tuple(f"fake/{i}" for i in batch.index.tolist())


FEW = {"labelled": {"count": 4, "batch_size": 2}}
WEAK = {
    "use": "weak",
    "told": ["K", "side", "presence", "mask", "depth", "cloud"],
    "start": 4,
    "batch_size": 2,
}


def streams(root, **named):
    return {name: Stream(str(root), **options) for name, options in named.items()}


def test_weakly_labelled_samples_have_surfaces_and_no_pose(hand_dataset):
    data = make(
        hand_dataset,
        train=streams(hand_dataset, **FEW, weak=WEAK),
        crop=CropRule("mask", 0.8),
        cloud_points=16,
        images_per_epoch=24,
        phases=[Phase(0, 32, augmentation=WHOLE)],
    )
    seen = []
    for step, _, _ in data.train_dataloader():
        batch = HandBatch.join([step["labelled"], step["weak"]])
        assert batch.valid["joints_xyz"].tolist() == [True, True, False, False]
        assert batch.valid["cloud"].all()
        assert not batch.joint_valid[2:].any()
        seen += batch.source
    counts = {place: seen.count(place) for place in set(seen)}
    assert {counts[f"fake/{i}"] for i in range(4)} == {3}  # 12 of 24 keys, 4 samples
    assert {counts[f"fake/{i}"] for i in range(4, 10)} == {2}


def test_streams_become_one_batch_where_asked(hand_dataset, tmp_path):
    named = streams(hand_dataset, **FEW, weak=WEAK)
    data = make(hand_dataset, train=named, images_per_epoch=8, joined=True)
    probe = Probe()
    trainer(tmp_path, 2).fit(probe, data)
    assert [(epoch, len(batch)) for epoch, batch in probe.seen] == [(0, 4), (0, 4), (1, 4), (1, 4)]


def test_an_unlabelled_stream_reads_images_and_boxes_alone(hand_dataset, hand_row, tmp_path):
    """Whatever else the rows say, and were it damaged, the batches are the same."""
    rows = [hand_row(i, rgba=False) for i in range(8)]
    spoiled = []
    for row in rows:
        damaged = {"mask": b"no picture", "depth": b"none", "joints_uv": [1.0], "K": [2.0]}
        damaged |= {"joints_xyz": [0.0], "joint_valid": [], "mano": [1.0], "side": "neither"}
        spoiled.append({**row, **damaged, "box": make_box(row["mask"])})
    batches = []
    for name, content in (("whole", rows), ("spoiled", spoiled)):
        (tmp_path / name).mkdir()
        write_shard(shard_path(tmp_path / name, 0), content)
        write_description(tmp_path / name, len(content))
        stream = Stream(str(tmp_path / name), "unlabelled")
        data = make(None, train={"real": stream}, val=str(hand_dataset), cloud_points=8, depth=True)
        batches.append(epoch_of(data.train_dataloader(), 0))
    for first, second in zip(*batches, strict=True):
        assert torch.equal(first.image, second.image)
        assert first.valid["image"].all()
        known = {name for name, flags in first.valid.items() if flags.any()}
        assert known <= {"image", "index", "crop"}
        assert torch.equal(first.crop.A, second.crop.A)


def make_box(mask):
    """The box of a stored mask, by hand."""
    rows, columns = np.nonzero(decode_mask(mask))
    x, y = columns.min() - 0.5, rows.min() - 0.5
    return [float(x), float(y), float(columns.max() + 0.5 - x), float(rows.max() + 0.5 - y)]


def test_one_view_is_warped_into_the_other(hand_row, tmp_path):
    """Two pictures of a visit, each with an augmentation of its own, and the way between them."""
    smooth_dataset(tmp_path, hand_row)
    plain = Augmentation(rotation=5.0, smallest=0.6, largest=0.7, shift=0.3)
    strong = Augmentation(any_rotation_share=1.0, smallest=0.35, largest=0.5, translation=0.05)
    data = make(
        None,
        train={"both": Stream(str(tmp_path), views=2)},
        val=str(tmp_path),
        phases=[Phase(0, 64, augmentation=plain, second=strong)],
    )
    for views in epoch_of(data.train_dataloader(), 0):
        assert torch.equal(views.first.index, views.second.index)
        turn = views.transform
        warped = warp_image(views.first.image, turn.A, turn.size)
        inside = warp_image(torch.ones_like(views.first.image), turn.A, turn.size) > 0.999
        assert inside.float().mean() > 0.2
        assert (warped - views.second.image)[inside].abs().max() < 0.02
        assert (views.first.image - views.second.image)[inside].abs().mean() > 0.03
        uv = turn.uv_to_crop(views.first.joints_uv)
        torch.testing.assert_close(uv, views.second.joints_uv, atol=2e-3, rtol=0)
        xyz = turn.xyz_to_crop(views.first.joints_xyz)
        torch.testing.assert_close(xyz, views.second.joints_xyz, atol=1e-5, rtol=0)


def smooth_dataset(root, hand_row):
    """Rows whose images are smooth, so that to see them twice through a crop changes little."""
    rows = []
    y, x = np.mgrid[:128, :128] / 128
    for index in range(6):
        waves = [0.5 + 0.4 * np.sin(5 * x + c + index) * np.cos(4 * y - c) for c in range(3)]
        image = (np.stack(waves, -1) * 255).astype(np.uint8)
        rows.append(hand_row(index, rgba=False) | {"image": encode_png(image)})
    write_shard(shard_path(root, 0), rows)
    write_description(root, len(rows))


def test_validation_clouds_are_the_same_every_time(hand_dataset):
    data = make(hand_dataset, cloud_points=32, crop=CropRule("mask", 0.8, "labels"))
    first, second = (epoch_of(data.val_dataloader(), epoch)[0] for epoch in (0, 1))
    assert first.valid["cloud"].all()
    assert torch.equal(first.cloud, second.cloud)
    # In the crop's frame, as the joints are: the hand's lines are drawn from joint to joint.
    nearest = torch.cdist(first.cloud, first.joints_xyz).amin(1)
    assert nearest.median() < 0.02


def test_a_stream_in_order_is_its_first_views_once(hand_dataset):
    """Whatever the order and the second views of its epochs are."""
    plain, diverse = Augmentation(smallest=0.8, largest=0.8), WHOLE
    phases = [
        Phase(0, 32, augmentation=plain, second=diverse),
        Phase(2, 48, augmentation=plain, second=diverse),
    ]
    given = {"use": "unlabelled", "views": 2, "phases": phases, "count": 9}
    data = make(
        hand_dataset,
        train={"source": Stream(str(hand_dataset)), "target": Stream(str(hand_dataset), **given)},
        crop=CropRule(view="plain"),
    )
    batches = list(data.in_order("target"))
    assert [batch.index.tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
    whole = HandBatch.join(batches)
    assert not any(whole.valid[name].any() for name in ("K", "joints_uv", "joints_xyz", "mask"))
    again = HandBatch.join(list(data.in_order("target")))
    assert torch.equal(whole.image, again.image)
    assert next(iter(data.in_order("target", epoch=2))).image.shape[-1] == 48
    step, _, _ = next(iter(data.train_dataloader()))
    views = step["target"].first
    at = views.index.tolist()
    assert torch.equal(views.image, whole.image[at])
    assert torch.equal(views.crop.A, whole.crop.A[at])
    with pytest.raises(KeyError):
        data.in_order("nowhere")


@pytest.fixture(scope="module")
def groups(tmp_path_factory, hand_row):
    """Hands 0 and 1, 2 and 3, 4 and 5 share a content; 6 has one of its own, 7 none is told of."""
    root = tmp_path_factory.mktemp("groups")
    names = ["a", "a", "b", "b", "c", "c", "d", None]
    rows = [hand_row(i, 64, "right") | {"content": name} for i, name in enumerate(names)]
    write_shard(shard_path(root, 0), rows)
    write_description(root, len(rows))
    return root


def tagged(root, train=None, **options):
    options |= {"train": train} if train else {}
    data = make(root, val=str(root), batch_size=8, phases=PLAIN, **options)
    data.contents = replace(data.contents, content=True)
    return data


def other_of(root, row):
    """What the tag image of a row must be, unless it is augmented: its partner's own crop."""
    return evaluation_crop(PreparedDataset(root)[row ^ 1], 32, CropRule(fraction=0.7)).image


PLAIN = [Phase(0, 32, augmentation=Augmentation(smallest=0.7, largest=0.7))]


def test_a_tag_image_is_another_picture_of_the_same_content(groups):
    (batch,) = epoch_of(tagged(groups).train_dataloader(), 0)
    for i, number in enumerate(batch.index.tolist()):
        assert batch.valid["content"][i] == (number < 6)
        if number < 6:
            assert torch.allclose(batch.content[i], other_of(groups, number), atol=2 / 255)
            # As it is stored, though there is a cut-out.
            own = evaluation_crop(PreparedDataset(groups)[number], 32, CropRule(fraction=0.7))
            assert torch.allclose(batch.image[i], own.image, atol=2 / 255)


def test_light_and_camera_are_those_of_the_sample(groups):
    """Half of the pictures have no colour: a picture and its tag both, or neither."""
    grey = Augmentation(smallest=0.7, largest=0.7, photometric=Photometric(grey_share=0.5))
    streams = {"labelled": Stream(str(groups), phases=[Phase(0, 32, augmentation=grey)])}
    data = tagged(groups, streams).training_sets["labelled"]
    seen = [data[Key(0, visit, number)] for visit in range(4) for number in range(6)]
    without = [
        [
            bool(torch.allclose(picture[0], picture[2], atol=1e-3))
            for picture in (s.image, s.content)
        ]
        for s in seen
    ]
    assert all(own == tag for own, tag in without)
    assert {own for own, _ in without} == {True, False}


def test_a_stream_that_is_not_told_contents_has_no_tags(groups):
    for told, there in (["K"], False), (["K", "content"], True):
        weak = Stream(str(groups), use="weak", told=told)
        (batch,) = epoch_of(tagged(groups, {"weak": weak}).train_dataloader(), 0)
        assert bool(batch.valid["content"].any()) == there


def test_a_tag_is_of_the_rows_that_a_stream_takes(groups):
    taken = Stream(str(groups), start=1, count=3, batch_size=3)  # rows 1, 2 and 3
    (batch,) = epoch_of(tagged(groups, {"labelled": taken}).train_dataloader(), 0)
    assert dict(zip(batch.index.tolist(), batch.valid["content"].tolist(), strict=True)) == {
        0: False,
        1: True,
        2: True,
    }
