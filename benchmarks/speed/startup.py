"""Seconds that each command takes on the smallest input that makes sense, and its `--help`.

`wall_s` is what a user waits, `cpu_s` what all its processes compute, which a busy machine
stretches less. `PyTorch` is `import torch` alone: nothing that predicts, renders or trains can take
less. Each command runs twice and the second run counts: the first compiles the renderer's kernels
and Python's files, which are kept as they are by default (where PYTHONDONTWRITEBYTECODE is set,
every command compiles all of PyTorch's files anew, three times its work here).

`adapt` is given three photos, which are too few: it says so when it has looked for hands.

    python benchmarks/speed/startup.py
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path

from auxhand.cli.main import COMMANDS, USAGE_ERROR
from auxhand.evaluation.report import record, table
from auxhand.inference.bundle import save_bundle
from auxhand.models.backbone import ImageFeatures
from auxhand.models.folding import FoldingDecoder
from auxhand.models.gaussian import GaussianEncoder
from auxhand.models.latent_pose import LatentPoseNet
from auxhand.models.mlp import PoseDecoder

PYTHON = [sys.executable]
AUXHAND = [*PYTHON, "-m", "auxhand.cli.main"]
ROOT = Path(__file__).parents[2]


def commands(folder: Path) -> dict[str, list[str]]:
    """Name of each row -> its command; later ones read what earlier ones write into the folder."""
    photos = Path(str(files("auxhand") / "assets" / "photos"))
    hands = str(folder / "hands")
    settings = {
        "trainer.default_root_dir": folder / "run",
        "trainer.max_epochs": 1,
        "data.init_args.train": hands,
        "data.init_args.val_count": 2,
        "data.init_args.batch_size": 2,
        "data.init_args.images_per_epoch": 2,
        "data.init_args.workers": 0,
        "data.init_args.backgrounds": "null",
        "data.init_args.phases": "[{epoch: 0, size: 32, difficulty: 0.0}]",
    }
    config = str(ROOT / "configs" / "laptop" / "supervised.yaml")
    given = [f"{name}={value}" for name, value in settings.items()]
    runs = {
        "predict": [str(photos / "five.jpg"), "--out", str(folder / "poses")],
        "synth": [hands, "--count", "4"],
        "data": ["check", "folder", str(photos), "--sheet", str(folder / "check.png")],
        "train": [config, "--restart", "--set", *given],
        "evaluate": ["default", hands, "--out", str(folder / "evaluation")],
        "export": ["finder", "--out", str(folder / "finder.onnx")],
        "synthesize": ["sample", "--count", "1", "--model", str(latent_model(folder))],
        "adapt": [str(photos), "--synthetic", hands, "--out", str(folder / "adapted")],
    }
    return {
        "PyTorch": [*PYTHON, "-c", "import torch"],
        **{name: [*AUXHAND, name, *rest] for name, rest in runs.items()},
        **{f"{name} --help": [*AUXHAND, name, "--help"] for name in COMMANDS},
    }


def latent_model(folder: Path) -> Path:
    """A bundle with a latent space, untrained and small."""
    encoder = GaussianEncoder(ImageFeatures("resnet18"), 8)
    network = LatentPoseNet(encoder, PoseDecoder(8, 16), cloud=FoldingDecoder(8, 16, 8))
    save_bundle(folder / "latent", network, 64, {})
    return folder / "latent"


def seconds(command: list[str], folder: Path, code: int = 0) -> dict[str, float]:
    """Wall and processor seconds of a command.

    Raises:
        RuntimeError: it ends with another exit code.
    """
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    ended = subprocess.run(command, cwd=folder, capture_output=True, env=environment(folder))
    if ended.returncode != code:
        raise RuntimeError(f"{command} ended with {ended.returncode}: {ended.stderr[-500:]!r}")
    wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {"wall_s": wall, "cpu_s": cpu}


def environment(folder: Path) -> dict[str, str]:
    """This process' own, but compiled files are kept, in the folder.

    A relative PYTHONPATH would not hold in another folder.
    """
    own = os.environ | {"PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    own.pop("PYTHONDONTWRITEBYTECODE", None)
    if paths := own.get("PYTHONPATH"):
        own["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, paths.split(os.pathsep)))
    return own


def main() -> None:
    """Time them, add the rows to the results, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", help="rows: PyTorch, a command, 'COMMAND --help'")
    parser.add_argument("--runs", type=int, default=2, help="of each command; the last one counts")
    parser.add_argument("--out", type=Path, default=Path("results/startup.json"))
    options = parser.parse_args()
    rows = []
    said = "python benchmarks/speed/startup.py"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, command in commands(folder).items():
            if options.only and name not in options.only:
                continue
            begun = time.monotonic()
            code = USAGE_ERROR if name == "adapt" else 0
            values = [seconds(command, folder, code) for _ in range(options.runs)][-1]
            rows.append(record(options.out, f"start: {name}", [values], said, begun))
            print(table(rows[-1:]), flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
