"""The page and the numbers of an adaptation."""

import base64
import json
import re

import cv2
import numpy as np
import torch

from auxhand.adaptation.judge import Measures, Verdict
from auxhand.adaptation.report import CELL, NAMES, SHOWN, write


def measures(count, spread, registered=True):
    uv = torch.full((count, 21, 2), 16.0)
    ones = torch.ones(count)
    valid = torch.full((count,), registered)
    valid[0] = False
    return Measures(uv, uv[..., 0] * 0, 2 * ones, ones, valid, 6.5, 0.25, spread, 0.031, 1.5)


def test_the_page_shows_what_the_numbers_say(tmp_path):
    count = SHOWN + 6
    images = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    epoch = {"inconsistency": 1.0, "registration_residual": 2.0, "spread": 3.0, "trusted": 0.5}
    told = {"pictures": {"kept": 40, "<other>": 2}, "crops": 31, "held_out": count}
    told |= {"settings": {"method": "semihand", "start": None, "model": "<mine>"}}
    epochs = [epoch | {"epoch": 7, "kept": True}, epoch | {"epoch": 8, "kept": False}]
    epochs[1]["registration_residual"] = np.inf
    told |= {"minutes": 1.25, "epochs": epochs}
    before, after = measures(count, 4.0), measures(count, 3.5, registered=False)
    write(tmp_path, images, before, after, Verdict(True, ("yes: a < b",), 0.9), told)

    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "report.json"}
    numbers = json.loads((tmp_path / "report.json").read_text())
    assert numbers["before"].keys() == numbers["after"].keys() == NAMES.keys()
    assert numbers["before"]["registered"] == np.float32((count - 1) / count)
    assert numbers["after"]["registration_residual"] is None  # nothing to take a mean of
    assert (numbers["better"], numbers["crops"]) == (True, 31)
    assert numbers["epochs"] == [epochs[0], epochs[1] | {"registration_residual": None}]

    page = (tmp_path / "report.html").read_text()
    assert "better on your pictures and was kept" in page
    assert "yes: a &lt; b" in page
    assert "By SemiHand (chapter 6) from &lt;mine&gt;." in page
    assert "40 kept, 2 &lt;other&gt;" in page
    assert "31 learnt from, 30 held out" in page
    assert "<td>7</td><td>1.00</td><td>2.00</td><td>3.00</td><td>0.50</td><td>yes</td>" in page
    assert "<td>4.00</td><td>3.50</td>" in page  # the spread
    assert "(trusted up to 1.5), 64ths squared</td><td>6.5</td>" in page
    assert "<td>97</td><td>0</td>" in page  # registered, per cent
    assert "<td>3.1</td><td>3.1</td>" in page  # variation of bone lengths, per cent
    pictures = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    assert len(pictures) == SHOWN
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(pictures[0]), np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (CELL, 2 * CELL, 3)


def test_a_model_that_is_not_better_is_said_so(tmp_path):
    told = {"pictures": {}, "crops": 1, "held_out": 1, "minutes": 0.0, "epochs": []}
    told |= {"settings": {"method": "dual_modality", "start": "run", "model": "default"}}
    given = tmp_path, torch.zeros(1, 3, 32, 32), measures(1, 1.0), measures(1, 1.0)
    write(*given, Verdict(False, (), 1.0), told)
    page = (tmp_path / "report.html").read_text()
    assert "the original weights were kept" in page
    assert "By fine-tuning of the dual-modality network (chapter 7) from run." in page
    assert json.loads((tmp_path / "report.json").read_text())["better"] is False
