"""Files with known answers, replayed in order as a deployed stream: what drift costs and what adaptation wins back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pandas as pd

from aet.adaptation.base import METHODS, Method
from aet.adaptation.scoring import Scores, curve, harm, reliability
from aet.adaptation.stream import Stream
from aet.errors import FeedbackError
from aet.model import Model

CHUNK = 64
"""Rows that arrive together."""

FIRST_ROUND = 4
"""Labels asked for at first; each later round doubles the rows waited for."""


@dataclass
class Part:
    """One file of the stream."""

    name: str
    frame: pd.DataFrame


@dataclass
class Replay:
    """A stream, what was right in it row by row, and the record for the report."""

    stream: Stream
    scores: Scores
    record: dict[str, Any] = field(default_factory=dict)


def replay(
    model: Model,
    parts: Iterable[tuple[str, pd.DataFrame]],
    labels: int = 16,
    delay: int = 64,
    adapt: str = "auto",
    guard: str = "earned",
    methods: Sequence[str] = (),
    seed: int = 0,
    title: str = "",
    bar: Callable[[int], AbstractContextManager[Callable[[int], None]]] | None = None,
) -> Replay:
    """Replay `parts`, (name, frame) each, with one state carried through all of them.

    In each part at most `labels` rows are asked for: a few at once, then more as the part goes on; each label arrives
    once `delay` more rows were served. `methods` run beside, for comparison. Rows without a true answer are served and
    not scored.
    """
    stream = Stream(model, adapt=adapt, guard=guard, seed=seed)
    beside = {name: METHODS[name](model) for name in methods}
    scores = Scores(model, ["source", "proposal", "served", *beside])
    truth: dict[Any, Any] = {}
    listed = [Part(name, frame) for name, frame in parts]
    total = sum(len(part.frame) for part in listed)
    with bar(total) if bar else nullcontext(lambda rows: None) as advance:
        for part in listed:
            scores.begin(part.name, stream)
            _replay_part(stream, part.frame, labels, delay, scores, beside, truth, advance)
    record = {**stream.record(), **scores_record(scores)}
    record["title"] = title or record["title"]
    record["cost"]["forwards_per_row"] |= {
        name: 1 + method.passes / max(1, stream.rows) for name, method in beside.items()
    }
    return Replay(stream, scores, record)


def _replay_part(
    stream: Stream,
    frame: pd.DataFrame,
    labels: int,
    delay: int,
    scores: Scores,
    beside: dict[str, Method],
    truth: dict[Any, Any],
    advance: Callable[[int], None],
) -> None:
    due: list[tuple[int, list[Any]]] = []
    budget, next_ask = labels, CHUNK
    target = [column for column in stream.model.schema.targets if column in frame]
    stream.watch = partial(scores.note, beside=beside)
    for start in range(0, len(frame), CHUNK):
        piece = frame.iloc[start : start + CHUNK]
        answers = stream.predict(piece)
        done = start + len(piece)
        if target:
            known = piece[target[0]] if len(target) == 1 else pd.Series(piece[target].to_numpy().tolist())
            truth.update(zip(answers["id"], known, strict=True))
        if budget > 0 and target and (done >= next_ask or done == len(frame)):
            ids = stream.ask(min(budget, FIRST_ROUND if labels > FIRST_ROUND else labels), newest=done)
            budget -= len(ids)
            due.append((done + delay, ids))
            next_ask = done + max(CHUNK, delay) if done < 4 * CHUNK else 2 * done
        for when, ids in [entry for entry in due if entry[0] <= done]:
            give(stream, ids, truth, scores)
            due.remove((when, ids))
        advance(len(piece))
    for _, ids in due:  # labels still under way arrive while the next part runs
        give(stream, ids, truth, scores)


def give(stream: Stream, ids: Sequence[Any], truth: dict[Any, Any], scores: Scores) -> None:
    """Give the stream the true answers of these rows; those that are missing or unknown classes are noted instead."""
    usable: dict[Any, Any] = {}
    for known in ids:
        try:
            scores.encode([truth[known]])
            usable[known] = truth[known]
        except FeedbackError as error:
            stream.trace.event(stream.rows, "feedback", f"row {known}: {error}")
    if usable:
        stream.feedback(list(usable), list(usable.values()))
        scores.labels += len(usable)


def scores_record(scores: Scores) -> dict[str, Any]:
    """Parts, curve, summary and reliability."""
    means = scores.means()
    others = [name for name in scores.names if name not in ("source", "proposal", "served")]
    parts = []
    for part in scores.parts:
        inside = scores.means(part.start, part.end)
        parts.append(
            {
                "name": part.name,
                "start": part.start,
                "rows": part.end - part.start,
                "labels": part.labels,
                **{name: inside[name] for name in ("source", "proposal", "served")},
                "methods": {name: inside[name] for name in others},
                "served_by_proposal": part.share_served(scores),
            }
        )
    return {
        "parts": parts,
        "curve": curve(scores),
        "summary": {
            **{name: means[name] for name in ("source", "proposal", "served")},
            "methods": {name: means[name] for name in others},
            "harm": harm(scores.of("source"), scores.of("served")),
            "oracle": None,
        },
        "reliability": reliability(scores),
    }
