"""A stream as bytes, for the store: the files of `Stream.save` in a zip without compression. No pickle."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from aet.adaptation.storage import files_of, load_stream
from aet.adaptation.stream import Stream
from aet.errors import RunError
from aet.model import Model

FILES = ("stream.json", "state.safetensors", "memory.safetensors", "rows.safetensors")
MEND = "Take an earlier state of the stream, or start it anew."


def packed(stream: Stream, mark: str, rows: bool = True) -> bytes:
    """The stream, with `rows` also those kept for late labels, encoded; `mark` is its model's fingerprint."""
    with stream._lock:
        files = files_of(stream, rows, mark)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, piece in files.items():
            archive.writestr(name, piece)
    return content.getvalue()


def rows_answered(content: bytes) -> int:
    """How many rows the stream had answered when it was packed, whatever model it is of."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return int(json.loads(archive.read("stream.json"))["rows"])
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise RunError(f"The saved state is damaged ({error}). {MEND}") from error


def unpacked(model: Model, content: bytes, mark: str) -> Stream:
    """The stream on its model, whose fingerprint is `mark`.

    Raises RunError for damaged bytes, or those of another model's stream.
    """
    try:
        with TemporaryDirectory() as folder, zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in FILES:  # by name: nothing else that the archive may hold is written
                if name in archive.namelist():
                    (Path(folder) / name).write_bytes(archive.read(name))
            return load_stream(model, Path(folder), mark)
    except zipfile.BadZipFile as error:
        raise RunError(f"The saved state is damaged ({error}). {MEND}") from error


def added(content: bytes, name: str, more: bytes) -> bytes:
    """A stream's bytes with one more file, which `unpacked` leaves alone."""
    whole = io.BytesIO(content)
    with zipfile.ZipFile(whole, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(name, more)
    return whole.getvalue()


def member(content: bytes, name: str) -> bytes | None:
    """A file among a stream's bytes; None if it is not there, or they are damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.read(name) if name in archive.namelist() else None
    except zipfile.BadZipFile:
        return None
