import numpy as np
import pytest
import torch

from auxhand.geometry.camera import project
from auxhand.geometry.cloud import depth_to_cloud, farthest_points, random_points, voxels

K = torch.tensor([[50.0, 0.0, 7.5], [0.0, 60.0, 5.5], [0.0, 0.0, 1.0]])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_depth_to_cloud_against_the_formula():
    depth = torch.rand(12, 16, generator=seeded()) + 0.5
    depth[3:6, 2:9] = 0.0
    mask = (torch.rand(12, 16, generator=seeded(1)) > 0.5).float()
    v, u = np.nonzero((depth.numpy() > 0) & (mask.numpy() > 0.5))
    z = depth.numpy()[v, u]
    expected = np.stack([(u - 7.5) / 50 * z, (v - 5.5) / 60 * z, z], axis=-1)
    cloud = depth_to_cloud(depth, K, mask)
    np.testing.assert_allclose(cloud.numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(project(K, cloud).numpy(), np.stack([u, v], -1), atol=1e-4)
    assert torch.equal(depth_to_cloud(depth, K, mask.bool()), cloud)
    assert len(depth_to_cloud(depth, K)) == (depth > 0).sum()
    assert depth_to_cloud(torch.zeros(4, 4), K).shape == (0, 3)


def test_depth_to_cloud_is_differentiable():
    depth = (torch.rand(3, 4, generator=seeded()) + 0.5).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda d: depth_to_cloud(d, K.double()), (depth,))


@pytest.mark.parametrize(("n", "size"), [(5, 9), (9, 9), (20, 9), (0, 9), (7, 1)])
def test_random_points_take_each_as_often(n, size):
    cloud = torch.arange(3.0 * size).view(size, 3)
    chosen = random_points(cloud, n, seeded())
    assert chosen.shape == (n, 3)
    counts = (chosen[:, None] == cloud).all(-1).sum(0)
    assert counts.sum() == n
    assert counts.max() - counts.min() <= 1
    assert torch.equal(chosen, random_points(cloud, n, seeded()))


def test_random_points_are_random():
    cloud = torch.rand(100, 3, generator=seeded())
    assert not torch.equal(random_points(cloud, 10, seeded(1)), random_points(cloud, 10, seeded(2)))


def test_farthest_points_are_ever_the_farthest():
    cloud = torch.rand(60, 3, generator=seeded())
    chosen = farthest_points(cloud, 12, seeded(1))
    for i in range(1, 12):
        nearest = torch.cdist(cloud, chosen[:i]).amin(1)
        torch.testing.assert_close(torch.cdist(chosen[i, None], chosen[:i]).amin(), nearest.max())
    assert torch.equal(chosen, farthest_points(cloud, 12, seeded(1)))
    everything = farthest_points(cloud, 80, seeded())
    assert len(everything) == 80
    assert len(everything.unique(dim=0)) == 60


@pytest.mark.parametrize("choose", [random_points, farthest_points])
def test_mistakes_are_named(choose):
    with pytest.raises(ValueError, match="N > 0"):
        choose(torch.zeros(0, 3), 5)
    with pytest.raises(ValueError, match="a cloud must have shape"):
        choose(torch.zeros(5, 2), 5)
    with pytest.raises(ValueError, match="depth must have shape"):
        depth_to_cloud(torch.zeros(1, 4, 4), K)
    with pytest.raises(ValueError, match="mask must have shape"):
        depth_to_cloud(torch.zeros(4, 4), K, torch.zeros(4, 5))


def test_voxels_against_a_histogram():
    cloud = torch.randn(500, 3, generator=seeded(), dtype=torch.float64)
    center = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
    edges = [np.linspace(c - 0.8, c + 0.8, 9) for c in center.tolist()]
    counts, _ = np.histogramdd(cloud.numpy(), edges)
    grid = voxels(cloud, center, 1.6, 8)
    np.testing.assert_array_equal(grid.numpy(), counts > 0)
    assert not voxels(cloud[:0], center, 1.6, 8).any()


@pytest.mark.parametrize(("side", "n"), [(0.0, 4), (1.0, 0)])
def test_voxels_need_a_cube(side, n):
    with pytest.raises(ValueError, match="a grid needs"):
        voxels(torch.zeros(1, 3), torch.zeros(3), side, n)
