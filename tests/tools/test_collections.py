"""Photos that are gathered, pictures that are made, tables that are written."""

import sys
from types import SimpleNamespace

import collect_backgrounds
import cv2
import finder_photos
import numpy as np
import results_tables
import synth_pictures

from auxhand.evaluation.report import record

COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
License: GPL-2+

Files: photos/wood.jpg
 photos/dune.jpg
License: CC-BY-4.0

License: GPL-2+
 text
"""


def test_the_last_pattern_that_fits_names_the_licence(tmp_path):
    paragraphs = collect_backgrounds.licences(COPYRIGHT)
    assert paragraphs == [(["*"], "GPL-2+"), (["photos/wood.jpg", "photos/dune.jpg"], "CC-BY-4.0")]
    licence = collect_backgrounds.licence_of
    assert licence(tmp_path / "wood.jpg", paragraphs) == "CC-BY-4.0"
    assert licence(tmp_path / "other.jpg", paragraphs) == "GPL-2+"
    assert "copyright file" in licence(tmp_path / "other.jpg", [])


def test_the_largest_picture_is_taken_and_scaled(tmp_path, capsys):
    package, out = tmp_path / "package", tmp_path / "out"
    sizes = package / "usr" / "share" / "Dune" / "contents" / "images"
    notes = package / "usr" / "share" / "doc" / "some"
    for folder in (out, sizes, notes):
        folder.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (900, 1400, 3), np.uint8)
    cv2.imwrite(str(sizes / "1400x900.png"), noise)
    cv2.imwrite(str(sizes / "140x90.png"), noise[:90, :140])
    (notes / "copyright").write_text(COPYRIGHT)
    rows = collect_backgrounds.collect("some", "1.2", ["Dune", "Lost"], package, out)
    assert rows == ["some__Dune.jpg\tsome\t1.2\tGPL-2+"]
    assert cv2.imread(str(out / "some__Dune.jpg")).shape == (700, 1089, 3)
    assert "some 1.2 has no Lost, left out" in capsys.readouterr().err


def test_names_with_a_folder_tell_pictures_apart(tmp_path):
    assert collect_backgrounds.fit(tmp_path / "reg" / "home.jpg", "reg/home")
    assert not collect_backgrounds.fit(tmp_path / "data" / "home.jpg", "reg/home")
    assert not collect_backgrounds.fit(tmp_path / "wood2.jpg", "wood")


def test_packages_that_are_not_here_are_left_out(monkeypatch, tmp_path, capsys):
    run = SimpleNamespace(returncode=1)
    monkeypatch.setattr(collect_backgrounds.subprocess, "run", lambda *args, **kwargs: run)
    monkeypatch.setattr(sys, "argv", ["tool", str(tmp_path)])
    collect_backgrounds.main()
    assert (tmp_path / "SOURCES.tsv").read_text() == "file\tpackage\tversion\tlicence\n"
    said = capsys.readouterr()
    assert said.err.count("cannot be downloaded here") == len(collect_backgrounds.PHOTOS)
    assert "0 photos" in said.out


def test_sheets_of_the_factory(monkeypatch):
    monkeypatch.setattr(synth_pictures, "SIZE", 32)
    sheet = synth_pictures.modality_sheet()
    pitch = 32 + 18 + 4
    assert sheet.shape == (3 * pitch + 4, 7 * 36 + 4, 3)
    cells = [sheet[4:36, 4 + 36 * k : 36 + 36 * k] for k in range(7)]
    assert set(np.unique(cells[3])) == {0, 255}, "the mask"
    inside = cells[3][..., 0] == 255
    assert (cells[2][inside] > 0).all(), "depth wherever the mask is"
    monkeypatch.setattr(synth_pictures, "COLUMNS", 2)
    monkeypatch.setattr(synth_pictures, "GROUPS", ("pose", "light"))
    sheet = synth_pictures.factor_sheet()
    (first, pose), (again, light) = (
        [sheet[y : y + 32, x : x + 32].astype(int) for x in (4, 40)] for y in (4, 4 + pitch)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, pose)
    assert not np.array_equal(first, light)


def test_tables_of_all_pages(monkeypatch, tmp_path):
    pages = tmp_path / "docs" / "results"
    pages.mkdir(parents=True)
    record(tmp_path / "results" / "some.json", "a", [{"epe_mm": 1.25}], "made", 0.0)
    page = pages / "some.md"
    page.write_text("# T\n<!-- rows of some.json: epe_mm -->\n<!-- end -->\n")
    monkeypatch.setattr(results_tables, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["tool"])
    results_tables.main()
    assert "| a |      1.2 |" in page.read_text()
    assert [path.name for path in pages.iterdir()] == ["some.md"]


def test_photos_of_the_finder_are_copied_with_their_list(monkeypatch, tmp_path, capsys):
    pool, out = tmp_path / "pool", tmp_path / "out"
    (pool / "boxes").mkdir(parents=True)
    (pool / "boxes" / "a.jpg").write_bytes(b"photo")
    entry = {"file": "boxes/a.jpg", "source": "s", "part": "val", "boxes": [[0, 0, 1, 1]]}
    monkeypatch.setattr(finder_photos, "with_boxes", lambda folder: [entry])
    monkeypatch.setattr(finder_photos, "without_hands", lambda folder: [])
    monkeypatch.setattr(sys, "argv", ["tool", str(pool), str(out)])
    finder_photos.main()
    assert (out / "boxes" / "a.jpg").read_bytes() == b"photo"
    assert sorted(path.name for path in out.iterdir()) == ["boxes", "photos.json"]
    assert "val: 1 photos with boxes, 0 without hands" in capsys.readouterr().out
