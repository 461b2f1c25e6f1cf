"""What was drawn of results is told from people's pictures by the result beside it."""

import numpy as np
from PIL import Image

from auxhand.data.drawn import is_drawn
from auxhand.data.image import VIDEOS, pictures_in


def test_drawings_of_results_are_no_pictures(tmp_path):
    (tmp_path / "poses").mkdir()
    picture = Image.fromarray(np.zeros((4, 4, 3), np.uint8))
    for name in ("a.png", "b_overlay.png", "poses/a_overlay.png", "poses/a_3d.png", "mine_3d.png"):
        picture.save(tmp_path / name)
    for name in ("poses/clip_overlay.mp4", "clip.mp4"):
        (tmp_path / name).write_bytes(b"film")
    (tmp_path / "poses" / "a.json").write_text('{\n  "photo": "a.png"}')
    (tmp_path / "poses" / "clip.json").write_text('{\n  "video": "clip.mp4"}')
    (tmp_path / "mine.json").write_text('{"photo": "of somebody"}')
    found = pictures_in(tmp_path)
    assert [path.name for path in found] == ["a.png", "b_overlay.png", "mine_3d.png"]
    assert [path.name for path in pictures_in(tmp_path, VIDEOS)] == ["clip.mp4"]
    assert is_drawn(tmp_path / "poses" / "a_3d.png")
    assert not is_drawn(tmp_path / "poses" / "b_3d.png")
