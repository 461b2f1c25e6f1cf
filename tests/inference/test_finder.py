import numpy as np
import pytest
import torch

from auxhand.inference.bundle import ONNX, Bundle, load_bundle, save_bundle
from auxhand.inference.finder import Finder, FoundHand
from auxhand.inference.runtime import run_with_onnx, run_with_torch, write_onnx
from auxhand.models.backbone import ImageFeatures
from auxhand.models.detections import STRIDE
from auxhand.models.detector import HandDetector

SIZE = 64


@pytest.fixture(scope="module")
def network():
    """Its presence is high in one cell, whose box is 16 pixels each way."""
    torch.manual_seed(0)
    return HandDetector("test_efficientnet", width=8).eval()


@pytest.fixture
def finder(network):
    """A finder whose network sees a hand in cell (3, 2)."""
    made = Finder(Bundle(network, SIZE, presence_threshold=0.5))

    def run(images):
        maps = run_with_torch(network)(images)
        maps["presence"][:] = -5
        maps["presence"][0, 3, 2], maps["side"][0, 3, 2] = 2.0, -1.0
        x, y = 2.5 * STRIDE - 0.5, 3.5 * STRIDE - 0.5
        maps["boxes"][0, 3, 2] = [x - 8, y - 8, x + 8, y + 8]
        return maps

    made._run = run
    return made


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_boxes_are_in_pixels_of_the_photo(finder):
    """A photo of 128 x 96 lies in the square at half its size, 8 pixels down."""
    (hand,) = finder.find(np.zeros((96, 128, 3), np.uint8))
    assert hand.presence == pytest.approx(sigmoid(2))
    assert hand.right == pytest.approx(sigmoid(-1))
    left, top = (2.5 * STRIDE - 8) * 2 - 0.5, (3.5 * STRIDE - 8 - 8) * 2 - 0.5
    assert hand.box == pytest.approx((left, top, 32, 32))


def test_threshold_decides(finder):
    photo = np.zeros((64, 64, 3), np.uint8)
    assert len(finder.find(photo)) == 1
    assert finder.find(photo, threshold=0.9) == []


def test_a_photo_in_which_nothing_is_found_is_looked_at_with_grey_around_it(finder):
    """The third look is at a photo of 64 x 64 at half its size, 16 pixels right and down."""
    run, looks = finder._run, []

    def seen_when_small(images):
        looks.append(int((images[0, 0] < 0.25).any(0).sum()))
        maps = run(images)
        maps["presence"][:] -= 9 if len(looks) < 3 else 0
        return maps

    finder._run = seen_when_small
    (hand,) = finder.find(np.zeros((64, 64, 3), np.uint8))
    assert looks == [64, 43, 32]
    left, top = ((np.array([2.5, 3.5]) * STRIDE - 8 - 16) * 2 - 0.5).tolist()
    assert hand.box == pytest.approx((max(left, -0.5), top, 32 + min(left + 0.5, 0), 32))


def test_where_more_hands_are_asked_for_the_looks_join(finder):
    """Each look says the same place of the square: three hands of the photo, of which the first
    two looks' share too much of their boxes."""
    photo = np.zeros((64, 64, 3), np.uint8)
    boxes = {hand.box for hand in finder.find(photo, count=None)}
    first = finder.find(photo)[0].box
    assert first in boxes
    overlaps = []
    for box in boxes - {first}:
        low = np.maximum(first[:2], box[:2])
        high = np.minimum(np.add(first[:2], first[2:]), np.add(box[:2], box[2:]))
        both = np.prod(np.maximum(high - low, 0))
        overlaps.append(both / (np.prod(first[2:]) + np.prod(box[2:]) - both))
    assert len(boxes) == 1 + len(overlaps) > 1
    assert max(overlaps) <= 0.4
    assert len(finder.find(photo, count=2)) == 2


def test_a_hand_stays_as_it_was_found_however_many_are_asked_for(finder, monkeypatch):
    """A further look is surer of the same hand, by another box, and sees a second one."""
    same, surer = (
        FoundHand((10.0, 10.0, 20.0, 20.0), 0.6, 1.0),
        FoundHand((11.0, 10.0, 20.0, 20.0), 0.9, 1.0),
    )
    second, again = (
        FoundHand((60.0, 10.0, 20.0, 20.0), 0.8, 0.0),
        FoundHand((61.0, 10.0, 20.0, 20.0), 0.7, 0.0),
    )
    looks = {0.0: [same], 0.25: [surer, again, second], 0.5: []}
    monkeypatch.setattr(finder, "_look", lambda image, margin, threshold: looks[margin])
    photo = np.zeros((100, 100, 3), np.uint8)
    assert finder.find(photo) == [same]
    assert finder.find(photo, count=2) == [second, same], "the most certain first"
    assert finder.find(photo, count=None) == [second, same]


def test_boxes_lie_in_the_photo(finder):
    """In a photo that is a strip, the box is cut at its upper and lower edge."""
    (hand,) = finder.find(np.zeros((10, 64, 3), np.uint8))
    x, y, width, height = hand.box
    assert y == pytest.approx(-0.5)  # rows 27 to 36 of the square; the box has rows 20 to 35
    assert height == pytest.approx(9)
    assert x == pytest.approx(2.5 * STRIDE - 0.5 - 8)
    assert width == pytest.approx(16)


def test_other_images_are_refused(finder):
    for image in (np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="a photo must be"):
            finder.find(image)


def test_other_networks_are_refused():
    with pytest.raises(ValueError, match="ImageFeatures finds no hands"):
        Finder(Bundle(ImageFeatures("test_resnet"), SIZE))


def test_bundle_keeps_the_detector_and_its_calibration(network, tmp_path):
    network.calibrate(2.0, -1.0)
    save_bundle(tmp_path / "finder", network, SIZE, {}, presence_threshold=0.4)
    photo = np.random.default_rng(0).integers(0, 255, (90, 60, 3), np.uint8)
    loaded = Finder.load(tmp_path / "finder")
    assert loaded.threshold == 0.4
    expected = Finder(Bundle(network, SIZE)).find(photo, 0.0)
    found = loaded.find(photo, 0.0)
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose([h.box for h in found], [h.box for h in expected], atol=1e-4)
    network.calibrate(0.5, 0.5)


def test_onnx_runtime_gives_the_same_and_is_taken_where_it_is(network, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    folder = tmp_path / "finder"
    save_bundle(folder, network, SIZE, {})
    write_onnx(load_bundle(folder).network, SIZE, folder / ONNX)
    images = np.random.default_rng(1).random((3, 3, SIZE, SIZE), np.float32)
    by_torch, by_onnx = run_with_torch(network)(images), run_with_onnx(folder / ONNX)(images)
    assert by_torch.keys() == by_onnx.keys() == {"presence", "boxes", "side"}
    for name, expected in by_torch.items():
        np.testing.assert_allclose(by_onnx[name], expected, atol=2e-3, err_msg=name)
    photo = np.random.default_rng(2).integers(0, 255, (64, 64, 3), np.uint8)
    finder = Finder.load(folder)
    assert "run_with_onnx" in finder._run.__qualname__
    here = [h.box for h in finder.find(photo, 0.0)]
    there = [h.box for h in Finder(load_bundle(folder)).find(photo, 0.0)]
    np.testing.assert_allclose(here, there, atol=2e-3)
    save_bundle(folder, network, SIZE, {})  # a new model has no file of the old one
    assert not (folder / ONNX).exists()


def test_a_file_that_is_none_is_named(tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / ONNX).write_text("no network")
    with pytest.raises(ValueError, match=r"model\.onnx cannot be run"):
        run_with_onnx(tmp_path / ONNX)


def test_torch_leaves_the_number_of_threads(network):
    before = torch.get_num_threads()
    run_with_torch(network)(np.zeros((1, 3, SIZE, SIZE), np.float32))
    assert torch.get_num_threads() == before
