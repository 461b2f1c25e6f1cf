"""What a camera makes of a picture: focus, exposure, white balance, noise, compression."""

from __future__ import annotations

import numpy as np

from auxhand.arrays import Array
from auxhand.data.background import linear_to_srgb, srgb_to_linear
from auxhand.data.camera_effects import blur, jpeg, sensor_noise
from auxhand.synth.factors import SensorFactors


def photograph(image: Array, sensor: SensorFactors) -> Array:
    """A composited picture (H, W, 3) float32 sRGB in [0, 1] as this camera records it.

    Exposure and white balance act on linear light, noise on the encoded values.
    """
    if sensor.blur > 0:
        image = blur(image, sensor.blur * image.shape[1] / 128)
    red, blue = sensor.balance
    gain = np.float32(2**sensor.exposure) * np.array([red, 1.0, blue], np.float32)
    image = linear_to_srgb(np.clip(srgb_to_linear(image) * gain, 0, 1))
    if sensor.read > 0 or sensor.shot > 0:
        image = sensor_noise(image, np.random.default_rng(sensor.seed), sensor.read, sensor.shot)
    image = np.clip(image, 0, 1)
    return image if sensor.quality is None else jpeg(image, sensor.quality)
