"""Make the tables of docs/results/*.md from results/*.json.

    python tools/results_tables.py

A table lies between the lines `<!-- rows of FILE.json: METRIC METRIC ... -->` and `<!-- end -->`.
It has the rows that have one of these metrics; of them those whose names have a text or not, with
`FILE.json with TEXT` and `FILE.json without TEXT`.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from pathlib import Path

from auxhand.evaluation.report import read_rows, table
from auxhand.files import writing

ROOT = Path(__file__).parents[1]
_TABLE = re.compile(
    r"(<!-- rows of (\S+)(?: (with|without) (\S+))?: (.*?) -->\n).*?(<!-- end -->)", re.DOTALL
)


def with_tables(page: str, results: Path) -> str:
    """The text of a page, its tables made of the rows in the folder `results`.

    Raises:
        ValueError: a table of a file without rows.
    """

    def made(match: re.Match[str]) -> str:
        start, file, which, text, metrics, end = match.groups()
        rows = [
            replace(row, metrics={m: row.metrics[m] for m in metrics.split() if m in row.metrics})
            for row in read_rows(results / file)
        ]
        rows = [row for row in rows if row.metrics]
        if which:
            rows = [row for row in rows if (text in row.name) == (which == "with")]
        if not rows:
            raise ValueError(f"{results / file} has no rows with {metrics}")
        return f"{start}{table(rows, markdown=True)}\n{end}"

    return _TABLE.sub(made, page)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    for path in sorted((ROOT / "docs" / "results").glob("*.md")):
        with writing(path) as temporary:
            temporary.write_text(with_tables(path.read_text(), ROOT / "results"))
        print(path)


if __name__ == "__main__":
    main()
