"""What becomes of a reader's samples, and what is found in a dataset."""

import numpy as np
import pytest
import torch
from miniature import array, assert_like, hand, shown

from auxhand.data.convert import Findings, evenly, look, prepare
from auxhand.data.crops import CropRule
from auxhand.sample import HandSample


def test_a_left_hand_is_stored_as_it_is_and_masks_place_crops():
    one = next(h for h in map(hand, range(8)) if h.side == "left")
    sample = HandSample(
        image=torch.from_numpy(one.image).permute(2, 0, 1) / 255,
        K=torch.from_numpy(one.K),
        side="left",
        joints_uv=torch.from_numpy(array(one.uv)),
        joints_xyz=torch.from_numpy(array(one.xyz)),
        mask=torch.from_numpy(one.mask.astype(np.float32)),
        depth=torch.from_numpy(one.depth.astype(np.float32)),
    )
    row = prepare(sample, CropRule("mask", 1.0), size=96, margin=1.0)
    assert row["side"] == "left"
    np.testing.assert_allclose(row["joints_xyz"], array(one.xyz))
    rows, columns = np.nonzero(row["mask"])
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(96, abs=2)
    seen = row["depth"][row["mask"]]
    assert (seen > 0).mean() > 0.95
    assert np.median(seen[seen > 0]) == pytest.approx(np.median(one.depth[one.mask]), rel=0.02)


def test_photos_without_labels_are_kept_whole():
    one = hand(0)
    image = torch.from_numpy(one.image).permute(2, 0, 1) / 255
    row = prepare(HandSample(image=image, source="photo"), CropRule("joints", 0.8))
    assert_like(row["image"], shown(HandSample(image=image)), 0.01)
    assert row["joints_uv"] is row["presence"] is row["mask"] is None
    with pytest.raises(ValueError, match="photo: no image"):
        prepare(HandSample(source="photo"), CropRule("joints", 0.8))


def test_a_wrong_camera_shows_in_what_is_found():
    def sample(index: int, off: float) -> HandSample:
        one = hand(index)
        return HandSample(
            K=torch.from_numpy(one.K + np.array([[0, 0, off], [0, 0, 0], [0, 0, 0]])),
            joints_uv=torch.from_numpy(array(one.uv)),
            joints_xyz=torch.from_numpy(array(one.xyz)),
        )

    for off in (0.0, 5.0):
        findings = Findings()
        list(look([sample(i, off) for i in range(3)], evenly(3, 2), findings))
        assert findings.looked == 2
        assert findings.fields == {"K": 2, "joints_uv": 2, "joints_xyz": 2}
        np.testing.assert_allclose(findings.reprojection, off, atol=1e-6)


def test_a_joint_that_is_no_number_does_not_hide_how_far_the_others_are():
    one = hand(0)
    uv = torch.from_numpy(array(one.uv)).clone()
    uv[3], uv[5, 0] = torch.nan, uv[5, 0] + 2
    xyz = torch.from_numpy(array(one.xyz))
    findings = Findings()
    broken = HandSample(K=torch.from_numpy(one.K), joints_uv=uv, joints_xyz=xyz, source="a")
    list(look([broken], [0], findings))
    assert findings.reprojection == pytest.approx([2.0])
    assert findings.problems == ["row 0 (a): thumb_ip: 2D position is not a number"]
