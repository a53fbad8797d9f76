"""The guard: whether the source's or the proposal's answers are served.

Evidence are paired comparisons on late labels: gain d_t = score of the proposal - score of the source on one row, in
[-1, 1], weighted by w_t <= 2 so that E[w_t d_t] is the gain over all rows. Rows that were asked are compared as both
answered them at that moment: the proposal was not trained on them, and the moment was not chosen for what their labels
say. A bound of |w_t d_t| is known before (`aet.adaptation.ask`). `earned` (`aet.adaptation.earned`) keeps a promise,
`likely` is sooner, `always` and `never` hear nothing.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from aet.adaptation.evidence import LARGEST_WEIGHT, NARROWEST, interval
from aet.errors import ConfigError
from aet.registry import Registry

GUARDS: Registry[type[Guard]] = Registry("guard")

FEW = 8
"""Labels from which a proposal that was served without any is held back if it has lost."""
WAIT = 512
"""Asked rows that are waited for; if more are open, the oldest are counted as lost for good."""
FORMAT = 2
"""Of a guard's memory. 1: before bounds of what a label can say."""


class Terms(NamedTuple):
    """What is known of an asked row's comparison before its label: the weight w, the largest |d|, a bound of |w d|."""

    weight: float
    most: float = 1.0
    span: float = LARGEST_WEIGHT


class Guard:
    """Takes evidence one row at a time; `serving` says whether the proposal is served now."""

    name: ClassVar[str]
    needs_labels: ClassVar[bool] = True

    def __init__(self) -> None:
        self.labels = 0
        self.gain = 0.0
        """Weighted sum of the gains so far."""
        self.earned = False
        """Whether the proposal was ever served."""
        self.telling = 0
        """Labels that could tell the two apart: of asked rows that both answered alike none can."""
        self.better = self.worse = 0
        """Labels on which the proposal scored higher, and lower, than the source."""
        self.seen: dict[tuple[float, float], float] = {}
        """How often each w d came, as a share of its bound, with the bound, both in fiftieths: the interval is computed
        from that. One between two fiftieths counts for both in part; the logarithm of a bet is concave, so that this
        rejects less, never more."""
        self.terms: OrderedDict[Hashable, Terms] = OrderedDict()
        """Of rows that were asked, until their labels come."""

    @property
    @abstractmethod
    def serving(self) -> bool:
        """Whether the proposal is served."""

    @property
    def against(self) -> bool:
        """Whether labels speak against the proposal: it lost over `FEW` or more, or lost what it had earned."""
        return (self.labels >= FEW and self.gain < 0) or (self.earned and not self.serving)

    @property
    def wealth(self) -> float:
        """Evidence, to be held against `threshold`."""
        return float(self.serving)

    @property
    def threshold(self) -> float:
        """Evidence from which the proposal is served."""
        return 1.0

    @property
    def missing(self) -> int:
        """Asked labels that count as lost now, because later ones came and they did not."""
        return 0

    def expect(
        self,
        rows: Sequence[Hashable],
        weights: Sequence[float],
        most: Sequence[float] | None = None,
        span: float = LARGEST_WEIGHT,
        over: tuple[Sequence[float], float] | None = None,
    ) -> None:
        """These rows were asked, in this order, with these weights; known of their labels before they come are the
        largest |d| of each, `most` (1 by default), and a bound of all |w d|, `span`. `over` is both for a rival.
        """
        bounds = [1.0] * len(rows) if most is None else most
        asked = [Terms(float(w), float(b), float(span)) for w, b in zip(weights, bounds, strict=True)]
        against = [Terms(float(w)) for w in weights]
        if over is not None:
            against = [Terms(float(w), float(b), float(over[1])) for w, b in zip(weights, over[0], strict=True)]
        self.wait(rows, asked, against)

    def wait(self, rows: Sequence[Hashable], terms: Sequence[Terms], over: Sequence[Terms]) -> None:
        """Remember what was asked, and on which terms; `over` are those beside a rival."""
        for row, known in zip(rows, terms, strict=True):
            self.terms[row] = known
            self.terms.move_to_end(row)
        while len(self.terms) > 4 * WAIT:
            self.terms.popitem(last=False)

    def update(self, gain: float, weight: float = 1.0, row: Hashable | None = None, over: float | None = None) -> None:
        """One paired comparison; `row` is the row asked, None for a label that came at random unasked.

        `over`, the gain over a rival that needs no model, is for a guard of both (`aet.adaptation.champion`).
        """
        if not -1 <= gain <= 1 or not 0 < weight <= LARGEST_WEIGHT:
            raise ConfigError(
                f"The guard takes gains in [-1, 1] with weights in (0, {LARGEST_WEIGHT:g}], got {gain} and {weight}."
            )
        plain = Terms(weight, span=1.0 if row is None and weight == 1 else LARGEST_WEIGHT)
        terms = plain if row is None else self.terms.pop(row, plain)
        value = weight * gain
        span = max(terms.span, abs(value))  # no more than it by more than rounding
        self.labels += 1
        self.telling += terms.most > 0
        self.gain += value
        self.better += gain > 0
        self.worse += gain < 0
        self.note(value, span)
        self.weigh(value, span, row)
        self.earned = self.earned or self.serving

    def note(self, value: float, span: float, times: float = 1.0) -> None:
        """Count a comparison for the interval."""
        wide = max(1, math.ceil(50 * span - 1e-9)) / 50
        low = math.floor(50 * value / wide)
        for place, share in ((low, low + 1 - 50 * value / wide), (low + 1, 50 * value / wide - low)):
            if share > 0:
                self.seen[place / 50, wide] = self.seen.get((place / 50, wide), 0.0) + times * share

    def weigh(self, value: float, span: float, row: Hashable | None) -> None:
        """What the guard does with a comparison: w d, and its bound."""

    def interval(self, level: float = 0.05) -> tuple[float, float]:
        """Lower and upper bound of the gain, each with an error of at most `level` whenever one looks."""
        pairs = np.array(list(self.seen), dtype=float).reshape(-1, 2)
        counts = np.array(list(self.seen.values()), dtype=float)
        return interval(pairs[:, 0] * pairs[:, 1], pairs[:, 1], counts, level)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able memory."""
        own = {"name": self.name, "labels": self.labels, "gain": self.gain, "better": self.better, "worse": self.worse}
        terms = [[row, *terms] for row, terms in self.terms.items()]
        told = {"telling": self.telling, "terms": terms, "earned": self.earned}
        return {**own, **told, "seen": [[*pair, times] for pair, times in self.seen.items()], "format": FORMAT}

    def load_dict(self, memory: Mapping[str, Any]) -> None:
        """Take back what `to_dict` gave; earlier versions kept less."""
        self.labels, self.gain = int(memory["labels"]), float(memory["gain"])
        self.earned = bool(memory.get("earned", False))
        self.better, self.worse = int(memory.get("better", 0)), int(memory.get("worse", 0))
        self.telling = int(memory.get("telling", self.labels))
        self.seen = {(float(share), float(span)): float(times) for share, span, times in memory.get("seen", [])}
        if int(memory.get("format", 1)) < FORMAT:
            before, self.seen = self.seen, {}
            for (gain, weight), times in before.items():
                self.note(gain * weight, LARGEST_WEIGHT, times)
        self.terms = OrderedDict((row, Terms(*map(float, told))) for row, *told in memory.get("terms", []))

    def evidence(self) -> dict[str, Any]:
        """What the decision rests on, in plain numbers; gains are differences of mean scores."""
        low, high = self.interval()
        return {
            "labels": self.labels,
            "wins": self.better,
            "losses": self.worse,
            "missing": self.missing,
            "wealth": self.wealth,
            "threshold": self.threshold,
            "gain": self.gain / self.labels if self.labels else None,
            "gain_interval": [low, high],
        }

    def reason(self) -> str:
        """The decision and its evidence, in words."""
        verb = "served" if self.serving else "held"
        said = (
            f"proposal {verb}: evidence {self.wealth:.3g} of the {self.threshold:.3g} needed after {self.labels} labels"
        )
        if not self.labels or not self.needs_labels:
            return said
        low, high = self.interval()
        said += (
            f"; it was better than the source on {self.better}, worse on {self.worse}; gain over all rows about "
            f"{100 * self.gain / self.labels:+.0f} points, between {100 * low:+.0f} and {100 * high:+.0f} with 90 % "
            "confidence at every look"
        )
        if not self.telling:
            said += "; none can tell the two apart, which answered those rows alike when they were asked: ask again"
        idle = not self.serving and self.wealth >= self.threshold
        lost = f"; {self.missing} asked labels have not come and count as losses until they do"
        return said + "; it loses less than the margin, and wins nothing" * idle + lost * bool(self.missing)


@GUARDS.register("likely")
class Likely(Guard):
    """Served while P(wins outnumber losses | evidence) > `bar`: sooner than `earned`, without its guarantee.

    The posterior of the share of wins among rows where the two differ is Beta(½ + wins, ½ + losses) (Jeffreys' prior).
    """

    name = "likely"

    def __init__(self, bar: float = 0.9) -> None:
        super().__init__()
        if not 0 < bar < 1:
            raise ConfigError(f"bar is a probability between 0 and 1, got {bar}.")
        self.bar, self.wins, self.losses = bar, 0.0, 0.0

    @property
    def wealth(self) -> float:
        """The posterior probability."""
        from scipy.stats import beta

        return float(beta.sf(0.5, 0.5 + self.wins, 0.5 + self.losses))

    @property
    def threshold(self) -> float:
        """The bar."""
        return self.bar

    @property
    def serving(self) -> bool:
        """Posterior above the bar."""
        return self.wealth > self.bar

    def weigh(self, value: float, span: float, row: Hashable | None) -> None:
        """Wins and losses add up, each a share of the most that a label could say."""
        self.wins += max(value, 0.0) / max(span, NARROWEST)
        self.losses += max(-value, 0.0) / max(span, NARROWEST)

    def to_dict(self) -> dict[str, Any]:
        """The bar and the counts too."""
        return {**super().to_dict(), "bar": self.bar, "wins": self.wins, "losses": self.losses}

    def load_dict(self, memory: Mapping[str, Any]) -> None:
        """Take bar and counts back."""
        super().load_dict(memory)
        self.bar = float(memory["bar"])
        self.wins, self.losses = float(memory["wins"]), float(memory["losses"])


@GUARDS.register("always")
class Always(Guard):
    """The proposal is always served: no protection."""

    name = "always"
    needs_labels = False
    serving = True


@GUARDS.register("never")
class Never(Guard):
    """The source is always served; proposals are only watched."""

    name = "never"
    needs_labels = False
    serving = False
