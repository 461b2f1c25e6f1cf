"""YAML as people and machines write it, checked before anything makes objects of it."""

from __future__ import annotations

from pathlib import Path

import yaml

LARGEST = 1_000_000
"""Bytes of the largest file that is read."""
DEEPEST = 50
"""Levels of lists and mappings."""
MOST = 100_000
"""Entries, those that aliases stand for counted where they stand."""


def check_yaml(path: Path) -> None:
    """Check that a file is YAML which any reader can make objects of.

    Aliases (`*name`) may stand for so much that it fits no memory, or for what they are part of.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no YAML, or too large, too deep, or an alias inside of what it stands for.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path}: larger than {LARGEST // 1_000_000} MB, so no configuration")
    try:
        problem = _problem(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: no UTF-8 text") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: no YAML: {' '.join(str(error).split())}") from error
    if problem:
        raise ValueError(f"{path}: {problem}")


def _problem(text: str) -> str | None:
    """What is wrong with YAML, from its events: nothing is built of them."""
    sizes: dict[str, int] = {}
    inside: list[str | None] = []  # names of what is open
    entries = [0]  # of what is open, and of the whole
    for event in yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            inside.append(event.anchor)
            entries.append(1)
            if len(inside) > DEEPEST:
                return f"nested deeper than {DEEPEST} levels"
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = inside.pop(), entries.pop()
            if anchor:
                sizes[anchor] = size
            entries[-1] += size
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in inside:
                return f"*{event.anchor} stands for what it is part of"
            if event.anchor not in sizes:
                return f"*{event.anchor} stands for nothing"
            entries[-1] += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            entries[-1] += 1
            if event.anchor:
                sizes[event.anchor] = 1
        if entries[-1] > MOST:
            return f"more than {MOST} entries, with those that aliases stand for"
    return None
