"""The store: what a server writes down and reads back, in a file (SQLite) or a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from aet.errors import ConfigError, nearest
from aet.serving.database import streams
from aet.serving.forgetting import Forgetting
from aet.serving.lines import (
    AlarmLine,
    AnsweredRow,
    AuditLine,
    DecisionLine,
    Forgotten,
    Label,
    LabelledRow,
    StateLine,
    StreamLine,
)
from aet.serving.notes import Notes

__all__ = [
    "AlarmLine",
    "AnsweredRow",
    "AuditLine",
    "DecisionLine",
    "Forgotten",
    "Label",
    "LabelledRow",
    "StateLine",
    "Store",
    "StreamLine",
]


class Store(Notes, Forgetting):
    """Thread-safe; every call is one transaction, kept as a whole or not at all.

    Args:
        url: a file, `sqlite:///FILE` or `postgresql://USER@HOST/NAME`. Tables are made, or brought up to date, here.
        keep_states: newest states of a stream whose contents are kept.
        clock: what says the time, for tests. No order rests on it.

    Raises StoreError if it cannot be opened, reached or written; what failed may be tried again.

    >>> import tempfile, pathlib
    >>> with Store(pathlib.Path(tempfile.mkdtemp()) / "store.db") as store:
    ...     site = store.stream("acme", "site-7", model="gas")
    ...     store.answered(site.number, "1", [AnsweredRow(1, {"s00": 1.2}, False, {"prediction": "ethanol"})])
    ...     store.label(site.number, [Label(1, "acetone")], key="k1")
    ...     store.pending(site.number)
    [Label(id=1, label='acetone', at_random=False)]
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stream(
        self, owner: str, name: str, model: str | None = None, settings: Mapping[str, Any] | None = None
    ) -> StreamLine:
        """The owner's stream of this name; made with these settings if it is not there and `model` is given.

        Raises ConfigError for a stream that is not there, that runs on another model, or a name that cannot be kept.
        """
        for what, text, size in (("A stream's name", name, 200), ("An owner's name", owner, 64)):
            if not 0 < len(text) <= size or not text.isprintable():
                raise ConfigError(f"{what} has 1 to {size} printable characters; got {text[:40]!r}, {len(text)} long.")
        found = self._find(owner, name)
        if found is None:
            found = self._make(owner, name, model, settings)
        if model is not None and found.model != model:
            raise ConfigError(
                f"The stream {name!r} runs on the model {found.model!r}, not on {model!r}. Take another name, or "
                "forget the stream first."
            )
        return found

    def streams(self, owner: str | None = None) -> list[StreamLine]:
        """All streams, or the owner's, in the order in which they were made."""
        chosen = sa.select(streams).order_by(streams.c.number)
        if owner is not None:
            chosen = chosen.where(streams.c.owner == owner)
        with self.reading() as connection:
            return [StreamLine(**line) for line in connection.execute(chosen).mappings()]

    def _find(self, owner: str, name: str) -> StreamLine | None:
        chosen = sa.select(streams).where(streams.c.owner == owner, streams.c.name == name)
        with self.reading() as connection:
            line = connection.execute(chosen).mappings().one_or_none()
        return None if line is None else StreamLine(**line)

    def _make(self, owner: str, name: str, model: str | None, settings: Mapping[str, Any] | None) -> StreamLine:
        if model is None:
            known = nearest(name, [line.name for line in self.streams(owner)])
            raise ConfigError(f"There is no stream {name!r}. {known}")
        line = {"owner": owner, "name": name, "model": model, "settings": dict(settings or {}), "made": self.clock()}
        insert = (sqlite if self.lite else postgresql).insert(streams)
        with self.writing() as connection:  # another server may have made it since we looked
            connection.execute(insert.values(line).on_conflict_do_nothing(index_elements=["owner", "name"]))
        found = self._find(owner, name)
        assert found is not None
        return found
