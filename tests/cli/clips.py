"""Small videos with a light in them, and an estimator that takes the light for a hand."""

from fractions import Fraction

import av
import numpy as np
import torch

from auxhand.geometry.crop import Crop
from auxhand.inference.prediction import Prediction

SHAPE = np.random.default_rng(0).uniform(-10, 10, (21, 2))


class Bright:
    """Sees a right hand at the brightest pixel of a picture, if there is light."""

    tells_side = True

    def predict_hands(self, image, count=None, K=None, hand_size=None, threshold=None, once=False):
        return self.seen(image)[:count]

    def predict(self, image, box=None, side="auto", K=None, hand_size=None, threshold=None):
        return next(iter(self.seen(image)), None)

    def predict_many(self, images, boxes, sides, Ks=None, hand_size=None, once=False):
        return [next(iter(self.seen(image)), None) for image in images]

    def seen(self, image):
        light = image.astype(int).sum(2)
        if light.max() < 300:
            return []
        v, u = np.argwhere(light > 300).mean(0)
        xyz = np.concatenate([SHAPE / 1000, np.full((21, 1), 0.5)], 1)
        return [
            Prediction(
                joints_uv=SHAPE + np.array([u, v]),
                joints_relative=xyz - xyz[9],
                joints_xyz=xyz,
                confidence=None,
                presence=0.9,
                side="right",
                side_scores={"right": 0.9, "left": 0.1},
                mask=None,
                box=(u - 12, v - 12, 24.0, 24.0),
                K=np.eye(3),
                hand_size=0.0448,
                crop=Crop(torch.eye(3).double(), (64, 64), torch.eye(3).double()),
                photo_size=(96, 64),
            )
        ]


def write(path, places):
    """A video of 20 frames a second: a light at each place (u, v), None: darkness."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 20)
        for number, place in enumerate(places):
            pixels = np.zeros((64, 96, 3), np.uint8)
            if place is not None:
                u, v = place
                pixels[v - 4 : v + 5, u - 4 : u + 5] = 255
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 20)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
