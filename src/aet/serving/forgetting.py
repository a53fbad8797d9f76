"""What the store forgets: rows and streams that somebody has the right to have forgotten, and what is too old."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from aet.serving.as_json import row_text
from aet.serving.database import alarms, answers, decisions, labels, states, streams
from aet.serving.lines import Forgotten
from aet.serving.opened import Opened, pieces

PIECE = 2000
"""Rows deleted in one transaction: labels of other streams wait no longer than that takes."""

LEARNED = (
    "{count:,} of the labels had been learned: the stream's elastic state stays what they made it, and a model that "
    "was retrained on them too. Reset the stream, or retrain, if that must go as well."
)
HELD = (
    "{count:,} kept states of the stream were saved with rows for late labels in them and may hold these rows. Save "
    "the stream without them and give that as `state`, or forget the whole stream."
)
AUDIT = "The audit log stays: it says who did what, never what was in a row."
RETRAINED = "A model that was retrained on this stream's rows stays what it is; retrain it without them if it must go."
WAITING = "{count:,} rows stay though they are old: their label came and has not been learned yet."


class Forgetting(Opened):
    """Deletes; SQLite overwrites what it deletes, PostgreSQL when it next vacuums the table."""

    def forget_rows(
        self, stream: int, ids: Sequence[Hashable], state: bytes | None = None, version: str = "1"
    ) -> Forgotten:
        """Forget rows by id: values, answers and labels, learned or not.

        Args:
            stream: their stream.
            ids: the rows; unknown ones are passed over.
            state: the stream as saved after it dropped the rows. It takes the place of all states kept, which were
                saved before and may hold the rows; without it those stay, and the answer says so.
            version: of the model that `state` belongs to.
        """
        rows = gone = learned = dropped = 0
        with self.writing() as connection:
            self.hold(connection, stream)
            for texts in pieces([row_text(known) for known in ids]):
                theirs = sa.and_(answers.c.stream == stream, answers.c.row.in_(texts))
                numbers = sa.select(answers.c.number).where(theirs)
                one = sa.select(sa.func.count(), sa.func.count(labels.c.applied)).where(labels.c.answered.in_(numbers))
                found = connection.execute(one).one()
                gone, learned = gone + found[0], learned + found[1]
                rows += connection.execute(sa.delete(answers).where(theirs)).rowcount
            held = _count(connection, states, states.c.stream == stream, states.c.content.is_not(None))
            if state is not None:
                dropped = held
                connection.execute(
                    sa.update(states)
                    .where(states.c.stream == stream, states.c.content.is_not(None))
                    .values(content=None)
                )
                reason = f"saved without {rows:,} rows that were forgotten"
                line = {"stream": stream, "at": self.clock(), "reason": reason, "content": state, "version": version}
                connection.execute(sa.insert(states).values(line))
                held = 0
        self._overwrite()
        stays = [LEARNED.format(count=learned)] * bool(learned) + [HELD.format(count=held)] * bool(held and rows)
        return Forgotten(rows=rows, labels=gone, states=dropped, stays=tuple(stays))

    def forget_stream(self, stream: int) -> Forgotten:
        """Forget a stream and all that is of it: rows, labels, states, decisions and alarms.

        Rows go in pieces first, so that other streams need not wait long; if it breaks off, call it again.
        """
        with self.writing() as connection:
            self.hold(connection, stream)
        rows, gone = self._drop(answers.c.stream == stream)
        with self.writing() as connection:
            tables = {"rows": answers, "labels": labels, "states": states, "decisions": decisions, "alarms": alarms}
            counts = {name: _count(connection, table, table.c.stream == stream) for name, table in tables.items()}
            connection.execute(sa.delete(streams).where(streams.c.number == stream))
        self._overwrite()
        counts["rows"] += rows
        counts["labels"] += gone
        stays = (RETRAINED, AUDIT) if counts["labels"] else (AUDIT,)
        return Forgotten(**counts, stays=stays)

    def expire(self, before: datetime) -> Forgotten:
        """Forget what is older, of all streams: rows served before, with their labels; decisions; closed alarms.

        A row whose label waits to be learned stays until it is; states are few and stay. Rows go in pieces; if it
        breaks off, call it again.
        """
        waits = sa.select(labels.c.answered).where(labels.c.applied.is_(None))
        rows, gone = self._drop(sa.and_(answers.c.at < before, answers.c.number.not_in(waits)))
        with self.writing() as connection:
            waiting = _count(connection, answers, answers.c.at < before)
            decided = connection.execute(sa.delete(decisions).where(decisions.c.at < before)).rowcount
            closed = connection.execute(sa.delete(alarms).where(alarms.c.closed < before)).rowcount
        self._overwrite()
        stays = (AUDIT, WAITING.format(count=waiting)) if waiting else (AUDIT,)
        return Forgotten(rows=rows, labels=gone, decisions=decided, alarms=closed, stays=stays)

    def _drop(self, which: sa.ColumnElement[bool]) -> tuple[int, int]:
        """Delete rows, `PIECE` of them in a transaction; how many rows and labels went."""
        rows = gone = 0
        some = sa.select(answers.c.number).where(which).limit(PIECE)
        while True:
            with self.writing() as connection:
                numbers = connection.scalars(some).all()
                gone += _count(connection, labels, labels.c.answered.in_(numbers))
                connection.execute(sa.delete(answers).where(answers.c.number.in_(numbers)))
            rows += len(numbers)
            if len(numbers) < PIECE:
                return rows, gone

    def _overwrite(self) -> None:
        """SQLite's write-ahead log goes into the file, so that no copy of what was deleted lies in it."""
        if self.lite:
            with self.named(), self._turn, self.engine.connect() as connection:
                connection.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _count(connection: sa.Connection, table: sa.Table, *where: Any) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table).where(*where)).scalar_one())
