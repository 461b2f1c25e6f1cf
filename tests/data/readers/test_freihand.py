"""FreiHAND, written from rendered hands, and its real evaluation images."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from miniature import (
    array,
    assert_like,
    hand,
    reprojected,
    shown,
    truncate,
    write_image,
    write_json,
)

from auxhand.data.readers.freihand import FreiHAND

REALDATA = Path(__file__).parents[3] / "../shared/realdata"
REAL = REALDATA / "freihand-eval" / "FreiHAND_testset"
SAMPLES = REALDATA / "dataset-samples" / "freihand"


def right(index: int):
    """A rendered right hand; `index` counts those alone."""
    return [h for h in map(hand, range(8)) if h.side == "right"][index]


MANO = np.arange(61.0) / 61


def write(root: Path, backgrounds: int = 4) -> Path:
    for i in range(2):
        for b in range(backgrounds):
            image = right(i).image // (b + 1)
            write_image(root / "training" / "rgb" / f"{i + 2 * b:08d}.jpg", image)
        mask = np.repeat(right(i).mask[..., None], 3, 2).astype(np.uint8) * 255
        write_image(root / "training" / "mask" / f"{i:08d}.jpg", mask)
        write_image(root / "evaluation" / "rgb" / f"{i:08d}.jpg", right(i).image)
    write_json(root / "training_K.json", [right(i).K.tolist() for i in range(2)])
    write_json(root / "training_xyz.json", [array(right(i).xyz).tolist() for i in range(2)])
    write_json(root / "training_mano.json", [[MANO.tolist()] for _ in range(2)])
    write_json(root / "evaluation_K.json", [right(i).K.tolist() for i in range(2)])
    write_json(root / "evaluation_scale.json", [0.03, 0.04])
    return root


def test_every_frame_comes_with_every_background(tmp_path):
    reader = FreiHAND(write(tmp_path), "training")
    assert len(reader) == 8
    for index in range(8):
        sample, one = reader[index], right(index % 2)
        assert_like(shown(sample), one.image // (index // 2 + 1))
        np.testing.assert_allclose(sample.joints_xyz, array(one.xyz), atol=1e-12)
        np.testing.assert_allclose(sample.joints_uv, array(one.uv), atol=1e-6)
        np.testing.assert_allclose(reprojected(sample), sample.joints_uv, atol=1e-9)
        assert (sample.mask.numpy() == one.mask).mean() > 0.99
        np.testing.assert_allclose(sample.mano, MANO[:58])
        assert (sample.side, sample.depth) == ("right", None)
        assert sample.source == f"freihand/training/{index:08d}"


def test_a_part_of_the_release_is_read_as_it_is(tmp_path):
    assert len(FreiHAND(write(tmp_path, backgrounds=1), "training")) == 2
    (write(tmp_path) / "training" / "rgb" / "00000007.jpg").unlink()
    reader = FreiHAND(tmp_path, "training")
    assert len(reader) == 8
    with pytest.raises(FileNotFoundError, match=r"rgb/00000007\.jpg"):
        reader[7]


def test_it_ends(tmp_path):
    assert [s.source[-1] for s in FreiHAND(write(tmp_path), "training")] == list("01234567")


def test_the_evaluation_split_may_be_without_labels(tmp_path):
    reader = FreiHAND(write(tmp_path), "evaluation")
    assert len(reader) == 2
    np.testing.assert_allclose(reader.scale, [0.03, 0.04])
    assert reader[1].joints_xyz is reader[1].joints_uv is reader[1].mano is reader[1].mask is None
    np.testing.assert_allclose(reader[1].K, right(1).K)
    xyz = [array(right(i).xyz).tolist() for i in range(2)]
    write_json(tmp_path / "evaluation_xyz.json", xyz)
    labelled = FreiHAND(tmp_path, "evaluation")[1]
    np.testing.assert_allclose(labelled.joints_uv, array(right(1).uv), atol=1e-6)


def test_mistakes_name_the_file_and_the_layout(tmp_path):
    write(tmp_path)
    with pytest.raises(ValueError, match="no split 'test'"):
        FreiHAND(tmp_path, "test")
    truncate(tmp_path / "evaluation" / "rgb" / "00000001.jpg")
    with pytest.raises(ValueError, match=r"00000001\.jpg: a truncated JPEG"):
        FreiHAND(tmp_path, "evaluation")[1]
    write_json(tmp_path / "training_mano.json", [[[0.0] * 60], [[0.0] * 61]])
    with pytest.raises(ValueError, match=r"training_mano\.json, entry 0: .*\(1, 61\)"):
        FreiHAND(tmp_path, "training")
    write_json(tmp_path / "training_mano.json", [[[0.0] * 61]])
    with pytest.raises(ValueError, match=r"training_mano\.json has 1 entries, not 2"):
        FreiHAND(tmp_path, "training")
    truncate(tmp_path / "training_xyz.json")
    with pytest.raises(ValueError, match=r"training_xyz\.json is no JSON"):
        FreiHAND(tmp_path, "training")
    (tmp_path / "training_K.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"(?s)no training_K\.json;.*FreiHAND_pub"):
        FreiHAND(tmp_path, "training")


@pytest.mark.skipif(not REAL.is_dir(), reason="the real images are not beside the checkout")
def test_real_evaluation_images():
    reader = FreiHAND(REAL, "evaluation")
    assert len(reader) >= 200
    sample = reader[57]
    assert sample.image.shape == (3, 224, 224)
    assert torch.linalg.det(sample.K) > 0
    assert 0.02 < reader.scale[57] < 0.06


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the real images are not beside the checkout")
def test_every_32560th_real_training_image_shows_the_same_frame():
    stored = json.loads((SAMPLES / "test_freihand.json").read_text())["annotations"]
    keypoints = {one["image_id"]: one["keypoints"] for one in stored}
    for first in (355, 17620):
        frames = [n for n in sorted(keypoints) if n % 32560 == first]
        assert len(frames) == 4
        assert all(keypoints[a] == keypoints[b] for a, b in pairwise(frames))
