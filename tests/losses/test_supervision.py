"""Eq. 7.1 on a batch of which not all is labelled, and the depth that it is about."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from auxhand.geometry.pose25d import relative
from auxhand.losses.consistency import MultiModal, multimodal_distance
from auxhand.losses.supervision import labelled_joints, multimodal_loss, relative_depth
from auxhand.sample import HandSample

SIZE = 32


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def sample(seed, **fields):
    """A hand of random joints half a metre away, with a depth map of the size of its crop."""
    xyz = 0.1 * random(21, 3, seed=seed) + torch.tensor([0.0, 0.0, 0.5])
    given = {
        "image": random(3, SIZE, SIZE, seed=seed),
        "joints_uv": SIZE * random(21, 2, seed=seed + 1),
        "joints_xyz": xyz,
        "depth": 0.5 + 0.1 * random(SIZE, SIZE, seed=seed + 2),
        "mask": (random(SIZE, SIZE, seed=seed + 3) > 0.6).float(),
    }
    return HandSample(**given | fields)


def batch_of(*samples):
    return HandSample.collate(samples)


def said(count=2, cells=SIZE, seed=50):
    shapes = ((count, 21, 2), (count, 21), (count, cells, cells), (count, cells, cells))
    values = [random(*shape, seed=seed + k) for k, shape in enumerate(shapes)]
    return MultiModal(SIZE * values[0], *values[1:])


def test_depth_is_below_the_root_in_reference_lengths_where_the_hand_is_seen():
    depth = 0.5 + 0.1 * random(SIZE, SIZE)
    depth[0, :5] = 0.0  # no value
    batch = batch_of(sample(0, depth=depth), sample(10, depth=None), sample(20, mask=None))
    found, known = relative_depth(batch)
    assert known.tolist() == [True, False, False]
    xyz, mask = batch.joints_xyz[0], batch.mask[0]
    length = (xyz[10] - xyz[9]).norm()
    expected = torch.where((mask > 0) & (depth > 0), (depth - xyz[9, 2]) / length, 0.0)
    assert_close(found[0], expected)
    assert found[1:].abs().max() == 0
    untrusted = torch.ones(21, dtype=torch.bool)
    untrusted[9] = False
    assert relative_depth(batch_of(sample(0, joint_valid=untrusted)))[1].tolist() == [False]


def test_where_all_is_labelled_it_is_the_mean_of_the_distances():
    batch = batch_of(sample(0), sample(10))
    truth = MultiModal(
        batch.joints_uv, relative(batch.joints_xyz)[..., 2], batch.mask, relative_depth(batch)[0]
    )
    y = said()
    expected = multimodal_distance(y, truth, SIZE, 30.0, 20.0, 10.0).mean()
    assert_close(multimodal_loss(y, batch, 30.0, 20.0, 10.0), expected)


def test_what_is_not_labelled_does_not_count():
    nothing = torch.zeros(21, dtype=torch.bool)
    other = sample(10, joint_valid=nothing, depth=None, mask=None)
    assert labelled_joints(batch_of(sample(0), other)).sum(dim=1).tolist() == [21, 0]
    y = said()
    alone = multimodal_loss(MultiModal(*(v[:1] for v in y)), batch_of(sample(0)))
    assert_close(multimodal_loss(y, batch_of(sample(0), other)), alone)
    assert multimodal_loss(y, batch_of(other, other)) == 0


def test_labels_are_averaged_down_to_the_maps():
    batch, y = batch_of(sample(0), sample(10)), said(cells=8)
    truth = relative_depth(batch)[0].reshape(2, 8, 4, 8, 4).mean(dim=(2, 4))
    without = multimodal_loss(y, batch, map_weight=0.0)
    expected = 50 * (y.depth - truth).abs().mean()
    assert (multimodal_loss(y, batch) - without).item() == pytest.approx(expected.item(), rel=1e-4)


def test_gradients():
    batch = batch_of(sample(0), sample(10))
    fields = {
        name: getattr(batch, name).double()
        for name in ("image", "joints_uv", "joints_xyz", "depth", "mask")
    }
    batch = replace(batch, **fields)
    y = [value.double().requires_grad_() for value in said(cells=4)]
    assert torch.autograd.gradcheck(
        lambda *t: multimodal_loss(MultiModal(*t), batch), y, fast_mode=True
    )
