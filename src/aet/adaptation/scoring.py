"""Row-by-row scores of a replayed stream, and what is read off them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from aet.errors import FeedbackError
from aet.outputs.label import LabelOutput

if TYPE_CHECKING:
    from aet.adaptation.base import Method
    from aet.model import Model
    from aet.rows import Checked

Floats = npt.NDArray[np.float64]
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
        self.confidence: dict[str, list[Floats]] = {"source": [], "served": []}
        self.by: list[npt.NDArray[np.bool_]] = []
        self.rows = 0

    def begin(self, name: str) -> None:
        """A new part starts."""
        self.parts.append(Span(name, self.rows, self.rows))

    def encode(self, answers: Sequence[Any]) -> Tensor:
        """True answers as targets; raises FeedbackError for a missing one or an unknown class."""
        from aet.adaptation.stream import label_frame

        return self.model.output.encode(label_frame(list(answers), self.model.schema.targets))

    def targets(self, frame: pd.DataFrame) -> tuple[Tensor, npt.NDArray[np.bool_]]:
        """Targets of the rows whose answer is known, and which those are."""
        columns = list(self.model.schema.targets)
        if not set(columns) <= set(frame.columns):
            return torch.empty(0), np.zeros(len(frame), dtype=bool)
        known = frame[columns].notna().all(axis=1).to_numpy(copy=True)
        pieces = []
        for position in np.flatnonzero(known):
            try:
                pieces.append(self.model.output.encode(frame.iloc[[int(position)]]))
            except FeedbackError:
                known[position] = False
        return (torch.cat(pieces) if pieces else torch.empty(0)), known

    def note(
        self, checked: Checked, source: Tensor, proposal: Tensor, serving: bool, beside: dict[str, Method]
    ) -> None:
        """Score a batch; methods run beside answer it and learn from it here."""
        target, known = self.targets(checked.frame)
        logits = {"source": source, "proposal": proposal, "served": proposal if serving else source}
        if beside:
            batch = self.model.encode(checked.frame)
            logits |= {name: method(batch) for name, method in beside.items()}
        for name in self.names:
            scores = np.full(len(known), np.nan)
            if known.any():
                scores[known] = self.model.output.scores(logits[name][torch.from_numpy(known)], target).numpy()
            self.columns[name].append(scores)
        for name, kept in self.confidence.items():
            kept.append(1 - self.model.output.uncertainty(logits[name]).numpy())
            if isinstance(self.model.output, LabelOutput):
                kept[-1] = self.model.output.probabilities(logits[name]).max(-1).values.numpy()
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


def harm(source: Floats, served: Floats) -> dict[str, float] | None:
    """Source - served in points: mean, paired 95 % interval, worst window of 1,000 rows (all, if there are fewer).

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
    return {"mean": center, "low": center - half, "high": center + half, "worst_window": worst}


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
    """Confidence against accuracy for source and served, equally wide bins, empty ones left out."""
    record = {}
    for name, kept in scores.confidence.items():
        if not kept:
            continue
        confidence, right = np.concatenate(kept), scores.of(name)
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
