"""Every Python snippet of the documentation runs as it stands, after the page's commands."""

import re
import shutil
from pathlib import Path

import pytest

import auxhand
from auxhand.cli.main import main

ROOT = Path(__file__).parents[1]
SNIPPETS = [
    pytest.param(match[1], id=f"{page.name}:{text[: match.start()].count(chr(10)) + 1}")
    for page in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    ]
    for text in [page.read_text()]
    for match in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippet(snippet, tmp_path, monkeypatch, hand_dataset):
    for name in ("my-dataset", "heldout"):
        shutil.copytree(hand_dataset, tmp_path / name)
    shutil.copy(Path(auxhand.__file__).parent / "assets/photos/seven.jpg", tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    if "out/photo.json" in snippet:
        assert main(["predict", "photo.jpg", "--out", "out"]) == 0
    exec(compile(snippet, "<snippet>", "exec"), {})
