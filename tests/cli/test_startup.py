"""What a command imports, and so how long it takes to start; what it leaves in one's home."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from PIL import Image


def fresh(code, *arguments, home=None):
    """What a fresh process that runs the code prints; in a `home` it is a user's, not a test's."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if home is not None:
        environment |= {"HOME": str(home), "USERPROFILE": str(home)}
        for name in ("CI", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "ORT_DISABLE_TELEMETRY"):
            environment.pop(name, None)
    ended = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return ended.stdout


TELL = "import sys, json; print(json.dumps([*sys.modules]))"
"""Names of the modules that a process has imported."""

TRAINING = {"lightning", "torchmetrics", "tensorboard"}
DATASETS = {"datasets", "pyarrow", "pandas"}
PICTURES = {"matplotlib"}
COMPILING = {"torch._dynamo", "sympy", "onnxscript"}
NETWORKS = {"timm"}
RENDERING = {"numba"}

ONE_BY_ONE = """
import json, sys
from auxhand.cli.main import main
for code, command in json.loads(sys.argv[1]):
    assert main(command) == code, command
    print(f"modules: {json.dumps([*sys.modules])}")
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """An empty folder."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def after_each(tmp_path_factory, hand_dataset, home):
    """Name of a command -> what is imported when it has ended. One process runs them, those first
    that take least, so that a command is not blamed for what those before it need."""
    folder = tmp_path_factory.mktemp("started")
    pictures = folder / "pictures"
    pictures.mkdir()
    Image.new("RGB", (40, 40), "teal").save(pictures / "a.png")
    box = "--box", "4,4,30,30", "--side", "right"
    commands = [
        (0, ("predict", pictures, "--out", folder / "poses", *box)),
        (0, ("data", "check", "folder", pictures, "--sheet", folder / "sheet.png")),
        (0, ("export", "finder", "--out", folder / "finder.onnx")),
        (2, ("adapt", pictures, "--synthetic", hand_dataset, "--out", folder / "adapted")),
        (0, ("synth", folder / "hands", "--count", "1", "--size", "32")),
        (0, ("evaluate", "default", hand_dataset, "--out", folder / "evaluation")),
    ]
    told = json.dumps([(code, list(map(str, command))) for code, command in commands])
    ended = fresh(ONE_BY_ONE, told, home=home)
    found = [line for line in ended.splitlines() if line.startswith("modules: ")]
    modules = [set(json.loads(line.removeprefix("modules: "))) for line in found]
    return {command[0]: each for (_, command), each in zip(commands, modules, strict=True)}


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="networks run in ONNX Runtime")
@pytest.mark.parametrize(
    ("command", "without"),
    [
        ("predict", TRAINING | DATASETS | PICTURES | COMPILING | NETWORKS | RENDERING),
        ("data", TRAINING | {"datasets", "pandas"} | PICTURES | COMPILING | NETWORKS | RENDERING),
        ("export", TRAINING | {"datasets", "pandas"} | PICTURES | COMPILING | RENDERING),
        ("adapt", TRAINING | PICTURES | COMPILING | RENDERING),  # too few photos to train
        ("synth", TRAINING | PICTURES | COMPILING),
        ("evaluate", {"lightning", "tensorboard"} | COMPILING),
    ],
)
def test_a_command_imports_nothing_of(command, without, after_each):
    assert after_each[command] & without == set()


@pytest.mark.usefixtures("after_each")
def test_commands_leave_nothing_in_one_s_home(home):
    """But matplotlib's list of fonts. ONNX Runtime would keep there what it sends to its makers."""
    kept = [path for path in home.rglob("*") if path.is_file()]
    assert [path for path in kept if "matplotlib" not in path.parts] == []


@pytest.mark.slow
def test_a_worker_imports_what_it_runs():
    """Readers, and then the factory and conversion, which need more."""
    lazy = TRAINING | PICTURES | {"datasets", "timm", "torchvision"}
    both = "import auxhand.synth.factory, auxhand.data.convert"
    told = fresh("\n".join(["import auxhand.data.readers", TELL, both, TELL]))
    readers, more = (set(json.loads(line)) for line in told.splitlines())
    assert readers & (lazy | DATASETS | {"scipy.spatial", "scipy.io"}) == set()
    assert more & lazy == set()
