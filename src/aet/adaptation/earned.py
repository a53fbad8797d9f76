"""The guard that keeps a promise: the proposal is served once it has earned it.

By betting (`aet.adaptation.evidence`) it tests the null hypothesis that the proposal loses at least the margin m,
E[w_t d_t] <= -m. Its wealth W_t is a nonnegative supermartingale under the null hypothesis, so P(sup_t W_t >= 1/level)
<= level (Ville 1939), however long and often one looks, and whatever states the proposals had. Served while
W_t >= 1/level and Σ w_t d_t > 0: that it loses less than the margin is no reason to serve what wins nothing.

Labels may come late, in any order, or never, and for reasons that have to do with what they say. The order of the test
is the order in which rows were asked, fixed before any label is known, and so are the answers that are compared. At
each look the wealth is the smaller of

    max_j W_j, every asked label among the first j that has not come at its worst,   and   W of those that came

The first never exceeds the largest wealth that the test with all labels would have had by then, since the worst only
lowers a factor: whichever labels stay away, and why, nothing is served that the whole evidence would not have earned.
The second lets losses count at once. The worst of a row is -w b, b the largest difference that its label could make: a
missing label of a row where both answer alike costs nothing, any other as much as a lost one, once later ones have
come, and nothing before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from aet.adaptation.evidence import CAP, PRIOR, Wealth
from aet.adaptation.guard import GUARDS, WAIT, Guard, Terms
from aet.errors import ConfigError


@GUARDS.register("earned")
class Earned(Guard):
    """Served only once the null hypothesis that the proposal loses at least `margin` is rejected at `level`.

    Args:
        level: largest probability of ever serving while the null hypothesis holds.
        margin: m, in shares of the score: 0.01 is a point.
        missing: "loss" counts asked labels that have not come, though later ones have, as losses until they do, which
            holds the promise whatever keeps labels away; "ignore" leaves them out, and then the promise needs that
            whether and when a label comes does not depend on what it says.

    Which statement is tested: at each ask the state then proposed loses at least m on average over the rows that were
    drawn from. Rows are drawn with known probabilities and scored as proposal and source answered them when they were
    asked, so neither what a label says nor when it comes can choose the state that it judges. docs/lab/guard.md.

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
        """From there on: row, its terms, and w d or None, in the order of asking."""
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

    def wait(self, rows: Sequence[Hashable], terms: Sequence[Terms], over: Sequence[Terms]) -> None:
        """Queue them; over `WAIT` the oldest are given up."""
        super().wait(rows, terms, over)
        if self.policy == "ignore":
            return
        self.queue += [[row, known, None] for row, known in zip(rows, terms, strict=True)]
        while len(self.queue) > WAIT:
            self.settle()
        self.judged = None

    def weigh(self, value: float, span: float, row: Hashable | None) -> None:
        """Into its place among the asked rows; a label that nobody waits for comes last, one given up not at all."""
        places = [i for i, entry in enumerate(self.queue) if row is not None and entry[0] == row and entry[2] is None]
        if places:
            self.queue[places[-1]][2] = value
            del self.trail[places[-1] :]
        elif row is None or row not in self.lost:
            self.queue.append([None, Terms(1.0, 1.0, span), value])
        while self.queue and (self.queue[0][2] is not None or len(self.queue) > WAIT):
            self.settle()
        self.judged = None

    def settle(self) -> None:
        """Take the first of the queue into the settled wealth."""
        row, terms, value = self.queue.pop(0)
        del self.trail[:1]
        self.settled = said(self.settled, terms, value)
        if value is None:
            self.lost.append(row)
            self.trail.clear()

    @property
    def begun(self) -> list[list[Any]]:
        """The queue up to the last label that came."""
        last = max((i for i, (_, _, value) in enumerate(self.queue) if value is not None), default=-1)
        return self.queue[: last + 1]

    @property
    def missing(self) -> int:
        """Asked labels that count as lost now, because later ones came and they did not."""
        return sum(value is None and terms.most > 0 for _, terms, value in self.begun)

    def judge(self) -> float:
        """The wealth, as the module's text defines it."""
        bound, known = self.trail[-1][:2] if self.trail else (self.settled, self.settled)
        for _, terms, value in self.begun[len(self.trail) :]:
            bound = said(bound, terms, value)
            known = known if value is None else said(known, terms, value)
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
            "queue": [[row, *terms, value] for row, terms, value in self.queue],
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
        self.queue = [queued(entry) for entry in memory.get("queue", []) if len(entry) > 3 or entry[2] is not None]
        self.trail = []
        self.lost = deque(memory.get("lost", []), maxlen=4 * WAIT)
        self.judged = None


def said(wealth: Wealth, terms: Terms, value: float | None) -> Wealth:
    """The wealth after a label; after None, which is one that does not come, as if it had said the worst.

    Of a row that both answer alike a label says nothing, and a bet on it is none: then E[(w d + m) [b > 0]] =
    E[w d] + m P(b > 0) <= 0 under the null hypothesis, and no trust is earned by what cannot be lost.

    >>> before = Wealth(0.01, 80.0)
    >>> said(before, Terms(1.9, most=0.0, span=0.5), None) is before
    True
    >>> bool(said(before, Terms(0.4, most=1.0, span=0.5), None).total < 1)
    True
    """
    if terms.most == 0:
        return wealth
    return wealth.after(-min(terms.weight * terms.most, terms.span) if value is None else value, terms.span)


def queued(entry: Sequence[Any]) -> list[Any]:
    """An entry of the queue as it was written; of earlier versions without bounds, and with d in place of w d.

    What was still open then is not waited for any more: it was to be compared otherwise.

    >>> queued(["r7", 0.4, 1.0, 0.5, None])
    ['r7', Terms(weight=0.4, most=1.0, span=0.5), None]
    """
    if len(entry) > 3:
        row, *terms, value = entry
        return [row, Terms(*map(float, terms)), value]
    row, weight, gain = entry
    return [row, Terms(float(weight)), weight * gain]
