"""The guard: whether the source's or the proposal's answers are served.

Evidence are paired comparisons on late labels: gain d_t = score of the proposal - score of the source on one row, in
[-1, 1], the proposal not trained on that row, weighted by w_t <= 2 so that E[w_t d_t] is the gain over all rows.

`earned` tests by betting (`aet.adaptation.evidence`) the null hypothesis that the proposal loses at least the margin m,
E[w_t d_t] <= -m. Its wealth W_t is a nonnegative supermartingale under the null hypothesis, so P(sup_t W_t >= 1/level)
<= level (Ville 1939), however long and often one looks, and whatever states the proposals had. Served while
W_t >= 1/level and Σ w_t d_t > 0: that it loses less than the margin is no reason to serve what wins nothing.

Labels may come late, in any order, or never, and for reasons that have to do with what they say. The order of the test
is the order in which rows were asked, fixed before any label is known. At each look the wealth is the smaller of

    max_j W_j, every asked label among the first j that has not come counted as lost,   and   W of those that came

The first never exceeds the largest wealth that the test with all labels would have had by then (losses only lower each
factor, and the cap acts only above 1/level): whichever labels stay away, and why, nothing is served that the whole
evidence would not have earned. The second lets losses count at once. So a missing label costs as much as a lost one,
once later ones have come, and nothing before.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter, deque
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from aet.adaptation.evidence import CAP, LARGEST_WEIGHT, PRIOR, Wealth, interval
from aet.errors import ConfigError
from aet.registry import Registry

GUARDS: Registry[type[Guard]] = Registry("guard")

FEW = 8
"""Labels from which a proposal that was served without any is held back if it has lost."""
WAIT = 512
"""Asked rows that are waited for; if more are open, the oldest are counted as lost for good."""


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
        self.better = self.worse = 0
        """Labels on which the proposal scored higher, and lower, than the source."""
        self.seen: Counter[tuple[float, float]] = Counter()
        """How often each (gain, weight) came, rounded to a fiftieth: what the interval is computed from."""

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

    def expect(self, rows: Sequence[Hashable], weights: Sequence[float]) -> None:
        """These rows were asked, in this order, with these weights."""

    def update(self, gain: float, weight: float = 1.0, row: Hashable | None = None, over: float | None = None) -> None:
        """One paired comparison; `row` is the row asked, None for a label that came at random unasked.

        `over`, the gain over a rival that needs no model, is for a guard of both (`aet.adaptation.champion`).
        """
        if not -1 <= gain <= 1 or not 0 < weight <= LARGEST_WEIGHT:
            raise ConfigError(
                f"The guard takes gains in [-1, 1] with weights in (0, {LARGEST_WEIGHT:g}], got {gain} and {weight}."
            )
        self.labels += 1
        self.gain += weight * gain
        self.better += gain > 0
        self.worse += gain < 0
        self.seen[round(50 * gain) / 50, max(1, round(50 * weight)) / 50] += 1
        self.weigh(gain, weight, row)
        self.earned = self.earned or self.serving

    def weigh(self, gain: float, weight: float, row: Hashable | None) -> None:
        """What the guard does with a comparison."""

    def interval(self, level: float = 0.05) -> tuple[float, float]:
        """Lower and upper bound of the gain, each with an error of at most `level` whenever one looks."""
        pairs = np.array(list(self.seen), dtype=float).reshape(-1, 2)
        return interval(pairs[:, 0], pairs[:, 1], np.array(list(self.seen.values()), dtype=float), level)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able memory."""
        own = {"name": self.name, "labels": self.labels, "gain": self.gain, "better": self.better, "worse": self.worse}
        return {**own, "earned": self.earned, "seen": [[*pair, times] for pair, times in self.seen.items()]}

    def load_dict(self, memory: Mapping[str, Any]) -> None:
        """Take back what `to_dict` gave; earlier versions kept less."""
        self.labels, self.gain = int(memory["labels"]), float(memory["gain"])
        self.earned = bool(memory.get("earned", False))
        self.better, self.worse = int(memory.get("better", 0)), int(memory.get("worse", 0))
        self.seen = Counter({(float(g), float(w)): int(times) for g, w, times in memory.get("seen", [])})

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
        idle = not self.serving and self.wealth >= self.threshold
        lost = f"; {self.missing} asked labels have not come and count as losses until they do"
        return said + "; it loses less than the margin, and wins nothing" * idle + lost * bool(self.missing)


@GUARDS.register("earned")
class Earned(Guard):
    """Served only once the null hypothesis that the proposal loses at least `margin` is rejected at `level`.

    Args:
        level: largest probability of ever serving while the null hypothesis holds.
        margin: m, in shares of the score: 0.01 is a point.
        missing: "loss" counts asked labels that have not come, though later ones have, as losses until they do, which
            holds the promise whatever keeps labels away; "ignore" leaves them out, and then the promise needs that
            whether and when a label comes does not depend on what it says.

    Which statement is tested: before each label, given all labels before it in the order of asking, the state then
    proposed loses at least m on average over the rows that `ask` drew from. Needed for it: the label is drawn with the
    weights of `ask`, and the state that is scored does not depend on it: neither was it trained on it, nor was the
    moment chosen for it. Where labels of some sort come later than others *and* the state changes in between, the sorts
    are scored by different states, and what is tested is their mixture. docs/lab/guard.md measures that.

    >>> guard = Earned()
    >>> for _ in range(8): guard.update(1.0)
    >>> guard.serving, guard.labels
    (True, 8)
    """

    name = "earned"

    def __init__(self, level: float = 0.05, margin: float = 0.01, missing: str = "loss") -> None:
        super().__init__()
        if not 0 < level < 1 or not 0 < margin < 1:
            raise ConfigError(f"level and margin lie between 0 and 1, got {level} and {margin}.")
        if missing not in ("loss", "ignore"):
            raise ConfigError(
                f"missing is 'loss' or 'ignore': what asked labels that do not come are; got {missing!r}."
            )
        self.level, self.margin, self.policy = level, margin, missing
        self.settled = Wealth(margin, CAP / level)
        """After the asked rows up to the first that is still open."""
        self.queue: list[list[Any]] = []
        """From there on: row, weight, and gain or None, in the order of asking."""
        self.trail: list[tuple[Wealth, Wealth, float]] = []
        """After each of the queue that has begun: missing labels counted as lost; left out; total of the first."""
        self.lost: deque[Hashable] = deque(maxlen=4 * WAIT)
        """Rows counted as lost for good."""
        self.judged: float | None = None
        """The wealth, unless something came since it was last asked for."""

    @property
    def wealth(self) -> float:
        """The formula of the module."""
        if self.judged is None:
            self.judged = self.judge()
        return self.judged

    @property
    def threshold(self) -> float:
        """1 / level."""
        return 1 / self.level

    @property
    def serving(self) -> bool:
        """W_t >= 1 / level, and the labels so far speak for a gain."""
        return self.gain > 0 and self.wealth >= self.threshold

    def expect(self, rows: Sequence[Hashable], weights: Sequence[float]) -> None:
        """Queue them; over `WAIT` the oldest are given up."""
        if self.policy == "ignore":
            return
        self.queue += [[row, float(weight), None] for row, weight in zip(rows, weights, strict=True)]
        while len(self.queue) > WAIT:
            self.settle()
        self.judged = None

    def weigh(self, gain: float, weight: float, row: Hashable | None) -> None:
        """Into its place among the asked rows; a label that nobody waits for comes last, one given up not at all."""
        places = [i for i, entry in enumerate(self.queue) if row is not None and entry[0] == row and entry[2] is None]
        if places:
            self.queue[places[-1]][2] = gain
            del self.trail[places[-1] :]
        elif row is None or row not in self.lost:
            self.queue.append([None, weight, gain])
        while self.queue and (self.queue[0][2] is not None or len(self.queue) > WAIT):
            self.settle()
        self.judged = None

    def settle(self) -> None:
        """Take the first of the queue into the settled wealth."""
        row, weight, gain = self.queue.pop(0)
        del self.trail[:1]
        self.settled.step(-1.0 if gain is None else gain, weight)
        if gain is None:
            self.lost.append(row)
            self.trail.clear()

    @property
    def begun(self) -> list[list[Any]]:
        """The queue up to the last label that came."""
        last = max((i for i, (_, _, gain) in enumerate(self.queue) if gain is not None), default=-1)
        return self.queue[: last + 1]

    @property
    def missing(self) -> int:
        """Asked labels that count as lost now, because later ones came and they did not."""
        return sum(gain is None for _, _, gain in self.begun)

    def judge(self) -> float:
        """The wealth, as the module's text defines it."""
        bound, known = self.trail[-1][:2] if self.trail else (self.settled, self.settled)
        for _, weight, gain in self.begun[len(self.trail) :]:
            bound = bound.after(-1.0 if gain is None else gain, weight)
            known = known if gain is None else known.after(gain, weight)
            self.trail.append((bound, known, float(bound.total)))
        best = max([float(self.settled.total), *(total for *_, total in self.trail)])
        return min(best, float(known.total))

    def to_dict(self) -> dict[str, Any]:
        """The settings, the wealth and what is waited for too."""
        return {
            **super().to_dict(),
            "level": self.level,
            "margin": self.margin,
            "missing": self.policy,
            "values": self.settled.values.tolist(),
            "steps": self.settled.steps,
            "queue": [list(entry) for entry in self.queue],
            "lost": list(self.lost),
        }

    def load_dict(self, memory: Mapping[str, Any]) -> None:
        """Take settings and wealth back; a guard of an earlier version goes on with the total it had."""
        super().load_dict(memory)
        self.level, self.margin = float(memory["level"]), float(memory["margin"])
        self.policy = str(memory.get("missing", "loss"))
        self.settled = Wealth(self.margin, CAP / self.level)
        if "values" in memory:
            self.settled.values = np.array(memory["values"], dtype=float)
        else:
            before = float(np.exp(memory["log_wealths"]).mean())
            self.settled.values = np.minimum(before, self.settled.limit) * PRIOR
        self.settled.steps = int(memory.get("steps", self.labels))
        self.queue = [[row, float(weight), gain] for row, weight, gain in memory.get("queue", [])]
        self.trail = []
        self.lost = deque(memory.get("lost", []), maxlen=4 * WAIT)
        self.judged = None


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

    def weigh(self, gain: float, weight: float, row: Hashable | None) -> None:
        """Wins and losses add up."""
        self.wins += weight * max(gain, 0.0)
        self.losses += weight * max(-gain, 0.0)

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
