"""Light that fits the background: statistics in closed form."""

import numpy as np
import pytest

from auxhand.data.augment import Augmentation
from auxhand.data.natural import expose, fit_light, paint_hand, take_photo

LUMA = np.array([0.299, 0.587, 0.114])


@pytest.fixture
def cutout() -> np.ndarray:
    rng = np.random.default_rng(0)
    rgba = np.ones((24, 24, 4), np.float32)
    rgba[..., :3] = 0.4 + 0.05 * rng.standard_normal((24, 24, 1))
    return rgba


def grey(level: float, deviation: float) -> np.ndarray:
    image = np.full((24, 24, 3), level, np.float32)
    image[::2] += deviation
    image[1::2] -= deviation
    return image


def test_luminance_moves_to_that_of_the_background(cutout: np.ndarray) -> None:
    mean = (cutout[..., :3] @ LUMA).mean()
    for strength in (0.0, 0.5, 1.0):
        fitted = fit_light(cutout, grey(0.6, 0.0), strength, 0, 0)[..., :3] @ LUMA
        target = mean ** (1 - strength) * 0.6**strength
        assert fitted.mean() == pytest.approx(target, abs=1e-3)
        assert fitted.std() / fitted.mean() == pytest.approx(
            (cutout[..., :3] @ LUMA).std() / mean, rel=1e-3
        )


def test_contrast_and_colour_move_too(cutout: np.ndarray) -> None:
    luma = cutout[..., :3] @ LUMA
    behind = grey(float(luma.mean()), 1.3 * float(luma.std()))
    fitted = fit_light(cutout, behind, 1, 0, 1)[..., :3] @ LUMA
    assert fitted.std() == pytest.approx(behind[..., 0].std(), rel=1e-2)
    warm = np.full((24, 24, 3), (0.5, 0.4, 0.3), np.float32)
    cast = fit_light(cutout, warm, 0, 1, 0)[..., :3].mean((0, 1))
    assert cast[0] / cast[1] == pytest.approx(1.25, rel=1e-2)
    assert cast[2] / cast[1] == pytest.approx(0.75, rel=1e-2)


def test_exposure_reaches_its_middle() -> None:
    image = grey(0.1, 0.02)
    assert expose(image, 0.4, 1.0).mean() == pytest.approx(0.4, rel=1e-3)
    assert expose(image, 0.4, 0.5).mean() == pytest.approx(0.2, rel=1e-3)


def test_pictures_are_functions_of_the_seed_and_rarely_burnt(cutout: np.ndarray) -> None:
    p = Augmentation.at(0.35, natural=True).photometric
    assert p.natural is not None
    pixels = (cutout * 255).astype(np.uint8)
    burnt = []
    for seed in range(30):
        pictures = []
        for _ in range(2):
            rng = np.random.default_rng(seed)
            scene = paint_hand(pixels, grey(0.05 + 0.03 * seed, 0.02), rng, p, p.natural)
            pictures.append(take_photo(scene, rng, p, p.natural))
        assert np.array_equal(*pictures)
        burnt.append((pictures[0] >= 0.99).mean())
    assert np.mean(burnt) < 0.02


def test_other_training_is_as_it_was() -> None:
    assert Augmentation.at(0.35).photometric.natural is None
