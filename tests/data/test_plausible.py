"""Labels that cannot be are named; those of rendered hands are not."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from miniature import SIZE, array, hand
from PIL import Image

from auxhand.data.plausible import problems, problems_of_rows
from auxhand.data.store import PreparedDataset, shard_path, write_description, write_shard
from auxhand.sample import HandSample


def good(index=0):
    one = hand(index)
    return HandSample(
        image=torch.zeros(3, SIZE, SIZE),
        K=torch.from_numpy(one.K),
        joints_uv=torch.from_numpy(array(one.uv)),
        joints_xyz=torch.from_numpy(array(one.xyz)),
        joint_valid=torch.ones(21, dtype=torch.bool),
    )


def changed(name, joint, value):
    joints = getattr(good(), name).clone()
    joints[joint] = torch.as_tensor(value, dtype=joints.dtype)
    return {name: joints}


@pytest.mark.parametrize("index", range(6))
def test_rendered_hands_are_possible(index):
    assert problems(good(index)) == []


CASES = {
    "metres were taken for millimetres": lambda s: {"joints_xyz": s.joints_xyz / 1000},
    "millimetres were taken for metres": lambda s: {"joints_xyz": s.joints_xyz * 1000},
    "all 3D joints are zero": lambda s: {"joints_xyz": s.joints_xyz * 0},
    "wrist, thumb_cmc, thumb_mcp and 18 more: behind the camera": lambda s: {
        "joints_xyz": s.joints_xyz * -1
    },
    "thumb_tip: behind the camera": lambda s: changed("joints_xyz", 4, [0, 0, -1]),
    "thumb_tip: more than 100 m away": lambda s: changed("joints_xyz", 4, [0, 0, 1e12]),
    "middle_tip: 3D position is not a number": lambda s: changed("joints_xyz", 12, [0, np.nan, 1]),
    "between 0 and 1": lambda s: {"joints_uv": s.joints_uv / SIZE},
    f"outside the image of {SIZE} x {SIZE}": lambda s: {"joints_uv": s.joints_uv + 2 * SIZE},
    "in one point": lambda s: {"joints_uv": s.joints_uv * 0 + 40},
    "wrist: 2D position is more than 1e+06 pixels away": lambda s: changed(
        "joints_uv", 0, [1e12, 3]
    ),
    "index_tip: 2D position is not a number": lambda s: changed("joints_uv", 8, [np.inf, 3]),
    "focal lengths 0, 0": lambda s: {"K": s.K * 0},
    "K is not finite": lambda s: {"K": s.K * np.nan},
    "47.5, 47.5, 1 as its last row, not 0, 0, 1: perhaps it is turned": lambda s: {"K": s.K.T},
}


@pytest.mark.parametrize("words", CASES)
def test_what_cannot_be_is_named(words):
    (said,) = problems(replace(good(), **CASES[words](good())))
    assert words in said


def test_all_that_is_wrong_is_said():
    sample = good()
    wrong = replace(sample, K=sample.K * 0, joints_uv=sample.joints_uv / SIZE)
    assert len(problems(wrong)) == 2


@given(st.sampled_from([9, 10, 4]), st.sampled_from([np.nan, np.inf, 0.0, 1e12]))
def test_what_is_not_labelled_is_not_looked_at(joint, value):
    sample = good()
    for name in ("joints_uv", "joints_xyz"):
        joints = getattr(sample, name).clone()
        joints[joint] = value
        sample = replace(sample, **{name: joints})
    valid = sample.joint_valid.clone()
    valid[joint] = False
    assert problems(replace(sample, joint_valid=valid)) == []
    assert problems(replace(sample, joint_valid=torch.zeros(21, dtype=torch.bool))) == []


@pytest.mark.parametrize(("length", "fine"), [(0.0099, 0), (0.0101, 1), (0.0999, 1), (0.101, 0)])
def test_the_bounds_of_the_bone(length, fine):
    xyz = good().joints_xyz.clone()
    direction = (xyz[10] - xyz[9]) / (xyz[10] - xyz[9]).norm()
    xyz[10] = xyz[9] + length * direction
    assert (problems(replace(good(), joints_xyz=xyz)) == []) == bool(fine)


@pytest.mark.parametrize("kind", ["junk", "huge", "header alone"])
def test_a_picture_that_cannot_be_is_named(tmp_path, kind):
    data = b"junk"
    if kind != "junk":
        picture = io.BytesIO()
        Image.new("1", (20_000, 20_000) if kind == "huge" else (8, 8)).save(picture, "PNG")
        data = picture.getvalue()[: None if kind == "huge" else 20]
    write_shard(shard_path(tmp_path, 0), [{"index": 0, "image": data}])
    write_description(tmp_path, 1)
    with pytest.raises(ValueError, match=r", row 0: its image is damaged, or too large$"):
        problems_of_rows(PreparedDataset(tmp_path))
