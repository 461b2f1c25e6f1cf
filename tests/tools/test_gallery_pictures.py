"""The gallery's sheets: photos drawn by lot, each with what is said of it."""

import sys

import gallery_pictures
import numpy as np
from PIL import Image
from scripts import Estimator, hand


def test_photos_are_drawn_by_lot(tmp_path):
    for number in range(40):
        (tmp_path / f"{number:02}.jpg").touch()
    photos = gallery_pictures.odd_photos(tmp_path)
    drawn = gallery_pictures.drawn_by_lot(photos)
    assert drawn == gallery_pictures.drawn_by_lot(photos)
    assert len(set(drawn)) == gallery_pictures.COUNT
    assert drawn != sorted(drawn)
    assert all(int(path.stem) % 2 for path in drawn)


def test_second_halves(tmp_path):
    for folder, names in {"a": "123", "b": "45"}.items():
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).touch()
    assert [path.name for path in gallery_pictures.second_halves(tmp_path)] == ["2", "3", "5"]


def test_sheets(tmp_path, monkeypatch):
    for name in gallery_pictures.SETS:
        (tmp_path / name).mkdir()
        for file in ("0.jpg", "1.jpg"):
            Image.fromarray(np.full((60, 80, 3), 90, np.uint8)).save(tmp_path / name / file)
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path), "--photos", str(tmp_path)])
    gallery_pictures.main()
    sheets = {path.name: np.asarray(Image.open(path), int) for path in tmp_path.glob("*.jpg")}
    assert sorted(sheets) == [
        "gallery_bundled.jpg",
        *(f"gallery_{name}.jpg" for name in gallery_pictures.SETS),
    ]
    coloured = {name: (np.ptp(sheet, axis=2) > 60).mean() for name, sheet in sheets.items()}
    assert coloured["gallery_bundled.jpg"] > 0.005  # skeletons
    assert coloured["gallery_letters.jpg"] == 0  # no hand in a grey picture


def test_before_and_after_are_of_one_box(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery_pictures, "draw_hands", lambda image, *_: image)
    photo, empty = np.full((60, 80, 3), 90, np.uint8), np.full((60, 80, 3), 10, np.uint8)
    for name, pixels in (("0.jpg", photo), ("1.jpg", empty)):
        Image.fromarray(pixels).save(tmp_path / name)
    before = Estimator({90: hand(), 10: None})
    after = Estimator({90: hand(40.0)})
    files = [tmp_path / "0.jpg", tmp_path / "1.jpg"]
    found = gallery_pictures.before_and_after(files, before, after)
    assert after.asked == [((10.0, 20.0, 20.0, 20.0), "right")]
    alone = gallery_pictures.before_and_after(files[:1], before, after)
    assert np.array_equal(found, alone), "no hand, no pair"
