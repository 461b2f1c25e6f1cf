"""Commands that are called in one process share the shipped models, which each would load anew."""

from functools import cache

import pytest


def once(load, shipped_model):
    """`load`, with one answer for the shipped model."""
    kept = cache(load)

    def loaded(model=shipped_model, *options):
        return (kept if model == shipped_model else load)(model, *options)

    return staticmethod(loaded)


@pytest.fixture(scope="module", autouse=True)
def _shipped_models():
    from auxhand.inference.bundle import DEFAULT, FINDER, shipped
    from auxhand.inference.estimator import HandPoseEstimator
    from auxhand.inference.finder import Finder

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Finder, "load", once(Finder.load, shipped(FINDER)))
        patch.setattr(HandPoseEstimator, "load", once(HandPoseEstimator.load, DEFAULT))
        yield
