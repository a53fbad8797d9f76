"""Files in, report out: what `aet stream`, `aet report` and `aet demo` share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aet.adaptation.storage import RECORD
from aet.commands.session import plain
from aet.errors import RunError, SchemaError

if TYPE_CHECKING:
    import pandas as pd

    from aet.adaptation.replay import Replay
    from aet.model import Model


def read_parts(model: Model, files: Sequence[Path]) -> list[tuple[str, pd.DataFrame]]:
    """The files as the parts of a stream, each read as the training data were; named by file, by path where two files
    have one name.
    """
    from aet.series_windows import table_of

    names = [file.name for file in files]
    parts = []
    for file, name in zip(files, names, strict=True):
        frame = table_of(file, model.config.data)
        try:
            model.schema.check(frame, need_target=False)
        except SchemaError as error:
            raise SchemaError(f"{file}: {error}") from error
        parts.append((name if names.count(name) == 1 else str(file), frame))
    return parts


def check_paths(report: Path, folder: Path | None) -> None:
    """ConfigError where `keep` could not write, so that no long replay is lost."""
    from aet.report.page import check_path

    check_path(report)
    if folder:
        check_path(folder / RECORD)


def keep(result: Replay, report: Path, folder: Path | None) -> Path:
    """Write the report, and into `folder` the stream with its record, so that the report can be made again."""
    from aet.report import write

    if folder:
        result.stream.save(folder)
        text = json.dumps(plain(result.record), ensure_ascii=False, allow_nan=False)
        (folder / RECORD).write_text(text, encoding="utf-8")
    return write(result.record, report)


def write_report(run: Path, stream: Path | None, out: Path | None) -> Path:
    """The report of a run, or of a stream that was saved from it."""
    import aet
    from aet.adaptation.record import model_record
    from aet.report import write

    if stream is None:
        return write(model_record(aet.load(run), title=run.resolve().name), out or run / "report.html")
    return write(read_record(stream) or stream_record(run, stream), out or stream / "report.html")


def stream_record(run: Path, folder: Path) -> dict[str, Any]:
    """What a saved stream alone knows of itself."""
    import aet
    from aet.adaptation.stream import Stream

    return Stream.load(aet.load(run), folder).record()


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record that `keep` left beside a stream; None if there is none."""
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}). Remove it, or run `aet stream --save` again.") from error
    if not isinstance(record, dict):
        raise RunError(f"{path} holds no record. Remove it, or run `aet stream --save` again.")
    return record
