"""Hidden files and folders (`._a.png` of macOS, `.thumbs/` of cameras) are nobody's samples."""

import shutil

import cv2
import numpy as np
import pytest

from auxhand.adaptation.pictures import files_of
from auxhand.cli.predict import find_photos
from auxhand.data.background import Backgrounds
from auxhand.data.readers.folder import Folder

FINDERS = {
    "predict FOLDER": lambda root: len(find_photos([str(root)], root / "poses")[0]),
    "predict PATTERN": lambda root: len(find_photos([f"{root}/**/*.png"], root / "poses")[0]),
    "adapt FOLDER": lambda root: len(files_of([str(root)])),
    "adapt PATTERN": lambda root: len(files_of([f"{root}/**/*.*"])),
    "data check folder": lambda root: len(Folder(root)),
    "synth --backgrounds": lambda root: len(Backgrounds(root).photos),
}
"""Who looks for photos -> how many it finds in a folder."""


@pytest.mark.parametrize("finder", FINDERS)
def test_hidden_files_are_no_samples(tmp_path, finder):
    shown, hidden = ("a.png", "b/c.png"), ("._a.png", ".thumbs/d.png", "b/._c.png", ".b/e/f.png")
    for name in (*shown, *hidden):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        assert cv2.imwrite(str(path), np.full((8, 8, 3), 90, np.uint8))
    for name in ("._g.mp4", ".thumbs/h.mp4"):
        shutil.copy(tmp_path / "a.png", tmp_path / name)
    assert FINDERS[finder](tmp_path) == len(shown)
