import json

import cv2
import numpy as np
import pytest

from auxhand.data.photo_boxes import LIST, read_photos


def write(folder, entries):
    (folder / LIST).write_text(json.dumps(entries))


def test_reads_the_photos_of_a_part_in_order(tmp_path):
    image = np.zeros((4, 6, 3), np.uint8)
    image[..., 0] = 250  # red
    cv2.imwrite(str(tmp_path / "a.png"), image[..., ::-1])
    entries = [
        {"file": "a.png", "source": "x", "part": "train", "boxes": [[1, 2, 3, 4], [0, 0, 2, 1]]},
        {"file": "b.png", "source": "y", "part": "val", "boxes": []},
        {"file": "c.png", "source": "z", "part": "train", "boxes": []},
    ]
    write(tmp_path, entries)
    a, c = read_photos(tmp_path, "train")
    assert a.boxes.tolist() == [[1, 2, 4, 6], [0, 0, 2, 1]]
    assert c.boxes.shape == (0, 4)
    np.testing.assert_array_equal(a.read(), image)
    with pytest.raises(ValueError, match=r"c\.png cannot be read"):
        c.read()


def test_says_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="finder_photos"):
        read_photos(tmp_path, "train")
    write(tmp_path, [{"file": "a.png", "part": "train"}])
    with pytest.raises(ValueError, match="boxes"):
        read_photos(tmp_path, "train")
    write(tmp_path, [])
    with pytest.raises(ValueError, match="no photo of the part 'val'"):
        read_photos(tmp_path, "val")
