"""Tables of the store, and connections to it: SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import JSON, Column, ForeignKey, Integer, LargeBinary, MetaData, String, Table, Text

from aet.errors import ConfigError
from aet.serving.as_json import ID, to_json

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

Json = JSON(none_as_null=True)
Big = sa.BigInteger().with_variant(Integer, "sqlite")
"""Of what is counted by rows; SQLite's integers are big, and number lines only if they are called so."""


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
    Column("settings", Json, nullable=False),
    moment("made"),
    sa.UniqueConstraint("owner", "name"),
    sqlite_autoincrement=True,
)
"""Flows of rows; settings are the arguments of `model.stream`."""

answers = Table(
    "answers",
    metadata,
    Column("number", Big, primary_key=True),
    of_stream(nullable=False),
    Column("row", String(ID), nullable=False),
    moment(index=True),
    Column("version", String(64), nullable=False),
    Column("values", Json, nullable=True),
    Column("masked", sa.Boolean, nullable=False),
    Column("answer", Json, nullable=False),
    sa.Index("ix_answers_stream_row", "stream", "row", "number"),
    sqlite_autoincrement=True,
)
"""Rows answered: the row's id as JSON, the version that answered, its values (null where rows are not kept; `masked`
if personal data was replaced in them) and the answer. An id served again is a new line: labels stay with their own."""

labels = Table(
    "labels",
    metadata,
    Column("number", Big, primary_key=True),
    of_stream(nullable=False),
    Column("answered", Big, ForeignKey("answers.number", ondelete="CASCADE"), nullable=False, unique=True),
    moment(),
    Column("label", Json, nullable=False),
    Column("at_random", sa.Boolean, nullable=False),
    Column("key", String(32), nullable=False),
    moment("applied", nullable=True),
    sa.Index(
        "ix_labels_pending",
        "stream",
        "number",
        sqlite_where=sa.text("applied IS NULL"),
        postgresql_where=sa.text("applied IS NULL"),
    ),
    sqlite_autoincrement=True,
)
"""Late labels, numbered as they came; `applied` is null until the stream has learned them."""

states = Table(
    "states",
    metadata,
    Column("number", Big, primary_key=True),
    of_stream(nullable=False, index=True),
    moment(),
    Column("reason", Text, nullable=False),
    Column("content", LargeBinary, nullable=True),
    Column("version", String(64), nullable=False, server_default="1"),
    sqlite_autoincrement=True,
)
"""What a stream is at a moment, on a version of its model: files of `Stream.save` in one archive, not compressed; null
once newer ones came."""

leases = Table(
    "leases",
    metadata,
    of_stream(primary_key=True),
    Column("holder", sa.BigInteger, nullable=False, index=True),
)
"""Which of several servers has a stream (`aet.serving.leases`); `holder` is the number of its session."""

decisions = Table(
    "decisions",
    metadata,
    Column("number", Big, primary_key=True),
    of_stream(nullable=False, index=True),
    moment(),
    Column("rows", Big, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("text", Text, nullable=False),
    sqlite_autoincrement=True,
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
    sqlite_autoincrement=True,
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
    Column("number", Big, primary_key=True),
    moment(index=True),
    Column("key", String(32), nullable=False),
    Column("act", String(40), nullable=False),
    Column("about", String(300), nullable=False),
    sqlite_autoincrement=True,
)
"""Who did what: never what was in a row."""


def connect(url: str | Path) -> sa.Engine:
    """An engine for a file (SQLite, write-ahead log) or a URL, `postgresql://...`.

    A transaction is opened for reading, unless the connection's option `writes` is set; what it commits is on disk when
    the commit returns, unless `durable` is set to False: then a crash of the process loses nothing, a loss of power may
    take what was not followed by a durable commit.

    >>> connect("store.db").dialect.name
    'sqlite'
    """
    text = str(url)
    if "://" not in text:
        text = f"sqlite:///{Path(text)}"
    text = re.sub("^postgres(ql)?://", "postgresql+psycopg://", text)
    try:
        address = sa.make_url(text)
        if address.get_backend_name() not in ("sqlite", "postgresql"):
            raise sa.exc.ArgumentError("another kind of database")
        waits = {"connect_timeout": 5} if address.get_backend_name() == "postgresql" else {}
        engine = sa.create_engine(address, pool_pre_ping=True, json_serializer=to_json, connect_args=waits)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError) as error:
        raise ConfigError(
            "The store takes a file (runs/store.db), sqlite:///FILE or postgresql://USER@HOST/NAME; "
            f"got a URL of {text.split(':', 1)[0]!r}."
        ) from error
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _pragmas)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _pragmas(connection: Any, _: Any) -> None:
    """What SQLite does not do by default: read while one writes, keep foreign keys, overwrite what is deleted."""
    connection.isolation_level = None  # transactions are opened by `_begin`, not guessed by the driver
    for setting in ("busy_timeout=5000", "journal_mode=WAL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {setting}").fetchall()


def _begin(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    durable = options.get("durable", True)
    if connection.dialect.name == "sqlite":
        if options.get("writes"):
            connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        # A transaction that reads first and writes then could find its view of the file outdated.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes") else "BEGIN")
    elif not durable:
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
