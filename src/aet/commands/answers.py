"""Writing answers piece by piece, so that any number of rows passes in bounded memory."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from aet.commands.session import Session, plain
from aet.errors import ConfigError, DataError
from aet.folder import Counted

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from aet.ensemble import Ensemble
    from aet.model import Model

Pieces = Iterable["pd.DataFrame"]


def to_csv(pieces: Pieces, stream: IO[str]) -> None:
    """Comma-separated, with a header."""
    for number, piece in enumerate(pieces):
        listed = [str(name) for name in piece if piece[name].map(lambda cell: isinstance(cell, list)).any()]
        piece.assign(**{name: piece[name].map(as_text) for name in listed}).to_csv(
            stream, index=False, header=number == 0, lineterminator="\n"
        )


def as_text(cell: Any) -> Any:
    """A list, as taggers answer it, as JSON; any other cell as it is."""
    return json.dumps(plain(cell), ensure_ascii=False) if isinstance(cell, list) else cell


def to_json_lines(pieces: Pieces, stream: IO[str]) -> None:
    """One object a row."""
    for record in records(pieces):
        stream.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")


def to_json_list(pieces: Counted) -> None:
    """One JSON object on standard output; written once all answers are there, so that an error leaves none behind."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as kept:
        for number, record in enumerate(records(pieces)):
            kept.write(", " * (number > 0) + json.dumps(record, ensure_ascii=False, allow_nan=False))
        kept.seek(0)
        sys.stdout.write(f'{{"rows": {pieces.rows}, "left_out": {pieces.left_out}, "answers": [')
        shutil.copyfileobj(kept, sys.stdout)
        sys.stdout.write("]}\n")


def records(pieces: Pieces) -> Iterator[dict[str, Any]]:
    """Rows as JSON knows them."""
    for piece in pieces:
        for record in piece.to_dict("records"):
            yield plain(record)


def to_parquet(pieces: Pieces, path: Path, model: Model | Ensemble, about: Mapping[bytes, bytes] | None = None) -> None:
    """Columns keep one type through all pieces: declared ids are text, since pieces of a file may disagree on them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: pq.ParquetWriter | None = None
    try:
        for piece in pieces:
            schema = writer.schema if writer else arrow_schema(piece, model).with_metadata(dict(about or {}))
            columns = [column_array(piece[field.name], field.type) for field in schema]
            writer = writer or pq.ParquetWriter(path, schema)
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    finally:
        if writer:
            writer.close()


def arrow_schema(piece: pd.DataFrame, model: Model | Ensemble) -> pa.Schema:
    """Types that hold for every piece."""
    import pyarrow as pa

    classes = getattr(model.output, "classes", [])
    known = pa.array(classes).type if len({type(value) for value in classes}) == 1 else pa.string()
    types: dict[str, Any] = {
        "id": pa.int64() if model.schema.id is None else pa.string(),
        "prediction": known if piece["prediction"].dtype == object else pa.float64(),
        "problem": pa.string(),
    }
    others = {str(name): pa.string() for name in piece.columns if piece[name].dtype == object}
    types = {**others, **types}
    return pa.schema([(str(name), types.get(str(name), pa.float64())) for name in piece.columns])


def column_array(column: pd.Series[Any], kind: pa.DataType) -> pa.Array:
    """A column as the type asks; missing values are null."""
    import pyarrow as pa

    cells = column.astype(object).where(column.notna(), None)
    return pa.array(
        [None if cell is None else str(as_text(cell)) for cell in cells] if kind == pa.string() else cells, kind
    )


WRITERS: dict[str, Callable[[Pieces, IO[str]], None]] = {
    ".csv": to_csv,
    ".jsonl": to_json_lines,
    ".ndjson": to_json_lines,
}


def check_suffix(path: Path) -> None:
    """Raise ConfigError for a file that answers cannot be written to."""
    known = [*WRITERS, ".parquet"]
    if path.suffix.lower() not in known:
        raise ConfigError(f"--out {path}: answers are written as one of {', '.join(known)}. Give the file such a name.")


def write_answers(pieces: Pieces, path: Path, model: Model | Ensemble) -> None:
    """Write a file as a whole or not at all."""
    with replaced(path) as partial:
        if path.suffix.lower() == ".parquet":
            to_parquet(pieces, partial, model)
            return
        with partial.open("w", encoding="utf-8", newline="") as stream:
            WRITERS[path.suffix.lower()](pieces, stream)


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place if the block ends well, and goes if it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def answer_folder(here: Session, run: Path, data: Path, out: Path | None, proba: bool, ray: bool) -> None:
    """Answer a folder, and say what became of it; DataError at the end where a file could not be answered."""
    from aet.folder import predict_folder

    if out is None:
        raise ConfigError(f"{data} is a folder, and its answers are one: expected --out DIR. Name a folder beside it.")
    here.going_on = f"The same command goes on with the files that {out} has no answers for."
    report = predict_folder(run, data, out, proba=proba, ray=ray)
    if not report.failed:
        here.give({"run": run, "out": out, **report.to_dict()})
    done = report.files - report.skipped - len(report.failed)
    if here.progress:
        aside = f", {report.left_out:,} of them without an answer" if report.left_out else ""
        before = f"; {report.skipped:,} files were answered before" if report.skipped else ""
        here.tell(f"{done:,} files, {report.rows:,} rows{aside}, in {out}{before}.", "green")
    if report.failed:
        first, why = next(iter(report.failed.items()))
        raise DataError(
            f"{len(report.failed):,} of {report.files:,} files could not be answered, the others are. The first, "
            f"{first}: {why} The same command tries them again."
        )
