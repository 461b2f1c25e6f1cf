"""What a command imports, and so how long it takes to start."""

import json
import os
import subprocess
import sys

import pytest
from PIL import Image


def imported(code, *arguments):
    """Names of the modules that a fresh process has imported after running the code."""
    told = f"{code}\nimport sys, json; print(json.dumps([*sys.modules]))"
    ended = subprocess.run(
        [sys.executable, "-c", told, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return set(json.loads(ended.stdout.splitlines()[-1]))


TRAINING = {"lightning", "torchmetrics", "tensorboard"}
DATASETS = {"datasets", "pyarrow", "pandas"}
PICTURES = {"matplotlib"}
PREDICT = "import sys; from auxhand.cli.main import main; assert main(sys.argv[1:]) == 0"


def test_predict_imports_nothing_of_training_and_datasets(tmp_path):
    Image.new("RGB", (40, 40), "teal").save(tmp_path / "a.png")
    box = ("--box", "4,4,30,30", "--side", "right")
    modules = imported(PREDICT, "predict", tmp_path / "a.png", "--out", tmp_path, *box)
    assert (tmp_path / "a_3d.png").is_file()
    assert modules & (TRAINING | DATASETS | PICTURES) == set()


@pytest.mark.parametrize(
    ("module", "unneeded"),
    [
        ("auxhand.synth.factory", TRAINING | PICTURES | {"datasets", "timm", "torchvision"}),
        ("auxhand.data.convert", TRAINING | PICTURES | {"datasets", "timm", "torchvision"}),
        (
            "auxhand.data.readers",
            TRAINING | PICTURES | DATASETS | {"scipy.spatial", "scipy.io", "timm"},
        ),
    ],
)
def test_a_worker_imports_what_it_runs(module, unneeded):
    assert imported(f"import {module}") & unneeded == set()
