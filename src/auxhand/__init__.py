"""AuxHand: 3D hand pose from a single RGB image, learnt with auxiliary information.

Chapters, equations and algorithms that docstrings name are of L. Yang, "3D Hand Pose Estimation
from Single RGB Images with Auxiliary Information", dissertation, University of Bonn, 2022.

The names below are imported when they are first used, so that `import auxhand` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auxhand.inference.estimator import HandPoseEstimator
    from auxhand.inference.tracker import HandTracker
    from auxhand.sample import HandPose, HandSample

    __version__: str

__all__ = ["HandPose", "HandPoseEstimator", "HandSample", "HandTracker", "__version__"]

_MODULES = {
    "HandPose": "auxhand.sample",
    "HandPoseEstimator": "auxhand.inference.estimator",
    "HandSample": "auxhand.sample",
    "HandTracker": "auxhand.inference.tracker",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("auxhand")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
