"""Commands of the documentation and of recorded rows are still understood by their scripts."""

import argparse
import json
import re
import shlex
import sys

import pytest
from scripts import BENCHMARKS, load

ROOT = BENCHMARKS.parent
QUOTED = r'"[^"`\n]*"'  # names of rows, which may hold a parenthesis
COMMAND = re.compile(rf"python benchmarks/(\w+/\w+\.py)((?: (?:\\\n)?(?:{QUOTED}|[^`\n)\"])*)?)")
RECORDED = re.compile(r"python benchmarks/(\w+/\w+\.py)(.*)")


def commands():
    """(script, arguments) of every command that is told anywhere."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    texts = [page.read_text().replace("SIZE", "64") for page in pages]
    found = [match.groups() for text in texts for match in COMMAND.finditer(text)]
    for file in sorted((ROOT / "results").glob("*.json")):
        rows = json.loads(file.read_text())["rows"]
        found += [match.groups() for row in rows if (match := RECORDED.search(row["command"]))]
    return sorted({(script, arguments.strip()) for script, arguments in found})


SCRIPTS = sorted({script for script, _ in commands()})


class Parsed(Exception):
    """What ends a script once its options are read."""


@pytest.mark.parametrize("script", SCRIPTS)
def test_commands_are_understood(script, monkeypatch):
    module, parse = load(script), argparse.ArgumentParser.parse_args

    def parsed(self, *arguments):
        parse(self, *arguments)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    monkeypatch.chdir(ROOT)
    for _, arguments in (each for each in commands() if each[0] == script):
        words = shlex.split(arguments, comments=True)
        monkeypatch.setattr(sys, "argv", [script, *words])
        with pytest.raises(Parsed):
            module.main()


def test_commands_are_found():
    assert {"accuracy/alignment.py", "speed/training.py", "accuracy/real_photos.py"} <= {*SCRIPTS}
    assert ("accuracy/domains.py", "") in commands()
    assert len(commands()) > 40
