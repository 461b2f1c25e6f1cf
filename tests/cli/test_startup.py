"""What a command imports, and so how long it takes to start."""

import json
import os
import subprocess
import sys

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
COMPILING = {"torch._dynamo", "sympy"}
PREDICT = "import sys; from auxhand.cli.main import main; assert main(sys.argv[1:]) == 0"


def test_predict_imports_nothing_of_training_and_datasets(tmp_path):
    Image.new("RGB", (40, 40), "teal").save(tmp_path / "a.png")
    box = ("--box", "4,4,30,30", "--side", "right")
    modules = imported(PREDICT, "predict", tmp_path / "a.png", "--out", tmp_path, *box)
    assert (tmp_path / "a_3d.png").is_file()
    assert modules & (TRAINING | DATASETS | PICTURES | COMPILING) == set()


def test_a_worker_imports_what_it_runs():
    """Readers, and then the factory and conversion, which need more."""
    lazy = TRAINING | PICTURES | {"datasets", "timm", "torchvision"}
    readers = imported("import auxhand.data.readers")
    assert readers & (lazy | DATASETS | {"scipy.spatial", "scipy.io"}) == set()
    assert imported("import auxhand.synth.factory, auxhand.data.convert") & lazy == set()
