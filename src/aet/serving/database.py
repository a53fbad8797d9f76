"""Tables of the store, and connections to it: SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import JSON, Column, ForeignKey, Integer, LargeBinary, MetaData, String, Table, Text

from aet.errors import ConfigError

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(column_0_label)s",
    }
)


class Moment(sa.types.TypeDecorator[datetime]):
    """A time with its zone, kept as UTC; SQLite itself knows none."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Into the database."""
        if value is not None and value.tzinfo is None:
            raise ConfigError(f"A moment needs its time zone, got {value}. Take datetime.now(UTC).")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Out of the database."""
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def moment(name: str = "at", **given: Any) -> Column[Any]:
    """A column of times."""
    return Column(name, Moment, nullable=given.pop("nullable", False), **given)


def of_stream(**given: Any) -> Column[Any]:
    """The stream that a line is about; goes when the stream goes."""
    return Column("stream", Integer, ForeignKey("streams.number", ondelete="CASCADE"), **given)


streams = Table(
    "streams",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("model", String(200), nullable=False),
    Column("settings", JSON, nullable=False),
    moment("made"),
    sa.UniqueConstraint("owner", "name", name="uq_streams_owner_name"),
)
"""Flows of rows; settings are the arguments of `model.stream`."""

answers = Table(
    "answers",
    metadata,
    of_stream(primary_key=True),
    Column("row", String(200), primary_key=True),
    moment(index=True),
    Column("version", String(64), nullable=False),
    Column("values", JSON, nullable=True),
    Column("masked", sa.Boolean, nullable=False),
    Column("answer", JSON, nullable=False),
)
"""Rows answered: the row's id as JSON, the version that answered, its values (null where rows are not kept; `masked`
if personal data was replaced in them) and the answer."""

labels = Table(
    "labels",
    metadata,
    of_stream(primary_key=True),
    Column("row", String(200), primary_key=True),
    moment(index=True),
    Column("label", JSON, nullable=False),
    Column("at_random", sa.Boolean, nullable=False),
    Column("key", String(32), nullable=False),
    moment("applied", nullable=True),
)
"""Late labels; `applied` is null until the stream has learned them."""

states = Table(
    "states",
    metadata,
    of_stream(primary_key=True),
    Column("number", Integer, primary_key=True),
    moment(),
    Column("reason", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
)
"""What a stream is at a moment: files of `Stream.save` in one archive without compression."""

decisions = Table(
    "decisions",
    metadata,
    Column("number", Integer, primary_key=True),
    of_stream(index=True),
    moment(),
    Column("rows", Integer, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("text", Text, nullable=False),
)
"""What adaptation and guard did and why: the stream's events."""

alarms = Table(
    "alarms",
    metadata,
    Column("number", Integer, primary_key=True),
    of_stream(index=True),
    Column("kind", String(80), nullable=False),
    moment("first"),
    moment("last"),
    Column("times", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("todo", Text, nullable=False),
    moment("closed", nullable=True),
)
"""Alarms, once for each kind and stream until closed; `todo` is the runbook's line."""

keys = Table(
    "keys",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("hash", String(128), nullable=False),
    Column("role", String(16), nullable=False),
    Column("owner", String(64), nullable=False),
    moment("made"),
    moment("revoked", nullable=True),
)
"""API keys: public name, hash of the secret, role and whose streams they reach."""

audit = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True),
    moment(index=True),
    Column("key", String(32), nullable=False),
    Column("act", String(40), nullable=False),
    Column("about", String(300), nullable=False),
)
"""Who did what: never what was in a row."""


def connect(url: str | Path) -> sa.Engine:
    """An engine for a file (SQLite, write-ahead log, every commit on disk) or a URL, `postgresql://...`.

    >>> connect("sqlite://").dialect.name
    'sqlite'
    """
    text = str(url)
    if "://" not in text:
        text = f"sqlite:///{Path(text)}"
    if text.startswith("postgresql://"):
        text = text.replace("postgresql://", "postgresql+psycopg://", 1)
    try:
        engine = sa.create_engine(text, pool_pre_ping=True)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError) as error:
        raise ConfigError(
            "The store takes a file (runs/store.db), sqlite:///FILE or postgresql://USER@HOST/NAME; "
            f"got a URL of {text.split(':', 1)[0]!r}."
        ) from error
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _pragmas)
    return engine


def _pragmas(connection: Any, _: Any) -> None:
    """What SQLite does not do by default: read while one writes, lose nothing on a crash, keep foreign keys."""
    cursor = connection.cursor()
    for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()
