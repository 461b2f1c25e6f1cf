"""How tests run the scripts of benchmarks/, and what stands in for what takes long."""

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load(path):
    """A script as a module; two of them have the same name."""
    name = "_".join(Path(path).with_suffix("").parts)
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(monkeypatch, module, *arguments):
    """Run a script's `main` as the command line would."""
    monkeypatch.setattr(sys, "argv", [module.__file__, *map(str, arguments)])
    module.main()


def rows(path):
    """Name -> row of a results file."""
    return {row["name"]: row for row in json.loads(path.read_text())["rows"]}


class Estimator:
    """Answers with joints that a test has told for the picture's first pixel.

    Args:
        joints: value of that pixel -> (21, 2), or None where no hand is reported.
        side: that it always says, unless it is told.
    """

    finds = True
    bundle = SimpleNamespace(metadata={"images_seen": 640}, fraction=0.7, input_size=32)

    def __init__(self, joints, side="right"):
        self.joints = joints
        self.side = side
        self.asked = []

    def predict(self, image, box=None, side="auto"):
        self.asked.append((box, side))
        uv = self.joints[int(image[0, 0, 0])]
        if uv is None:
            return None
        low = uv.min(0)
        return SimpleNamespace(
            joints_uv=uv,
            side=self.side if side == "auto" else side,
            box=(*low, *(uv.max(0) - low)),
        )

    def predict_many(self, images, boxes=None, sides=None):
        boxes, sides = boxes or [None] * len(images), sides or ["auto"] * len(images)
        return [self.predict(*each) for each in zip(images, boxes, sides, strict=True)]


def hand(x=10.0, y=20.0, width=20.0):
    """(21, 2) joints whose box is (x, y, width, width)."""
    along = np.linspace(0, width, 21)
    return np.stack([x + along, y + along[::-1]], axis=1)
