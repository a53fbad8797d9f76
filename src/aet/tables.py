"""How rows come in: every source becomes one pandas frame, or a bounded run of frames.

What a column means is decided elsewhere (`aet.schema`); here cells keep their type.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from aet.conll import conll_frames
from aet.delimited import DecimalWarning, HeaderWarning, delimited
from aet.errors import ConfigError, DataError
from aet.files import Frames, Names, chosen, reading, regrouped, unique
from aet.rows import arrow_frame, memory_frames

__all__ = ["DecimalWarning", "HeaderWarning", "iter_tables", "read_table"]

DELIMITED = (".csv", ".tsv", ".data", ".dat", ".txt")
ZIPPABLE = (*DELIMITED, ".jsonl", ".ndjson", ".json", ".conll")
KNOWN = (*ZIPPABLE, ".parquet", ".pq", ".npy", ".npz")


def read_table(source: Any, *, header: bool | str = "infer", columns: Names = None) -> pd.DataFrame:
    """All rows of one source as a frame with the index 0, 1, 2, ...

    Sources: a path to a delimited file (.csv, .tsv, .data, .dat, .txt, cut at comma, semicolon, tab or
    ``|``), to .jsonl, .ndjson or .json (a list of records), or .conll (`aet.conll`), these also as .gz; to
    .parquet, .pq, .npy or .npz; a pandas or polars frame, an Arrow table, a Hugging Face dataset; an array (N, D)
    with columns x0, x1, ..., or (N, H, W) or (N, H, W, C) with one column "image" of arrays; a dict of columns;
    a list of dicts.

    `header` is for delimited files: True, False or "infer" (a first row of mostly numbers, or with a decimal
    fraction, is data; the columns are then c0, c1, ... and a `HeaderWarning` says so). In these files blanks
    around a cell are dropped, the texts in `aet.rows.MARKERS` are missing values, and a quotation mark in a
    tab-separated file only counts if it opens and closes a cell in one line. Where no comma parts the cells, 1,5 is
    a number (a `DecimalWarning` says so). `columns` keeps the named columns, in that order.

    Raises `DataError` if the source cannot be read, has no rows, or names a column twice; `SchemaError` if
    one of `columns` is not there; `ConfigError` for another `header`.

    >>> read_table({"age": [41, 25], "city": ["Oslo", "Rome"]}, columns=["city"])["city"].tolist()
    ['Oslo', 'Rome']
    >>> read_table(np.zeros((3, 2))).columns.tolist()
    ['x0', 'x1']
    """
    return next(_frames(source, None, header, columns))


def iter_tables(source: Any, rows: int = 8192, *, header: bool | str = "infer", columns: Names = None) -> Frames:
    """The rows of one source in frames of `rows` rows, the last shorter. Sources and errors: `read_table`.

    Delimited files, Parquet and JSON lines are read in bounded memory; anything else is sliced. Each piece is
    typed by its own cells: a column may be numbers in one piece and texts in the next (see `aet.rows`).

    >>> [len(piece) for piece in iter_tables({"x": [1, 2, 3, 4, 5]}, rows=2)]
    [2, 2, 1]
    """
    if rows < 1:
        raise ConfigError(f"rows is the length of a piece: expected 1 or more, got {rows}. Try rows=8192.")
    return _frames(source, rows, header, columns)


def _frames(source: Any, rows: int | None, header: bool | str, columns: Names) -> Frames:
    if header not in (True, False, "infer"):
        raise ConfigError(f"header: expected True, False or 'infer', got {header!r}.")
    if isinstance(columns, str):
        raise ConfigError(f"columns: expected a list of names, got one text. Write columns=[{columns!r}].")
    if isinstance(source, str | Path):
        return _filled(str(source), _from_file(Path(source), rows, header, columns), columns)
    return _filled(f"This {type(source).__name__}", memory_frames(source, rows), columns)


def _filled(where: str, frames: Iterable[pd.DataFrame], columns: Names) -> Frames:
    empty = True
    for frame in frames:
        if len(frame):
            empty = False
            names = unique(frame.columns, where)
            frame = frame.set_axis(names, axis="columns").reset_index(drop=True)
            yield frame if columns is None else frame[chosen(names, columns)]
    if empty:
        raise DataError(f"{where} has no rows: expected at least one. Check the query that made it.")


def _from_file(path: Path, rows: int | None, header: bool | str, columns: Names) -> Frames:
    if not path.is_file():
        sort = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise DataError(f"{str(path)!r} {sort}: expected a file to read. {_neighbours(path)}")
    zipped = path.suffix.lower() == ".gz"
    suffix = Path(path.stem if zipped else path.name).suffix.lower()
    if suffix not in (ZIPPABLE if zipped else KNOWN):
        raise DataError(
            f"{path}: the suffix {suffix + '.gz' * zipped!r} is none of a known format. Expected one of "
            f"{', '.join(KNOWN)}, text formats also with .gz. Rename the file or export it to one of these."
        )
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes): expected a table. Write or copy the file again.")
    if suffix in DELIMITED:
        return delimited(path, rows, header, columns)
    if suffix in (".parquet", ".pq"):
        return _parquet(path, rows, columns)
    if suffix == ".conll":
        return _conll(path, rows)
    if suffix in (".npy", ".npz"):
        return memory_frames(_arrays(path), rows)
    return _json_lines(path, rows) if suffix != ".json" else memory_frames(_json(path), rows)


def _neighbours(path: Path) -> str:
    folder = path if path.is_dir() else path.parent
    if not folder.is_dir():
        return f"Its folder {str(folder)!r} does not exist either. Check the path."
    names = sorted(entry.name for entry in islice(folder.iterdir(), 10_000) if entry.is_file())
    if close := get_close_matches(path.name, names):
        return f"Did you mean {' or '.join(repr(str(folder / name)) for name in close)}?"
    return f"The folder holds: {', '.join(names[:8]) or 'no file'}{', ...' * (len(names) > 8)}. Check the path."


def _parquet(path: Path, rows: int | None, columns: Names) -> Frames:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with reading(path) as stream:
        try:
            with pq.ParquetFile(stream) as file:
                names = chosen(unique(file.schema_arrow.names, str(path)), columns)
                for table in regrouped(file.iter_batches(rows or 1 << 16, columns=names), rows):
                    yield arrow_frame(table)
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{path}: expected a whole Parquet file (the mark PAR1 at both ends, a footer, pages), got "
                f"one that is cut off or damaged ({str(error).splitlines()[0]}). Copy or export it again."
            ) from error


def _json_lines(path: Path, rows: int | None) -> Frames:
    names, records = dict[str, None](), list[dict[str, Any]]()  # names of all lines so far: a line may leave one out
    with reading(path) as stream, io.TextIOWrapper(stream, "utf-8-sig") as text:
        for number, line in enumerate(text, 1):
            if line.strip():
                records += _records(f"[{line}]", f"{path}, line {number}", "one JSON object on each line")
                names |= dict.fromkeys(records[-1])
            if len(records) == rows:
                yield pd.DataFrame(records, columns=list(names))
                records = []
    yield pd.DataFrame(records, columns=list(names))


def _conll(path: Path, rows: int | None) -> Frames:
    with reading(path) as stream, io.TextIOWrapper(stream, "utf-8-sig") as text:
        yield from conll_frames(text, str(path), rows)


def _json(path: Path) -> list[dict[str, Any]]:
    with reading(path) as stream:
        return _records(stream.read().decode("utf-8-sig"), str(path), "a JSON list of objects")


def _records(text: str, where: str, expected: str) -> list[dict[str, Any]]:
    try:
        records = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: expected {expected}, got no valid JSON ({error}). Write it again.") from error
    if isinstance(records, list) and all(isinstance(record, dict) for record in records):
        return records
    raise DataError(f"{where}: expected {expected}, got {text[:60]!r}. Write a row as {{'name': value}}.")


def _arrays(path: Path) -> Any:
    with reading(path) as stream:
        try:
            loaded = np.load(stream, allow_pickle=False)
            return loaded if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
        except (BadZipFile, ValueError, EOFError, RuntimeError, zlib.error) as error:
            raise DataError(
                f"{path}: expected a whole file of numpy.save or savez, without Python objects ({error}). "
                "Save it again, objects as texts or numbers."
            ) from error
