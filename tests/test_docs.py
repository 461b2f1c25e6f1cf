"""Every Python snippet of the documentation runs as it stands, after the page's commands; commands
are ones that there are, links lead somewhere, and tables are those of the results."""

import importlib
import inspect
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from results_tables import with_tables

import auxhand
from auxhand.cli.main import main
from auxhand.data.image import load_photo
from auxhand.evaluation.report import Row, write_rows
from auxhand.inference.recording import film
from auxhand.losses import supervision

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
SNIPPETS = [
    pytest.param(match[1], id=f"{page.name}:{text[: match.start()].count(chr(10)) + 1}")
    for page in PAGES
    for text in [page.read_text()]
    for match in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
]
COMMANDS = [
    pytest.param(match[1], id=f"{page.name}:{text[: match.start()].count(chr(10)) + 1}")
    for page in PAGES
    for text in [page.read_text()]
    for match in re.finditer(r"^    (?:\w+=\S+ )*(auxhand (?:.*\\\n)*.*)$", text, re.MULTILINE)
    if "[--" not in match[1]  # an overview of options
]
OPTIONAL = ("dex_retargeting", "fourier_robot_descriptions", "onnxruntime")
"""Modules of other packages that snippets import."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    file = tmp_path_factory.mktemp("exported") / "hand.onnx"
    assert main(["export", "default", "--out", str(file)]) == 0
    return file


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippet(snippet, tmp_path, monkeypatch, hand_dataset, request):
    for name in ("my-dataset", "heldout"):
        shutil.copytree(hand_dataset, tmp_path / name)
    shutil.copy(Path(auxhand.__file__).parent / "assets/photos/seven.jpg", tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    for name in OPTIONAL:
        if name in snippet:
            pytest.importorskip(name)
    for name in ("TERMS", "LABELS"):  # a snippet adds to them
        monkeypatch.setattr(supervision, name, dict(getattr(supervision, name)))
    if "clip.mp4" in snippet:
        with film(tmp_path / "clip.mp4") as clip:
            for number in range(4):
                clip.add(load_photo(tmp_path / "photo.jpg").pixels, number / 30)
    if "out/photo.json" in snippet:
        assert main(["predict", "photo.jpg", "--out", "out"]) == 0
    if "hand.onnx" in snippet:
        shutil.copy(request.getfixturevalue("exported"), "hand.onnx")
    exec(compile(snippet, "<snippet>", "exec"), {})


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command):
    words = shlex.split(command.replace("\\\n", " "), comments=True)
    importlib.import_module(f"auxhand.cli.{words[1]}").parser().parse_args(words[2:])
    assert not [w for w in words if w.startswith("configs/") and not (ROOT / w).is_file()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" in target:
            continue
        name, _, heading = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
            assert heading in anchors, target


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs" / "results").glob("*.md")), ids=lambda page: page.stem
)
def test_tables_are_made_of_the_results(page):
    text = page.read_text()
    assert with_tables(text, ROOT / "results") == text


def test_a_table_has_the_metrics_that_its_page_names(tmp_path):
    rows = [Row("a", {"epe_mm": [1.0, 3.0], "pck_05": [0.5, 0.5]}), Row("b", {"pck_05": [0.25]})]
    write_rows(tmp_path / "some.json", rows)
    page = "before\n<!-- rows of some.json: epe_mm -->\nan older table\n<!-- end -->\nafter\n"
    made = with_tables(page, tmp_path)
    assert made.startswith("before\n<!-- rows of some.json: epe_mm -->\n|")
    assert made.endswith("|\n<!-- end -->\nafter\n")
    assert "2.0 ± 1.4" in made
    assert "PCK" not in made
    assert "| b" not in made
    assert "older" not in made
    less = with_tables(page.replace("json: epe_mm", "json without a: epe_mm pck_05"), tmp_path)
    assert ("| b" in less, "| a" in less) == (True, False)
    more = with_tables(page.replace("json: epe_mm", "json with a: epe_mm pck_05"), tmp_path)
    assert ("| b" in more, "| a" in more) == (False, True)
    with pytest.raises(ValueError, match="has no rows"):
        with_tables(page.replace("some", "other"), tmp_path)


def test_results_are_one_screen():
    assert len((ROOT / "docs" / "results.md").read_text().splitlines()) < 40


def test_no_file_names_a_document_that_is_not_here():
    files = [p for top in ("src", "benchmarks", "tools") for p in (ROOT / top).rglob("*.py")]
    assert not [str(f) for f in [*files, *PAGES, *CONFIGS] if "DESIGN" in f.read_text()]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_settings_that_a_configuration_recommends_are_there(config):
    text = config.read_text()
    comments = "\n".join(re.findall("#.*", text))
    for section, name in re.findall(r"\b(model|data)\.init_args\.(\w+)[\w.]*=", comments):
        module, _, made = yaml.safe_load(text)[section]["class_path"].rpartition(".")
        constructor = getattr(importlib.import_module(module), made)
        assert name in inspect.signature(constructor).parameters
