"""How commands take their arguments. It imports nothing slow: `--help` answers at once."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """A parser for which a mistake is a ValueError, and whose help shows the options' defaults."""

    def __init__(self, **options: Any) -> None:
        """Options as those of `argparse.ArgumentParser`."""
        super().__init__(formatter_class=_Help, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print with the usage.

        Raises:
            ValueError: always.
        """
        raise ValueError(message)


class _Help(argparse.HelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        says_nothing = action.default in (None, False, argparse.SUPPRESS) or action.default == []
        if says_nothing or not action.option_strings or action.help is None:
            return action.help
        return f"{action.help} (default: %(default)s)"
