"""What the tutorials show, beyond that their snippets run (`test_docs.py`)."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from auxhand.cli.main import main
from auxhand.data.store import PreparedDataset
from auxhand.losses import supervision
from auxhand.sample import HandPose, HandSample

FOLDER = Path(__file__).parents[1] / "docs" / "tutorials"


def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = FOLDER / "quickstart.ipynb"
    cells = [c for c in json.loads(file.read_text())["cells"] if c["cell_type"] == "code"]
    names: dict[str, object] = {}
    for cell in cells:
        exec(compile("".join(cell["source"]), "<cell>", "exec"), names)
    said = capsys.readouterr().out
    assert "seven: right hand" in said
    assert "five: left hand" in said
    assert said.splitlines()[-1].startswith("frame 2: hand 0, left")
    # It is kept as it ran: once, from top to bottom, and is no heavier than a picture.
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert file.stat().st_size < 300_000


@pytest.fixture
def block(monkeypatch):
    """block(kind): the one of the research tutorial's code blocks of a kind; what the Python
    one adds to the terms of losses is taken away afterwards."""
    for name in ("TERMS", "LABELS"):
        monkeypatch.setattr(supervision, name, dict(getattr(supervision, name)))
    text = (FOLDER / "research.md").read_text()

    def find(kind):
        (found,) = re.findall(rf"^```{kind}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        return found

    return find


def test_a_loss_of_ones_own_is_the_angle_between_bones(block, hand_dataset):
    bones = SimpleNamespace()
    exec(block("python"), vars(bones))
    batch = HandSample.collate([PreparedDataset(hand_dataset)[i] for i in range(3)])
    right = HandPose(uv=batch.joints_uv)
    assert bones.bone_directions(right, batch).item() == pytest.approx(0, abs=1e-6)
    longer = HandPose(uv=3 * batch.joints_uv + 7)
    assert bones.bone_directions(longer, batch).item() == pytest.approx(0, abs=1e-6)
    turned = torch.tensor([[0.5, -(0.75**0.5)], [0.75**0.5, 0.5]])  # by 60 degrees
    assert bones.bone_directions(
        HandPose(uv=batch.joints_uv @ turned), batch
    ).item() == pytest.approx(0.5, abs=1e-5)
    # A joint without a label, whatever is predicted for it, counts for none of its bones.
    known = batch.joint_valid.clone()
    known[:, 8] = False
    elsewhere = batch.joints_uv.clone()
    elsewhere[:, 8] = -100
    batch = replace(batch, joint_valid=known)
    assert bones.bone_directions(HandPose(uv=elsewhere), batch).item() == pytest.approx(0, abs=1e-6)


def test_a_loss_of_ones_own_trains(block, write_config, tmp_path, monkeypatch):
    (tmp_path / "bones.py").write_text(block("python"))
    monkeypatch.syspath_prepend(tmp_path)
    run = tmp_path / "bones"
    differs = yaml.safe_load(block("yaml"))
    differs["trainer"]["default_root_dir"] = str(run)
    (tmp_path / "bones.yaml").write_text(yaml.safe_dump(differs))
    assert main(["train", str(write_config("base")), str(tmp_path / "bones.yaml")]) == 0
    log = EventAccumulator(str(run))
    log.Reload()
    terms = {n: [e.value for e in log.Scalars(f"train/{n}")] for n in ("bones", "pose_25d", "loss")}
    rest = torch.tensor(terms["loss"]) - 10 * torch.tensor(terms["pose_25d"])
    assert (rest > torch.tensor(terms["bones"])).all()  # it is in the sum, with its weight of 1
    assert all(0 < value <= 2 for value in terms["bones"])
    network = json.loads((run / "bundle" / "bundle.json").read_text())["network"]
    assert network["class"] == "auxhand.models.pose_net.PoseNet"  # needs no bones.py
