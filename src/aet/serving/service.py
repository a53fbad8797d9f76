"""Models, streams and store as one thing that is asked; it knows nothing of HTTP.

    answered -> written down -> given;   label written down -> acknowledged -> learned -> saved -> no longer pending

so that a process that dies at any moment has lost no label, and no id is given twice.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

import numpy as np
import pandas as pd

from aet.adaptation.base import Method
from aet.adaptation.given import truth
from aet.adaptation.record import drift_record
from aet.adaptation.together import answer_together
from aet.errors import AetError, FeedbackError
from aet.personal import Masker
from aet.serving.asks import Answers, Ask, gone, unreadable
from aet.serving.cells import Row, frame_of, known_columns, plain_cell, records, said
from aet.serving.learning import Learner
from aet.serving.models import Served, chosen
from aet.serving.refusals import Elsewhere
from aet.serving.releases import Releases
from aet.serving.residents import ASIDE, MOST, Resident, Residents
from aet.serving.saver import Saver
from aet.serving.store import AnsweredRow, Forgotten, Label, Store
from aet.serving.watches import Watches, advised

FOLDED = 8
"""Streams for which a copy of the model with their state folded in is kept."""


class Service:
    """Thread-safe.

    Args:
        models: by name; the releases change which version is there.
        store: where everything is written down.
        settings: of streams that are made without their own, as `model.stream` takes them.
        keep_values: whether rows are written down with their values, for retraining and for labels that come late.
        mask: what replaces personal data in values before they are written down.
        watches: are shown what was answered, and the labels that came; None watches nothing.
        save_every: seconds after which streams that moved are saved.
        most: streams in memory.
    """

    def __init__(
        self,
        models: Mapping[str, Served],
        store: Store,
        settings: Mapping[str, Any] | None = None,
        keep_values: bool = True,
        mask: Masker | None = None,
        save_every: float = 30.0,
        most: int = MOST,
        watches: Watches | None = None,
    ) -> None:
        self.models, self.store, self.keep_values, self.mask = dict(models), store, keep_values, mask
        self.watches = watches
        self.learner = Learner(store, watches.labels if watches else None)
        beside = {"beside": watches.beside, "leaves": self._leaves} if watches else {"leaves": self._leaves}
        self.residents = Residents(self.models, store, settings or {}, self._opened, most, mask, **beside)
        self._folded: OrderedDict[int, Resident] = OrderedDict()
        self.releases = Releases(self.residents, self.learner, self._left)
        self.saver = Saver(self.residents, self.releases.follow_quietly, save_every)

    def start(self) -> Service:
        """Open the streams whose labels wait to be learned, and save streams from time to time from now on."""
        self.releases.follow()
        leases = self.residents.leases
        for line in self.store.streams():
            if line.model in self.models and self.store.pending(line.number):
                if leases is not None and not leases.take(line.number):
                    continue  # the server that has it learns them
                with self.residents.use(line.owner, line.name):
                    pass
        self.saver.start()
        return self

    def stop(self) -> None:
        """Finish what was accepted, and save."""
        self.saver.stop()
        self.learner.stop()
        if self.watches is not None:
            self.watches.stop()
        try:
            self.saver.save("the server stopped")
        finally:
            if self.residents.leases is not None:
                self.residents.leases.stop()

    def predict(
        self, owner: str, stream: str, rows: Sequence[Row], model: str | None = None, proba: bool = False
    ) -> Answers:
        """Answer rows of one stream, which is made if it is not there."""
        (found,) = self.answer([Ask(owner, stream, rows, model, proba)])
        while isinstance(found, Elsewhere):
            with self.residents.use(owner, stream, model):  # waits until it is here
                (found,) = self.answer([Ask(owner, stream, rows, model, proba)])
        if isinstance(found, AetError):
            raise found
        if self.write([found], [rows]):
            raise gone(stream)
        return found

    def answer(self, asks: Sequence[Ask]) -> list[Answers | AetError]:
        """Answer requests of any streams, those with the same columns in one forward pass; nothing is written down.

        A request that cannot be answered gets its error, and the others their answers.
        """
        found: list[Answers | AetError | None] = [None] * len(asks)
        with ExitStack() as used:
            groups: dict[Hashable, dict[int, tuple[Resident, list[int]]]] = {}
            opened: dict[tuple[str, str, str | None], Resident | AetError] = {}
            for place, ask in enumerate(asks):
                name = (ask.owner, ask.stream, ask.model)
                if name not in opened:
                    opened[name] = self._use(used, ask)
                resident = opened[name]
                if isinstance(resident, AetError):
                    found[place] = resident
                    continue
                group = groups.setdefault((resident.served.name, resident.served.version, ask.columns, ask.proba), {})
                group.setdefault(resident.line.number, (resident, []))[1].append(place)
            for group in groups.values():
                self._together(asks, list(group.values()), found)
        return [one for one in found if one is not None]

    def _use(self, used: ExitStack, ask: Ask) -> Resident | AetError:
        """Its stream, in memory for as long as `used` lasts, or why it cannot be."""
        try:
            return used.enter_context(self.residents.use(ask.owner, ask.stream, ask.model, make=True, patient=False))
        except AetError as error:
            return error

    def _together(
        self, asks: Sequence[Ask], group: list[tuple[Resident, list[int]]], found: list[Answers | AetError | None]
    ) -> None:
        """One forward pass; rows of one stream go in the order of their requests."""
        order = [place for _, places in group for place in places]
        rows = [row for place in order for row in asks[place].rows]
        counts = [sum(len(asks[place].rows) for place in places) for _, places in group]
        streams = [resident.stream for resident, _ in group]
        try:
            frame = frame_of(streams[0].model.schema, rows)
            given = answer_together(streams, frame, counts, asks[order[0]].proba)
        except (AetError, TypeError, ValueError) as error:
            if len(order) == 1:
                found[order[0]] = error if isinstance(error, AetError) else unreadable(error)
                return
            for resident, places in group:  # what is wrong with one request is no other's concern
                for place in places:
                    self._together(asks, [(resident, [place])], found)
            return
        compare = any(stream.compare for stream in streams)
        answers, start = said(given, without="" if compare else "source_prediction"), 0
        for (resident, places), part in zip(group, given.parts, strict=True):
            resident.moved = True
            if type(part.stream.method).learn is not Method.learn:
                self.learner.follow(resident, part)
            self.releases.answered(resident, part, answers)
            for place in places:
                stop = start + len(asks[place].rows)
                served, line = resident.served, resident.line
                own = answers[start:stop]
                found[place] = Answers(served.name, served.version, line.name, own, line.number, resident)
                start = stop
        if len(group) == 1:
            self._fold(group[0][0])

    def _fold(self, resident: Resident) -> None:
        """It answered alone and may keep a copy of the model: of so many streams alone."""
        self._folded[resident.line.number] = resident
        self._folded.move_to_end(resident.line.number)
        if len(self._folded) > FOLDED:
            self._folded.popitem(last=False)[1].stream.rest()

    def _leaves(self, resident: Resident) -> None:
        """Another server wants it."""
        self._left([resident])
        if self.watches is not None:
            self.watches.lots.now(resident)

    def _left(self, residents: Sequence[Resident]) -> None:
        """Another version answers these from now on."""
        for resident in residents:
            self._folded.pop(resident.line.number, None)

    def write(self, answers: Sequence[Answers], rows: Sequence[Sequence[Row]]) -> set[int]:
        """Write answers down with their rows, in one transaction; the numbers of streams that were forgotten."""
        pairs = list(zip(answers, rows, strict=True))
        missing = self.store.answered_together([(one.number, one.version, self._lines(one, own)) for one, own in pairs])
        if self.watches is not None:
            for one, given in pairs:
                good = [row for row, answer in zip(given, one.rows, strict=True) if answer["problem"] is None]
                if one.resident is not None:
                    self.watches.rows(one.resident, good)
        for resident in self.residents.all() if missing else ():
            if resident.line.number in missing:
                self.residents.drop(resident)
        return missing

    def _lines(self, answers: Answers, rows: Sequence[Row]) -> list[AnsweredRow]:
        """Rows with an id, as they are written down: of their values those that the model knows, masked. A row with a
        declared id that could not be answered is sent again under it, so it is not.
        """
        said, masked = answers.rows, np.zeros(len(rows), dtype=bool)
        values: Sequence[Row | None] = [None] * len(rows)
        if self.mask is not None:  # answers may quote what was sent
            said = [{name: self.mask.value(cell) for name, cell in row.items() if name != "id"} for row in said]
            said = [{**row, "problem": ASIDE} if row.get("problem") else row for row in said]
        if self.keep_values:
            known = known_columns(self.models[answers.model].model.schema)
            values = [{name: row[name] for name in known if name in row} for row in rows]
            if self.mask is not None:
                frame = pd.DataFrame(values)
                frame, masked = self.mask.within(frame.columns).frame(frame)
                values = records(frame)
        counted = self.models[answers.model].model.schema.id is None
        ids = [row["id"] if counted or row["problem"] is None else None for row in answers.rows]
        lines = zip(ids, said, values, masked.tolist(), strict=True)
        return [AnsweredRow(known, row, hidden, one) for known, one, row, hidden in lines if known is not None]

    def feedback(self, owner: str, stream: str, labels: Sequence[Label], key: str = "local") -> Future[None]:
        """Take late labels in: they are kept when this returns, and learned when what it returns is done.

        Raises FeedbackError, and takes none, for a label that the model cannot give, a row that the stream has not
        answered, or one that has another label.
        """
        with self.residents.use(owner, stream) as resident:
            if not labels:
                raise FeedbackError("There is no label here: expected one or more, each with the id of its row.")
            model = resident.stream.model
            truth(model, [label.id for label in labels], [label.label for label in labels])
            with resident.stream._lock:
                rows = resident.stream.kept
                kept = [one for one in labels if one.id in rows.place]
                if model.output.kind == "tags":  # whose labels must fit their rows
                    resident.stream.check_feedback([one.id for one in kept], [one.label for one in kept])
                new = {one.id for one in kept} - rows.coming
                rows.coming |= new  # from here on no draw finds them, so that none counts as asked for
            try:
                self.store.label(resident.line.number, labels, key)
            except BaseException:
                rows.coming -= new
                raise
            learning = self.learner.teach(resident, labels)
            self.releases.labelled(resident, labels)
            return learning

    def answers_with(self, owner: str, stream: str) -> str:
        """The kind of a stream's answers."""
        with self.residents.use(owner, stream) as resident:
            return resident.stream.model.output.kind

    def teaching(self, owner: str, stream: str) -> bool:
        """Whether the stream learns labels right now, so that its rows would wait."""
        return self.residents.teaching(owner, stream)

    def asked(self, owner: str, stream: str, ids: Sequence[Hashable]) -> int:
        """Of these rows, how many the stream asked for."""
        with self.residents.use(owner, stream) as resident, resident.stream._lock:
            kept = resident.stream.kept
            return sum(not np.isnan(kept.weights[kept.place[known]]) for known in ids if known in kept.place)

    def ask(self, owner: str, stream: str, count: int = 16, newest: int = 2048) -> list[Hashable]:
        """Ids of rows that are worth a label."""
        with self.residents.use(owner, stream) as resident:
            ids = resident.stream.ask(count, newest)
            resident.moved |= bool(ids)
            return ids

    def create(self, owner: str, stream: str, model: str | None, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Make a stream; raises Taken if it is there."""
        self.residents.make(owner, stream, model, settings)
        return self.describe(owner, stream)

    def streams(self, owner: str) -> list[dict[str, Any]]:
        """The owner's streams, as the store knows them."""
        return [
            {"stream": line.name, "model": line.model, "settings": line.settings, "made": line.made.isoformat()}
            for line in self.store.streams(owner)
        ]

    def describe(self, owner: str, stream: str) -> dict[str, Any]:
        """What a stream is now."""
        with self.residents.use(owner, stream) as resident, resident.stream._lock:
            one, line = resident.stream, resident.line
            evidence = one.guard.evidence() if one.guard.needs_labels else {}
            return {
                "stream": line.name,
                "model": line.model,
                "version": resident.served.version,
                "settings": line.settings,
                "made": line.made.isoformat(),
                "rows": one.rows,
                "labels": one.labels,
                "asked": one.asked,
                "served_by": "proposal" if one.serving else "source",
                "because": one.guard.reason() if one.guard.serving else one.method.why,
                "served": dict(one.trace.served),
                "quarantined": one.trace.quarantined,
                "guard": {"name": one.guard.name, **plain_cell(evidence)},
                "state": {"bytes": one.state.nbytes, "size": plain_cell(one.state.size())},
                "undoable": len(one._history),
                "waiting": len(self.store.pending(line.number)),
            }

    def state(self, owner: str, stream: str) -> dict[str, Any]:
        """How far each dial is from the source."""
        with self.residents.use(owner, stream) as resident, resident.stream._lock:
            state = resident.stream.state
            dials = {name: plain_cell(float(tensor.double().norm())) for name, tensor in state.items()}
            return {"size": plain_cell(state.size()), "bytes": state.nbytes, "dials": dials}

    def history(self, owner: str, stream: str, newest: int = 100) -> list[dict[str, Any]]:
        """What was decided, the newest first."""
        with self.residents.use(owner, stream) as resident:
            self.residents.note(resident)
            decided = self.store.decisions(resident.line.number, newest)
        return [{"at": d.at.isoformat(), "rows": d.rows, "kind": d.kind, "text": d.text} for d in decided]

    def undo(self, owner: str, stream: str, steps: int = 1) -> dict[str, Any]:
        """Back to before the last changes, and saved so."""
        return self._back(owner, stream, lambda resident: resident.stream.undo(steps), "undone")

    def reset(self, owner: str, stream: str) -> dict[str, Any]:
        """Back to the source, and saved so."""
        return self._back(owner, stream, lambda resident: resident.stream.reset(), "reset")

    def _back(self, owner: str, stream: str, act: Callable[[Resident], None], why: str) -> dict[str, Any]:
        with self.residents.use(owner, stream) as resident:
            act(resident)
            resident.moved = True
            self.residents.save(resident, why)
        return self.describe(owner, stream)

    def forget(self, owner: str, stream: str) -> Forgotten:
        """Forget a stream with all its rows, labels and states."""
        with self.residents.use(owner, stream) as resident:
            self.learner.wait()
            forgotten = self.store.forget_stream(resident.line.number)
            self.residents.drop(resident)
            resident.moved = False
            return forgotten

    def drift(self, owner: str, stream: str) -> dict[str, Any]:
        """How far the stream's rows are from the training's, by column, and how many answers are likely right."""
        with self.residents.use(owner, stream) as resident:
            watched = {"watch": None if self.watches is None else self.watches.report(resident)}
            with resident.stream._lock:
                one = resident.stream
                return {
                    "stream": stream,
                    "rows": one.rows,
                    "columns": plain_cell(drift_record(one)),
                    "estimates": plain_cell(one.answered.now()),
                    **watched,
                    "advice": advised(resident),
                }

    def model(self, name: str | None, version: str | None = None) -> Served:
        """A model by name and version; raises Unknown."""
        return chosen(self.models, name, version)

    def _opened(self, resident: Resident, pending: list[Label]) -> None:
        if pending:
            self.learner.teach(resident, pending)
