import cv2
import numpy as np
import pytest

from auxhand.data.background import (
    Backgrounds,
    composite,
    linear_to_srgb,
    srgb_to_linear,
)


def write_photo(path, color, size=(60, 90)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), color[::-1], np.uint8))


def test_transfer_function_is_srgb():
    x = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(x)), x, atol=2e-4)
    # Values of IEC 61966-2-1: mid grey 0.5 is 0.21404 of white's light, 0.02 is on the linear part.
    np.testing.assert_allclose(
        srgb_to_linear(np.array([0, 0.02, 0.5, 1])), [0, 0.02 / 12.92, 0.2140411, 1], atol=2e-5
    )
    assert srgb_to_linear(np.float32([0.5])).dtype == np.float32
    np.testing.assert_array_equal(srgb_to_linear(np.array([-0.1, 1.1])), [0, 1])


def test_composite_mixes_light():
    rng = np.random.default_rng(0)
    rgba = rng.random((5, 6, 4), np.float32)
    rgba[0, :, 3], rgba[1, :, 3] = 0, 1
    behind = rng.random((5, 6, 3), np.float32)
    result = composite(rgba, behind)
    np.testing.assert_allclose(result[0], behind[0], atol=2e-4)
    np.testing.assert_allclose(result[1], rgba[1, :, :3], atol=2e-4)
    alpha = rgba[..., 3:].astype(float)
    light = alpha * srgb_to_linear(rgba[..., :3]) + (1 - alpha) * srgb_to_linear(behind)
    np.testing.assert_allclose(srgb_to_linear(result), light, atol=1e-4)
    # Half a white over black is as bright as half of white's light, 188 of 255, not 128.
    half = np.full((1, 1, 4), (255, 255, 255, 128), np.uint8)
    assert abs(composite(half, np.zeros((1, 1, 3), np.float32))[0, 0, 0] * 255 - 188) < 1
    with pytest.raises(ValueError, match="sizes differ"):
        composite(rgba, behind[:4])


@pytest.mark.parametrize("size", [64, (48, 80)])
def test_backgrounds_are_pictures_and_functions_of_the_seed(tmp_path, size):
    write_photo(tmp_path / "a.png", (10, 200, 30))
    for source in (Backgrounds(), Backgrounds(tmp_path, photo_share=1.0)):
        shape = (64, 64, 3) if size == 64 else (48, 80, 3)
        seen = set()
        for seed in range(30):
            image = source.sample(np.random.default_rng(seed), size)
            assert (image.shape, image.dtype) == (shape, np.float32)
            assert image.min() >= 0
            assert image.max() <= 1
            assert np.array_equal(image, source.sample(np.random.default_rng(seed), size))
            seen.add(image.tobytes())
        assert len(seen) > 15


def test_photos_are_found_kept_small_and_used(tmp_path):
    write_photo(tmp_path / "deep/er/b.jpg", (250, 0, 0), (800, 1000))
    write_photo(tmp_path / "a.PNG", (0, 0, 250))
    (tmp_path / "LICENSE.txt").write_text("free")
    source = Backgrounds(tmp_path, photo_share=1.0, distractor_share=0.0)
    assert [p.shape for p in source.photos] == [(60, 90, 3), (384, 480, 3)]
    assert tuple(source.photos[0][0, 0]) == (0, 0, 250)
    image = source.sample(np.random.default_rng(0), 32)
    assert np.ptp(image.reshape(-1, 3), axis=0).max() < 0.05  # one flat colour, however recoloured


def test_bad_folders_are_said_plainly(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder of backgrounds"):
        Backgrounds(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no pictures"):
        Backgrounds(tmp_path)
    (tmp_path / "bad.jpg").write_text("text with a picture's name")
    with pytest.raises(ValueError, match=r"bad\.jpg cannot be read"):
        Backgrounds(tmp_path)
    (tmp_path / "bad.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"bad\.jpg cannot be read"):
        Backgrounds(tmp_path)


@pytest.mark.parametrize("kind", range(4))
def test_kinds_come_in_their_shares(kind, monkeypatch):
    made = []
    fakes = [
        lambda rng, h, w, k=k: made.append(k) or np.zeros((h, w, 3), np.uint8) for k in range(4)
    ]
    monkeypatch.setattr("auxhand.data.background._PROCEDURAL", tuple(fakes))
    weights = [1.0] * 4
    weights[kind] = 3.0
    source = Backgrounds(kinds=tuple(weights))
    for i in range(600):
        source.sample(np.random.default_rng(i), 8)
    assert np.mean(np.array(made) == kind) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("kinds", [(1, 1), (0, 0, 0, 0), (1, 1, -1, 1)])
def test_weights_that_are_none_are_refused(kinds):
    with pytest.raises(ValueError, match="4 weights"):
        Backgrounds(kinds=kinds)
