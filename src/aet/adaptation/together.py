"""Rows of many streams of one model, answered in one forward pass.

Each stream's elastic state meets its own rows alone: of the states on a new axis, s (S, ...), row i takes s[stream(i)],
and the source's rows take zeros, which is the source. All else (what the method takes from the rows, who answers them,
what is kept for late labels) is each stream's own, in the order in which the streams are given.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from aet.adaptation.base import source_state
from aet.adaptation.sampled import saw
from aet.adaptation.serving import Choice
from aet.answering import answer_frame
from aet.attention.state import ElasticState, applied
from aet.batch import Batch
from aet.errors import ConfigError
from aet.rows import Checked

if TYPE_CHECKING:
    from aet.adaptation.stream import Stream
    from aet.model import Model


@dataclass
class Part:
    """What one stream has to do with a call: its rows, who answers them, and their logits."""

    stream: Stream
    given: slice
    """Its rows in the frame, those kept aside among them."""
    good: slice
    """Its rows among the good ones."""
    whole: Checked
    """The rows of all."""
    batch: Batch
    choice: Choice = field(default_factory=Choice)
    said: Sequence[Tensor] = ()
    """Logits of what the method looks at."""
    source: Tensor | None = None
    served: Tensor | None = None

    @property
    def rows(self) -> int:
        """How many rows were given."""
        return int(self.given.stop - self.given.start)

    @property
    def kept(self) -> npt.NDArray[np.int64]:
        """Which of them are good."""
        kept: npt.NDArray[np.int64] = self.whole.kept[self.good] - self.given.start
        return kept

    @property
    def problems(self) -> dict[int, str]:
        """What is wrong with the others."""
        start, stop = self.given.start, self.given.stop
        return {row - start: text for row, text in self.whole.problems.items() if start <= row < stop}

    @property
    def checked(self) -> Checked:
        """Its own rows as checked."""
        ids = None if self.whole.ids is None else self.whole.ids[self.given]
        return Checked(self.whole.frame.iloc[self.good].reset_index(drop=True), self.kept, self.problems, ids)

    @property
    def serving(self) -> bool:
        """Whether an adapted state answers."""
        return self.choice.state is not None

    @property
    def wants_source(self) -> bool:
        """Whether the source answers, alone or beside the state, and has not been asked."""
        return self.source is None and (not self.serving or self.stream.compare)

    @property
    def shares(self) -> bool:
        """Whether its state alone answers, so that its rows can pass with those of others."""
        method = self.stream.method
        return not (self.serving and method.own_answer and self.choice.state is method.state)

    def learn_first(self) -> None:
        """A transductive stream learns from rows before it answers them."""
        stream = self.stream
        if stream.transductive:
            stream._move(lambda: stream.method.learn(self.batch), "adapted to a batch before answering it")

    def learn(self) -> None:
        """Let the method learn from the rows, now that they are answered; for a transductive stream it has."""
        stream = self.stream
        if not stream.transductive:
            with stream._lock:
                stream._move(lambda: stream.method.learn(self.batch), "adapted to a batch")


def predict_together(streams: Sequence[Stream], frames: Sequence[pd.DataFrame], proba: bool = False) -> pd.DataFrame:
    """`stream.predict(frame)` for each of the streams, in one forward pass: one answer a row, stream after stream.

    Raises ConfigError where a stream is named twice or the streams are not of one model, SchemaError where columns are
    missing.

    >>> import numpy as np, pandas as pd, aet
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> rows = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "sign": np.where(x.sum(1) > 0, "plus", "minus")})
    >>> model = aet.train(rows, target="sign", config={"train": {"epochs": 5}})
    >>> sites = [model.stream(), model.stream()]
    >>> answers = predict_together(sites, [rows[["a", "b"]][:2], rows[["a", "b"]][2:5]])
    >>> answers["id"].tolist()
    [0, 1, 0, 1, 2]
    """
    frame = pd.concat(list(frames), ignore_index=True)
    given = answer_together(streams, frame, [len(rows) for rows in frames], proba)
    for part in given.parts:
        part.learn()
    return given.frame()


@dataclass(frozen=True)
class Given:
    """The answers of a call and its parts, whose methods have not yet learned from the rows: `part.learn()`."""

    checked: Checked
    columns: dict[str, Any]
    """`Stream.predict`'s, without `id` and `problem`, of the good rows (K,)."""
    ids: npt.NDArray[Any]
    """Of all rows (N,)."""
    parts: list[Part]

    def frame(self) -> pd.DataFrame:
        """One answer a row, in order, as `Stream.predict` gives them."""
        columns = {
            name: pd.Series(cells, dtype=object) if isinstance(cells, np.ndarray) and cells.dtype.kind == "O" else cells
            for name, cells in self.columns.items()
        }
        answers = pd.DataFrame(columns, index=range(len(self.checked.kept)))
        return answer_frame(self.checked, answers, self.ids, len(self.ids))


def answer_together(streams: Sequence[Stream], frame: pd.DataFrame, rows: Sequence[int], proba: bool = False) -> Given:
    """The answers to a frame whose first `rows[0]` rows are the first stream's, and so on."""
    model = streams[0].model
    if len({id(stream) for stream in streams}) < len(streams) or any(stream.model is not model for stream in streams):
        raise ConfigError(
            f"Streams that answer together are of one model, each named once; got {len(streams)} of "
            f"{len({id(stream.model) for stream in streams})} models. Join the rows of a stream before."
        )
    with ExitStack() as locks:
        for stream in sorted(streams, key=id):  # in one order, so that two calls never wait for each other
            locks.enter_context(stream._lock)
        checked, parts = read(model, streams, frame, rows)
        for part in parts:
            part.learn_first()
        looks(model, parts)
        for part in parts:
            part.stream._read(part)
        logits(model, parts)
        columns = told(model, checked, parts, proba)
        saw([stream.trace.sampled for stream in streams], checked.frame, [len(part.batch) for part in parts])
        ids, confidence = named(model, checked, parts), np.asarray(columns["confidence"])
        for part in parts:
            part.stream._told(part, ids[part.given], confidence[part.good])
        return Given(checked, columns, ids, parts)


def read(
    model: Model, streams: Sequence[Stream], frame: pd.DataFrame, rows: Sequence[int]
) -> tuple[Checked, list[Part]]:
    """The frame checked and encoded, as a whole and by stream."""
    stops = np.cumsum(rows).tolist()
    spans = [slice(stop - count, stop) for stop, count in zip(stops, rows, strict=True)]
    first = [stream.rows + 1 for stream in streams]
    whole = model.check(frame, first=first[0]) if len(streams) == 1 or model.schema.id is None else None
    if whole is None or (whole.problems and len(streams) > 1):
        # Sentences count each stream's rows, and an id may stand in two streams.
        each = [model.check(frame.iloc[span], first=n) for span, n in zip(spans, first, strict=True)]
        whole = joined(each, spans)
    batch, places = model.encode(whole.frame), np.searchsorted(whole.kept, [0, *stops])
    if len(streams) == 1:
        return whole, [Part(streams[0], spans[0], slice(0, len(whole.kept)), whole, batch)]
    parts = []
    for stream, span, a, b in zip(streams, spans, places[:-1].tolist(), places[1:].tolist(), strict=True):
        # Copies: what a stream keeps of its rows must not hold those of others.
        own = Batch({name: values[a:b].clone() for name, values in batch.values.items()})
        parts.append(Part(stream, span, slice(a, b), whole, own))
    return whole, parts


def joined(each: Sequence[Checked], spans: Sequence[slice]) -> Checked:
    """Checked rows of frames that follow on each other."""
    frame = pd.concat([checked.frame for checked in each], ignore_index=True)
    kept = np.concatenate([checked.kept + span.start for checked, span in zip(each, spans, strict=True)])
    problems = {row + s.start: text for one, s in zip(each, spans, strict=True) for row, text in one.problems.items()}
    ids = None if each[0].ids is None else np.concatenate([checked.ids for checked in each])
    return Checked(frame, kept, problems, ids)


def looks(model: Model, parts: Sequence[Part]) -> None:
    """What methods ask before they propose, in one pass for all; then also what the source says where it answers so
    far, and so most likely will.
    """
    asked = [list(part.stream.method.looks(part.batch)) for part in parts]
    if not any(asked):
        return
    likely = [part.stream.compare or part.stream.served_state is None for part in parts]
    own = [(part.batch, None) for part, one in zip(parts, likely, strict=True) if one and len(part.batch)]
    started = time.perf_counter()
    found = by_state(model, [*own, *(look for some in asked for look in some)])
    taken = (time.perf_counter() - started) / max(1, sum(map(len, found)))
    said = iter(found)
    for part, one in zip(parts, likely, strict=True):
        if one and len(part.batch):
            part.source = next(said)
            part.stream.trace.seconds["answering"] += taken * len(part.batch)
    for part, some in zip(parts, asked, strict=True):
        part.said = [next(said) for _ in some]
        part.stream.trace.seconds["adapting"] += taken * sum(map(len, part.said))


def logits(model: Model, parts: Sequence[Part]) -> None:
    """Fill in who said what: one pass for all parts that share, its time told to each by its rows."""
    shared = [part for part in parts if part.shares] if len(parts) > 1 else []
    wanted: list[tuple[Part, ElasticState | None]] = [(part, None) for part in shared if part.wants_source]
    wanted += [(part, part.choice.state) for part in shared if part.serving]
    started = time.perf_counter()
    found = by_state(model, [(part.batch, state) for part, state in wanted])
    taken = (time.perf_counter() - started) / max(1, sum(len(part.batch) for part, _ in wanted))
    for (part, state), said in zip(wanted, found, strict=True):
        part.stream.trace.seconds["answering"] += taken * len(part.batch)
        if state is None:
            part.source = said
        else:
            part.served = part.choice.corrected(said)
    for part in parts:
        started = time.perf_counter()
        if len(parts) == 1 or not part.shares:
            if part.wants_source:
                part.source = model.logits(part.batch)
            if part.choice.state is not None:
                part.served = part.stream._adapted(part.batch, part.choice)
            part.stream.trace.seconds["answering"] += time.perf_counter() - started
        part.served = part.served if part.serving else part.source


def by_state(model: Model, wanted: Sequence[tuple[Batch, ElasticState | None]]) -> list[Tensor]:
    """Logits of batches, each under its state (None: the source's), in one pass."""
    if not wanted:
        return []
    distinct = {id(state): state for _, state in wanted}
    state = next(iter(distinct.values()))
    if len(distinct) > 1:
        numbers = {known: number for number, known in enumerate(distinct)}
        state = stacked(source_state(model), list(distinct.values()))
        if len(wanted) > len(distinct) or any(len(rows) > 1 for rows, _ in wanted):
            places = torch.tensor([numbers[id(one)] for _, one in wanted])
            state = state.rows(places.repeat_interleave(torch.tensor([len(rows) for rows, _ in wanted])))
    with applied(state):
        if len(wanted) == 1:
            return [model.logits(wanted[0][0])]
        said = model.logits(Batch.concat([rows for rows, _ in wanted]))
    return list(said.split([len(rows) for rows, _ in wanted]))


def stacked(source: ElasticState, states: Sequence[ElasticState | None]) -> ElasticState:
    """States (None: the source's) on a new axis (S, ...): where few dials moved, these alone, and modules without them
    stay at the source and cost nothing.
    """
    whole = [source if one is None else one for one in states]
    moved: set[str] = set()
    for one in whole:
        moved |= {name for name, dial in one.items() if dial is not source.get(name)}
        if len(moved) > len(source) // 2:
            return ElasticState.stack(whole)
    return ElasticState({name: torch.stack([one[name] for one in whole]) for name in source if name in moved})


def named(model: Model, checked: Checked, parts: Sequence[Part]) -> npt.NDArray[Any]:
    """Ids of all rows: those of the table, or each stream's own counter."""
    rows = parts[-1].given.stop
    if model.schema.id is not None:
        return model.ids(checked, 0, rows)
    ids = np.empty(rows, dtype=object)
    for part in parts:
        ids[part.given] = range(part.stream.rows, part.stream.rows + part.rows)
    return ids


def told(model: Model, checked: Checked, parts: Sequence[Part], proba: bool) -> dict[str, Any]:
    """The answers to the good rows (K,), and who gave them, by column."""
    served = torch.cat([part.served for part in parts if part.served is not None])
    columns = model.output.columns(served, checked.frame, proba)
    who = np.repeat(["proposal" if part.serving else "source" for part in parts], [len(part.batch) for part in parts])
    names = list(columns)
    first, others = ({name: columns[name] for name in some} for some in (names[:2], names[2:]))
    return {**first, "served_by": who, "source_prediction": source_predictions(model, parts), **others}


def source_predictions(model: Model, parts: Sequence[Part]) -> Any:
    """What the source said in the parts that compare; None elsewhere."""
    asked = [part for part in parts if part.stream.compare and part.source is not None]
    if not asked:
        return None
    said = model.output.answers(torch.cat([part.source for part in asked if part.source is not None]))["prediction"]
    if len(asked) == len(parts):
        return said
    column = np.full(sum(len(part.batch) for part in parts), None, dtype=object)
    places = np.concatenate([np.arange(part.good.start, part.good.stop) for part in asked])
    for place, one in zip(places.tolist(), said.tolist(), strict=True):
        column[place] = one
    return pd.Series(column, dtype=object)
