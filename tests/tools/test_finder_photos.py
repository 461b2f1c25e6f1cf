"""Which photos `tools/finder_photos.py` keeps for reports."""

import csv
import json
from pathlib import Path

import finder_photos
import pytest


@pytest.fixture
def pool(tmp_path):
    """60 photos with boxes, of which the first 30 are of the sources of everyday; 20 without."""
    for folder in ("boxes", "everyday", "no-hands"):
        (tmp_path / folder).mkdir()
    photos = {f"{i:04d}.jpg": {"source": f"s{i}", "boxes": [[1, 2, 3, 4]]} for i in range(60)}
    (tmp_path / "boxes" / "boxes.json").write_text(json.dumps(photos))
    for folder, count in (("everyday", 30), ("no-hands", 20)):
        with (tmp_path / folder / "index.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "source"])
            writer.writerows([f"{i:04d}.jpg", f"s{i}"] for i in range(count))
    return tmp_path


def test_reported_photos_are_left_out(pool):
    taken = {int(Path(entry["file"]).stem) for entry in finder_photos.with_boxes(pool)}
    fifth, odd = set(range(4, 60, 5)), set(range(1, 30, 2))
    assert taken == set(range(60)) - fifth - odd
    empty = {int(Path(entry["file"]).stem) for entry in finder_photos.without_hands(pool)}
    assert empty == set(range(0, 20, 2))


def test_parts_and_boxes(pool):
    entries = finder_photos.with_boxes(pool)
    assert [e["part"] for e in entries].count("val") == -(-len(entries) // finder_photos.VALIDATED)
    assert entries[0]["boxes"] == [[0.5, 1.5, 3, 4]]
    assert all(not entry["boxes"] for entry in finder_photos.without_hands(pool))
