"""A watch over one stream: input, prediction, estimated accuracy and error, each alarm named apart, one rate for all.

    input       columns and pooled features no longer lie where the training's, and held-out rows', did
    prediction  another mix of answers, or other confidences
    estimate    confidences are lower than on held-out rows, and the accuracy that they stand for is
    error       more answers are wrong than on held-out rows, by labels that came

The rate: while a stream's rows are drawn, independently, as the reference's were, the probability that this watch ever
raises any alarm, over the stream's whole life and however often one looks, is at most `level`. Each kind has a quarter
of it (half of that of `input` for columns and for features), shared out evenly over a group's series (Bonferroni); each
series is tested by bets (`aet.monitoring.bets`) on exactly uniform places (`aet.monitoring.sketch`). Detectors of the
literature, where asked for, are outside the rate.

Rows in an order, say sorted by class, are not drawn independently though no distribution changed: `prediction` rises,
and `input`, whose columns hold one class for a while. Where predictions are all of one class, or come in runs, the
signal says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aet.errors import ConfigError
from aet.monitoring.autocorrelation import Runs, label_runs
from aet.monitoring.detectors import Detector
from aet.monitoring.gauge import Gauge, Reading
from aet.monitoring.kernel import Embedded, View, discrepancy
from aet.monitoring.performance import ESTIMATORS, Estimate, bounded
from aet.monitoring.reference import Reference, answered
from aet.monitoring.sentences import sentence
from aet.monitoring.sketch import TIES, packed, unpacked

Floats = npt.NDArray[np.float64]

KINDS = ("input", "prediction", "estimate", "error")
GROUPS = {"columns": "input", "features": "input", "answers": "prediction", "confidence": "estimate", "errors": "error"}
SHARES = {"columns": 1 / 8, "features": 1 / 8, "answers": 1 / 4, "confidence": 1 / 4, "errors": 1 / 4}
"""Of the level."""
SURE, ORDER = 256, 256
"""Newest confidences that accuracy is estimated from; newest classes whose order is looked at."""
LARGEST_WEIGHT = 2.0


@dataclass(frozen=True)
class Signal:
    """An alarm.

    kind; row of the stream at which it rose (for `error` the rows seen by then); evidence (the wealth of the bets) and
    what was needed; level of the test (None for a detector without one); since which row (label) about; names of the
    series; one sentence.
    """

    kind: str
    row: int
    evidence: float
    needed: float
    level: float | None
    since: int
    names: tuple[str, ...]
    text: str


class Watch:
    """Takes rows and labels as they come; bounded memory; arrays in, signals out. One thread at a time.

    Args:
        reference: of the source; what it lacks, or all for None, is learned from the stream's own first rows.
        level: bound on the probability that a clean stream ever raises an alarm.
        first: rows, and labels, learned from where the reference lacks something.
        fall: by how much the estimated accuracy must lie below the source's for an `estimate`.
        detectors: names of `aet.monitoring.detectors` that see the errors as well.
        seed: of draws.

    Raises ConfigError for a level outside (0, 1), fewer than 20 first rows, or an unknown detector.

    >>> rng = np.random.default_rng(0)
    >>> watch = Watch(Reference.of({"x": rng.normal(size=500)}))
    >>> watch.see({"x": rng.normal(size=300)})
    []
    >>> [signal.kind for signal in watch.see({"x": rng.normal(size=100) + 3})]
    ['input']
    """

    def __init__(
        self,
        reference: Reference | None = None,
        level: float = 0.05,
        first: int = 200,
        fall: float = 0.05,
        detectors: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        if not 0 < level < 1 or first < 20 or not 0 <= fall < 1:
            raise ConfigError(
                "level lies between 0 and 1, first is 20 rows or more, fall lies in 0..1: "
                f"got {level}, {first} and {fall}."
            )
        self.reference, self.level = reference or Reference(), level
        self.first, self.fall, self.seed = first, fall, seed
        self.rows = self.labels = 0
        known = self.reference
        self.gauges = {
            "columns": self._gauge("columns", known.columns),
            "features": self._gauge("features", known.features, first=first - first // 2),
            "answers": self._gauge("answers", known.answers),
            "confidence": self._gauge("confidence", known.answers, "down", only=["confidence"])
            if known.answers is None or "confidence" in known.answers.names
            else None,
            "errors": self._gauge("errors", known.errors, "up"),
        }
        self.detectors = [Detector(name) for name in detectors]
        self.view, self._fitting = known.view, list[Floats]()
        self.newest = None if self.view is None else Embedded(len(self.view.mean))
        self.sure: deque[float] = deque(maxlen=SURE)
        self.classes: deque[float] = deque(maxlen=ORDER)
        self.signals: list[Signal] = []
        """Open ones: at most one a kind, and the newest of each detector."""

    def _gauge(self, group: str, sketch: Any, side: str = "both", first: int = 0, only: Sequence[str] = ()) -> Gauge:
        return Gauge(sketch, self.level * SHARES[group], side, first or self.first, only)

    def see(
        self, columns: Mapping[str, Any] | None = None, features: Any = None, probabilities: Any = None
    ) -> list[Signal]:
        """Rows came, in order: gives the alarms that they raise.

        Args:
            columns: one array (N,) a column; numbers, names, None for missing.
            features: (N, D), the vectors before the output; left out where they cost too much.
            probabilities: (N, C) of the source's answers, or numbers answered (N,).

        Raises ConfigError for columns that the reference lacks, or lengths that differ.
        """
        shown = {} if probabilities is None else answered(probabilities)
        lengths = {len(part) for part in [*(columns or {}).values(), *shown.values()]}
        lengths |= set() if features is None else {len(features)}
        if len(lengths) > 1:
            raise ConfigError(f"All that is seen of rows is of one length: got {sorted(lengths)}.")
        count = lengths.pop() if lengths else 0
        if not count:
            return []
        raised: dict[str, int | None] = {}
        rng = np.random.default_rng([self.seed, TIES, 1, self.rows])
        if columns:
            raised["columns"] = self._take("columns", columns, rng)
        if features is not None:
            raised["features"] = self._features(np.asarray(features, float), rng)
        if shown:
            raised["answers"] = self._take("answers", shown, rng)
            self.classes.extend(shown.get("class", np.empty(0)).tolist())
        if "confidence" in shown and self.gauges["confidence"] is not None:
            self.sure.extend(bounded(shown["confidence"]).tolist())
            raised["confidence"] = self._take("confidence", {"confidence": shown["confidence"]}, rng)
        self.rows += count
        return self._raise({group: row for group, row in raised.items() if row is not None})

    def _take(self, group: str, columns: Mapping[str, Any], rng: np.random.Generator) -> int | None:
        gauge = self.gauges[group]
        return None if gauge is None else gauge.see(columns, self.rows, rng)

    def _features(self, features: Floats, rng: np.random.Generator) -> int | None:
        """Bet on what the view shows; a view that is missing is fitted to the first rows."""
        row = self.rows
        if self.view is None:
            taken = max(0, min(len(features), self.first // 2 - sum(map(len, self._fitting))))
            self._fitting.append(features[:taken])
            if sum(map(len, self._fitting)) < self.first // 2:
                return None
            self.view = View.of(np.concatenate(self._fitting), self.seed)
            self._fitting, self.newest = [], Embedded(len(self.view.mean))
            features, row = features[taken:], row + taken
        gauge, good = self.gauges["features"], np.isfinite(features).all(-1)
        assert gauge is not None
        assert self.newest is not None
        self.newest.take(self.view.embed(features[good]))
        return gauge.see(dict(zip(self.view.names, self.view.numbers(features).T, strict=True)), row, rng)

    def label(self, errors: Any, weights: Any = None) -> list[Signal]:
        """Labels came for rows seen before: errors (N,), each 0 (right) to 1 (wrong), in the order of the rows.

        weights (N,) in (0, 2], if rows were drawn with unequal probabilities: each then counts with probability w / 2,
        which makes those that count a uniform draw. Without weights the rows must be such a draw.
        """
        wrong = np.asarray(errors, dtype=float)
        if wrong.ndim != 1 or not ((wrong >= 0) & (wrong <= 1)).all():
            raise ConfigError(f"Errors are one number a row, 0 (right) to 1 (wrong): got shape {wrong.shape}.")
        if weights is not None:
            chances = np.asarray(weights, dtype=float)
            if chances.shape != wrong.shape or not ((chances > 0) & (chances <= LARGEST_WEIGHT)).all():
                raise ConfigError(f"Weights are one a label, above 0 and at most {LARGEST_WEIGHT:g}.")
            drawn = np.random.default_rng([self.seed, TIES, 3, self.labels]).random(len(wrong))
            wrong = wrong[drawn < chances / LARGEST_WEIGHT]
        if not len(wrong):
            return []
        gauge, rng = self.gauges["errors"], np.random.default_rng([self.seed, TIES, 2, self.labels])
        assert gauge is not None
        hit = gauge.see({"error": wrong}, self.labels, rng)
        self.labels += len(wrong)
        found = [] if hit is None else self._raise({"errors": hit})
        for detector in self.detectors:
            if detector.see(wrong):
                text = f"Error drift: the detector {detector.name} found a change in the errors of labelled rows."
                found.append(
                    Signal("error", self.rows, np.nan, np.nan, None, self.rows, (f"detector {detector.name}",), text)
                )
        self._open(found)
        return found

    def _raise(self, raised: Mapping[str, int]) -> list[Signal]:
        """Signals of the groups that alarmed; one a kind, and none of a kind that is open."""
        opened = {signal.kind for signal in self.signals if signal.level is not None}
        found: dict[str, Signal] = {}
        for group, row in raised.items():
            kind = GROUPS[group]
            if kind not in opened and kind not in found:
                found[kind] = self._signal(group, row)
        if "estimate" not in opened | set(found) and (late := self._late_estimate()) is not None:
            found["estimate"] = late
        if "estimate" in found and not self._fell():
            del found["estimate"]
        self._open(list(found.values()))
        return list(found.values())

    def _late_estimate(self) -> Signal | None:
        """Where confidences had fallen before the estimate did."""
        gauge = self.gauges["confidence"]
        return self._signal("confidence", self.rows - 1) if gauge is not None and gauge.raised else None

    def _open(self, found: Sequence[Signal]) -> None:
        for signal in found:
            self.signals = [old for old in self.signals if (old.kind, old.level) != (signal.kind, signal.level)]
            self.signals.append(signal)

    def _signal(self, group: str, row: int) -> Signal:
        gauge = self.gauges[group]
        assert gauge is not None
        readings = gauge.readings()
        best = max(readings, key=lambda reading: reading.peak)
        raised = [reading for reading in readings if reading.raised] or [best]
        at = self.rows if group == "errors" else row
        runs = None if group in ("confidence", "errors") else self.runs()
        held = self.reference.held_out
        text = sentence(group, best, len(raised), len(readings), runs, self.estimate(), held, gauge.learned)
        names = tuple(reading.name for reading in sorted(raised, key=lambda reading: -reading.peak))
        return Signal(GROUPS[group], at, best.peak, best.needed, gauge.level, best.since, names, text)

    def _fell(self) -> bool:
        """Whether the estimated accuracy lies below the source's by `fall`; where it cannot be estimated, yes."""
        now, held = self.estimate(), self.reference.held_out
        return now is None or held is None or now.value <= held.accuracy - self.fall

    def estimate(self) -> Estimate | None:
        """Accuracy over the newest rows, estimated without labels (`doc`); None without the source's figures."""
        held = self.reference.held_out
        return None if held is None or not self.sure else ESTIMATORS["doc"](held).estimate(np.array(self.sure))

    def runs(self) -> Runs:
        """Whether the newest predicted classes come in runs."""
        return label_runs(np.array([known for known in self.classes if known == known]), level=0.01)

    def restart(self, kind: str) -> None:
        """Close a kind's alarm and test anew, at the same level once more, against the same reference.

        Raises ConfigError for another kind.
        """
        if kind not in KINDS:
            raise ConfigError(f"A watch alarms of {', '.join(KINDS)}: got {kind!r}.")
        self.signals = [signal for signal in self.signals if signal.kind != kind]
        for group, gauge in self.gauges.items():
            if GROUPS[group] == kind and gauge is not None:
                gauge.restart(self.labels if group == "errors" else self.rows)

    def report(self) -> dict[str, Any]:
        """JSON-able: what is known, and how: rows, level, series by evidence, estimates, open signals."""
        own = {
            group: {
                "kind": GROUPS[group],
                "reference": "first rows" if gauge.learned else "source",
                "learning": gauge.learning,
                "level": gauge.level,
                "series": [{**plain(reading), "raised": reading.raised} for reading in gauge.readings()],
            }
            for group, gauge in self._present()
        }
        now, rows = self.estimate(), 0 if self.reference.features is None else self.reference.features.rows
        kernel = None
        if self.newest is not None and self.reference.mean is not None:
            kernel = {
                name: finite(value) for name, value in discrepancy(self.reference.mean, rows, self.newest).items()
            }
        return {
            "rows": self.rows,
            "labels": self.labels,
            "level": self.level,
            "groups": own,
            "kernel": kernel,
            "estimate": None if now is None else asdict(now),
            "source_accuracy": None if self.reference.held_out is None else self.reference.held_out.accuracy,
            "in_runs": self.runs().correlated,
            "signals": [plain(signal) for signal in self.signals],
        }

    def _present(self) -> Iterator[tuple[str, Gauge]]:
        return ((group, gauge) for group, gauge in self.gauges.items() if gauge is not None)

    def to_arrays(self) -> dict[str, Any]:
        """By name, to be saved, without the reference where it is the source's."""
        named: dict[str, Any] = {
            "counts": np.array([self.rows, self.labels]),
            "sure": np.array(self.sure, float),
            "classes": np.array(self.classes, float),
            "signals": packed([plain(signal) for signal in self.signals]),
        }
        for group, gauge in self._present():
            named |= {f"{group}.{name}": array for name, array in gauge.to_arrays().items()}
        for detector in self.detectors:
            named |= {f"detector {detector.name}.{name}": array for name, array in detector.to_arrays().items()}
        if self._fitting:
            named["fitting"] = np.concatenate(self._fitting)
        if self.view is not None and self.reference.view is None:
            named |= {f"view.{name}": array for name, array in self.view.to_arrays().items()}
        if self.newest is not None:
            named |= {"newest": self.newest.total, "newest_rows": np.array(self.newest.rows)}
        return named

    def load_arrays(self, arrays: Mapping[str, Any]) -> None:
        """Take back what `to_arrays` gave to a watch made alike; KeyError or ValueError if it does not fit."""

        def part(name: str) -> dict[str, Any]:
            return {n.removeprefix(f"{name}."): a for n, a in arrays.items() if n.startswith(f"{name}.")}

        self.rows, self.labels = (int(count) for count in arrays["counts"])
        self.sure.extend(np.asarray(arrays["sure"], float).tolist())
        self.classes.extend(np.asarray(arrays["classes"], float).tolist())
        self.signals = [signal_of(entry) for entry in unpacked(arrays["signals"])]
        for group, gauge in self._present():
            gauge.load_arrays(part(group))
        for detector in self.detectors:
            detector.load_arrays(part(f"detector {detector.name}"))
        self._fitting = [np.asarray(arrays["fitting"], float)] if "fitting" in arrays else []
        self.view = View.from_arrays(part("view")) if part("view") else self.reference.view
        if "newest" in arrays:
            total = np.asarray(arrays["newest"], float)
            self.newest = Embedded(len(total))
            self.newest.total, self.newest.rows = total, float(arrays["newest_rows"])


def finite(value: float) -> float | None:
    """A number as JSON knows it."""
    return float(value) if np.isfinite(value) else None


def plain(given: Signal | Reading) -> dict[str, Any]:
    """A signal or a reading as JSON knows it."""
    return {name: finite(value) if isinstance(value, float) else value for name, value in asdict(given).items()}


def signal_of(entry: Mapping[str, Any]) -> Signal:
    """Take back what `plain` gave."""
    numbers = {name: np.nan if entry[name] is None else entry[name] for name in ("evidence", "needed")}
    return Signal(**{**entry, **numbers, "names": tuple(entry["names"])})
