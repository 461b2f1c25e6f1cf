"""Frames of videos that are made here: their order, time, orientation, and what is broken."""

from fractions import Fraction

import av
import numpy as np
import pytest

from auxhand.inference.video import Video

RED, BLUE = (220, 20, 20), (20, 20, 220)


def picture(share):
    """96 x 64, its left part red, the rest blue."""
    pixels = np.full((64, 96, 3), BLUE, np.uint8)
    pixels[:, : round(96 * share)] = RED
    return pixels


def write(path, shares, times=None, codec="libx264"):
    """A video with a frame of each share of red, at times in milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.gop_size = 1
        for share, time in zip(shares, times or range(0, 100 * len(shares), 100), strict=True):
            frame = av.VideoFrame.from_ndarray(picture(share), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turn(path, matrix):
    """Write a display matrix into an MP4's track header: 40 bytes of version 0, then nine words."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = b"".join(int(v).to_bytes(4, "big", signed=True) for v in matrix)
    path.write_bytes(bytes(data))


def packets(path):
    """Where each frame begins in the file, and its bytes."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def red_share(pixels):
    return float((pixels[..., 0] > 120).mean())


def test_frames_come_in_order_with_their_times(tmp_path):
    shares, times = [0.25, 0.5, 0.75, 0.5], [0, 40, 400, 2000]
    video = Video(write(tmp_path / "v.mp4", shares, times))
    frames = list(video)
    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    assert [frame.time for frame in frames] == pytest.approx([0, 0.04, 0.4, 2.0], abs=1e-3)
    assert [red_share(frame.pixels) for frame in frames] == pytest.approx(shares, abs=0.03)
    assert frames[0].pixels.shape == (64, 96, 3)
    assert video.broken == 0
    assert video.seconds >= 2.0
    assert len(list(video)) == 4  # a second time


def test_frames_are_taken_by_time_not_by_number(tmp_path):
    video = Video(write(tmp_path / "v.mp4", [0.5] * 6, [0, 10, 20, 500, 510, 1500]), every=0.5)
    assert [frame.number for frame in video] == [0, 3, 5]


ONE = 1 << 16


@pytest.mark.parametrize(
    ("matrix", "shape", "red_at"),
    [
        ((0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30), (96, 64), (5, 32)),  # phone upright: clockwise
        ((0, -ONE, 0, ONE, 0, 0, 0, 0, 1 << 30), (96, 64), (90, 32)),  # counterclockwise
        ((-ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30), (64, 96), (32, 90)),
    ],
)
def test_rotation_in_the_metadata_is_applied(tmp_path, matrix, shape, red_at):
    """Red is at the left of what is stored: at the top where that is turned clockwise."""
    path = write(tmp_path / "v.mp4", [0.25])
    turn(path, matrix)
    (frame,) = Video(path)
    assert frame.pixels.shape[:2] == shape
    assert frame.pixels[red_at][0] > 120
    assert red_share(frame.pixels) == pytest.approx(0.25, abs=0.03)


def test_broken_frames_are_skipped_and_counted(tmp_path):
    path = write(tmp_path / "v.avi", [0.5] * 8, codec="ffv1")
    whole = path.read_bytes()
    broken, places = bytearray(whole), packets(path)
    for number in (2, 5):
        at, size = places[number]
        broken[at + 8 : at + 8 + size - 10] = bytes(size - 10)
    path.write_bytes(bytes(broken))
    video = Video(path)
    assert len(list(video)) + video.broken == 8
    assert video.broken == 2


def test_a_truncated_file_gives_what_is_there(tmp_path):
    path = write(tmp_path / "v.avi", [0.5] * 8, codec="ffv1")
    path.write_bytes(path.read_bytes()[: packets(path)[5][0]])
    assert len(list(Video(path))) == 5


@pytest.mark.parametrize("content", [b"", b"no video", b"\x00" * 4096])
def test_what_is_no_video_costs_one_line(tmp_path, content):
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"v\.mp4: no video that can be read"):
        Video(path)
    with pytest.raises(FileNotFoundError):
        Video(tmp_path / "none.mp4")
