"""YAML that no reader should make objects of."""

from itertools import pairwise

import pytest

from auxhand import yaml_file
from auxhand.yaml_file import check_yaml

BOMB = "\n".join(
    ["a: &a [" + "x, " * 9 + "x]"]
    + [f"{b}: &{b} [{', '.join(10 * [f'*{a}'])}]" for a, b in pairwise("abcdefghi")]
)
"""10^9 entries in 400 bytes: who makes them does not come to an end."""


@pytest.mark.parametrize(
    "text",
    ["", "a: 1\nb: [1, {c: 2}]", "a: &x [1, 2]\nb: *x\nc: [*x, *x]", "a: &x 1\nb: *x", "é: ü"],
)
def test_what_people_write_is_taken(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    check_yaml(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * 100_000, "nested deeper"),
        (b"{a: " * 100_000, "nested deeper"),
        (b"a: &a [1, *a]", r"\*a stands for what it is part of"),
        (b"a: &a {b: {c: *a}}", r"\*a stands for what it is part of"),
        (BOMB.encode(), "more than 100000 entries"),
        (b"a: [", "no YAML"),
        (b"a: *nowhere", r"\*nowhere stands for nothing"),
        (b"a: \x00", "no YAML"),
        (b"a: caf\xe9", "no UTF-8"),
    ],
)
def test_what_cannot_be_is_named(tmp_path, content, words):
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.yaml: .*({words})"):
        check_yaml(path)


def test_large_files_are_not_read(tmp_path, monkeypatch):
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\n" * 10)
    monkeypatch.setattr(yaml_file, "LARGEST", 20)
    with pytest.raises(ValueError, match="larger than"):
        check_yaml(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        check_yaml(tmp_path / "gone.yaml")
