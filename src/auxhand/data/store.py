"""Prepared datasets: Parquet shards of encoded images and labels.

A prepared dataset is a folder with `dataset.json` (the description) and `data-00000.parquet`,
`data-00001.parquet`, ... (fixed index ranges, one row a sample, columns as in `SCHEMA`). Images are
kept encoded, because pixel lists are 10-1000 times slower to read. The same rows
always give the same bytes, so a dataset can be made by any number of workers, in any order, and
resumed. docs/data.md describes the format for other programs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from torch.utils.data import Dataset

from auxhand.data.columns import SCHEMA, Record
from auxhand.data.stored import Stored
from auxhand.files import is_temporary, writing
from auxhand.sample import HandSample

_log = logging.getLogger(__name__)
FORMAT_VERSION = 1
DESCRIPTION = "dataset.json"
SHARD_SIZE = 500
"""Rows of a shard, where nothing else is asked for."""
_ROW_GROUP = 128


def write_shard(path: str | Path, rows: Iterable[Record]) -> None:
    """Write rows (see `make_row`) as one Parquet file; the same rows give the same bytes.

    Uncompressed (the images are compressed already), without dictionaries and statistics. The file
    appears under its name only when it is complete.

    Raises:
        ValueError: a row with an unknown column.
    """
    rows = list(rows)
    unknown = {name for row in rows for name in row} - set(SCHEMA.names)
    if unknown:
        raise ValueError(f"unknown columns {sorted(unknown)}; a shard has {SCHEMA.names}")
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    with writing(path) as temporary:
        pq.write_table(
            table,
            temporary,
            row_group_size=_ROW_GROUP,
            version="2.6",
            compression="none",
            use_dictionary=False,
            write_statistics=False,
        )


def shard_path(root: str | Path, number: int) -> Path:
    """Path of shard `number` of the dataset at `root`."""
    return Path(root) / f"data-{number:05d}.parquet"


def write_description(
    root: str | Path, count: int, *, overwrite: bool = True, **information: Any
) -> None:
    """Write `dataset.json`: the number of samples and whatever else describes the dataset.

    It may be written before the shards, so that a run that was stopped can be told from another.

    Raises:
        FileExistsError: there is one and `overwrite` is false; of several machines that write it at
            once, one succeeds.
    """
    path = Path(root) / DESCRIPTION
    text = json.dumps(
        {"format": FORMAT_VERSION, "count": count, **information}, indent=2, sort_keys=True
    )
    with writing(path, overwrite) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_description(root: str | Path) -> dict[str, Any]:
    """The content of `dataset.json`.

    Raises:
        FileNotFoundError: no such folder, or no description in it.
        ValueError: a description that is no JSON object, or of another format version.
    """
    root = Path(root)
    path = root / DESCRIPTION
    if not root.is_dir():
        raise FileNotFoundError(f"no dataset folder {root}; {_how_to_make(root)}")
    if not path.is_file():
        raise FileNotFoundError(
            f"{root} is no prepared dataset: it has no {DESCRIPTION}; {_how_to_make(root)}"
        )
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); make the dataset anew") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT_VERSION:
        raise ValueError(f"{path} does not describe a prepared dataset of format {FORMAT_VERSION}")
    count = description.get("count")
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ValueError(f"{path}: count {str(count)[:80]!r} is no number of samples")
    return dict(description)


def _how_to_make(root: Path) -> str:
    """The command that makes a dataset which is missing; folders of public ones have their names
    (configs/paper/)."""
    from auxhand.data.readers import READERS

    name = root.name.partition("-")[0]
    if name in READERS:
        return f"`auxhand data convert {name} DOWNLOADED {root}` makes it (docs/data.md)"
    return (
        "`auxhand synth` makes one of rendered hands, `auxhand data convert` one of photos or a "
        "public dataset (docs/data.md)"
    )


def claim(root: Path, description: Mapping[str, Any]) -> None:
    """Write the description, or find the same one there, perhaps of a machine that was faster.

    Args:
        root: the dataset's folder; made if it is not there.
        description: with `count`, as JSON can hold it.

    Raises:
        ValueError: the folder is a file, or holds other data.
    """
    if root.exists() and not root.is_dir():
        raise ValueError(f"{root} is a file: name a folder for the dataset")
    root.mkdir(parents=True, exist_ok=True)
    described = root / DESCRIPTION
    if not described.exists():
        if not all(map(is_temporary, root.iterdir())) and not described.exists():
            raise ValueError(f"{root} is not empty and holds no dataset: name another folder")
        with contextlib.suppress(FileExistsError):
            write_description(root, overwrite=False, **description)
    found = read_description(root)
    other = sorted(n for n, value in description.items() if found.get(n) != value)
    if other:
        raise ValueError(
            f"{root} holds a dataset with another {', '.join(other)}: name another folder, or "
            "delete this one"
        )


def is_complete(root: Path, shard: int, count: int) -> bool:
    """Whether a shard is there, with its `count` samples; what cannot be read is made anew."""
    path = shard_path(root, shard)
    if not path.is_file():
        return False
    try:
        rows = pq.read_metadata(path).num_rows
    except (pa.ArrowException, OSError) as error:
        _log.warning("%s cannot be read and is made anew (%s)", path, str(error).split("\n")[0])
        return False
    return bool(rows == count)


class PreparedDataset(Dataset[HandSample]):
    """Random access to a prepared dataset.

    The shards are read through Hugging Face `datasets`, whose memory-mapped Arrow copy lies in
    `ROOT/.cache` (made at the first opening, shared by all workers; deleting it costs only the time
    to make it again; among the temporary files where the dataset is on a read-only disk). Nothing
    is kept in memory, and the object can be sent to worker processes.

    Args:
        root: the dataset's folder.

    Raises:
        FileNotFoundError: no such folder, no description, no shards.
        ValueError: shards that cannot be read, or whose number of rows is not the described one.
    """

    def __init__(self, root: str | Path) -> None:
        # Two seconds to import, and only reading needs it.
        import datasets

        self.root = Path(root)
        self.description = read_description(self.root)
        shards = sorted(self.root.glob("data-*.parquet"))
        if not shards:
            raise FileNotFoundError(f"{self.root} has a description but no shards data-*.parquet")
        rows = sum(_count_rows(shard) for shard in shards)
        if rows != self.description["count"]:
            raise ValueError(
                f"{self.root} has {rows} samples in {len(shards)} shards, but its {DESCRIPTION} "
                f"says {self.description['count']}: finish it with the command that began it"
            )
        try:
            self._rows = datasets.Dataset.from_parquet(
                [str(shard) for shard in shards], cache_dir=str(_cache(self.root))
            ).with_format("arrow")
        except datasets.exceptions.DatasetGenerationError as error:
            raise ValueError(f"{self.root}: a shard cannot be read ({error.__cause__})") from error

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, index: int) -> Record:
        """The stored columns of sample `index`, images still encoded."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.root} has samples 0 to {len(self) - 1}, not {index}")
        part = bisect_right(self._ends, index)
        batch = self._batches[part]
        place = index - self._ends[part] + batch.num_rows
        # Through the table's own slices this takes three times as long.
        names = batch.schema.names
        return dict.fromkeys(SCHEMA.names) | {
            name: column[place].as_py() for name, column in zip(names, batch.columns, strict=True)
        }

    @cached_property
    def _batches(self) -> list[pa.RecordBatch]:
        """The rows in the pieces that Arrow keeps them in (memory-mapped)."""
        table = self._rows.data.table
        # One that an earlier version wrote may lack columns.
        known = [name for name in SCHEMA.names if name in table.column_names]
        batches: list[pa.RecordBatch] = table.select(known).to_batches()
        return batches

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(batch.num_rows for batch in self._batches))

    def __getstate__(self) -> dict[str, Any]:
        """The rows are found again where they lie; pieces of a table would travel in full."""
        return {k: v for k, v in self.__dict__.items() if k != "_batches"}

    def factors(self) -> list[dict[str, Any]]:
        """What each sample was made from; empty where the dataset does not say."""
        return [json.loads(text) if text else {} for text in self._rows["factors"].to_pylist()]

    def contents(self) -> list[str | None]:
        """The content of each sample (`columns.make_row`); None where the dataset does not say."""
        if "content" not in self._rows.column_names:
            return [None] * len(self)
        names: list[str | None] = self._rows["content"].to_pylist()
        return names

    def stored(self, index: int) -> Stored:
        """The same, to be decoded column by column."""
        return Stored(self.row(index), str(self.root))

    def __getitem__(self, index: int) -> HandSample:
        """Sample `index`, images decoded.

        Raises:
            ValueError: image bytes that cannot be decoded; says which dataset, row and column.
        """
        return self.stored(index).sample


def _cache(root: Path) -> Path:
    """Folder of the memory-mapped copy: beside the shards, or, where nothing can be written there,
    in the folder for temporary files."""
    if os.access(root, os.W_OK):
        return root / ".cache"
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"auxhand-{name}"


def _count_rows(shard: Path) -> int:
    """Number of rows that a Parquet file claims to have; its columns are of the types of `SCHEMA`,
    or missing.

    Raises:
        ValueError: no Parquet file, or one with columns of other types.
    """
    try:
        file = pq.ParquetFile(shard)
        rows, found = int(file.metadata.num_rows), file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{shard} cannot be read as Parquet ({error}); make it anew") from error
    for name in SCHEMA.names:
        if len(places := found.get_all_field_indices(name)) > 1:
            raise ValueError(f"{shard} has {len(places)} columns {name}; make it anew")
        if places and not _alike(found.field(places[0]).type, SCHEMA.field(name).type):
            raise ValueError(
                f"{shard}: column {name} holds {found.field(name).type}, not "
                f"{SCHEMA.field(name).type}; see docs/data.md"
            )
    return rows


def _alike(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether two types are the same, whatever the entries of lists are called; or all is null."""
    if pa.types.is_list(found) and pa.types.is_list(wanted):
        return bool(found.value_type == wanted.value_type)
    return bool(found == wanted or pa.types.is_null(found))
