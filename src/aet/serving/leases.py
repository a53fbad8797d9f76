"""Which of several servers on one PostgreSQL has a stream: one at a time, and a stream goes where its rows go.

    free -> taken by the server that is asked for it -> wanted by another: its holder finishes what it accepted,
    saves the stream, and hands it over; the other opens it as it was saved

So no two servers ever answer, learn or count for one stream at the same time, and what a label taught is known wherever
the next row arrives. A server has a number, and lives as long as its session with the database holds the advisory lock
of that number: the leases of one that was killed are free as soon as PostgreSQL sees its session end. A server that
only lost its session takes those of its leases up again that nobody took meanwhile.

SQLite is of one server: `alone`.
"""

from __future__ import annotations

import logging
import secrets
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from aet.errors import AetError, StoreError
from aet.serving.database import leases
from aet.serving.opened import Missing
from aet.serving.store import Store

log = logging.getLogger(__name__)
HOLD, UNUSED = 0.25, 2.0
"""Seconds that a server keeps a stream once it uses it, and one that it has fetched and not used yet: so that servers
that all get rows of it do some work, however slow they are."""
CHANNEL = "aet_leases"
LOOK, ASK, CHECK = 0.01, 0.25, 2.0
"""Seconds between looks at what is wanted, between reminders of its holder, between checks of the session."""


class Leases:
    """The streams of a server; thread-safe, and two threads of its own once the first stream is taken.

    Args:
        store: on PostgreSQL.
        leave: given a stream's number, it saves the stream and lets it go; False while somebody uses it.
        lost: told of streams that another server has taken.
    """

    def __init__(self, store: Store, leave: Callable[[int], bool], lost: Callable[[Collection[int]], None]) -> None:
        self.store, self.leave, self.lost = store, leave, lost
        self.number: int | None = None
        """Who this server is to the others; a new one with each session."""
        self.given = 0
        """Streams handed over."""
        self._mine: dict[int, float] = {}
        """Streams, and the moments until which they are kept."""
        self._asked: dict[int, int] = {}
        self._giving: set[int] = set()
        self._wanted: dict[int, Future[None]] = {}
        self._told: dict[int, float] = {}
        self._turn = threading.Lock()
        """Of two threads one takes or gives: what the database says of a stream is then also what this object says."""
        self._change = threading.Condition()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def here(self, stream: int) -> bool:
        """Whether this server has the stream, to be used now, and is not handing it over."""
        with self._change:
            if stream not in self._mine or stream in self._giving:
                return False
            self._mine[stream] = min(self._mine[stream], time.monotonic() + HOLD)
            return True

    def take(self, stream: int) -> bool:
        """Take the stream if it is free, or this server's already; whether it is now."""
        self._join()
        with self._turn:
            if stream in self._giving or not self._written(stream):
                return False
            with self._change:
                self._mine.setdefault(stream, time.monotonic() + UNUSED)
            return True

    def _written(self, stream: int) -> bool:
        """Whether the stream's lease names this server, after taking it where its holder is none or no more."""
        with self.store.writing(durable=False) as connection:
            first = postgresql.insert(leases).values(stream=stream, holder=self.number).on_conflict_do_nothing()
            connection.execute(first)
            line = sa.select(leases.c.holder).where(leases.c.stream == stream).with_for_update()
            holder = connection.scalar(line)
            if holder is None:
                raise Missing
            if holder == self.number:
                return True
            if not connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(holder))):
                return False
            connection.execute(sa.update(leases).where(leases.c.stream == stream).values(holder=self.number))
            return True

    def fetch(self, stream: int) -> Future[None]:
        """Ask its holder for a stream; done once it is here."""
        self._join()
        with self._change:
            if stream not in self._wanted:
                self._wanted[stream] = Future()
                self._change.notify_all()
            return self._wanted[stream]

    def forget(self, stream: int) -> None:
        """The stream is gone, and its lease with it."""
        with self._change:
            self._mine.pop(stream, None)

    def let_go(self, stream: int) -> None:
        """A stream that was put aside, saved: whoever wants it may have it."""
        with self._change:
            if self._mine.pop(stream, None) is None:
                return
        self._write(sa.delete(leases).where(leases.c.stream == stream, leases.c.holder == self.number))

    def stop(self) -> None:
        """Let all go, and end."""
        self._stopped.set()
        with self._change:
            self._change.notify_all()
        for thread in self._threads:
            thread.join()
        if self._threads:
            self._write(sa.delete(leases).where(leases.c.holder == self.number))

    def _write(self, statement: Any) -> None:
        try:
            with self.store.writing(durable=False) as connection:
                connection.execute(statement)
        except StoreError as error:  # the lease ends with the session then
            log.warning("A lease was not given back: %s", error)

    def _join(self) -> None:
        """Become known to the others; StoreError if the database cannot be reached."""
        with self._change:
            if not self._threads:
                self._threads = [
                    threading.Thread(target=work, name=f"aet-leases-{work.__name__}", daemon=True)
                    for work in (self._listen, self._fetch)
                ]
                for thread in self._threads:
                    thread.start()
            if not self._change.wait_for(lambda: self.number is not None, timeout=5.0):
                raise StoreError(
                    f"The store {self.store.url} cannot be reached to say which streams are this server's. Start the "
                    "database, or look at the network and the URL; then try again."
                )

    def _fetch(self) -> None:
        """Take what is wanted as soon as it is free, and remind its holder."""
        while not self._stopped.is_set():
            with self._change:
                self._change.wait_for(lambda: self._wanted or self._stopped.is_set())
                wanted = list(self._wanted)
            for stream in wanted:
                try:
                    if not self.take(stream):
                        self._remind(stream)
                        continue
                    self._settle(stream, None)
                except AetError as error:
                    self._settle(stream, error)
            self._stopped.wait(LOOK)
        for stream in list(self._wanted):
            self._settle(stream, StoreError("The server stops."))

    def _settle(self, stream: int, error: AetError | None) -> None:
        with self._change:
            future = self._wanted.pop(stream)
            self._told.pop(stream, None)
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def _remind(self, stream: int) -> None:
        now = time.monotonic()
        if now - self._told.get(stream, -ASK) < ASK:
            return
        self._told[stream] = now
        asked = sa.func.concat(leases.c.holder, f" {stream} {self.number}")
        with self.store.writing(durable=False) as connection:
            connection.execute(sa.select(sa.func.pg_notify(CHANNEL, asked)).where(leases.c.stream == stream))

    def _listen(self) -> None:
        """Hold the session, hear what others want, and hand it over."""
        import psycopg

        while not self._stopped.is_set():
            try:
                with self._session() as session:
                    self._serve(session)
            except (psycopg.Error, sa.exc.SQLAlchemyError, StoreError) as error:
                log.error("The session that holds this server's streams broke off, and is taken up again: %s", error)
                self._stopped.wait(0.5)

    @contextmanager
    def _session(self) -> Iterator[Any]:
        """A connection of its own that holds this server's number."""
        pooled = self.store.engine.raw_connection()
        session: Any = pooled.driver_connection
        pooled.detach()  # the pool makes another in its place
        try:
            session.autocommit = True
            number = secrets.randbits(62)
            for name, value in (("idle", 5), ("interval", 2), ("count", 3)):
                session.execute(f"SET tcp_keepalives_{name} = {value}")
            session.execute(f"SELECT pg_advisory_lock({number})")
            session.execute(f"LISTEN {CHANNEL}")
            self._renew(number)
            yield session
        finally:
            session.close()

    def _renew(self, number: int) -> None:
        """Take up under a new number what nobody has taken since the last session broke off."""
        kept: Collection[int] = ()
        with self._turn, self._change:
            if self.number is not None:
                renewed = sa.update(leases).where(leases.c.holder == self.number).values(holder=number)
                with self.store.writing(durable=False) as connection:
                    kept = set(connection.scalars(renewed.returning(leases.c.stream)))
            gone = [stream for stream in self._mine if stream not in kept]
            for stream in gone:
                del self._mine[stream]
                self._asked.pop(stream, None)
                self._giving.discard(stream)
            self.number = number
            self._change.notify_all()
        if gone:
            self.lost(gone)

    def _serve(self, session: Any) -> None:
        checked = time.monotonic()
        while not self._stopped.is_set():
            for note in session.notifies(timeout=0.005 if self._asked else 0.5, stop_after=1):
                holder, stream, other = map(int, note.payload.split())
                if holder == self.number:
                    self._asked.setdefault(stream, other)
            if time.monotonic() - checked > CHECK:
                session.execute("SELECT 1")
                checked = time.monotonic()
            self._give()

    def _give(self) -> None:
        """Hand over what others want, once it was here for a moment and nobody uses it."""
        for stream, other in list(self._asked.items()):
            with self._turn, self._change:
                if time.monotonic() < self._mine.get(stream, 0.0):
                    continue
                self._giving.add(stream)
            try:
                if not self.leave(stream):
                    continue
                with self._turn, self.store.writing(durable=False) as connection:
                    own = sa.and_(leases.c.stream == stream, leases.c.holder == self.number)
                    connection.execute(sa.update(leases).where(own).values(holder=other))
            except AetError as error:
                log.error("A stream that another server wants could not be saved, and stays: %s", error)
                self._stopped.wait(0.5)
                continue
            with self._change:
                self.given += self._mine.pop(stream, None) is not None
                self._asked.pop(stream, None)
                self._giving.discard(stream)


@contextmanager
def alone(store: Store) -> Iterator[None]:
    """One server on an SQLite store while the block lasts; StoreError if there is another. The system ends it with the
    process, however that ends. Other programs (`aet retrain`, `aet keys`) may use the file meanwhile.
    """
    if not store.lite or sys.platform == "win32":  # which has no such locks
        yield
        return
    import fcntl

    path = Path(f"{store.engine.url.database}-serving")
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreError(
                f"Another server uses the store {store.engine.url.database}: an SQLite store is of one server, or both "
                "would give the same ids to different rows. Stop the other, name another file with --store, or share a "
                "PostgreSQL database (--store postgresql://USER@HOST/NAME)."
            ) from error
        yield
