"""One stream of the shift suite: a method alone, `auto` under its guard, with and without late labels, and peers.

Rows come in batches of `BATCH`. Every row is scored for the source, the oracle and the method, so that all differences
are paired.
"""

from __future__ import annotations

import ast
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gas import tuned
from torch import Tensor

from aet.adaptation import METHODS
from aet.adaptation.scenario import Scenario
from aet.adaptation.scoring import harm
from aet.batch import Batch
from aet.errors import DataError
from aet.model import Model

BATCH = 64
LABELS, PER = 16, 500
"""So many labels are asked in every so many rows ..."""
ROUNDS = 4
"""... in rounds, one after each batch."""
GROWN = 1.25
"""Peers are trained once they have `LABELS` labels, and anew whenever those have grown by this factor."""

Figures = dict[str, float]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A stream, its source and its oracle."""

    model: Model
    oracle: Model
    scenario: Scenario
    due: npt.NDArray[np.int64]
    """How many rows are served before each row's label is known."""
    seed: int

    @cached_property
    def batch(self) -> Batch:
        """All rows, encoded."""
        return self.model.encode(self.model.check(self.scenario.frame).frame)

    @cached_property
    def truth(self) -> tuple[Tensor, npt.NDArray[np.bool_]]:
        """Targets of the rows whose answer the source can give, and which those are."""
        return self.model.output.encode_known(self.scenario.frame)

    @cached_property
    def source(self) -> Floats:
        """Score of the source by row."""
        return self.scores(self.model.logits(self.batch))

    @cached_property
    def ceiling(self) -> Floats:
        """Score of the oracle by row."""
        output, frame = self.oracle.output, self.scenario.frame
        return self.scores(self.oracle.logits(self.oracle.encode(frame)), output, *output.encode_known(frame))

    def scores(self, logits: Tensor, output: Any = None, target: Any = None, known: Any = None) -> Floats:
        """Points by row, 0 to 100; an answer of an unknown class is wrong."""
        if output is None:
            output, (target, known) = self.model.output, self.truth
        found = np.zeros(len(logits))
        found[known] = 100 * output.scores(logits[torch.from_numpy(np.flatnonzero(known))], target).double().numpy()
        return found

    def some(self, rows: int | None) -> Case:
        """The same over so many rows, evenly spaced."""
        if rows is None or rows >= len(self.scenario):
            return self
        chosen = np.linspace(0, len(self.scenario) - 1, rows).round().astype(np.int64)
        return replace(self, scenario=self.scenario.take(chosen), due=np.searchsorted(chosen, self.due[chosen]))

    def figures(self, scores: Floats, **more: float) -> Figures:
        """Accuracy beside source and oracle, harm, and for streams that come again the last visit less the first."""
        found = harm(self.source / 100, scores / 100)
        assert found is not None
        visit, last = self.scenario.visit, int(self.scenario.visit.max())
        again = {"last less first": float(scores[visit == last].mean() - scores[visit == 0].mean())} if last else {}
        return {
            "accuracy": float(scores.mean()),
            "source": float(self.source.mean()),
            "oracle": float(self.ceiling.mean()),
            "harm": found["mean"],
            "low": found["low"],
            "high": found["high"],
            "worst window": found["worst_window"],
            "rows": float(len(scores)),
            **again,
            **more,
        }


def alone(case: Case, name: str, settings: Mapping[str, Any]) -> Figures:
    """A method without a guard: every row answered as it says. Raises ConfigError if it does not take the model."""
    method = METHODS[name](case.model, **settings)
    logits, sizes, kept = [], [], 0
    seconds = plain = passes = 0.0
    for start, end in case.scenario.segments():
        method.reset()
        for first in range(start, end, BATCH):
            rows = case.batch[torch.arange(first, min(first + BATCH, end))]
            before, started = method.passes, time.process_time()
            case.model.logits(rows)
            between = time.process_time()
            logits.append(method(rows))
            plain, seconds = plain + between - started, seconds + time.process_time() - between
            passes += method.passes - before
        sizes.append(method.state.size())
        kept = max(kept, method.state.nbytes + sum(t.nbytes for t in method.memory().values()))
    return case.figures(
        case.scores(torch.cat(logits)),
        moved=float(np.mean(sizes)),
        kept=kept / 1024,
        forwards=1 + passes / len(case.scenario),
        seconds=seconds,
        plain=plain,
    )


def asked_in(start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """When to ask in a stretch: after which row, how many labels, among how many of the newest rows."""
    for block in range(start, end, PER):
        rows = min(PER, end - block)
        budget = round(LABELS * rows / PER)
        rounds = min(ROUNDS, max(1, rows // BATCH), max(1, budget))
        for number, share in enumerate(np.array_split(np.arange(budget), rounds), 1):
            if len(share):
                yield block + min(number * BATCH, rows), len(share), min(number * BATCH, rows)


def served(case: Case, labels: bool) -> tuple[Figures, Figures, list[tuple[int, list[int]]]]:
    """`auto` as a stream under its default guard: proposal, served, and which rows' labels came after which row."""
    proposals, answers, sizes, came = [], [], [], []
    spent = {"forwards": 0.0, "seconds": 0.0, "plain": 0.0}
    known, target = case.truth[1], case.model.schema.target
    for start, end in case.scenario.segments():
        stream = case.model.stream(adapt="auto", seed=case.seed)

        def watch(checked: Any, source: Tensor, proposal: Tensor, served: Tensor, serving: bool) -> None:
            proposals.append(proposal)
            answers.append(served)

        stream.watch = watch
        plan = list(asked_in(start, end)) if labels else []
        waiting: list[int] = []
        for first in range(start, end, BATCH):
            done = min(first + BATCH, end)
            stream.predict(case.scenario.frame.iloc[first:done])
            while plan and plan[0][0] <= done:
                _, count, newest = plan.pop(0)
                waiting += [start + int(i) for i in stream.ask(count, newest=newest)]  # type: ignore[call-overload]
            here = [row for row in waiting if case.due[row] <= done]
            waiting = [row for row in waiting if case.due[row] > done]
            # Rows of a class that the model does not know take no label.
            usable = [row for row in here if known[row]]
            if usable:
                stream.feedback([row - start for row in usable], case.scenario.frame[target].iloc[usable].tolist())
                came.append((done, usable))
        sizes.append(stream.state.size())
        spent["forwards"] += sum(stream.trace.passes.values()) / len(case.scenario)
        spent["seconds"] += sum(stream.trace.seconds.values())
    started = time.perf_counter()
    for index in torch.arange(len(case.batch)).split(BATCH):
        case.model.logits(case.batch[index])
    spent["plain"] = time.perf_counter() - started
    more = {**spent, "moved": float(np.mean(sizes)), "labels": float(sum(len(rows) for _, rows in came))}
    proposal, answer = (case.figures(case.scores(torch.cat(seen)), **more) for seen in (proposals, answers))
    return proposal, answer, came


def with_labels(case: Case, came: Sequence[tuple[int, list[int]]], weights: Callable[[Model], Any]) -> Figures:
    """A peer that trains some weights of the source on the labels that have come since the last reset."""
    target, known = case.truth
    place = np.cumsum(known) - 1
    started, plain, logits = time.process_time(), 0.0, []
    for start, end in case.scenario.segments():
        model, rows, grown = case.model, [], 0
        coming = [(at, new) for at, new in came if start < at <= end]
        # Few labels harm more than none; of a short stretch with fewer, half must do.
        least = min(LABELS, -(-sum(len(new) for _, new in coming) // 2))
        for first in range(start, end, BATCH):
            while coming and coming[0][0] <= first:
                rows += coming.pop(0)[1]
            if rows and len(rows) >= max(least, GROWN * grown):
                seen = case.batch[torch.tensor(rows)]
                model = tuned(case.model, Batch(seen.values, target=target[torch.from_numpy(place[rows])]), weights)
                grown = len(rows)
            index = torch.arange(first, min(first + BATCH, end))
            logits.append(model.logits(case.batch[index]))
    seconds = time.process_time() - started
    started = time.process_time()
    for index in torch.arange(len(case.batch)).split(BATCH):
        case.model.logits(case.batch[index])
    plain = time.process_time() - started
    return case.figures(case.scores(torch.cat(logits)), seconds=seconds, plain=plain)


def checked_parts(model: Model, parts: Sequence[Any]) -> list[Any]:
    """Parts as the model reads them, without rows that it would keep aside."""
    out = [(name, frame.iloc[model.check(frame).kept].reset_index(drop=True)) for name, frame in parts]
    if not any(len(frame) for _, frame in out):
        raise DataError("No row of the target can be read by the model that was trained on the source.")
    return out


def code_of(module: str, within: tuple[str, ...] = ("aet.adaptation", "aet.monitoring")) -> str:
    """Twelve digits that change with the code of a module or of those that it takes from these rooms."""
    seen: dict[str, str] = {}

    def visit(name: str) -> None:
        spec = find_spec(name) if name.startswith(within) and name not in seen else None
        if spec is None or spec.origin is None:
            return
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
        seen[name] = ast.dump(tree)
        if spec.submodule_search_locations is None:
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module:
                    visit(node.module)

    visit(module)
    return hashlib.sha256("".join(seen[name] for name in sorted(seen)).encode()).hexdigest()[:12]
