import json
import math

import cv2
import numpy as np
import pytest
import torch

from auxhand.data.background import Backgrounds
from auxhand.data.photo_boxes import LIST, BoxedPhoto
from auxhand.data.photometric import Photometric
from auxhand.data.sampler import Key
from auxhand.data.scene_module import SceneDataModule
from auxhand.data.scenes import BoxedScene, SceneBatch, SceneMix, Scenes, WholePhotos
from auxhand.data.store import PreparedDataset
from auxhand.data.streams import Part

SIZE = 96
PLAIN = Photometric()
"""No change of light, no camera."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A red rectangle on black is the hand of each photo; the third has none."""
    folder = tmp_path_factory.mktemp("photos")
    made = []
    for i, (height, width, box) in enumerate(
        ((80, 120, (30, 20, 50, 60)), (120, 70, (10, 60, 40, 110)), (64, 64, None))
    ):
        image = np.zeros((height, width, 3), np.uint8)
        boxes = np.zeros((0, 4))
        if box:
            left, top, right, bottom = box
            image[top:bottom, left:right, 0] = 255
            boxes = np.array([box]) - 0.5
        path = folder / f"{i}.png"
        cv2.imwrite(str(path), image[..., ::-1])
        made.append(BoxedPhoto(path, boxes))
    return made


def scenes(hand_dataset, boxed, seed=0, photometric=PLAIN, **mix):
    dataset = PreparedDataset(hand_dataset)
    parts = [Part(dataset, range(len(dataset)))]
    return Scenes(parts, boxed, Backgrounds(), photometric, SceneMix(**mix), SIZE, seed)


def test_a_scene_is_a_function_of_seed_and_key(hand_dataset, photos):
    one, again = (scenes(hand_dataset, photos) for _ in range(2))
    other = scenes(hand_dataset, photos, seed=1)
    for i in range(6):
        a, b, c = (s[Key(2, 1, i)] for s in (one, again, other))
        assert torch.equal(a.image, b.image)
        assert torch.equal(a.boxes, b.boxes)
        assert not torch.equal(a.image, c.image)
    assert not torch.equal(one[Key(0, 0, 0)].image, one[Key(0, 0, 1)].image)


def test_rendered_hands_lie_in_their_boxes(hand_dataset, photos):
    """Green of the fake hands is never below 120: before a black background it shows them."""
    source = scenes(
        hand_dataset, photos, rendered=1, photos=0, empty=0, counts=(1.0,), occluder_share=0
    )
    source.backgrounds.sample = lambda rng, size: np.zeros((size, size, 3), np.float32)
    for i in range(20):
        scene = source[Key(0, 0, i)]
        assert len(scene.boxes) == 1
        found = (scene.image[1] > 0.3).nonzero().numpy()[:, ::-1]
        low, high = found.min(0) - 0.5, found.max(0) + 0.5
        np.testing.assert_allclose(scene.boxes[0].numpy(), [*low, *high], atol=3)


def test_most_of_every_rendered_hand_is_in_the_picture(hand_dataset, photos):
    source = scenes(hand_dataset, photos, rendered=1, photos=0, empty=0, counts=(0, 0, 1.0))
    counts = []
    for i in range(20):
        boxes = source[Key(0, 0, i)].boxes
        counts.append(len(boxes))
        assert (boxes[:, :2] >= -0.5).all()
        assert (boxes[:, 2:] <= SIZE - 0.5).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert max(counts) == 3


def test_sides_are_those_of_the_rows(hand_dataset, photos):
    dataset = PreparedDataset(hand_dataset)
    assert dataset.stored(1).hand.max() == 1
    for row, expected in ((0, 1.0), (1, 0.0)):  # the fake hands are right and left by turns
        source = scenes(hand_dataset, photos, rendered=1, photos=0, empty=0)
        source.hands = [Part(dataset, range(row, row + 1))]
        assert set(source[Key(0, 0, 0)].right.tolist()) == {expected}


@pytest.mark.parametrize("share", [{"whole_share": 1.0, "mosaic_share": 0}, {"mosaic_share": 1.0},
                                   {"whole_share": 0, "mosaic_share": 0}])  # fmt: skip
def test_boxes_of_photos_go_where_the_photos_go(hand_dataset, photos, share):
    """However it is turned, scaled and cut, what is red in the picture is in the boxes."""
    source = scenes(hand_dataset, photos, rendered=0, photos=1, empty=0, upright_share=0, **share)
    source.backgrounds.sample = lambda rng, size: np.zeros((size, size, 3), np.float32)
    seen = 0
    for i in range(25):
        scene = source[Key(0, 0, i)]
        assert scene.right.isnan().all()
        red = (scene.image[0] > 0.6) & (scene.image[1] < 0.2)
        boxes = scene.boxes.numpy()
        inside = np.zeros((SIZE, SIZE), bool)
        for left, top, right, bottom in boxes:
            area = (
                slice(round(top + 0.5), round(bottom + 0.5)),
                slice(round(left + 0.5), round(right + 0.5)),
            )
            inside[area] = True
            assert red.numpy()[area].mean() > 0.7
        assert (red.numpy() & ~inside).sum() <= 0.15 * max(inside.sum(), 40)
        seen += len(boxes)
    assert seen >= 20


def test_empty_scenes_have_no_hands(hand_dataset, photos):
    source = scenes(hand_dataset, photos, rendered=0, photos=0, empty=1)
    for i in range(12):
        scene = source[Key(0, 0, i)]
        assert scene.boxes.shape == (0, 4)
        assert scene.right.shape == (0,)
        assert not ((scene.image[0] > 0.95) & (scene.image[1:].sum(0) < 0.02)).any()


def test_whole_photos_are_what_is_looked_at_in_use(photos):
    scene = WholePhotos(photos, SIZE)[Key(0, 0, 0)]
    np.testing.assert_allclose(scene.boxes, [[23.5, 31.5, 39.5, 63.5]])  # 0.8 times, 16 lower
    assert scene.image[0, 40, 30] == 1
    assert scene.image[0, 5, 5] == pytest.approx(127 / 255)


def test_nothing_to_make_a_kind_of_is_refused(photos):
    with pytest.raises(ValueError, match="rendered hands need datasets"):
        Scenes([], photos, Backgrounds(), PLAIN, SceneMix(), SIZE, 0)


def test_collating_pads_and_flags():
    image = torch.zeros(3, 4, 4)
    one = BoxedScene(image, torch.ones(2, 4), torch.tensor([1.0, math.nan]))
    none = BoxedScene(image, torch.zeros(0, 4), torch.zeros(0))
    batch = SceneBatch.collate([one, none])
    assert batch.valid.tolist() == [[True, True], [False, False]]
    assert batch.right_known.tolist() == [[True, False], [False, False]]
    assert batch.right.tolist() == [[1, 0], [0, 0]]
    assert batch.boxes[1].abs().sum() == 0
    assert SceneBatch.collate([none]).boxes.shape == (1, 1, 4)


@pytest.fixture
def module(hand_dataset, photos):
    folder = photos[0].path.parent
    entries = [
        {
            "file": photo.path.name,
            "source": "",
            "part": part,
            "boxes": [[b[0], b[1], b[2] - b[0], b[3] - b[1]] for b in photo.boxes.tolist()],
        }
        for part in ("train", "val")
        for photo in photos
    ]
    (folder / LIST).write_text(json.dumps(entries))
    return SceneDataModule(
        str(hand_dataset),
        str(folder),
        size=SIZE,
        val_hands=4,
        val_scenes=5,
        batch_size=3,
        images_per_epoch=6,
        workers=0,
    )


def test_module_keeps_hands_for_validation(module):
    training, validation = module.training_set.hands[0], module.validation_sets[1].hands[0]
    assert training.rows == range(8)
    assert validation.rows == range(8, 12)
    module.val_hands = 12
    with pytest.raises(ValueError, match="has 12 hands"):
        module._part(module.roots[0], validation=True)


def test_module_makes_batches_and_the_same_validation_every_time(module):
    batches = list(module.train_dataloader())
    assert [len(batch.image) for batch in batches] == [3, 3]
    assert batches[0].image.shape == (3, 3, SIZE, SIZE)
    (photos, rendered), (_, again) = module.val_dataloader(), module.val_dataloader()
    assert sum(len(batch.image) for batch in photos) == 3
    first, second = list(rendered), list(again)
    assert sum(len(batch.image) for batch in first) == 5
    assert torch.equal(first[0].image, second[0].image)
    assert all(batch.right_known[batch.valid].all() for batch in first)
