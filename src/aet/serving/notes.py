"""What happened to streams, written down: states, decisions, alarms, and the audit log."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import sqlalchemy as sa

from aet.errors import ConfigError
from aet.serving.database import alarms, audit, decisions, states, streams
from aet.serving.kept_rows import KeptRows
from aet.serving.lines import AlarmLine, AuditLine, DecisionLine, StateLine
from aet.serving.opened import told


class Notes(KeptRows):
    """States, decisions, alarms and audit."""

    def keep_state(
        self,
        stream: int,
        content: bytes,
        reason: str,
        learned: Sequence[Hashable] = (),
        version: str = "1",
        holder: int | None = None,
    ) -> int:
        """Keep what a stream is now, on a version of its model; its number.

        The contents of all but the newest `keep_states` and the newest of each version go.

        The labels of the rows `learned` are marked as applied in the same transaction: this state knows them.
        Nothing is kept, and Lost raised, where `holder` is given and another server has the stream.
        """
        # A loss of power that takes a state takes the marks with it: what it had learned is learned again.
        with self.writing(durable=bool(learned)) as connection:
            if holder is not None:
                self.still(connection, stream, holder)
            line = {"stream": stream, "at": self.clock(), "reason": told(reason), "content": content}
            line["version"] = told(version, 64)
            number: int = connection.execute(sa.insert(states).values(line).returning(states.c.number)).scalar_one()
            kept = (
                sa.select(states.c.number)
                .where(states.c.stream == stream, states.c.content.is_not(None))
                .order_by(states.c.number.desc())
                .limit(self.keep_states)
            )
            last = (
                sa.select(sa.func.max(states.c.number))
                .where(states.c.stream == stream, states.c.content.is_not(None))
                .group_by(states.c.version)
            )
            connection.execute(
                sa.update(states)
                .where(states.c.stream == stream, states.c.content.is_not(None))
                .where(states.c.number.not_in(kept), states.c.number.not_in(last))
                .values(content=None)
            )
            self._apply(connection, stream, learned)
        return number

    def state(self, stream: int, number: int | None = None, version: str | None = None) -> StateLine | None:
        """A state with its content, by default the newest, or the newest of a version; None if there is none.

        Raises ConfigError for one whose content is no longer kept.
        """
        chosen = sa.select(states).where(states.c.stream == stream).order_by(states.c.number.desc()).limit(1)
        chosen = (
            chosen.where(states.c.content.is_not(None)) if number is None else chosen.where(states.c.number == number)
        )
        if version is not None:
            chosen = chosen.where(states.c.version == version)
        with self.reading() as connection:
            line = connection.execute(chosen).one_or_none()
        if line is None:
            return None
        if line.content is None:
            raise ConfigError(
                f"State {number} of this stream is no longer kept: the newest {self.keep_states} are, unless rows in "
                "them were forgotten. Choose one whose size is above 0."
            )
        return StateLine(line.number, line.at, line.reason, len(line.content), line.version, line.content)

    def states(self, stream: int) -> list[StateLine]:
        """All states, newest first, without their contents; the size is 0 where it is no longer kept."""
        chosen = (
            sa.select(
                states.c.number,
                states.c.at,
                states.c.reason,
                sa.func.coalesce(sa.func.length(states.c.content), 0),
                states.c.version,
            )
            .where(states.c.stream == stream)
            .order_by(states.c.number.desc())
        )
        with self.reading() as connection:
            return [StateLine(*line) for line in connection.execute(chosen)]

    def decide(self, stream: int, rows: int, kind: str, text: str) -> None:
        """Write down what adaptation or guard did after so many rows, and why."""
        line = {"stream": stream, "at": self.clock(), "rows": rows, "kind": told(kind, 40), "text": told(text)}
        with self.writing(durable=False) as connection:
            connection.execute(sa.insert(decisions).values(line))

    def decisions(self, stream: int, newest: int = 100) -> list[DecisionLine]:
        """What was decided, newest first."""
        chosen = (
            sa.select(decisions.c.number, decisions.c.at, decisions.c.rows, decisions.c.kind, decisions.c.text)
            .where(decisions.c.stream == stream)
            .order_by(decisions.c.number.desc())
            .limit(newest)
        )
        with self.reading() as connection:
            return [DecisionLine(*line) for line in connection.execute(chosen)]

    def alarm(self, stream: int | None, kind: str, text: str, todo: str) -> bool:
        """Raise an alarm: True if it is new; one of the same kind and stream that is open is counted once more."""
        at, kind, text, todo = self.clock(), told(kind, 80), told(text), told(todo)
        same = sa.and_(alarms.c.stream.is_not_distinct_from(stream), alarms.c.kind == kind, alarms.c.closed.is_(None))
        with self.writing() as connection:
            if not self.lite:  # of two servers that see the same, one opens the alarm and the other counts it
                connection.execute(sa.text("LOCK TABLE alarms IN SHARE ROW EXCLUSIVE MODE"))
            counted = connection.execute(
                sa.update(alarms).where(same).values(last=at, times=alarms.c.times + 1, text=text, todo=todo)
            )
            if counted.rowcount:
                return False
            line = {"stream": stream, "kind": kind, "first": at, "last": at, "times": 1}
            connection.execute(sa.insert(alarms).values(**line, text=text, todo=todo))
        return True

    def alarms(self, owner: str | None = None, open_only: bool = True) -> list[AlarmLine]:
        """Alarms, newest first; with `owner` those of the owner's streams alone."""
        chosen = sa.select(alarms).order_by(alarms.c.number.desc())
        if owner is not None:
            chosen = chosen.join(streams, streams.c.number == alarms.c.stream).where(streams.c.owner == owner)
        if open_only:
            chosen = chosen.where(alarms.c.closed.is_(None))
        with self.reading() as connection:
            return [AlarmLine(**line) for line in connection.execute(chosen).mappings()]

    def close_alarm(self, number: int) -> bool:
        """An alarm was looked after; whether it was open."""
        with self.writing() as connection:
            closed = connection.execute(
                sa.update(alarms)
                .where(alarms.c.number == number, alarms.c.closed.is_(None))
                .values(closed=self.clock())
            )
        return bool(closed.rowcount)

    def audit(self, key: str, act: str, about: str) -> None:
        """Write down who did what; nothing of a row belongs in `about`."""
        line = {"at": self.clock(), "key": told(key, 32), "act": told(act, 40), "about": told(about, 300)}
        with self.writing(durable=False) as connection:
            connection.execute(sa.insert(audit).values(line))

    def audited(self, newest: int = 100) -> list[AuditLine]:
        """Who did what, newest first."""
        chosen = sa.select(audit).order_by(audit.c.number.desc()).limit(newest)
        with self.reading() as connection:
            return [AuditLine(**line) for line in connection.execute(chosen).mappings()]
