"""Tests lie where the modules lie that they test."""

import ast
from functools import cache
from pathlib import Path

import auxhand

SOURCE, TESTS = Path(auxhand.__file__).parent, Path(__file__).parent
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path.name != "__init__.py")
ELSEWHERE = {
    "arrays.py": "",  # a name of a type
    "data/readers/reader.py": "",  # a protocol
    "cli/adapt.py": "adaptation/test_adapt.py",
    "cli/export.py": "inference/test_export.py",
    "cli/synthesize.py": "cli/test_cli_dvae.py",
    "inference/figures.py": "cli/test_cli_dvae.py",
}
"""Modules without a test of their own, and what runs them by the command."""


@cache
def imports(file):
    """Names of modules, and of what is imported from them."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def is_tested(module):
    """By a file of its name, or of its package's, or one in the same folder that imports it."""
    folder, package = TESTS / module.relative_to(SOURCE).parent, module.parent.name
    own = f"test_{module.stem}.py", f"test_{package}_{module.stem}.py", f"test_{package}.py"
    if any((folder / name).is_file() for name in own) or folder.with_name(own[-1]).is_file():
        return True
    name = ".".join(module.relative_to(SOURCE.parent).with_suffix("").parts)
    return any(name in imports(file) for file in folder.glob("test_*.py"))


def test_each_module_has_its_test():
    untested = {str(module.relative_to(SOURCE)) for module in MODULES if not is_tested(module)}
    assert untested == ELSEWHERE.keys()
    assert not [name for name in ELSEWHERE.values() if name and not (TESTS / name).is_file()]
