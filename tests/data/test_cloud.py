"""Points of stored hands."""

import numpy as np
import torch

from auxhand.data import cloud
from auxhand.data.cloud import REACH
from auxhand.data.columns import PARTS, decode_depth, decode_mask, encode_depth, encode_png
from auxhand.data.stored import Stored
from auxhand.geometry.camera import project


def surface(row):
    return cloud.surface(Stored(row))


def random_surface(row, points, rng):
    return cloud.random_surface(Stored(row), points, rng)


def test_the_arm_is_no_part_of_a_cloud(hand_row):
    row = hand_row(1)
    mask = decode_mask(row["mask"])
    parts = np.where(mask > 0, 1, 0).astype(np.uint8)
    parts[: len(parts) // 2] *= PARTS.index("arm")
    with_parts = surface({**row, "parts": encode_png(parts)})
    depth = decode_depth(row["depth"])
    assert len(with_parts) == ((depth > 0) & (parts == 1)).sum() < len(surface(row))
    assert surface({**row, "depth": None}) is None
    assert surface({**row, "mask": encode_png(np.zeros_like(parts))}) is None


def test_points_are_those_of_the_depth_map(hand_row):
    row = hand_row(0)
    whole = surface(row)
    K = torch.tensor(row["K"], dtype=torch.float64).view(3, 3)
    u, v = project(K, whole).round().long().T
    stored = torch.from_numpy(decode_depth(row["depth"])).double()
    torch.testing.assert_close(whole[:, 2], stored[v, u])
    assert len(whole) == int((stored > 0).sum())


def test_every_step_sees_other_points(hand_row):
    row = hand_row(0)
    whole = {tuple(p) for p in surface(row).tolist()}
    first, second, again = (
        {tuple(p) for p in random_surface(row, 50, np.random.default_rng(seed)).tolist()}
        for seed in (1, 2, 1)
    )
    assert len(first) == 50
    assert first | second <= whole
    assert first == again != second


def test_without_a_region_the_hand_is_what_is_near_its_joints(hand_row):
    row = hand_row(0)
    depth = decode_depth(row["depth"])
    wall = np.where(depth > 0, depth, 1.2).astype(np.float32)  # metres behind the hand
    bare = {**row, "mask": None, "depth": encode_depth(wall)}
    near, joints = surface(bare), torch.tensor(row["joints_xyz"], dtype=torch.float64).view(21, 3)
    assert torch.cdist(near, joints).amin(1).max() < REACH
    assert 0.5 * len(surface(row)) < len(near) <= len(surface(row))
    assert surface({**bare, "joints_xyz": None}) is None
