"""RHD, written from rendered hands by the names of its joints."""

from pathlib import Path

import numpy as np
import pytest
from miniature import RHD as NAMES
from miniature import (
    SIZE,
    array,
    assert_like,
    hand,
    reprojected,
    shown,
    truncate,
    write_image,
    write_pickle,
)

from auxhand.data.readers.rhd import RHD

FINGERS = ("thumb", "index", "middle", "ring", "pinky")


def write(root: Path, count: int = 3) -> Path:
    """Each picture has our hand, and beside it the other hand in four pixels."""
    annotations = {}
    for i in range(count):
        one = hand(i)
        first, offset = ("left", 2) if one.side == "left" else ("right", 18)
        other = 18 if first == "left" else 2
        mask = np.where(one.mask, offset + 3, 1).astype(np.uint8)
        mask[:2, :2] = other
        steps = np.round(one.depth / 5 * 65535).astype(np.uint16)
        depth = np.stack([steps >> 8, steps & 255, np.zeros_like(steps)], -1).astype(np.uint8)
        for folder, image in (("color", one.image), ("depth", depth), ("mask", mask)):
            write_image(root / "training" / folder / f"{i:05d}.png", image)
        seen = np.arange(21) % 3 > 0
        ours = np.concatenate([array(one.uv, NAMES), seen[:, None]], 1), array(one.xyz, NAMES)
        nothing = np.zeros((21, 3)), np.ones((21, 3))
        left, right = (ours, nothing) if first == "left" else (nothing, ours)
        uv_vis, xyz = (
            np.concatenate(pair).astype(np.float32) for pair in zip(left, right, strict=True)
        )
        annotations[i] = {"uv_vis": uv_vis, "xyz": xyz, "K": one.K.astype(np.float32)}
    write_pickle(root / "training" / "anno_training.pickle", annotations)
    return root


def test_reads_what_was_written(tmp_path):
    reader = RHD(write(tmp_path), "training")
    assert len(reader) == 3
    assert {hand(i).side for i in range(3)} == {"left", "right"}
    for i in range(3):
        sample, one = reader[i], hand(i)
        assert sample.side == one.side
        assert sample.source == f"rhd/training/{i:05d}"
        np.testing.assert_allclose(sample.joints_xyz, array(one.xyz), atol=1e-6)
        np.testing.assert_allclose(sample.joints_uv, array(one.uv), atol=1e-3)
        np.testing.assert_allclose(reprojected(sample), sample.joints_uv, atol=1e-2)
        seen = dict(zip(NAMES, np.arange(21) % 3 > 0, strict=True))
        np.testing.assert_array_equal(sample.joint_visible, array(seen))
        assert sample.joint_valid.all()
        assert_like(shown(sample), one.image, 0.01)
        np.testing.assert_allclose(sample.depth, one.depth, atol=4e-5)
        kept = one.mask.copy()
        kept[:2, :2] = False
        np.testing.assert_array_equal(sample.mask, kept)
        assert sample.mano is None


def test_mistakes_name_the_file_and_the_layout(tmp_path):
    with pytest.raises(FileNotFoundError, match="RHD_published_v2"):
        RHD(tmp_path / "none", "training")
    with pytest.raises(FileNotFoundError, match=r"(?s)has no evaluation.*anno_evaluation"):
        RHD(write(tmp_path), "evaluation")
    with pytest.raises(ValueError, match="no split 'test'; it has: training, evaluation"):
        RHD(tmp_path, "test")
    depth = tmp_path / "training" / "depth" / "00000.png"
    write_image(depth, np.zeros((SIZE, SIZE), np.uint8))
    with pytest.raises(ValueError, match=r"depth/00000\.png: expected depth in three channels"):
        RHD(tmp_path, "training")[0]
    write_image(depth, np.zeros((SIZE, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"depth/00000\.png is 8 x 96 .* 96 x 96"):
        RHD(tmp_path, "training")[0]
    truncate(tmp_path / "training" / "color" / "00001.png")
    with pytest.raises(ValueError, match=r"color/00001\.png: a truncated image"):
        RHD(tmp_path, "training")[1]
    (tmp_path / "training" / "mask" / "00002.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"mask/00002\.png"):
        RHD(tmp_path, "training")[2]
    one = hand(0)
    bad = {0: {"uv_vis": np.zeros((21, 3)), "xyz": np.zeros((42, 3)), "K": one.K}}
    write_pickle(tmp_path / "training" / "anno_training.pickle", bad)
    with pytest.raises(ValueError, match=r"anno_training\.pickle, sample 0: .*\(42, 3\)"):
        RHD(tmp_path, "training")[0]
    truncate(tmp_path / "training" / "anno_training.pickle")
    with pytest.raises(ValueError, match=r"anno_training\.pickle is no pickle"):
        RHD(tmp_path, "training")
