"""Row-by-row scores of a replayed stream, and what is read off them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from aet.adaptation.given import label_frame

if TYPE_CHECKING:
    from aet.adaptation.base import Method
    from aet.model import Model
    from aet.rows import Checked

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
WINDOW = 1000
"""Rows over which the worst harm is looked for."""


@dataclass
class Span:
    """Where a part lies among the scored rows."""

    name: str
    start: int
    end: int
    labels: int = 0

    def share_served(self, scores: Scores) -> float:
        """Share of rows that the proposal answered."""
        by = np.concatenate(scores.by)[self.start : self.end] if scores.by else np.empty(0)
        return float(by.mean()) if len(by) else 0.0


class Scores:
    """Score of every row for the source, the proposal, what was served, and methods run beside; NaN without truth."""

    def __init__(self, model: Model, names: Sequence[str]) -> None:
        self.model, self.names = model, list(names)
        self.parts: list[Span] = []
        self.columns: dict[str, list[Floats]] = {name: [] for name in names}
        stated = ("source", "served") if model.output.probable else ()
        self.confidence: dict[str, list[Floats]] = {name: [] for name in stated}
        self.hits: dict[str, list[Floats]] = {name: [] for name in stated}
        self.by: list[Flags] = []
        self.rows = 0
        self.unknown = 0
        """Rows with an answer that the model cannot give: a class it does not know is wrong, others are not scored."""

    def begin(self, name: str) -> None:
        """A new part starts."""
        self.parts.append(Span(name, self.rows, self.rows))

    def encode(self, answers: Sequence[Any]) -> Tensor:
        """True answers as targets; raises FeedbackError for a missing one or an unknown class."""
        return self.model.output.encode(label_frame(list(answers), self.model.schema.targets))

    def targets(self, frame: pd.DataFrame) -> tuple[Tensor, Flags, Flags]:
        """Targets of the rows whose answer is known, which those are, and which have an answer unknown to the model."""
        columns = list(self.model.schema.targets)
        none = np.zeros(len(frame), dtype=bool)
        if not set(columns) <= set(frame.columns):
            return torch.empty(0), none, none
        filled = frame[columns].notna()
        some = bool(self.model.schema.target_kinds)
        given = (filled.any(axis=1) if some else filled.all(axis=1)).to_numpy()
        known = given.copy()
        target, known[given] = self.model.output.encode_known(frame[given])
        return target, known, given & ~known

    def note(
        self,
        checked: Checked,
        source: Tensor,
        proposal: Tensor,
        served: Tensor,
        serving: bool,
        beside: dict[str, Method],
    ) -> None:
        """Score a batch; methods run beside answer it and learn from it here."""
        target, known, unknown = self.targets(checked.frame)
        output, rows = self.model.output, torch.from_numpy(np.flatnonzero(known))
        logits = {"source": source, "proposal": proposal, "served": served}
        if beside:
            batch = self.model.encode(checked.frame)
            logits |= {name: method(batch) for name, method in beside.items()}

        def of_rows(figure: Callable[[Tensor, Tensor], Tensor], name: str) -> Floats:
            found = np.where(unknown & (output.kind == "label"), 0.0, np.nan)
            if len(rows):
                found[known] = figure(logits[name][rows], target).numpy()
            return found

        for name in self.names:
            self.columns[name].append(of_rows(output.scores, name))
        for name, kept in self.confidence.items():
            kept.append(output.answers(logits[name])["confidence"].to_numpy(np.float64))
            self.hits[name].append(of_rows(output.hits, name))
        self.unknown += int(unknown.sum())
        self.by.append(np.full(len(known), serving))
        self.rows += len(known)
        self.parts[-1].end = self.rows

    def of(self, name: str) -> Floats:
        """Scores of all rows."""
        return np.concatenate(self.columns[name]) if self.columns[name] else np.empty(0)

    def means(self, start: int = 0, end: int | None = None) -> dict[str, float | None]:
        """Mean score by name over known rows of a stretch; None where there is none."""
        return {name: mean(self.of(name)[start:end]) for name in self.names}


def mean(values: Floats) -> float | None:
    """Mean of the known values."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def beside_estimates(record: dict[str, Any], scores: Scores) -> None:
    """Put the true share of right answers beside the estimates of a stream's record, where answers are known."""
    estimates = record["estimates"]
    if not estimates:
        return
    right = {side: np.concatenate(kept) if kept else np.empty(0) for side, kept in scores.hits.items()}

    def truth(side: str, start: int, end: int) -> tuple[float | None, int]:
        inside = right[side][start:end]
        return mean(inside), int((~np.isnan(inside)).sum())

    for point in estimates["points"]:
        for side in right:
            value, rows = truth(side, point["start"], point["row"])
            point["truth"][side] = {"value": value, "low": None, "high": None, "rows": rows}
    for entry in estimates["now"]:
        value, rows = truth(entry["answers"], max(0, scores.rows - entry["rows"]), scores.rows)
        entry.update(truth=value, truth_low=None, truth_high=None, labels=rows)


def harm(source: Floats, served: Floats) -> dict[str, float] | None:
    """Source - served in points: mean, paired 95 % interval, worst `window` of 1,000 rows (all, if there are fewer).

    >>> harm(np.array([1.0, 1.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0, 1.0]))["mean"]
    25.0
    """
    difference = 100 * (source - served)
    difference = difference[~np.isnan(difference)]
    if not len(difference):
        return None
    half = 1.96 * difference.std(ddof=1) / len(difference) ** 0.5 if len(difference) > 1 else 0.0
    sums = np.concatenate([[0.0], np.cumsum(difference)])
    window = min(WINDOW, len(difference))
    worst = float(((sums[window:] - sums[:-window]) / window).max())
    center = float(difference.mean())
    return {"mean": center, "low": center - half, "high": center + half, "worst_window": worst, "window": window}


def curve(scores: Scores, points: int = 60) -> list[dict[str, Any]]:
    """Mean scores over equal stretches of the stream."""
    size = max(1, -(-scores.rows // points))
    record = []
    for start in range(0, scores.rows, size):
        end = min(scores.rows, start + size)
        inside = scores.means(start, end)
        main = {name: inside[name] for name in ("source", "proposal", "served")}
        methods = {name: inside[name] for name in scores.names if name not in main}
        record.append({"row": end, **main, "methods": methods})
    return record


def reliability(scores: Scores, bins: int = 10) -> dict[str, list[dict[str, float]]]:
    """Stated confidence against how often it was right, for source and served: equally wide bins, empty ones left out.

    Nothing where the confidence is no probability.
    """
    record = {}
    for name, kept in scores.confidence.items():
        if not kept:
            continue
        confidence, right = np.concatenate(kept), np.concatenate(scores.hits[name])
        known = ~np.isnan(right)
        confidence, right = confidence[known], right[known]
        place = np.clip((confidence * bins).astype(int), 0, bins - 1)
        record[name] = [
            {
                "confidence": float(confidence[place == b].mean()),
                "accuracy": float(right[place == b].mean()),
                "count": int((place == b).sum()),
            }
            for b in range(bins)
            if (place == b).any()
        ]
    return record
