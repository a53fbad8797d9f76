"""A deployed flow of rows with its own elastic state: predict, ask, feedback, undo, reset, save, report."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aet.adaptation.answered import Answered
from aet.adaptation.asking import ask, comparisons, labelled
from aet.adaptation.base import METHODS, Method
from aet.adaptation.champion import guarding
from aet.adaptation.given import check_counts, plain_id, truth
from aet.adaptation.guard import Guard
from aet.adaptation.ids import Ids
from aet.adaptation.kept import KeptRows, alone
from aet.adaptation.sealed import Sealed
from aet.adaptation.serving import UNLABELLED, Choice, chosen, reason
from aet.adaptation.snapshot import Snapshot
from aet.adaptation.together import Part, answer_together
from aet.adaptation.trace import Trace
from aet.attention.state import ElasticState, merge
from aet.batch import Batch
from aet.errors import ConfigError, nearest
from aet.model import Model
from aet.rows import Checked

if TYPE_CHECKING:
    from aet.ensemble import Ensemble

HISTORY = 64
"""Changes of the state that can be undone."""

UNDONE = 100_000
"""Rows whose undone labels are remembered, so that the guard hears of none twice."""
Watch = Callable[[Checked, Tensor, Tensor, Tensor, bool], None]


class Stream:
    """Made by `model.stream(...)`. Thread-safe; the model is never changed.

    Args:
        model: the source.
        adapt: method that proposes a state: "auto", or any other registered one.
        guard: "earned" (default), "likely", "always", "never", or a `Guard`.
        unlabelled: what is served until labels have earned the proposal its place: "cautious" (default: a state that
            the method's rehearsals trust, else the source), "always" (the proposal, unless labels speak against it) or
            "never" (the source).
        keep: rows kept for late labels.
        compare: also give the source's answer beside each served one, which costs a pass.
        transductive: adapt on a batch before answering it, not after.
        seed: of the draws of `ask`.
        settings: of the method.

    >>> import numpy as np, pandas as pd, aet
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "sign": np.where(x.sum(1) > 0, "plus", "minus")})
    >>> model = aet.train(frame, target="sign", config={"train": {"epochs": 5}})
    >>> stream = model.stream()
    >>> answers = stream.predict(frame[["a", "b"]])
    >>> ids = stream.ask(8)
    >>> stream.feedback(ids, frame.loc[ids, "sign"])
    >>> answers.loc[0, "served_by"], stream.labels
    ('source', 8)
    """

    def __init__(
        self,
        model: Model,
        adapt: str = "auto",
        guard: str | Guard = "earned",
        unlabelled: str = "cautious",
        keep: int = 10_000,
        compare: bool = False,
        transductive: bool = False,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        if keep < 0:
            raise ConfigError(f"keep is a number of rows, 0 or more; got {keep}.")
        if unlabelled not in UNLABELLED:
            raise ConfigError(f"There is no mode unlabelled={unlabelled!r}. {nearest(unlabelled, UNLABELLED)}")
        self.model, self.adapt, self.unlabelled = model, adapt, unlabelled
        self.method: Method = METHODS[adapt](model, **settings)
        self.guard = guarding(guard, model.output.rival)
        self.compare, self.transductive = compare, transductive
        self.kept = KeptRows(keep)
        self.answered = Answered(model, keep)
        self.sealed = Sealed()
        self.trace = Trace(model)
        self.rows = self.labels = self.asked = 0
        self.watch: Watch | None = None
        """Called for each batch with its good rows, the logits of source, proposal and those served, and whether those
        are an adapted state's; costs all passes."""
        self._lock = threading.RLock()
        self._history: deque[Snapshot] = deque(maxlen=HISTORY)
        self._merged: tuple[ElasticState, Model] | None = None
        self._last: ElasticState | None = None
        self._follows = self.method.follows
        self._by = "" if self.guard.needs_labels else self.choice.by
        self._undone = Ids(UNDONE)
        self._rng = np.random.default_rng(seed)

    @property
    def state(self) -> ElasticState:
        """The proposal's elastic state."""
        return self.method.state

    @property
    def serving(self) -> bool:
        """Whether an adapted state answers now: because the guard says so, or `unlabelled` does."""
        return self.served_state is not None

    @property
    def choice(self) -> Choice:
        """Who answers now: a state, None for the source's, what is done to its answers, and what that rests on."""
        with self._lock:
            return chosen(self.guard, self.method, self.unlabelled, self.answered.lost)

    @property
    def served_state(self) -> ElasticState | None:
        """The state that answers now: the proposal's, the one trusted without labels, or None for the source's."""
        return self.choice.state

    def predict(self, source: Any, proba: bool = False) -> pd.DataFrame:
        """One answer a row, in order.

        Columns: id, prediction, confidence, served_by ("source", or "proposal" for an adapted state), source_prediction
        (with `compare`), problem; with `proba` also `p_{class}`.
        """
        return pd.concat(list(self.predict_iter(source, proba)), ignore_index=True)

    def predict_iter(self, source: Any, proba: bool = False, rows: int = 8192) -> Iterator[pd.DataFrame]:
        """`predict`, piece by piece: files are read and answered in bounded memory."""
        for frame in self.model.pieces(source, rows):
            with self._lock:
                given = answer_together([self], frame, [len(frame)], proba)
                given.parts[0].learn()
            yield given.frame()

    def _read(self, part: Part) -> None:
        """Take from rows what acts on them, and choose who answers."""
        if type(self.method).propose is not Method.propose:
            self._move(lambda: self.method.proposed(part.batch, part.said), "moments of a batch", remember=False)
        part.choice = self._decided().for_rows(len(part.batch))

    def _told(self, part: Part, ids: np.ndarray, confidence: np.ndarray) -> None:
        """Keep what was answered, for late labels and the record."""
        assert part.served is not None
        self.trace.passes["served"] += len(part.batch) * (1 + (part.serving and part.source is not None))
        source = part.source
        if self.watch is not None:
            source = self.model.logits(part.batch) if source is None else source
            proposed = Choice(self.method.state, correct=self.method.correction)
            proposal = part.served if part.choice.proposed else self._adapted(part.batch, proposed)
            self.watch(part.checked, source, proposal, part.served, part.serving)
        good = ids[part.kept].tolist()
        self.kept.add(part.batch, good)
        self.sealed.drop(good)
        self.answered.add(good, part.served, source, confidence)
        self.rows += part.rows
        self.trace.serves(part.serving, len(good), self.rows - part.rows)
        for sentence in part.problems.values():
            self.trace.event(self.rows, "quarantined", sentence)

    def _adapted(self, batch: Batch, choice: Choice) -> Tensor:
        """The logits that a choice gives to a call's rows."""
        assert choice.state is not None
        if not (self.method.own_answer and choice.state is self.method.state):
            return choice.corrected(self._under(batch, choice.state))
        passes = self.method.passes
        logits = self.method.answer(batch)
        self.trace.passes["adapting"] += self.method.passes - passes
        return logits

    def _under(self, batch: Batch, state: ElasticState) -> Tensor:
        """The logits under a state; one unchanged since the last batch is folded into a copy of the model."""
        if self._merged is not None and self._merged[0] is state:
            return self._merged[1].logits(batch)
        if state is self._last and len(batch):
            self._merged = (state, merge(self.model, state))
            return self._merged[1].logits(batch)
        self._last, self._merged = state, None
        return self.method.answer_under(batch, state)

    def _move(self, act: Callable[[], object], reason: str, remember: bool = True, **labelled: Any) -> None:
        """Let the method act; remember what was before if the state moved."""
        before = Snapshot(self.method.state, self.method.memory() if remember else None, reason, **labelled)
        passes, started = self.method.passes, time.perf_counter()
        act()
        self.trace.seconds["adapting"] += time.perf_counter() - started
        self.trace.passes["adapting"] += self.method.passes - passes
        if self.method.state is not before.state or labelled:
            self._history.append(before)
        if self.method.state is not before.state:
            self.trace.moved(self.rows, self.method.state, reason)
        if self.method.follows != self._follows:
            self._follows = self.method.follows
            self.trace.event(self.rows, "proposal", self._follows)

    def ask(self, count: int = 16, newest: int = 2048) -> list[Hashable]:
        """Ids of at most `count` of the `newest` rows kept that are worth a label, drawn with known probabilities.

        Half of them are rows that proposal and source answer otherwise (`aet.adaptation.ask`), and the guard compares
        those answers: ask in rounds, so that later labels judge what earlier ones taught. Rows that were asked before
        are not asked again; those that a draw has looked at are drawn only where no others are left, and then their
        labels teach and are no evidence.
        """
        check_counts(count, newest)
        with self._lock:
            if count <= 0 or not len(self.kept):
                return []
            started = time.perf_counter()
            ids = ask(self, count, newest)
            self.trace.seconds["asking"] += time.perf_counter() - started
            self.asked += len(ids)
            self.trace.event(self.rows, "asked", f"{len(ids)} of the newest {min(newest, len(self.kept)):,} rows")
            return ids

    def feedback(self, ids: Sequence[Hashable], labels: Sequence[Any], at_random: bool = False) -> None:
        """Late labels, in any order, after any delay; applied before this returns.

        Labels that `ask` wanted train the state and feed the guard, which compares the answers of proposal and source
        at the time of asking. Others only train, unless you say that they came `at_random`: then they are compared too,
        each before it trains.

        Raises FeedbackError (unknown id, a second label, a class the model does not know, not one tag a word) or
        ForgottenRow (no longer kept); then nothing has changed.
        """
        ids, targets = truth(self.model, ids, labels)
        if not ids:
            return
        with self._lock:
            places, rows = self.kept.awaited(ids, lambda rows: self.model.output.matches(rows.values, targets))
            rows = Batch(values=rows.values, target=targets)
            weights, now = labelled(self, places, rows, at_random and self.guard.needs_labels)
            asked = [known if weight > 0 else None for known, weight in zip(ids, weights, strict=True)]
            weights = self.drawn(ids, weights, at_random)
            judged = self.answered.take(ids, targets, weights, lambda index: self._source(rows[index]))
            noted: dict[str, Any] = {"ids": ids, "rows": rows, "judged": judged}
            self._move(lambda: self._take_in(rows, weights, asked, now), f"{len(ids)} labels", **noted)
            self.trace.event(self.rows, "feedback", f"{len(ids)} labels")
            self._decided()

    def drawn(self, ids: Sequence[Hashable], weights: np.ndarray, at_random: bool) -> np.ndarray:
        """Weights of labelled rows as evidence, NaN for none: of `ask` where it drew them, 1 where they came
        `at_random`, unless the guard waits for the row or has heard its label before.
        """
        known = [
            i in self._undone or (np.isnan(w) and i in self.guard.terms) for i, w in zip(ids, weights, strict=True)
        ]
        weights = np.where(np.isnan(weights) & at_random, 1.0, weights)
        return np.where((weights == 0) | np.array(known, dtype=bool), np.nan, weights)

    def check_feedback(self, ids: Sequence[Hashable], labels: Sequence[Any]) -> None:
        """Raise what `feedback` would raise; nothing changes."""
        ids, targets = truth(self.model, ids, labels)
        with self._lock:
            if ids:
                self.kept.awaited(ids, lambda rows: self.model.output.matches(rows.values, targets))

    def recall(self, ids: Sequence[Hashable], frame: pd.DataFrame) -> list[Hashable]:
        """Take rows that were served before in again, so that their late labels can train; those that can be used."""
        with self._lock:
            checked = self.model.check(frame)
            good = [plain_id(ids[row]) for row in checked.kept]
            self.kept.add(self.model.encode(checked.frame), good, alone(len(good)))
            self.sealed.drop(good)
            return good

    def rest(self) -> None:
        """Let go of what is made again when it is needed: the copy of the model that a state was folded into."""
        with self._lock:
            self._last = self._merged = None

    def _source(self, rows: Batch) -> Tensor:
        """What the source says to rows whose labels came."""
        self.trace.passes["scoring"] += len(rows)
        return self.model.logits(rows)

    def _decided(self) -> Choice:
        """Who answers now; a change of mind is written down with its reason."""
        choice, before = self.choice, self._by
        if choice.by != before:
            self._by = choice.by
            why = reason(choice.by, before, self.guard, self.method, self.answered.lost)
            self.trace.event(self.rows, "served" if choice.by else "held", why)
        return choice

    def _take_in(self, rows: Batch, weights: np.ndarray, asked: Sequence[Hashable | None], now: Tensor | None) -> None:
        """Block by block: score the rows, then let the method train on them."""
        start = 0
        while start < len(rows):
            here = slice(start, min(len(rows), start + max(4, start)))
            block = rows[torch.arange(here.start, here.stop)]
            self._score(block, weights[here], asked[here], None if now is None else now[here])
            self.method.label(block)
            self.labels += len(block)
            start = here.stop

    def _score(
        self, rows: Batch, weights: np.ndarray, asked: Sequence[Hashable | None], now: Tensor | None = None
    ) -> None:
        """Let the guard hear what labels say of rows that the proposal has not seen."""
        if self.guard.needs_labels:
            for gain, weight, row, over in comparisons(self, rows, weights, asked, now):
                self.guard.update(gain, weight, row, over)
                self.trace.weighed(self.rows, self.guard)

    def estimate(self, dropout: int = 0, beside: Model | Ensemble | None = None, newest: int = 256) -> pd.DataFrame:
        """How many of the newest answers (2,048 at most) are right, without their labels, and with those that came.

        One row for each of `served` and `source` (where it was asked) and each estimator, the best first: value, low,
        high (95 % interval, see `aet.monitoring.performance`), rows; truth, truth_low, truth_high by the weighted
        labels that `ask` wanted or that came at random. `dropout` passes (10 is usual) and the answers of another model
        or an ensemble's members `beside` add estimates over the `newest` rows kept; these alone cost passes.

        Raises ConfigError for answers that are near rather than right (numbers), DataError for a run trained before the
        figures needed were kept.
        """
        from aet.adaptation.estimating import estimate

        with self._lock:
            return estimate(self, dropout, beside, newest)

    def undo(self, steps: int = 1) -> None:
        """Back to the state before the last `steps` changes, exactly. The guard's evidence stays.

        Labels that are undone no longer count in `estimate` and the report. Their rows may be labelled again; such
        labels train, without a second word to the guard.
        """
        with self._lock:
            if not 1 <= steps <= len(self._history):
                raise ConfigError(f"{len(self._history)} changes can be undone, {steps} were asked for.")
            for _ in range(steps):
                snapshot = self._history.pop()
                self._restore(snapshot)
            self.trace.moved(self.rows, snapshot.state, "undo")
            self.trace.event(self.rows, "undo", f"{steps} changes undone, back before: {snapshot.reason}")

    def reset(self) -> None:
        """Back to the source; can be undone. The guard's evidence stays."""
        with self._lock:
            self._move(self.method.reset, "reset")
            self.trace.event(self.rows, "reset", "the state is the source's")

    def _restore(self, snapshot: Snapshot) -> None:
        if snapshot.memory is None:
            self.method.back_to(snapshot.state)
        else:
            self.method.state = snapshot.state
            self.method.load_memory(snapshot.memory)
        if snapshot.rows is not None:
            gone = [row for row, known in enumerate(snapshot.ids) if known not in self.kept.place]  # else newer
            rows = Batch(values=snapshot.rows.values)[torch.tensor(gone, dtype=torch.long)]
            self.kept.add(rows, [snapshot.ids[row] for row in gone], alone(len(gone)))
            self._undone.update(snapshot.ids)
            self.answered.forget(snapshot.judged)
            self.labels -= len(snapshot.ids)
        self._last = self._merged = None

    def save(self, folder: str | Path, rows: bool = False) -> Path:
        """Write state, guard and events; with `rows` also the rows kept for late labels, which else count as lost.

        What `undo` could take back is not written: a loaded stream starts with nothing to undo.
        """
        from aet.adaptation.storage import save_stream

        with self._lock:
            return save_stream(self, Path(folder), rows)

    @classmethod
    def load(cls, model: Model, folder: str | Path) -> Stream:
        """The stream that `save` wrote, on its model."""
        from aet.adaptation.storage import load_stream

        return load_stream(model, Path(folder))

    def record(self) -> dict[str, Any]:
        """All that is known of the stream, as the report wants it."""
        from aet.adaptation.record import stream_record

        with self._lock:
            return stream_record(self)

    def report(self, path: str | Path = "report.html") -> Path:
        """Write the stream's report, one self-contained HTML page."""
        from aet.report import write

        return write(self.record(), Path(path))
