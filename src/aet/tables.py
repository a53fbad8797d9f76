"""How rows come in: every source becomes one pandas frame, or a bounded run of frames.

What a column means is decided elsewhere (`aet.schema`); here cells keep their type. A delimited column
becomes numeric only if all its cells are numbers, so a column with a few wrong cells keeps them as written.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from aet.cells.number import MARKERS, NUMBER
from aet.conll import conll_frames
from aet.errors import ConfigError, DataError, SchemaError, nearest
from aet.rows import arrow_frame, memory_frames

if TYPE_CHECKING:
    import pyarrow as pa

DELIMITED = (".csv", ".tsv", ".data", ".dat", ".txt")
ZIPPABLE = (*DELIMITED, ".jsonl", ".ndjson", ".json", ".conll")
KNOWN = (*ZIPPABLE, ".parquet", ".pq", ".npy", ".npz")
BLOCK = 1 << 22  # bytes of a delimited file parsed at once; a row must fit into a block
Frames = Iterator[pd.DataFrame]
Names = Sequence[str] | None


class HeaderWarning(UserWarning):
    """The first row of a delimited file looked like data, so its columns were named c0, c1, ..."""


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
    tab-separated file only counts if it opens and closes a cell in one line. `columns` keeps the named
    columns, in that order.

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
            names = _unique(frame.columns, where)
            frame = frame.set_axis(names, axis="columns").reset_index(drop=True)
            yield frame if columns is None else frame[_chosen(names, columns)]
    if empty:
        raise DataError(f"{where} has no rows: expected at least one. Check the query that made it.")


def _unique(names: Iterable[Any], where: str) -> list[str]:
    texts = [str(name) for name in names]
    if twice := [repr(name) for name, count in Counter(texts).items() if count > 1]:
        raise DataError(f"{where} has two columns {', '.join(twice)}: expected each name once. Rename one.")
    return texts


def _chosen(names: Iterable[str], columns: Names) -> list[str]:
    known = list(names)
    for column in columns or ():
        if column not in known:
            raise SchemaError(f"There is no column {column!r}. {nearest(column, known)}")
    return known if columns is None else list(columns)


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
        return _delimited(path, rows, header, columns)
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


@contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    """The unzipped bytes of a file; whatever goes wrong with them comes out as a sentence."""
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rb") as stream:
            yield stream
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path}: expected a whole gzip file, got one that is cut off or damaged ({error}). Copy it "
            "again, or unpack what is left of it with `gzip -dc`."
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(_not_utf8(path)) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}). Check that you may read it.") from error


def _not_utf8(path: Path) -> str:
    where = str(path)
    with _reading(path) as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                where += f", line {number}, byte 0x{line[error.start]:02x}"
                break
    return f"{where}: expected UTF-8 text. Convert it, as with `iconv -f latin1 -t utf-8 {path.name}`."


@dataclass(frozen=True)
class _Layout:
    """How a delimited file is written. `marks`: it is tab-separated and has quotation marks."""

    delimiter: str
    names: list[str]
    header: bool
    quoted: bool
    marks: bool


@contextmanager
def _cut(path: Path, delimiter: str, quoted: bool) -> Iterator[Any]:
    quoting: Any = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    with _reading(path) as stream, io.TextIOWrapper(stream, "utf-8-sig", "replace", "") as text:
        yield csv.reader(text, delimiter=delimiter, quoting=quoting, strict=True)


def _layout(path: Path, header: bool | str) -> _Layout:
    with _reading(path) as stream:
        marks = any(b'"' in block for block in iter(lambda: stream.read(BLOCK), b""))
    best, delimiter, first = (0, 0.0, 0), ",", [""]
    for candidate in (",", ";", "\t", "|"):
        sample: list[list[str]] = []
        with _cut(path, candidate, marks and candidate != "\t") as rows, suppress(csv.Error):
            sample.extend(islice(rows, 50))
        sample = [row for row in sample if row]
        width = len(sample[0]) if sample else 0
        # The first row must be cut at all; then as many rows as possible alike, into as many cells as can be.
        score = (min(width, 2), sum(len(row) == width for row in sample) / max(len(sample), 1), width)
        if score > best and (candidate != "\t" or width > 1):
            best, delimiter, first = score, candidate, sample[0]
    # Tweets and reviews are full of stray quotation marks, and hardly anybody quotes cells against tabs.
    quoted = marks and delimiter != "\t"
    if quoted and (fault := _fault(path, delimiter, quoted, len(first))):
        raise DataError(fault)
    cells = [re.sub('^"(.*)"$', r"\1", cell.strip()) for cell in first]
    if not any(cells):
        raise DataError(f"{path} is empty: expected rows of cells. Write or copy the file again.")
    numbered = [f"c{position}" for position in range(len(cells))]
    if header == "infer":
        numeric = [cell for cell in cells if NUMBER.fullmatch(cell)]
        header = 2 * len(numeric) <= sum(map(bool, cells)) and not any("." in cell for cell in numeric)
        if not header:
            shown = ", ".join(cell[:20] for cell in cells[:3])
            warnings.warn(
                f"The first row of {path} looks like data ({shown}, ...): it is taken as data "
                f"and the columns are called {numbered[0]} to {numbered[-1]}. If it is the header, say "
                "header=True; header=False accepts this without the warning.",
                HeaderWarning,
                stacklevel=5,
            )
    names = [cell or number for cell, number in zip(cells, numbered, strict=True)] if header else numbered
    return _Layout(delimiter, _unique(names, str(path)), bool(header), quoted, marks and not quoted)


def _fault(path: Path, delimiter: str, quoted: bool, width: int) -> str | None:
    """What is wrong with the first row that is badly quoted or has not `width` cells.

    Fast parsers pass over a stray quotation mark and swallow the rows up to the next: such files are looked through.
    """
    line = 1
    with _cut(path, delimiter, quoted) as rows:
        try:
            for row in rows:
                if row and len(row) != width:
                    return (
                        f"{path}, line {line}: expected {width} cells as in the first row, got {len(row)} "
                        f"({delimiter.join(row)[:60]!r}). Mend that row; a cell that holds the delimiter "
                        f"{delimiter!r} must stand in quotation marks."
                    )
                line = rows.line_num + 1
        except csv.Error as error:
            return (
                f"{path}, line {line}: expected a quotation mark that opens a cell to close it, got {error}. "
                "Write quotation marks inside a quoted cell twice, or give Parquet or JSON lines."
            )
    return None


def _delimited(path: Path, rows: int | None, header: bool | str, columns: Names) -> Frames:
    import pyarrow as pa
    import pyarrow.csv as pc

    layout = _layout(path, header)
    names = _chosen(layout.names, columns)
    read = pc.ReadOptions(column_names=layout.names, skip_rows_after_names=int(layout.header), block_size=BLOCK)
    parse = pc.ParseOptions(
        delimiter=layout.delimiter,
        quote_char='"' if layout.quoted else False,
        newlines_in_values=layout.quoted,
    )
    # All cells are texts at first: a type guessed from the first block would fail on a later one.
    convert = pc.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        include_columns=names,
        null_values=sorted(MARKERS),
        strings_can_be_null=True,
    )
    # No Python file: Arrow's threads would let go of it while the interpreter ends, which aborts the process.
    with _reading(path), pa.input_stream(str(path), "gzip" if path.suffix.lower() == ".gz" else None) as stream:
        try:
            with pc.open_csv(stream, read, parse, convert) as reader:
                for table in _regrouped(reader, rows):
                    yield arrow_frame(pa.table({n: _typed(table[n], layout.marks) for n in names}))
        except pa.ArrowInvalid as error:
            fault = _not_utf8(path) if "UTF8" in str(error) else None
            fault = fault or _fault(path, layout.delimiter, layout.quoted, len(layout.names))
            reason = f"{path} cannot be cut into cells ({error}). Give the table as Parquet or JSON lines."
            raise DataError(fault or reason) from error


def _typed(column: pa.ChunkedArray, marks: bool) -> pa.ChunkedArray:
    """Whole numbers, numbers or booleans if all cells are; texts without blanks around them otherwise."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def as_type(kind: pa.DataType) -> pa.ChunkedArray | None:
        try:
            return column.cast(kind)
        except pa.ArrowInvalid:
            return None

    numbers = as_type(pa.float64())
    if numbers is None:
        column = pc.utf8_trim_whitespace(column)
        if marks:
            bare = pc.replace_substring(pc.utf8_slice_codeunits(column, 1, -1), '""', '"')
            column = pc.if_else(pc.match_substring_regex(column, '^".*"$'), bare, column)
        column = pc.if_else(pc.is_in(column, value_set=pa.array(sorted(MARKERS))), None, column)
        numbers = as_type(pa.float64())
    exact = as_type(pa.bool_() if numbers is None else pa.int64())
    return next(typed for typed in (exact, numbers, column) if typed is not None)


def _regrouped(batches: Iterable[pa.RecordBatch], rows: int | None) -> Iterator[pa.Table]:
    """Record batches of any length as tables of `rows` rows, or as one table."""
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        while rows is not None and count + batch.num_rows >= rows:
            yield pa.Table.from_batches([*held, batch.slice(0, rows - count)])
            batch, held, count = batch.slice(rows - count), [], 0
        held += [batch] if batch.num_rows else []
        count += batch.num_rows
    if held:
        yield pa.Table.from_batches(held)


def _parquet(path: Path, rows: int | None, columns: Names) -> Frames:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _reading(path) as stream:
        try:
            with pq.ParquetFile(stream) as file:
                names = _chosen(_unique(file.schema_arrow.names, str(path)), columns)
                for table in _regrouped(file.iter_batches(rows or 1 << 16, columns=names), rows):
                    yield arrow_frame(table)
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{path}: expected a whole Parquet file (the mark PAR1 at both ends, a footer, pages), got "
                f"one that is cut off or damaged ({str(error).splitlines()[0]}). Copy or export it again."
            ) from error


def _json_lines(path: Path, rows: int | None) -> Frames:
    names, records = dict[str, None](), list[dict[str, Any]]()  # names of all lines so far: a line may leave one out
    with _reading(path) as stream, io.TextIOWrapper(stream, "utf-8-sig") as text:
        for number, line in enumerate(text, 1):
            if line.strip():
                records += _records(f"[{line}]", f"{path}, line {number}", "one JSON object on each line")
                names |= dict.fromkeys(records[-1])
            if len(records) == rows:
                yield pd.DataFrame(records, columns=list(names))
                records = []
    yield pd.DataFrame(records, columns=list(names))


def _conll(path: Path, rows: int | None) -> Frames:
    with _reading(path) as stream, io.TextIOWrapper(stream, "utf-8-sig") as text:
        yield from conll_frames(text, str(path), rows)


def _json(path: Path) -> list[dict[str, Any]]:
    with _reading(path) as stream:
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
    with _reading(path) as stream:
        try:
            loaded = np.load(stream, allow_pickle=False)
            return loaded if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
        except (BadZipFile, ValueError, EOFError, RuntimeError, zlib.error) as error:
            raise DataError(
                f"{path}: expected a whole file of numpy.save or savez, without Python objects ({error}). "
                "Save it again, objects as texts or numbers."
            ) from error
