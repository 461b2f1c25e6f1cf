"""What `import auxhand` gives, and what it costs."""

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

import auxhand
from auxhand import sample
from auxhand.inference import estimator, tracker

SCRIPT = """
import json, sys
before = set(sys.modules)
import auxhand
brought = {name.partition(".")[0] for name in sys.modules.keys() - before}
listed = dir(auxhand)
auxhand.HandSample
after = "torch" in sys.modules, "auxhand.inference.estimator" in sys.modules
print(json.dumps([sorted(brought - sys.stdlib_module_names), listed, after]))
"""


def test_the_import_brings_nothing_but_the_package():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    brought, listed, after = json.loads(done.stdout)
    assert brought == ["auxhand"]
    assert set(auxhand.__all__) <= set(listed)
    assert after == [True, False]


def test_the_names_are_the_modules_own():
    assert auxhand.HandPoseEstimator is estimator.HandPoseEstimator
    assert auxhand.HandTracker is tracker.HandTracker
    assert auxhand.HandPose is sample.HandPose
    assert auxhand.HandSample is sample.HandSample
    assert auxhand.__version__ == version("auxhand")


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'Hands'"):
        auxhand.Hands  # noqa: B018
