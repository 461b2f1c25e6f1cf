"""Erasure, salt and pepper of depth maps: how much of them, and what they leave alone."""

import pytest
import torch

from auxhand.data.depth_texture import DepthTexture


def maps(count=400, size=32):
    depth = torch.linspace(-1, 2, size * size).reshape(size, size)
    return depth.repeat(count, 1, 1)


def textured(seed=0, depth=None, **options):
    depth = maps() if depth is None else depth
    return DepthTexture(**options)(depth, torch.Generator().manual_seed(seed))


def test_erased_rectangles_have_their_share_and_their_sides():
    found = textured(noise=0.0, erase_share=0.5, smallest=0.25, largest=0.5)
    gone = (found == 0) & (maps() != 0)
    hit = gone.flatten(1).any(1)
    assert hit.float().mean().item() == pytest.approx(0.5, abs=0.08)
    for one in gone[hit]:
        rows, columns = one.any(1), one.any(0)
        assert torch.equal(one, rows[:, None] & columns[None])
        for side in (rows.sum(), columns.sum()):
            assert 0.25 * 32 - 1 <= side <= 0.5 * 32 + 1
    assert torch.equal(found[~hit], maps()[~hit])


def test_salt_and_pepper_are_the_extremes():
    found = textured(erase_share=0.0, noise=0.2)
    changed = found != maps()
    assert set(found[changed].tolist()) == {-1.0, 2.0}
    assert changed.float().mean().item() == pytest.approx(0.1, abs=0.02)  # uniform from 0
    assert 0.18 < changed.flatten(1).float().mean(1).max() < 0.25
    salt = (found[changed] == 2).float().mean().item()
    assert salt == pytest.approx(0.5, abs=0.05)


def test_nothing_stays_nothing_and_the_seed_decides():
    assert textured(depth=torch.zeros(5, 8, 8)).abs().max() == 0
    assert torch.equal(textured(seed=3), textured(seed=3))
    assert not torch.equal(textured(seed=3), textured(seed=4))
    assert torch.equal(textured(erase_share=0.0, noise=0.0), maps())
