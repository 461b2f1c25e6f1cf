"""`FactorConfig` from YAML files, of which a later one adds to the earlier ones."""

from __future__ import annotations

import re
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser
from yaml.constructor import ConstructorError

from auxhand.synth.config import FactorConfig
from auxhand.yaml_file import check_yaml


def load_config(*paths: Path) -> FactorConfig:
    """The `FactorConfig` in YAML files; what none of them says keeps its default.

    Args:
        paths: a later file wins where two name the same entry.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no YAML, an unknown factor, or a value of the wrong kind or size; names the file
            and the entry.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(FactorConfig)
    merged: dict[str, Any] = {}
    config = FactorConfig()
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(
                f"no configuration {path}: name a YAML file, see configs/synth/"
            )
        check_yaml(path)
        try:
            loaded = yaml.load(path.read_text("utf-8"), _Loader)
            values = {} if loaded is None else loaded
            if not isinstance(values, dict):
                raise ValueError("must hold lines like `left: 0.5`, not a list or a text")
            # By itself first: entries of the wrong kind cannot be merged.
            _check_groups(FactorConfig, values)
            parser.parse_object(values)
            merged = _merged(merged, values)
            parsed = parser.parse_object(merged)
            config = FactorConfig(**parser.instantiate_classes(parsed).as_dict())
        except (yaml.YAMLError, ArgumentError, OSError, ValueError) as error:
            raise ValueError(f"{path}: {' '.join(str(error).split())}") from error
    return config


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML in which no entry is there twice, and 1e-3 is a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping.

        Raises:
            yaml.YAMLError: an entry is there twice.
        """
        names: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in names:
                raise ConstructorError(
                    "while constructing a mapping",
                    node.start_mark,
                    f"found duplicate key {key.value}",
                    key.start_mark,
                )
            names.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _merged(old: Any, new: Any) -> Any:
    """The entries of both; where both have one, the new one counts."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return {**old, **{name: _merged(old.get(name), value) for name, value in new.items()}}


def _check_groups(kind: Any, values: Any, where: str = "") -> None:
    """Check that groups hold entries, and that no entry is left empty that must have a value."""
    for name, hint in get_type_hints(kind).items():
        value = values.get(name, ...)
        if is_dataclass(hint) and isinstance(value, dict):
            _check_groups(hint, value, f"{where}{name}.")
        elif is_dataclass(hint) and value is not ...:
            entries = ", ".join(get_type_hints(hint))
            raise ValueError(f"{where}{name} takes some of {entries}; got {value}")
        elif value is None and type(None) not in get_args(hint):
            raise ValueError(f"{where}{name} is empty: give it a value, or leave the line out")
