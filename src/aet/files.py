"""What all readers of files share: bytes with their faults as sentences, names of columns, pieces of a length."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pandas as pd

from aet.errors import DataError, SchemaError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

Frames = Iterator[pd.DataFrame]
Names = Sequence[str] | None
UTF16 = (b"\xff\xfe", b"\xfe\xff")
"""The first two bytes of a file in UTF-16, as spreadsheets write "Unicode text"."""


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
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
        raise DataError(not_utf8(path)) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}). Check that you may read it.") from error


def not_utf8(path: Path) -> str:
    """The sentence for a file in another encoding, with the first byte that shows it."""
    where, encoding = str(path), "latin1"
    with reading(path) as stream:
        if stream.read(2) in UTF16:
            encoding = "utf-16"
        stream.seek(0)
        for number, line in enumerate(stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                where += f", line {number}, byte 0x{line[error.start]:02x}"
                break
    return f"{where}: expected UTF-8 text. Convert it, as with `iconv -f {encoding} -t utf-8 {path.name}`."


def unique(names: Iterable[Any], where: str) -> list[str]:
    """The names as texts; `DataError` if one comes twice."""
    texts = [str(name) for name in names]
    if twice := [repr(name) for name, count in Counter(texts).items() if count > 1]:
        raise DataError(f"{where} has two columns {', '.join(twice)}: expected each name once. Rename one.")
    return texts


def chosen(names: Iterable[str], columns: Names) -> list[str]:
    """The columns asked for, all if none are; `SchemaError` if one is not there."""
    known = list(names)
    for column in columns or ():
        if column not in known:
            raise SchemaError(f"There is no column {column!r}. {nearest(column, known)}")
    return known if columns is None else list(columns)


def regrouped(batches: Iterable[pa.RecordBatch], rows: int | None) -> Iterator[pa.Table]:
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
