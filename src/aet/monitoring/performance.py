"""How many answers are right, without their labels: what an estimator is, and what it keeps of the source.

The source's held-out rows leave a handful of figures (`HeldOut`); an estimator reads them and the recent rows' arrays
(`Seen`) and gives the share of right answers among those rows with a 95 % interval (`Estimate`).

**What the interval means.** It adds, as independent parts, the chance in which of these rows are right, the chance in
which rows the source was held out on, and how far the estimator was off when the held-out rows were seen under
simulated drifts. It holds where the stream's shift is like those. No estimator that sees no label can promise more:
two worlds with the same inputs and other answers look the same to it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from aet.errors import ConfigError
from aet.registry import Registry

Floats = npt.NDArray[np.float64]

Z = 1.959964
"""Half the width of a 95 % interval, in standard deviations of the normal."""
LEVELS = np.linspace(0, 1, 101)

ESTIMATORS: Registry[type[Estimator]] = Registry("estimator")


@dataclass(frozen=True)
class Estimate:
    """A share of right answers with its 95 % interval, and over how many rows."""

    value: float
    low: float
    high: float
    rows: int


@dataclass(frozen=True)
class HeldOut:
    """What is kept of the source's held-out rows: figures, never rows.

    rows; accuracy: share of right answers; confidence: mean; gap: standard deviation of right - confidence;
    quantiles (101,) of the confidence; drifts (K, 3): accuracy, mean confidence and share of rows at or above
    `threshold`, each under one simulated drift of the held-out rows (K may be 0).
    """

    rows: int
    accuracy: float
    confidence: float
    gap: float
    quantiles: Floats
    drifts: Floats

    @classmethod
    def of(cls, confidence: Any, right: Any, drifts: Sequence[tuple[Any, Any]] = ()) -> HeldOut:
        """From confidences (n,) in 0..1 and right answers (n,) in {0, 1}; `drifts` are such pairs under drift.

        >>> kept = HeldOut.of([0.9, 0.8, 0.7, 0.6], [1, 1, 1, 0])
        >>> kept.accuracy, round(kept.confidence, 3), round(kept.threshold(), 3)
        (0.75, 0.75, 0.675)
        """
        sure, hit = checked(confidence, "confidence"), checked(right, "right")
        if len(sure) != len(hit) or not len(sure):
            raise ConfigError(
                f"Held-out rows are one confidence and one right or wrong each: got {len(sure)} and {len(hit)}."
            )
        gap = float((hit - sure).std())
        made = cls(len(sure), float(hit.mean()), float(sure.mean()), gap, np.quantile(sure, LEVELS), np.empty((0, 3)))
        under = [(np.mean(r), np.mean(c), made.above(checked(c, "confidence"))) for c, r in drifts]
        return replace(made, drifts=np.array(under, dtype=float).reshape(-1, 3))

    def threshold(self, accuracy: float | None = None) -> float:
        """Confidence below which lies the share 1 - accuracy of the held-out rows; by default their own accuracy."""
        wrong = 1 - (self.accuracy if accuracy is None else accuracy)
        return float(np.interp(wrong, LEVELS, self.quantiles))

    def above(self, confidence: Floats, accuracy: float | None = None) -> float:
        """Share of rows whose confidence is at least the threshold."""
        return float((confidence >= self.threshold(accuracy)).mean())

    def to_arrays(self) -> dict[str, Floats]:
        """By name, to be saved."""
        figures = np.array([self.rows, self.accuracy, self.confidence, self.gap], dtype=float)
        return {"figures": figures, "quantiles": self.quantiles, "drifts": self.drifts}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> HeldOut:
        """Take back what `to_arrays` gave; KeyError or ValueError if something is missing."""
        figures, quantiles, drifts = (np.asarray(arrays[n], float) for n in ("figures", "quantiles", "drifts"))
        rows, accuracy, confidence, gap = figures.tolist()
        return cls(int(rows), accuracy, confidence, gap, quantiles, drifts.reshape(-1, 3))


@dataclass(frozen=True)
class Labelled:
    """Recent rows whose labels came: confidence, right and weight, (n,) each.

    The weights are those the rows were drawn with, so that the weighted mean speaks for all rows.
    """

    confidence: Floats
    right: Floats
    weight: Floats

    def __len__(self) -> int:
        return len(self.right)

    @property
    def effective(self) -> float:
        """Rows without weights that would tell as much: (Σ w)² / Σ w²."""
        return float(self.weight.sum() ** 2 / np.maximum((self.weight**2).sum(), 1e-12))

    def mean(self, values: Floats) -> float:
        """Weighted mean."""
        return float((self.weight * values).sum() / self.weight.sum())

    def truth(self) -> Estimate:
        """Weighted share of right answers with Wilson's interval at the effective number of rows.

        >>> Labelled(np.ones(4), np.array([1.0, 1.0, 0.0, 1.0]), np.ones(4)).truth().value
        0.75
        """
        if not len(self):
            return UNKNOWN
        value = self.mean(self.right)
        return Estimate(value, *wilson(value, self.effective), len(self))


@dataclass(frozen=True)
class Seen:
    """What is known of recent rows.

    confidence (N,) in 0..1; agreement (N,): share of other answers to the row (a second model's, or those of dropout
    passes) that are the same; mix (C,): mean probability of each class; labelled: those whose labels came.
    """

    confidence: Floats
    agreement: Floats | None = None
    mix: Floats | None = None
    labelled: Labelled | None = None


class Estimator:
    """Reads `HeldOut` once, then gives an `Estimate` for each lot of rows.

    Args:
        held_out: figures of the source's held-out rows.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    """What it reads of `Seen` beside the confidence."""

    def __init__(self, held_out: HeldOut) -> None:
        self.held_out = held_out

    @classmethod
    def fit(cls, confidence: Any, right: Any, drifts: Sequence[tuple[Any, Any]] = ()) -> Estimator:
        """From the held-out rows themselves; arguments as in `HeldOut.of`."""
        return cls(HeldOut.of(confidence, right, drifts))

    def estimate(self, seen: Seen | Any) -> Estimate:
        """Share of right answers among rows seen (or their confidences alone); nothing known of no rows.

        Raises ConfigError if something that it `needs` is missing, or a confidence is outside 0..1.
        """
        seen = seen if isinstance(seen, Seen) else Seen(seen)
        sure = checked(seen.confidence, "confidence")
        for name in self.needs:
            if getattr(seen, name) is None:
                raise ConfigError(f"The estimator {type(self).__name__} needs `{name}` of the rows, got None. Give it.")
        if not len(sure):
            return UNKNOWN
        value, *errors = self.read(Seen(sure, seen.agreement, seen.mix, seen.labelled))
        value = min(1.0, max(0.0, value))
        below, above = (float(np.hypot.reduce([e[side] for e in errors] or [0.0])) for side in (0, 1))
        return Estimate(value, max(0.0, value - below), min(1.0, value + above), len(sure))

    @abstractmethod
    def read(self, seen: Seen) -> tuple[Any, ...]:
        """The value, then each part of its error as (below, above); the rows are checked, and there are some."""

    def off(self, predicted: Floats, value: float) -> tuple[float, float]:
        """How far estimates were off under the simulated drifts, as a part of the error of one that says `value`.

            1.96 · r · |a_S - value|,   r² = Σ_k (ê_k - a_k)² / Σ_k (a_S - ê_k)²

        `predicted` (K,) are the estimates ê for those drifts: the error is taken to grow with the fall that is seen.
        """
        drifts = self.held_out.drifts
        if not len(drifts):
            return 0.0, 0.0
        fall = ((self.held_out.accuracy - predicted) ** 2).sum()
        ratio = min(1.0, float(((predicted - drifts[:, 0]) ** 2).sum() / max(fall, 1e-12)) ** 0.5)
        half = Z * ratio * abs(self.held_out.accuracy - value)
        return half, half


def even(half: float) -> tuple[float, float]:
    """An error that is the same both ways."""
    return half, half


def wilson(value: float, rows: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (1927): never empty, also where all rows are right.

    >>> [round(x, 3) for x in wilson(0.5, 100)], round(wilson(1.0, 10)[0], 3)
    ([0.404, 0.596], 0.722)
    """
    rows = max(rows, 1e-12)
    center = (value + Z**2 / (2 * rows)) / (1 + Z**2 / rows)
    half = Z / (1 + Z**2 / rows) * (value * (1 - value) / rows + Z**2 / (4 * rows**2)) ** 0.5
    return max(0.0, min(value, center - half)), min(1.0, max(value, center + half))


def chance(value: float, rows: float) -> tuple[float, float]:
    """Wilson's interval as an error below and above."""
    low, high = wilson(value, rows)
    return value - low, high - value


def bounded(confidence: Any) -> Floats:
    """Confidences as numbers in 0..1; 0 for a row that was garbage."""
    return np.asarray(np.fmin(np.fmax(np.asarray(confidence, dtype=np.float64), 0.0), 1.0))


def checked(values: Any, name: str) -> Floats:
    """Numbers in 0..1 as an array (N,); ConfigError for others."""
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or not ((array >= 0) & (array <= 1)).all():
        raise ConfigError(
            f"`{name}` is one number in 0..1 a row. Got shape {array.shape}"
            + (f" with values from {np.min(array)} to {np.max(array)}." if array.size else ".")
            + " Accuracy is estimated where confidence is a probability of being right: for classes, not for numbers."
        )
    return array


UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"), 0)
