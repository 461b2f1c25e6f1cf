"""Pictures that show no hands: nothing is learnt from them."""

import json
import re

import cv2
import numpy as np
import pytest

from auxhand.cli.main import main


@pytest.fixture
def noise(tmp_path):
    """A folder of 21 pictures of coloured noise."""
    rng, folder = np.random.default_rng(0), tmp_path / "noise"
    folder.mkdir()
    for i in range(21):
        coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
        cv2.imwrite(str(folder / f"{i:02d}.png"), cv2.resize(coarse, (320, 240)))
    return folder


def test_where_no_hand_is_found_one_line_says_so(noise, tmp_path, capsys):
    """By the shipped model."""
    assert main(["adapt", str(noise), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "usable crops of hands are too few (at least 20): 21 seen, " in error
    assert int(re.search(r"(\d+) without a hand", error)[1]) >= 19
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_what_is_learnt_from_noise_is_not_kept(
    noise, tmp_path, hand_dataset, hands_everywhere, monkeypatch
):
    """By the shipped model, were all of it taken for hands."""
    monkeypatch.setattr("auxhand.adaptation.crops.SURE", 0.0)
    out = tmp_path / "out"
    command = ["adapt", str(noise), "--out", str(out), "--synthetic", str(hand_dataset)]
    command += ["--minutes", "0.3", "--workers", "0"]
    assert main(command) == 3
    said = json.loads((out / "report.json").read_text())
    assert said["pictures"]["kept"] == 21
    assert any(reason.startswith("no:") for reason in said["reasons"])
