"""What a stream keeps of its recent answers, to say how many of them are right: bounded, and cheap to keep.

Confidences of the newest `WINDOW` rows, one estimate for every `POINT` rows or so for the report, and the answers
themselves, as they were given, for as long as a label may come (`keep` rows, see `waiting`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from aet.adaptation.growing import Growing
from aet.adaptation.guard import FEW
from aet.adaptation.waiting import SIDES, Waiting
from aet.errors import ConfigError, DataError
from aet.monitoring.performance import ESTIMATORS, UNKNOWN, Estimate, HeldOut, Labelled, Seen, bounded

if TYPE_CHECKING:
    from aet.model import Model

Floats = npt.NDArray[np.float64]

WINDOW, POINT, POINTS = 2048, 200, 2000
TRIAL = 64
"""Newest drawn labels by which what was served is compared with the source."""
PLAIN = ("doc", "atc", "cbpe", "constant")
"""Estimators that read confidences alone, the one with the least error first (docs/lab/estimates.md)."""


class Answered:
    """Recent answers of a stream: `served`, what was answered; `source`, what the source said where it was asked."""

    def __init__(self, model: Model, keep: int) -> None:
        self.output, self.statistics = model.output, model.statistics
        self.rows = 0
        self.sure = {side: Growing[Floats](np.empty, WINDOW) for side in SIDES}
        """Confidence of the newest rows; NaN where the source was not asked."""
        self.waiting = Waiting(keep)
        self.late: deque[dict[str, Any]] = deque(maxlen=WINDOW)
        """Rows whose labels came: row, weight, and confidence and right of each side."""
        self.points: deque[dict[str, Any]] = deque(maxlen=POINTS)

    @property
    def held_out(self) -> HeldOut:
        """Figures of the source's held-out rows; ConfigError for answers without a right and a wrong, DataError if
        the run was written before such figures were kept.
        """
        if not self.output.probable:
            raise ConfigError(
                f"Accuracy is estimated from the confidence that an answer is right. This model answers with "
                f"{self.output.kind!r}, where answers are near rather than right; expected classes. Judge it on late "
                "labels: stream.feedback, or aet stream on files with answers."
            )
        if self.statistics is None or self.statistics.held_out is None:
            raise DataError(
                "The run keeps no figures of how sure and how right its held-out answers were: it was trained by an "
                "earlier version. Train it again."
            )
        return self.statistics.held_out

    @property
    def known(self) -> bool:
        """Whether accuracy can be estimated."""
        return self.output.probable and self.statistics is not None and self.statistics.held_out is not None

    def add(self, ids: Sequence[Hashable], served: Tensor, source: Tensor | None, confidence: Any) -> None:
        """Rows were answered with the logits `served` (B, width) and a confidence (B,); `source` are the source's own
        logits, if it was asked.
        """
        if not self.known or not len(ids):
            return
        own = bounded(confidence)
        other = np.full(len(ids), np.nan) if source is None else own if source is served else self.confidence(source)
        for side, sure in zip(SIDES, (own, other), strict=True):
            self.sure[side].add(sure, len(ids))
        self.waiting.add(ids, self.rows + 1, served, source)
        self.rows += len(ids)
        start = self.points[-1]["row"] if self.points else 0
        if self.rows - start >= POINT:
            self.points.append({"start": start, "row": self.rows, **self.over(self.rows - start)})

    def source(self, ids: Sequence[Hashable]) -> list[Tensor | None]:
        """What the source said (width,) to rows that wait for labels; None where it was not asked, or knew fewer
        answers then.
        """
        return [self.waiting.source(known, self.output.width) for known in ids]

    def confidence(self, logits: Tensor) -> Floats:
        """How sure each answer is, (B,) in 0..1."""
        return bounded(self.output.answers(logits)["confidence"])

    def over(self, rows: int) -> dict[str, dict[str, float]]:
        """The first estimate of each side over the newest rows."""
        estimator = ESTIMATORS[PLAIN[0]](self.held_out)
        return {side: asdict(estimator.estimate(self.seen(side, rows))) for side in SIDES}

    def seen(self, side: str, rows: int = WINDOW) -> Seen:
        """The newest rows of which the side is known."""
        sure = self.sure[side].newest(rows)
        return Seen(sure[~np.isnan(sure)], labelled=self.labelled(side, self.rows - rows))

    def labelled(self, side: str, after: int, until: float = np.inf) -> Labelled:
        """Rows after one row and up to another whose labels came with a weight."""
        chosen = [e for e in self.late if after < e["row"] <= until and e["weight"] is not None and side in e]
        columns = [[e[side][0] for e in chosen], [e[side][1] for e in chosen], [e["weight"] for e in chosen]]
        return Labelled(*(np.array(column, dtype=float) for column in columns))

    @property
    def lost(self) -> bool:
        """Whether fewer served answers than the source's were right, over the newest `TRIAL` drawn labels; with fewer
        than `FEW` of them, no.
        """
        both = (e for e in reversed(self.late) if e["weight"] is not None and all(side in e for side in SIDES))
        gains = [e["served"][1] - e["source"][1] for e in islice(both, TRIAL)]
        return len(gains) >= FEW and sum(gains) < 0

    def take(
        self, ids: Sequence[Hashable], target: Tensor, weights: Floats, source: Callable[[Tensor], Tensor] | None = None
    ) -> list[dict[str, Any]]:
        """Labels came: judge the answers as they were given; weights are NaN for rows that nobody drew. What is noted.

        `source` gives the source's logits of the rows at some of these places, where it was not asked before.
        """
        places = [i for i, known in enumerate(ids) if known in self.waiting]
        found = [self.waiting.take(ids[i], self.output.width) for i in places]
        bare = [n for n, (_, given) in enumerate(found) if "source" not in given]
        if source is not None and bare:
            for n, logits in zip(bare, source(torch.tensor([places[n] for n in bare])), strict=True):
                found[n][1]["source"] = logits
        entries: list[dict[str, Any]] = [
            {"row": row, "weight": None if np.isnan(weights[i]) else float(weights[i])}
            for i, (row, _) in zip(places, found, strict=True)
        ]
        for side in SIDES:
            held = [n for n, (_, given) in enumerate(found) if side in given]
            if held:
                logits = torch.stack([found[n][1][side] for n in held])
                right = self.output.hits(logits, target[torch.tensor([places[n] for n in held])]).tolist()
                for n, sure, hit in zip(held, self.confidence(logits).tolist(), right, strict=True):
                    entries[n][side] = [sure, hit]
        self.late.extend(entries)
        return entries

    def forget(self, judged: Sequence[Mapping[str, Any]]) -> None:
        """These labels, as `take` noted them, were wrong: they count no more."""
        wrong = {id(entry) for entry in judged}
        self.late = deque((entry for entry in self.late if id(entry) not in wrong), self.late.maxlen)

    def estimates(self) -> pd.DataFrame:
        """One row a side and estimator: value, low, high, rows; truth with its interval, and from how many labels."""
        table = []
        for side in SIDES:
            seen = self.seen(side)
            assert seen.labelled is not None
            names = ("delayed", *PLAIN) if len(seen.labelled) else PLAIN
            truth = seen.labelled.truth()
            for name in names:
                table.append(line(side, name, ESTIMATORS[name](self.held_out).estimate(seen), truth))
        return pd.DataFrame(table)

    def record(self) -> dict[str, Any]:
        """JSON-able, for the report: estimates along the stream and now, beside the truth where labels came."""
        if not self.known:
            return {}
        points = []
        for point in self.points:
            truth = {side: self.labelled(side, point["start"], point["row"]).truth() for side in SIDES}
            points.append({**point, "truth": {side: asdict(found) for side, found in truth.items()}})
        return {"estimator": PLAIN[0], "points": points, "now": self.now()}

    def now(self) -> list[dict[str, Any]]:
        """JSON-able: each estimate of the newest answers, those that rest on any; none where nothing is known."""
        if not self.known:
            return []
        table = self.estimates()
        table = table[table["rows"] > 0].astype(object)
        return [{str(k): v for k, v in one.items()} for one in table.where(table.notna(), None).to_dict("records")]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able memory, without the answers that wait for labels."""
        sure = {side: [None if np.isnan(p) else p for p in seen.values.tolist()] for side, seen in self.sure.items()}
        return {"rows": self.rows, "sure": sure, "late": list(self.late), "points": list(self.points)}

    def load_dict(self, memory: Mapping[str, Any]) -> None:
        """Take back what `to_dict` gave."""
        self.rows = int(memory["rows"])
        for side in SIDES:
            self.sure[side].values = np.array(memory["sure"][side], dtype=float)
        self.late.extend(memory["late"])
        self.points.extend(memory["points"])

    def tensors(self, ids: Sequence[Hashable]) -> dict[str, Tensor]:
        """Answers of these rows that wait for labels: number (N,), 0 where nothing waits, and logits (N, width)."""
        if not self.known:
            return {}
        return self.waiting.to_tensors(ids, self.output.width)

    def load_tensors(self, ids: Sequence[Hashable], kept: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` gave for the same ids."""
        self.waiting.load_tensors(ids, kept)


def line(side: str, name: str, found: Estimate, truth: Estimate = UNKNOWN) -> dict[str, Any]:
    """One row of the table of estimates."""
    shown = {"truth": truth.value, "truth_low": truth.low, "truth_high": truth.high, "labels": truth.rows}
    return {"answers": side, "estimator": name, **asdict(found), **shown}
