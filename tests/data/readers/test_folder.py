import os
import pickle

import cv2
import numpy as np
import pytest
from miniature import hand, shown, truncate, write_image
from PIL import Image

from auxhand.data.readers.folder import Folder

BITS = 1 << np.arange(8)


def frame(number):
    """Shows its number in eight bars, white for the bits that are set."""
    bars = np.where(number & BITS, 230, 20).astype(np.uint8).repeat(8)
    return np.broadcast_to(bars[None, :, None], (48, 64, 3))


def write_video(path, count, size=(64, 48)):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, size)
    assert writer.isOpened()
    for number in range(count):
        writer.write(frame(number).copy())
    writer.release()
    return path


def number(sample):
    bars = sample.image.mean((0, 1)).view(8, 8).mean(1).numpy()
    return int(BITS[bars > 0.5].sum())


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "png", "webp"])
def test_photos_stand_as_exif_says(tmp_path, suffix):
    picture = Image.fromarray(hand(0).image[:60])
    exif = Image.Exif()
    exif[274] = 6  # to be turned clockwise
    picture.save(tmp_path / f"a.{suffix}", exif=exif, quality=100)
    (sample,) = Folder(tmp_path)
    wanted = np.rot90(hand(0).image[:60], -1)
    assert shown(sample).shape == wanted.shape == (96, 60, 3)
    assert np.abs(shown(sample).astype(float) - wanted).mean() < 6


def test_folders_within_folders_and_a_step(tmp_path):
    for name in ("b/2.png", "a/1.png", "c/d/3.png", "c/d/4.png"):
        write_image(tmp_path / name, hand(0).image)
    (tmp_path / "notes.txt").write_text("no photo")
    sources = [s.source for s in Folder(tmp_path)]
    assert sources == [f"folder/{n}" for n in ("a/1.png", "b/2.png", "c/d/3.png", "c/d/4.png")]
    assert [s.source for s in Folder(tmp_path, step=3)] == ["folder/a/1.png", "folder/c/d/4.png"]
    assert Folder(tmp_path)[-1].source == "folder/c/d/4.png"
    with pytest.raises(IndexError):
        Folder(tmp_path)[4]


def test_nothing_but_image_and_source(tmp_path):
    write_image(tmp_path / "a.png", hand(0).image)
    (sample,) = Folder(tmp_path)
    told = {name for name, value in vars(sample).items() if value is not None}
    assert told == {"image", "source"}
    np.testing.assert_array_equal(shown(sample), hand(0).image)


def test_frames_of_a_video_in_any_order(tmp_path):
    path = write_video(tmp_path / "film.mp4", 90)
    video = Folder(path, step=4)
    assert len(video) == 23
    assert [number(s) for s in video] == list(range(0, 90, 4))
    for index in (22, 0, 11, 12, 3, 20, 1):
        assert number(video[index]) == 4 * index
        assert video[index].source == f"folder/film.mp4/{4 * index}"
    with pytest.raises(IndexError):
        video[23]


def test_a_video_whose_jumps_do_not_arrive_is_read_through(tmp_path, monkeypatch):
    path = write_video(tmp_path / "film.mp4", 80)

    class Missing:
        """OpenCV's capture whose jumps land two frames early and say so."""

        def __init__(self, name):
            self._capture = cv2_capture(name)

        def set(self, what, value):
            return self._capture.set(what, value - 2)

        def __getattr__(self, name):
            return getattr(self._capture, name)

    cv2_capture = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", Missing)
    video = Folder(path)
    assert [number(video[i]) for i in (70, 2, 60, 61)] == [70, 2, 60, 61]


def test_a_video_goes_to_workers_as_its_name(tmp_path):
    video = Folder(write_video(tmp_path / "film.mp4", 5))
    assert number(video[3]) == 3
    assert number(pickle.loads(pickle.dumps(video))[2]) == 2


def test_what_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no folder or file .*nowhere; expected:\na folder"
    ):
        Folder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no photo in"):
        Folder(tmp_path)
    with pytest.raises(ValueError, match="no split 'train'; it has: all"):
        Folder(tmp_path, "train")
    with pytest.raises(ValueError, match="step must be at least 1, got 0"):
        Folder(tmp_path, step=0)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(ValueError, match=r"a\.txt is neither a folder nor a video \(\.avi"):
        Folder(tmp_path / "a.txt")
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"a\.mp4 is no video that can be read"):
        Folder(tmp_path / "a.mp4")
    write_image(tmp_path / "b.jpg", hand(0).image)
    truncate(tmp_path / "b.jpg")
    with pytest.raises(ValueError, match=r"b\.jpg: a truncated JPEG"):
        Folder(tmp_path)[0]


def test_hidden_files_are_no_samples_and_links_are_followed_once(tmp_path):
    for name in ("a.png", "._a.png", ".thumbs/b.png", "c/d.png"):
        write_image(tmp_path / "photos" / name, hand(0).image)
    (tmp_path / "photos" / "c" / "round").symlink_to(tmp_path / "photos")
    write_image(tmp_path / "elsewhere" / "e.png", hand(0).image)
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "elsewhere")
    sources = [s.source for s in Folder(tmp_path / "photos")]
    assert sources == ["folder/a.png", "folder/c/d.png", "folder/linked/e.png"]


def test_a_name_that_is_no_text(tmp_path):
    write_image(tmp_path / "a.png", hand(0).image)
    (tmp_path / "a.png").rename(tmp_path / os.fsdecode(b"caf\xe9.png"))
    (sample,) = Folder(tmp_path)
    assert sample.source == "folder/caf\\xe9.png"


def test_a_video_that_opencv_would_fall_over_is_one_line(tmp_path):
    write_video(tmp_path / "film.mp4", 5).rename(tmp_path / os.fsdecode(b"caf\xe9.mp4"))
    with pytest.raises(ValueError, match=r"caf\\xe9\.mp4: a video whose name is not UTF-8"):
        Folder(tmp_path / os.fsdecode(b"caf\xe9.mp4"))
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(ValueError, match=r"pipe\.mp4 is neither a folder nor a video"):
        Folder(tmp_path / "pipe.mp4")
