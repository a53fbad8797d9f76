"""Delimited files: how one is written is seen from its first rows, Arrow cuts it, and a fault has its line.

A column becomes numeric only if all its cells are numbers, so a column with a few wrong cells keeps them as written.
"""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aet.cells.number import MARKERS, NUMBER
from aet.errors import DataError
from aet.files import UTF16, Frames, Names, chosen, not_utf8, reading, regrouped, unique
from aet.rows import arrow_frame

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 1 << 21
"""Bytes of a delimited file parsed at once: a row must fit in, and Arrow reads 32 such blocks ahead."""
DECIMAL = re.compile(r"[+-]?\d+,(\d{1,2}|\d{4,})")
"""A number with a decimal comma; before three digits a comma may part thousands."""


class DecimalWarning(UserWarning):
    """Numbers of a delimited file are written with decimal commas, and stay texts."""


class HeaderWarning(UserWarning):
    """The first row of a delimited file looked like data, so its columns were named c0, c1, ..."""


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
    with reading(path) as stream, io.TextIOWrapper(stream, "utf-8-sig", "replace", "") as text:
        yield csv.reader(text, delimiter=delimiter, quoting=quoting, strict=True)


def _layout(path: Path, header: bool | str) -> _Layout:
    with reading(path) as stream:
        if stream.read(2) in UTF16:
            raise DataError(not_utf8(path))
        stream.seek(0)
        marks = any(b'"' in block for block in iter(lambda: stream.read(BLOCK), b""))
    best, delimiter, shown = (0, 0.0, 0.0, 0), ",", [[""]]
    for candidate in (",", ";", "\t", "|"):
        sample: list[list[str]] = []
        with _cut(path, candidate, marks and candidate != "\t") as rows, suppress(csv.Error):
            sample.extend(islice(rows, 50))
        sample = [row for row in sample if row]
        width = len(sample[0]) if sample else 0
        # The first row must be cut at all; then as many rows as possible alike, into numbers, and many cells.
        alike = sum(len(row) == width for row in sample) / max(len(sample), 1)
        score = (min(width, 2), alike, _numeric(sample, candidate), width)
        if score > best and (candidate != "\t" or width > 1):
            best, delimiter, shown = score, candidate, sample
    # Tweets and reviews are full of stray quotation marks, and hardly anybody quotes cells against tabs.
    quoted, first = marks and delimiter != "\t", shown[0]
    if quoted and (fault := _fault(path, delimiter, quoted, len(first))):
        raise DataError(fault)
    cells = [re.sub('^"(.*)"$', r"\1", cell.strip()) for cell in first]
    if not any(cells):
        raise DataError(f"{path} is empty: expected rows of cells. Write or copy the file again.")
    numbered = [f"c{position}" for position in range(len(cells))]
    if header == "infer":
        numeric = [cell for cell in cells if _number(cell, delimiter)]
        header = 2 * len(numeric) <= sum(map(bool, cells)) and not any("." in cell for cell in numeric)
        if not header:
            start = ", ".join(cell[:20] for cell in cells[:3])
            warnings.warn(
                f"The first row of {path} looks like data ({start}, ...): it is taken as data "
                f"and the columns are called {numbered[0]} to {numbered[-1]}. If it is the header, say "
                "header=True; header=False accepts this without the warning.",
                HeaderWarning,
                stacklevel=5,
            )
    names = [cell or number for cell, number in zip(cells, numbered, strict=True)] if header else numbered
    layout = _Layout(delimiter, unique(names, str(path)), bool(header), quoted, marks and not quoted)
    if delimiter != "," and (european := _decimal_commas(layout, shown[int(header) :])):
        warnings.warn(
            f"{path} seems to write numbers with decimal commas, in {', '.join(map(repr, european))}: they are taken "
            f"as texts. Where they are numbers, write points, or give pandas.read_csv(path, sep={delimiter!r}, "
            "decimal=',').",
            DecimalWarning,
            stacklevel=5,
        )
    return layout


def _number(cell: str, delimiter: str) -> bool:
    """Whether a cell is one, be it with a decimal comma."""
    return bool(NUMBER.fullmatch(cell) or (delimiter != "," and DECIMAL.fullmatch(cell)))


def _numeric(rows: list[list[str]], delimiter: str) -> float:
    """The share of the cells that are numbers."""
    cells = [cell.strip(' "') for row in rows for cell in row]
    return sum(_number(cell, delimiter) for cell in cells) / max(len(cells), 1)


def _decimal_commas(layout: _Layout, rows: list[list[str]]) -> list[str]:
    """The columns of these rows whose cells are numbers, some of them with a decimal comma."""
    found = []
    for name, column in zip(layout.names, zip_longest(*rows, fillvalue=""), strict=False):
        cells = [cell for cell in (cell.strip(' "') for cell in column) if cell not in MARKERS]
        wholes = [cell for cell in cells if not DECIMAL.fullmatch(cell)]
        if len(wholes) < len(cells) and all(NUMBER.fullmatch(cell.replace(",", "")) for cell in wholes):
            found.append(name)
    return found


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


def delimited(path: Path, rows: int | None, header: bool | str, columns: Names) -> Frames:
    """A delimited file in frames of so many rows, or in one."""
    import pyarrow as pa
    import pyarrow.csv as pc

    layout = _layout(path, header)
    names = chosen(layout.names, columns)
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
    # No Python file: Arrow's threads let go of it while the interpreter ends, and abort. No map: a file that another
    # program cuts off meanwhile would kill the process.
    packed = "gzip" if path.suffix.lower() == ".gz" else None
    with reading(path), pa.input_stream(str(path), packed) as stream:
        try:
            with pc.open_csv(stream, read, parse, convert) as reader:
                for table in regrouped(reader, rows):
                    yield arrow_frame(pa.table({n: _typed(table[n], layout.marks) for n in names}))
        except pa.ArrowInvalid as error:
            fault = not_utf8(path) if "UTF8" in str(error) else None
            fault = fault or _fault(path, layout.delimiter, layout.quoted, len(layout.names))
            reason = f"{path} cannot be cut into cells ({error}). Give the table as Parquet or JSON lines."
            raise DataError(fault or reason) from error


def _typed(column: pa.ChunkedArray, marks: bool) -> pa.ChunkedArray:
    """Whole numbers, numbers or booleans if all cells are; texts without blanks around them otherwise."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def as_type(kind: pa.DataType, cells: pa.ChunkedArray) -> pa.ChunkedArray | None:
        try:
            return cells.cast(kind)
        except pa.ArrowInvalid:
            return None

    numbers = as_type(pa.float64(), column)
    if numbers is None:
        column = pc.utf8_trim_whitespace(column)
        if marks:
            bare = pc.replace_substring(pc.utf8_slice_codeunits(column, 1, -1), '""', '"')
            column = pc.if_else(pc.match_substring_regex(column, '^".*"$'), bare, column)
        column = pc.if_else(pc.is_in(column, value_set=pa.array(sorted(MARKERS))), None, column)
        numbers = as_type(pa.float64(), column)
    exact = as_type(pa.bool_() if numbers is None else pa.int64(), column)
    return next(typed for typed in (exact, numbers, column) if typed is not None)
