"""Rows answered and their late labels: the part of the store that feeds streams and retraining."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from aet.errors import FeedbackError
from aet.serving.as_json import row_id, row_text, to_json
from aet.serving.database import answers, labels, streams
from aet.serving.lines import AnsweredRow, Label, LabelledRow
from aet.serving.opened import Missing, Opened, pieces, told


class KeptRows(Opened):
    """Rows, answers and labels."""

    def answered(self, stream: int, version: str, rows: Sequence[AnsweredRow]) -> None:
        """Write rows and their answers down, all of them or none.

        A crash of the process loses none; a loss of power may take the last moments', up to the newest label.

        Raises Missing, a ConfigError, for a stream that is not there.
        """
        if rows and self.answered_together([(stream, version, rows)]):
            raise Missing

    def answered_together(self, given: Sequence[tuple[int, str, Sequence[AnsweredRow]]]) -> set[int]:
        """`answered` for rows of many streams in one transaction; gives the streams that are not there any more.

        Their rows are not kept: somebody who has a stream forgotten means those that were just answered, too.
        """
        at = self.clock()
        lines: list[dict[str, Any]] = []
        for stream, version, rows in given:
            of_all = {"stream": stream, "at": at, "version": told(version, 64)}
            lines += [
                {**of_all, "row": row_text(r.id), "values": r.values, "masked": r.masked, "answer": r.answer}
                for r in rows
            ]
        if not lines:
            return set()
        try:
            with self.writing(durable=False) as connection:
                connection.execute(sa.insert(answers), lines)
        except Missing:
            return self._write_those_there(lines)
        return set()

    def _write_those_there(self, lines: list[dict[str, Any]]) -> set[int]:
        """Leave out the rows of streams that are gone; those of the others cannot go while this is written."""
        wanted = {line["stream"] for line in lines}
        with self.writing(durable=False) as connection:
            there: set[int] = set()
            for numbers in pieces(list(wanted)):
                held = sa.select(streams.c.number).where(streams.c.number.in_(numbers))
                there.update(connection.scalars(held.with_for_update(read=True, key_share=True)))
            lines = [line for line in lines if line["stream"] in there]
            if lines:
                connection.execute(sa.insert(answers), lines)
        return wanted - there

    def last_row(self, stream: int) -> Hashable | None:
        """The id of the row that the stream answered last; None if none is kept."""
        newest = sa.select(answers.c.row).where(answers.c.stream == stream).order_by(answers.c.number.desc()).limit(1)
        with self.reading() as connection:
            text = connection.execute(newest).scalar_one_or_none()
        return None if text is None else row_id(text)

    def values(self, stream: int, ids: Sequence[Hashable]) -> dict[Hashable, AnsweredRow]:
        """Rows by id, those that are known; of an id served twice the newer one."""
        found = {}
        with self.reading() as connection:
            for texts in pieces([row_text(known) for known in ids]):
                newest = _newest(stream, texts).subquery()
                chosen = sa.select(answers).join(newest, answers.c.number == newest.c.number)
                for line in connection.execute(chosen):
                    known = row_id(line.row)
                    found[known] = AnsweredRow(known, line.values, line.masked, line.answer)
        return found

    def label(self, stream: int, given: Sequence[Label], key: str) -> None:
        """Take late labels in; they are on disk when this returns, in this order, and `pending` until `applied`.

        The same label once more is accepted: a client that heard no answer sends it again.

        Raises FeedbackError, and takes none of them, for a row that this stream has not answered (or that was
        forgotten), or one that has another label.
        """
        wanted: dict[str, Label] = {}
        for line in given:
            text = row_text(line.id)
            if line.label is None:
                raise FeedbackError(f"Row {line.id!r} came with an empty label. Leave it out until its label is known.")
            _alike(line, wanted.setdefault(text, line).label)
        with self.writing() as connection:
            self.hold(connection, stream)
            known = self._known(connection, stream, list(wanted))
            at, lines = self.clock(), []
            for text, line in wanted.items():
                if text not in known:
                    raise FeedbackError(
                        f"No row with the id {line.id!r} was served by this stream, or it was forgotten. Ids are those "
                        "in the `id` of its answers. None of the labels of this call was taken."
                    )
                number, before = known[text]
                if before is not None:
                    _alike(line, before)
                    continue
                lines.append(
                    {
                        "stream": stream,
                        "answered": number,
                        "at": at,
                        "label": line.label,
                        "at_random": line.at_random,
                        "key": told(key, 32),
                    }
                )
            if lines:
                connection.execute(sa.insert(labels), lines)

    def _known(self, connection: sa.Connection, stream: int, texts: Sequence[str]) -> dict[str, tuple[int, Any]]:
        """Number of the newest answer and its label, None without one, by row."""
        known = {}
        for some in pieces(texts):
            newest = _newest(stream, some).subquery()
            chosen = sa.select(newest.c.row, newest.c.number, labels.c.label).outerjoin(
                labels, labels.c.answered == newest.c.number
            )
            known.update({row: (number, label) for row, number, label in connection.execute(chosen)})
        return known

    def pending(self, stream: int) -> list[Label]:
        """Labels that the stream has not learned yet, in the order in which they came, whatever the clock said."""
        chosen = (
            sa.select(answers.c.row, labels.c.label, labels.c.at_random)
            .join(answers, labels.c.answered == answers.c.number)
            .where(labels.c.stream == stream, labels.c.applied.is_(None))
            .order_by(labels.c.number)
        )
        with self.reading() as connection:
            return [Label(row_id(row), label, free) for row, label, free in connection.execute(chosen)]

    def applied(self, stream: int, ids: Sequence[Hashable]) -> None:
        """The stream has learned these rows' labels."""
        with self.writing() as connection:
            self._apply(connection, stream, ids)

    def _apply(self, connection: sa.Connection, stream: int, ids: Sequence[Hashable]) -> None:
        for texts in pieces([row_text(known) for known in ids]):
            theirs = sa.select(answers.c.number).where(answers.c.stream == stream, answers.c.row.in_(texts))
            connection.execute(
                sa.update(labels)
                .where(labels.c.stream == stream, labels.c.applied.is_(None), labels.c.answered.in_(theirs))
                .values(applied=self.clock())
            )

    def labelled(
        self, model: str, since: datetime | None = None, stream: int | None = None, at_once: int = 1000
    ) -> Iterator[LabelledRow]:
        """Rows of a model's streams whose true answer is known, as their labels came; `since` is a moment of labels.

        Rows whose values are not kept are left out. Read in pieces of `at_once`, so that memory is bounded and no
        transaction stays open between them.
        """
        chosen = (
            sa.select(answers, labels.c.number.label("came"), labels.c.label, labels.c.at_random)
            .join(labels, labels.c.answered == answers.c.number)
            .join(streams, streams.c.number == answers.c.stream)
            .where(streams.c.model == model, answers.c["values"].is_not(None))
            .order_by(labels.c.number)
            .limit(at_once)
        )
        if since is not None:
            chosen = chosen.where(labels.c.at >= since)
        if stream is not None:
            chosen = chosen.where(answers.c.stream == stream)
        last = 0
        while True:
            with self.reading() as connection:
                lines = connection.execute(chosen.where(labels.c.number > last)).all()
            for line in lines:
                yield LabelledRow(
                    line.came,
                    line.stream,
                    row_id(line.row),
                    line.at,
                    line.version,
                    line.values,
                    line.masked,
                    line.answer,
                    line.label,
                    line.at_random,
                )
            if len(lines) < at_once:
                return
            last = lines[-1].came


def _newest(stream: int, texts: Sequence[str]) -> sa.Select[tuple[str, int]]:
    """Number of the newest answer of each row."""
    return (
        sa.select(answers.c.row, sa.func.max(answers.c.number).label("number"))
        .where(answers.c.stream == stream, answers.c.row.in_(texts))
        .group_by(answers.c.row)
    )


def _alike(line: Label, before: Any) -> None:
    """FeedbackError unless the label is the one that the row has."""
    if _sorted(line.label) != _sorted(before):
        raise FeedbackError(
            f"Row {line.id!r} already has the label {before!r}, and now {line.label!r} came. Each row takes one; leave "
            "the second out. None of the labels of this call was taken."
        )


def _sorted(label: Any) -> str:
    """A label as text, whatever the order of its names."""
    return json.dumps(json.loads(to_json(label)), sort_keys=True)
