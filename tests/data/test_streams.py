from dataclasses import fields, replace

import pytest
import torch

from auxhand.data.augment import Contents
from auxhand.data.background import Backgrounds
from auxhand.data.crops import CropRule
from auxhand.data.sampler import Key
from auxhand.data.store import PreparedDataset, shard_path, write_description, write_shard
from auxhand.data.streams import Curriculum, Part, Phase, Stream, TrainingSet
from auxhand.data.strengths import EASY, HARD


def test_curriculum_knows_the_phase_of_each_epoch():
    curriculum = Curriculum([Phase(0, 64, 0.0), Phase(3, 96, 0.5), Phase(5, 128)])
    assert [curriculum.number(e) for e in range(7)] == [0, 0, 0, 1, 1, 2, 2]
    for phases in ([], [Phase(1, 64)], [Phase(0, 64), Phase(0, 96)], [Phase(0, 64), Phase(-1, 1)]):
        with pytest.raises(ValueError, match="phases must begin"):
            Curriculum(phases)
    with pytest.raises(ValueError, match="difficulty"):
        Curriculum([Phase(0, 64, 1.5)])


def test_a_phase_may_have_an_augmentation_of_its_own():
    wide = replace(EASY, smallest=0.2, largest=0.2)
    curriculum = Curriculum([Phase(0, 32), Phase(1, 32, augmentation=wide)])
    assert curriculum.augmentations == ((HARD, HARD), (wide, wide))
    both = Curriculum([Phase(0, 32, augmentation=wide, second=HARD)])
    assert both.augmentations == ((wide, HARD),)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use": "strong"}, "use of a stream is labelled, weak, unlabelled"),
        ({"use": "weak", "told": ["colour"]}, "'colour' cannot be told; there are: K, side"),
        ({"use": "weak"}, "told is for weak streams"),
        ({"told": ["K"]}, "told is for weak streams"),
        ({"views": 3}, "1 or 2 views"),
        ({"same_place": True}, "same_place is for streams with two views"),
    ],
)
def test_streams_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Stream("data", **options)


def test_without_pictures_all_else_is_the_same(tmp_path, hand_row):
    write_shard(shard_path(tmp_path, 0), [hand_row(i, 64) for i in range(3)])
    write_description(tmp_path, 3)
    curriculum = Curriculum([Phase(0, 48, augmentation=replace(EASY, absent_share=0.0))])
    with_picture, without = (
        TrainingSet(
            Stream(str(tmp_path)),
            [Part(PreparedDataset(tmp_path), range(3))],
            curriculum,
            Backgrounds(),
            0,
            Contents(crop=CropRule("mask", 0.8), picture=picture),
        )
        for picture in (True, False)
    )
    for number in range(3):
        key = Key(0, 0, number)
        whole, labels = with_picture[key], without[key]
        assert whole.image is not None
        assert labels.image is None
        for name in {field.name for field in fields(whole)} - {"image", "mask", "crop"}:
            expected, found = getattr(whole, name), getattr(labels, name)
            if isinstance(expected, torch.Tensor):
                assert torch.equal(found, expected)
            else:
                assert found == expected
