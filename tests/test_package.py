"""What `import auxhand` gives, and what it costs; what a wheel holds."""

import json
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import auxhand
from auxhand import sample
from auxhand.inference import estimator, tracker

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

SCRIPT = """
import json, sys, time
before = set(sys.modules)
began = time.process_time()
import auxhand
took = time.process_time() - began
brought = {name.partition(".")[0] for name in sys.modules.keys() - before}
listed = dir(auxhand)
auxhand.HandSample
after = "torch" in sys.modules, "auxhand.inference.estimator" in sys.modules
print(json.dumps([sorted(brought - sys.stdlib_module_names), listed, after, took]))
"""


def test_the_import_takes_no_time_and_brings_nothing_but_the_package():
    told = [subprocess.check_output([sys.executable, "-c", SCRIPT], text=True) for _ in range(3)]
    brought, listed, after, _ = json.loads(told[0])
    assert min(json.loads(each)[-1] for each in told) < 0.1  # seconds of processor time
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


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_its_assets(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    no_leftovers = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", source / "src", ignore=no_leftovers)
    build = "from setuptools.build_meta import build_wheel; build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = source.glob("*.whl")
    about = f"auxhand-{PROJECT['version']}"
    assert wheel.name == f"{about}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as packed:
        held = {name for name in packed.namelist() if not name.startswith(about)}
    files = (path for path in (source / "src").rglob("*") if path.is_file())
    tree = {path.relative_to(source / "src").as_posix() for path in files}
    tree = {name for name in tree if "egg-info" not in name}
    assert held == tree
    assert {"auxhand/py.typed", "auxhand/assets/photos/four.jpg"} <= held
    for bundle in ("default", "finder"):
        for file in ("bundle.json", "model.onnx", "model.safetensors"):
            assert f"auxhand/assets/{bundle}/{file}" in held
