"""Hands of pictures: found once, near-duplicates thinned, split without a picture in common."""

import json
import os
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from auxhand.adaptation.crops import agreed, find, held_out, images_of, split
from auxhand.adaptation.pictures import Pictures, digest, files_of
from auxhand.data.crops import CropRule
from auxhand.data.store import PreparedDataset, read_description
from auxhand.inference.bundle import Bundle
from auxhand.inference.prediction import Prediction


class Finder:
    """Finds the white square of a picture: 21 joints on its diagonal. Black pictures have none."""

    tells_side = True

    def __init__(self, left=0.9, spread=None):
        self.left = left
        self.spread = spread
        self.bundle = Bundle(torch.nn.Identity(), 64, CropRule())
        self.looks = 0

    def predict(self, pixels, box=None, side="auto"):
        self.looks += 1
        ys, xs = np.nonzero(pixels[..., 0] > 200)
        if not len(xs):
            return None
        u, v = (np.linspace(p.min(), p.max(), 21) for p in (xs, ys))
        none = dict.fromkeys(Prediction.__dataclass_fields__)
        left = {"joints_uv": np.stack([u, v], -1), "side": "left", "presence": 0.9}
        scores = {"left": self.left, "right": 1 - self.left}
        return Prediction(**{**none, **left, "side_scores": scores, "spread": self.spread})


def picture(path, at=None):
    pixels = np.zeros((120, 160, 3), np.uint8)
    if at is not None:
        pixels[at[1] : at[1] + 21, at[0] : at[0] + 21] = 255
    cv2.imwrite(str(path), pixels)


def write(path, frames, times):
    """A video of frames at times in milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for pixels, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture
def folder(tmp_path):
    for i in range(6):
        picture(tmp_path / f"{i}.png", None if i == 2 else (20 + 10 * i, 40))
    (tmp_path / "5.jpg").write_bytes(b"\xff\xd8\xff broken")
    return tmp_path


def datasets(folder):
    return [folder / name for name in ("train", "held", "labelled")]


def test_hands_of_an_unsure_side_are_left_out(folder):
    pictures = Pictures(files_of([str(folder)]))
    counts = find(pictures, Finder(left=0.69), folder / "found", progress=False)
    assert counts == {"seen": 7, "of an unsure side": 5, "without a hand": 1, "broken": 1}


def test_a_part_that_is_gone_is_found_anew_and_a_damaged_one_is_named(folder):
    finder, found = Finder(), folder / "found"
    pictures = Pictures(files_of([str(folder)]))
    counts = find(pictures, finder, found, progress=False)
    part, looks = found / "part-00000.parquet", finder.looks
    part.write_bytes(part.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"part-00000\.parquet is damaged: delete it"):
        split(found, *datasets(folder))
    part.unlink()
    assert find(pictures, finder, found, progress=False) == counts
    assert finder.looks == 2 * looks
    assert split(found, *datasets(folder)) == (4, 1)


def test_hands_are_cut_out_with_their_boxes(folder):
    finder = Finder()
    counts = find(Pictures(files_of([str(folder)])), finder, folder / "found", progress=False)
    assert counts == {"seen": 7, "kept": 5, "without a hand": 1, "broken": 1}
    train, held = split(folder / "found", *datasets(folder))
    assert (train, held) == (4, 1)
    stored = PreparedDataset(folder / "train").stored(0)
    # The square is 20 pixels long (centre to centre) in a crop of 1.5 / 0.7 of them.
    scale = 256 / (20 * 1.5 / 0.7)
    x, y, w, h = stored.box.tolist()
    assert (w, h) == pytest.approx((20 * scale, 20 * scale), rel=1e-6)
    assert (x + w / 2, y + h / 2) == pytest.approx((127.5, 127.5))
    assert stored.labels.side == "left"
    images = images_of(folder / "train", 64, 0.7)
    assert images.shape == (4, 3, 64, 64)
    # Joints take 0.7 of the side; the white square is 21 pixels wide, they are 20.
    white = images[0, 0] > 0.5
    assert float(white.any(0).sum()) / 64 == pytest.approx(0.7 * 21 / 20, abs=0.04)


def test_joints_on_which_looks_agree_are_labels(folder):
    spread = np.full(21, 0.01)
    spread[[3, 4]] = 0.059, 0.061
    pictures = Pictures(files_of([str(folder)]))
    find(pictures, Finder(spread=spread), folder / "found", progress=False)
    assert split(folder / "found", *datasets(folder)) == (4, 1)
    labelled = PreparedDataset(folder / "labelled")
    assert len(labelled) == 4
    for index in range(4):
        stored = labelled.stored(index)
        assert stored.labels.joint_valid.tolist() == [joint != 4 for joint in range(21)]
        x, y, w, h = stored.box.tolist()
        uv = stored.labels.joints_uv
        assert uv[[0, -1]].numpy() == pytest.approx(np.array([[x, y], [x + w, y + h]]), abs=1e-3)
        white = stored.image[uv[:-1, 1].round().long(), uv[:-1, 0].round().long()]
        assert (white > 120).all()


@pytest.mark.parametrize(
    ("spread", "count"),
    [
        (None, 0),  # one look
        (np.r_[np.full(8, 0.05), np.full(13, 0.11)], 8),  # 0.0871 on average
        (np.r_[np.full(7, 0.05), np.full(14, 0.07)], 0),  # too few
        (np.r_[np.full(8, 0.05), np.full(13, 0.12)], 0),  # 0.0933 on average
    ],
)
def test_a_hand_that_is_read_in_several_ways_is_no_label(folder, spread, count):
    finder = Finder(spread=spread)
    assert agreed(finder.predict(np.full((9, 9, 3), 255, np.uint8))).sum() == count
    find(Pictures(files_of([str(folder)])), finder, folder / "found", progress=False)
    assert split(folder / "found", *datasets(folder)) == (4, 1)
    assert len(list((folder / "labelled").glob("*.parquet"))) == 1
    assert read_description(folder / "labelled")["count"] == (4 if count else 0)


def test_pictures_are_looked_at_once(folder):
    pictures, finder = Pictures(files_of([str(folder)])), Finder()
    first = find(pictures, finder, folder / "found", progress=False)
    looks = finder.looks
    assert find(pictures, finder, folder / "found", progress=False) == first
    assert finder.looks == looks == 6


def test_frames_that_hardly_differ_are_thinned(tmp_path):
    def frame(at):
        pixels = np.zeros((120, 160, 3), np.uint8)
        pixels[40:61, at : at + 21] = 255
        return pixels

    frames = [frame(at) for at in (20, 20, 20, 60, 60, 100)]
    write(tmp_path / "v.mp4", frames, [300 * i for i in range(6)])
    finder = Finder()
    counts = find(Pictures(files_of([str(tmp_path)])), finder, tmp_path / "found", progress=False)
    assert (counts["seen"], counts["kept"], counts["near-duplicates"]) == (6, 3, 3)
    assert finder.looks == 3
    told = json.loads((tmp_path / "found" / "part-00000.json").read_text())
    assert told["kept"] == 3


def test_of_photos_every_fifth_is_held_of_a_video_its_end():
    chosen = held_out([""] * 100 + ["v.mp4"] * 50)
    assert len([i for i in chosen if i < 100]) == 20
    assert {i for i in chosen if i >= 100} == set(range(140, 150))
    gaps = np.diff(sorted(i for i in chosen if i < 100))
    assert set(gaps.tolist()) == {5}
    assert len(held_out([""] * 20)) == 6
    assert len(held_out([""] * 5000)) == 200


def test_of_many_short_videos_as_many_crops_are_held_as_of_a_long_one():
    names = [f"{i}.mp4" for i in range(40)]
    assert len(held_out(names)) == 13
    assert len(held_out([name for name in names for _ in range(5)])) == 40
    assert len(held_out([*names, *[""] * 60])) == 24


def test_what_is_named_is_found_once(folder):
    files = files_of([str(folder), str(folder / "*.png")])
    assert [file.name for file in files] == [
        *("0.png", "1.png", "2.png", "3.png", "4.png", "5.jpg", "5.png"),
    ]
    before = digest(files)
    picture(folder / "0.png", (80, 80))
    assert digest(files) != before
    with pytest.raises(FileNotFoundError):
        files_of([str(folder / "none")])


def test_what_cannot_be_read_ends_nothing(folder):
    (folder / "5.png").rename(folder / os.fsdecode(b"caf\xe9.png"))
    for name in ("dead.jpg", "dead.mp4"):
        (folder / name).symlink_to(f"no {name}")
    files = files_of([str(folder)])
    before = digest(files)
    assert digest([file for file in files if not file.name.startswith("dead")]) == before
    pictures = Pictures(files)
    assert [Path(picture.name).name for picture in pictures][-2:] == ["caf\\xe9.png", "dead.jpg"]
    assert pictures.unread == [f"[Errno 2] No such file: '{folder}/dead.mp4'"]
