"""Which hands `tools/label_photos.py` labels, and of which joints."""

import csv

import label_photos
import numpy as np
import pytest
from label_photos import Hand
from PIL import Image

from auxhand.data.store import PreparedDataset


@pytest.fixture
def photos(tmp_path):
    """20 rows each of everyday and letters; photos of two fingers, of which one has a silhouette,
    one is shipped, and one shows no finger."""
    for folder in ("everyday", "letters"):
        (tmp_path / "photos-pool" / folder).mkdir(parents=True)
        with (tmp_path / "photos-pool" / folder / "index.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "source", "x", "y", "w", "h"])
            writer.writerows([f"{i:05d}.jpg", "", 1, 2, 30, i] for i in range(20))
    counting = tmp_path / "finger-counting"
    for path in ("0/zero_1", "2/two_1", "2/two_2", "4/four_38"):
        (counting / "photos" / "Set1" / path).parent.mkdir(parents=True, exist_ok=True)
        (counting / "photos" / "Set1" / f"{path}.jpg").touch()
    (counting / "silhouettes").mkdir()
    (counting / "silhouettes" / "two_2.jpg").touch()
    return tmp_path


def test_hands_for_development_and_reports_are_left_out(photos):
    found = label_photos.hands(photos)
    for kind in ("everyday", "letters"):
        boxes = {int(hand.file.stem): hand.box for hand in found if hand.kind == kind}
        assert boxes == {i: (1, 2, 30, i) for i in (0, 4, 6, 8, 12, 14, 16)}
    (counted,) = [hand for hand in found if hand.kind == "finger-counting"]
    assert (counted.file.name, counted.box) == ("two_1.jpg", None)


class Told:
    """What an estimator says of a hand, in pixels of a photo of 100 x 80."""

    side = "left"

    def __init__(self, spread, sure=0.9):
        self.joints_uv = np.random.default_rng(0).uniform(30, 60, (21, 2))
        self.spread = np.full(21, 0.02)
        self.spread[: len(spread)] = spread
        self.side_scores = {"left": sure, "right": 1 - sure}


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        (Told([]), None),
        (Told([], sure=0.6), "of an unsure side"),
        (Told([0.1] * 14), "read in several ways"),  # seven joints alone
        (Told([0.1] * 13), None),
        (Told([2.0]), "read in several ways"),  # 0.114 on average
    ],
)
def test_a_hand_is_labelled_where_its_looks_agree(told, fault):
    assert label_photos.doubtful(told) == fault


def test_rows_have_the_joints_that_the_looks_agree_on(tmp_path, monkeypatch, capsys):
    answers = [Told([0.1, 0.1]), Told([], sure=0.5), None, Told([])]
    for i in range(4):
        Image.new("RGB", (100, 80), (90, 60, 50)).save(tmp_path / f"{i}.png")
    found = [Hand(tmp_path / f"{i}.png", (20, 20, 50, 50), "letters") for i in range(4)]

    class Estimator:
        def __init__(self):
            self.left = iter(answers)
            self.bundle = type("Bundle", (), {"fraction": 0.8})

        def predict(self, image, box):
            return next(self.left)

    monkeypatch.setattr(label_photos.HandPoseEstimator, "load", lambda model: Estimator())
    monkeypatch.setattr(label_photos, "hands", lambda photos: found)
    out = tmp_path / "out"
    monkeypatch.setattr("sys.argv", ["label_photos.py", str(tmp_path), str(out)])
    label_photos.main()
    said = capsys.readouterr().out.splitlines()
    assert {
        "letters, labelled: 2",
        "letters, not found: 1",
        "letters, of an unsure side: 1",
    } <= set(said)
    dataset = PreparedDataset(out)
    samples = [dataset.stored(i).sample for i in range(len(dataset))]
    assert [int(sample.joint_valid.sum()) for sample in samples] == [19, 21]
    assert {sample.side for sample in samples} == {"left"}
    for sample, told in zip(samples, (answers[0], answers[3]), strict=True):
        uv = np.asarray(sample.joints_uv, np.float64)
        # a square about the hand: moved and scaled alike along both axes
        scale = np.ptp(uv, axis=0) / np.ptp(told.joints_uv, axis=0)
        assert scale[0] == pytest.approx(scale[1], rel=1e-4)
        np.testing.assert_allclose(uv.min(0) + uv.max(0), 255, atol=0.1)
