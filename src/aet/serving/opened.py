"""A store that is open: its transactions, and its errors in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import sqlalchemy as sa

from aet.errors import AetError, ConfigError, StoreError
from aet.serving.database import connect, leases, streams
from aet.serving.migrations import upgrade

AT_ONCE = 500
"""Values in one list of a query."""
Item = TypeVar("Item")


class Missing(ConfigError):
    """A stream that is not in the store."""

    def __init__(self) -> None:
        super().__init__("There is no such stream in the store: it was forgotten, or never made.")


def now() -> datetime:
    """The present moment, with its zone."""
    return datetime.now(UTC)


class Lost(StoreError):
    """Another server has the stream now."""

    def __init__(self) -> None:
        super().__init__("Another server has this stream now: what this one did since it saved it last is not kept.")


class Opened:
    """Base of the store: opens the database, makes or upgrades its tables, reads and writes in transactions."""

    def __init__(self, url: str | Path, keep_states: int = 20, clock: Callable[[], datetime] = now) -> None:
        if keep_states < 1:
            raise ConfigError(f"keep_states is a number of states, 1 or more; got {keep_states}.")
        self.engine = connect(url)
        self.keep_states, self.clock = keep_states, clock
        self.lite = self.engine.dialect.name == "sqlite"
        # Threads that wait for SQLite's own lock poll it; here they queue.
        self._turn: Any = Lock() if self.lite else nullcontext()
        with ExitStack() as unless_open:
            unless_open.callback(self.close)
            if self.lite:
                self._make_file()
            with self.writing() as connection:
                upgrade(connection)
            unless_open.pop_all()

    @property
    def url(self) -> str:
        """Where it is, without the password."""
        return self.engine.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Let go of the database; what was accepted is on disk."""
        self.engine.dispose()

    def _make_file(self) -> None:
        """An empty file that only its owner may read: rows of people come to lie in it."""
        name = self.engine.url.database
        if name in (None, "", ":memory:"):
            raise ConfigError("A store outlives its process: expected a file or a PostgreSQL URL, got memory.")
        path = Path(str(name))
        if path.exists():
            return
        try:
            path.touch(mode=0o600)
        except OSError as error:
            raise StoreError(
                f"The store {path} cannot be made ({error.strerror}). Name a file in a folder that exists and can be "
                "written."
            ) from error

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that sees one moment."""
        with self.named(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self, durable: bool = True) -> Iterator[sa.Connection]:
        """A transaction that is kept as a whole when the block ends, or not at all."""
        with self.named(), self._turn, self.engine.connect() as plain:
            connection = plain.execution_options(writes=True, durable=durable)
            with connection.begin():
                yield connection

    def still(self, connection: sa.Connection, stream: int, holder: int) -> None:
        """Lost unless this server has the stream, until the transaction ends."""
        line = sa.select(leases.c.holder).where(leases.c.stream == stream).with_for_update(read=True)
        if connection.scalar(line) != holder:
            raise Lost

    def hold(self, connection: sa.Connection, stream: int) -> None:
        """Let no other server write this stream's labels until the transaction ends; ConfigError if it is not there."""
        held = sa.select(streams.c.number).where(streams.c.number == stream).with_for_update(key_share=True)
        if connection.execute(held).one_or_none() is None:
            raise Missing

    @contextmanager
    def named(self) -> Iterator[None]:
        """Errors of the database as StoreError: what happened, that nothing was half written, what to do."""
        try:
            yield
        except sa.exc.IntegrityError as error:
            if "foreign key" not in str(error).lower():
                raise StoreError(f"The store {self.url} refused a line: {error.orig}. Nothing was written.") from error
            raise Missing from error
        except (sa.exc.StatementError, sa.exc.TimeoutError) as error:
            cause = getattr(error, "orig", None) or error
            if isinstance(cause, AetError):  # about a value that the statement was given
                raise cause from None
            raise StoreError(f"The store {self.url} {mend(str(cause))} Nothing was half written.") from error


def mend(cause: str) -> str:
    """What a database's own words mean, and what to do.

    >>> mend("database or disk is full")
    'has no room left (database or disk is full). Free some space on its disk and try again.'
    """
    words = " ".join(cause.split())[:300]
    for signs, what, todo in MEANINGS:
        if any(sign in words.lower() for sign in signs):
            return f"{what} ({words}). {todo}"
    return f"cannot be used ({words}). Try again; if it stays so, look after the database."


MEANINGS: Sequence[tuple[tuple[str, ...], str, str]] = (
    (
        ("disk is full", "no space left", "could not extend", "disk full"),
        "has no room left",
        "Free some space on its disk and try again.",
    ),
    (("locked", "lock timeout"), "is held by another program", "Try again, or end what holds it."),
    (
        ("malformed", "not a database", "disk i/o error", "corrupt"),
        "is damaged or no database",
        "Put back a copy of the file, or name a new one.",
    ),
    (("readonly", "read-only"), "cannot be written", "Give the server's user the right to write its file and folder."),
    (
        ("connect", "terminat", "closed", "shutting down", "starting up", "unable to open", "timeout"),
        "cannot be reached",
        "Start the database, or look at the network and the URL; then try again: nothing else needs a restart.",
    ),
)


def pieces(items: Sequence[Item], size: int = AT_ONCE) -> Iterator[Sequence[Item]]:
    """The items, so many at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def told(text: str, size: int | None = None) -> str:
    """Free text as every database takes it: without NUL and half surrogates, cut to the column's size.

    >>> told("a" * 5, 3)
    'aa…'
    """
    text = text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    return text if size is None or len(text) <= size else text[: size - 1] + "…"
