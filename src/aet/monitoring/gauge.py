"""A group of series that answer one question, its share of the level, and what their bets have won."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from aet.monitoring.bets import Bets
from aet.monitoring.sketch import Sketch, Urn, names_in, packed, table, unpacked

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reading:
    """One series now: its wealth, what it must reach, since when it rose, and how far the newest rows are."""

    name: str
    evidence: float
    needed: float
    peak: float
    since: int
    moved: float
    below: float
    above: float

    @property
    def raised(self) -> bool:
        """Whether it ever reached what it must."""
        return self.peak >= self.needed


class Gauge:
    """Series of rows against a reference, each tested at level / J (Bonferroni), by bets that hold at every look.

    Args:
        sketch: the reference; None to learn it from the first rows.
        level: of the group.
        side: which moves count, as in `Bets`.
        first: rows to learn from, where there is no reference.
        only: names of the series to test; all by default.

    >>> gauge = Gauge(Sketch.of({"x": np.arange(500.0)}), level=0.01)
    >>> rng = np.random.default_rng(0)
    >>> gauge.see({"x": np.full(40, 499.5)}, 0, rng) is not None, gauge.readings()[0].above > 0.9
    (True, True)
    """

    def __init__(
        self, sketch: Sketch | None, level: float, side: str = "both", first: int = 200, only: Sequence[str] = ()
    ) -> None:
        self.level, self.side, self.first, self.only = level, side, first, tuple(only)
        self.learned = sketch is None
        """Whether the reference is, or will be, the stream's own first rows."""
        self.waiting: list[dict[str, Floats]] = []
        self.named: frozenset[str] = frozenset()
        """Columns of names among those that wait."""
        self.urn: Urn | None = None
        self.begin = 0
        """The stream's row at which the bets began."""
        if sketch is not None:
            self._start(sketch, 0)

    def _start(self, sketch: Sketch, row: int) -> None:
        if self.only:
            sketch = sketch.only(self.only)
        self.urn, self.bets, self.begin = Urn(sketch), Bets(len(sketch.names), self.side), row

    @property
    def names(self) -> tuple[str, ...]:
        """The series."""
        return () if self.urn is None else self.urn.sketch.names

    @property
    def needed(self) -> float:
        """Wealth at which a series alarms."""
        return max(1, len(self.names)) / self.level

    @property
    def raised(self) -> bool:
        """Whether a series ever reached what it must."""
        return self.urn is not None and bool((self.bets.peak >= self.needed).any())

    @property
    def learning(self) -> int:
        """Rows that are still needed before the tests begin."""
        return 0 if self.urn is not None else self.first - self._held

    @property
    def _held(self) -> int:
        return sum(len(next(iter(part.values()))) for part in self.waiting)

    def see(self, columns: Mapping[str, Any], row: int, rng: np.random.Generator) -> int | None:
        """Bet on rows (N,) a series, the first of them the stream's row `row`; gives the row at which a series alarmed.

        Only the first time that any does.
        """
        given = self._after_learning(columns, row)
        if given is None or self.urn is None:
            return None
        values, skipped = given
        before = self.raised
        wealth = self.bets.take(self.urn.place(values, rng))
        hit = (wealth >= self.needed).any(1)
        return None if before or not hit.any() else row + skipped + int(hit.argmax())

    def _after_learning(self, columns: Mapping[str, Any], row: int) -> tuple[Floats, int] | None:
        """Rows to bet on, after those that the reference still needed, and how many those were."""
        if self.urn is not None:
            return table(columns, self.names), 0
        names = list(columns)
        values = table(columns, names)
        taken = min(len(values), self.first - self._held)
        self.waiting.append(dict(zip(names, values[:taken].T, strict=True)))
        self.named |= names_in(columns)
        if self._held < self.first:
            return None
        known = {name: np.concatenate([part[name] for part in self.waiting]) for name in names}
        self.waiting = []
        self._start(replace(Sketch.of(known), categories=self.named), row + taken)
        return table(dict(zip(names, values[taken:].T, strict=True)), self.names), taken

    def restart(self, row: int) -> None:
        """Bet anew against the same reference."""
        if self.urn is not None:
            self._start(self.urn.sketch, row)

    def readings(self) -> list[Reading]:
        """Every series, the strongest evidence first."""
        if self.urn is None:
            return []
        rows = (self.bets.wealth, self.bets.peak, self.bets.started() + self.begin, self.urn.moved())
        made = [
            Reading(name, float(w), self.needed, float(p), int(s), float(m), float(b), float(a))
            for name, w, p, s, m, b, a in zip(self.names, *rows, *self.urn.outside(), strict=True)
        ]
        return sorted(made, key=lambda reading: (-reading.evidence, -reading.moved, reading.name))

    def to_arrays(self) -> dict[str, Any]:
        """By name, to be saved."""
        if self.urn is None:
            names = list(self.waiting[0]) if self.waiting else []
            held = {f"waiting.{n}": np.concatenate([part[n] for part in self.waiting]) for n in names}
            return {**held, "named": packed(sorted(self.named))}
        parts = {"sketch": self.urn.sketch.to_arrays()} if self.learned else {}
        parts |= {"urn": self.urn.to_arrays(), "bets": self.bets.to_arrays()}
        flat = {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}
        return {**flat, "begin": np.array(self.begin)}

    def load_arrays(self, arrays: Mapping[str, Any]) -> None:
        """Take back what `to_arrays` gave to a gauge made alike."""

        def part(name: str) -> dict[str, Any]:
            return {n.removeprefix(f"{name}."): a for n, a in arrays.items() if n.startswith(f"{name}.")}

        if waiting := part("waiting"):
            self.waiting = [{name: np.asarray(values, float) for name, values in waiting.items()}]
        if "begin" not in arrays:
            self.named = frozenset(unpacked(arrays["named"])) if "named" in arrays else frozenset()
            return
        if self.learned:
            self._start(Sketch.from_arrays(part("sketch")), 0)
        assert self.urn is not None
        self.urn.load_arrays(part("urn"))
        self.bets.load_arrays(part("bets"))
        self.begin = int(arrays["begin"])
