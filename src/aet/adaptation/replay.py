"""Files with known answers, replayed in order as a deployed stream: what drift costs and what adaptation wins back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pandas as pd
import torch

from aet.adaptation.base import METHODS
from aet.adaptation.scoring import Scores, Span, beside_estimates, curve, harm, reliability
from aet.adaptation.stream import Stream
from aet.errors import FeedbackError
from aet.model import Model

CHUNK = 64
"""Rows that arrive together."""

ROUNDS = 4
"""Over how many rounds a part's labels are asked at most, one after each `CHUNK`; a short part has fewer."""


@dataclass
class Replay:
    """A stream, what was right in it row by row, and the record for the report."""

    stream: Stream
    scores: Scores
    record: dict[str, Any] = field(default_factory=dict)


class LateLabels:
    """Asks a stream for labels and hands them in `delay` rows later."""

    def __init__(self, stream: Stream, scores: Scores, delay: int) -> None:
        self.stream, self.scores, self.delay = stream, scores, delay
        self.truth: dict[Any, Any] = {}
        self.due: list[tuple[int, Span, list[Any]]] = []

    def begin(self, labels: int, rows: int) -> None:
        """A new part of so many rows, with its own budget."""
        self.budget, self.round = labels, -(-labels // min(ROUNDS, max(1, rows // CHUNK)))
        self.started = self.stream.rows
        self.next = min(CHUNK, rows)
        self.unlabelled = 0

    def served(self, answers: pd.DataFrame, piece: pd.DataFrame) -> None:
        """Rows were answered: remember the truth, hand in what is due, ask for more."""
        targets = list(self.stream.model.schema.targets)
        known, answered = set(targets) <= set(piece.columns), answers["problem"].isna()
        if known:
            truth = piece[targets[0]].tolist() if len(targets) == 1 else piece[targets].to_numpy().tolist()
            told = {known: y for known, y, good in zip(answers["id"], truth, answered, strict=True) if good}
            again = self.truth.keys() & told.keys()
            for _, _, ids in self.due:  # a row that came again under its id took the old one's place
                ids[:] = [known for known in ids if known not in again]
            self.truth |= told
        self.unlabelled += int(answered.sum())
        for entry in [entry for entry in self.due if entry[0] <= self.stream.rows]:
            self.due.remove(entry)
            self.hand_in(*entry[1:])
        done = self.stream.rows - self.started
        if known and self.budget > 0 and done >= self.next:
            ids = self.stream.ask(min(self.budget, self.round), newest=max(1, self.unlabelled))
            self.budget -= len(ids)
            self.due.append((self.stream.rows + self.delay, self.scores.parts[-1], ids))
            self.next = done + CHUNK if done < ROUNDS * CHUNK else 2 * done

    def hand_in(self, part: Span, ids: Sequence[Any]) -> None:
        """Give the true answers of these rows; those that are missing or unknown classes are noted instead."""
        usable: dict[Any, Any] = {}
        for known in ids:
            try:
                target, kept = self.scores.encode([self.truth.get(known)]), self.stream.kept
                if known in kept.place:
                    self.scores.model.output.matches(kept.batch[torch.tensor([kept.place[known]])].values, target)
                usable[known] = self.truth[known]
            except FeedbackError as error:
                self.stream.trace.event(self.stream.rows, "refused", f"row {known}: {error}")
        self.stream.feedback(list(usable), list(usable.values()))
        self.unlabelled -= len(usable) * (part is self.scores.parts[-1])
        part.labels += len(usable)


def replay(
    model: Model,
    parts: Iterable[tuple[str, pd.DataFrame]],
    labels: int = 16,
    delay: int = 64,
    adapt: str = "auto",
    guard: str = "earned",
    unlabelled: str = "cautious",
    methods: Sequence[str] = (),
    seed: int = 0,
    title: str = "",
    bar: Callable[[int], AbstractContextManager[Callable[[int], None]]] | None = None,
) -> Replay:
    """Replay `parts`, (name, frame) each, with one state carried through all of them.

    In each part `labels` rows are asked for, in up to four rounds, one after every 64 rows. Each label arrives once
    `delay` more rows were served, if need be in the next part. `methods` run beside, for comparison. Rows without a
    true answer are served and not scored.
    """
    stream = Stream(model, adapt=adapt, guard=guard, unlabelled=unlabelled, seed=seed)
    beside = {name: METHODS[name](model) for name in methods if name != "source"}  # which is always there
    scores = Scores(model, ["source", "proposal", "served", *beside])
    late = LateLabels(stream, scores, delay)
    stream.watch = partial(scores.note, beside=beside)
    listed = list(parts)
    total = sum(len(frame) for _, frame in listed)
    with bar(total) if bar else nullcontext(lambda rows: None) as advance:
        for name, frame in listed:
            scores.begin(name)
            late.begin(labels, len(frame))
            for start in range(0, len(frame), CHUNK):
                piece = frame.iloc[start : start + CHUNK]
                late.served(stream.predict(piece), piece)
                advance(len(piece))
    stream.watch = None
    record = {**stream.record(), **scores_record(scores)}
    beside_estimates(record, scores)
    record["title"] = title or record["title"]
    record["cost"]["forwards_per_row"] |= {
        name: 1 + method.passes / max(1, stream.rows) for name, method in beside.items()
    }
    return Replay(stream, scores, record)


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
            "unknown": scores.unknown,
        },
        "reliability": reliability(scores),
    }
