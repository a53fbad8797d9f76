"""Hold, adapt or retrain: a recommendation with what it gains and costs, and what it rests on. Numbers in, advice out.

    fall      f = a_S - a_T          the source's held-out accuracy less that of its answers now
    adapt     g                      the gain that the proposal showed on labels, as the guard's interval has it
    retrain   f - max(0, g)          what the proposal leaves of the fall: the most that retraining may bring back

a_T is measured on labels where there are enough, else estimated without (`aet.monitoring.performance`): such an advice
rests on an estimate, and says so. Retraining is never advised without labels: they are what it would learn from. An act
is worth it if it is expected to gain `worth` or more; costs are given beside it, and not weighed against it.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from aet.errors import ConfigError
from aet.monitoring.performance import Estimate

WORTH = 0.05
"""Least gain that is worth retraining, in shares of answers."""
ENOUGH = 30
"""Labels from which their share of right answers is believed rather than the estimate."""
PRECISE = 0.05
"""Half-width that a measured accuracy should have."""
PER_CLASS = 50
"""Labelled rows of each class that retraining is taken to need at least: a rule of thumb, no guarantee."""


@dataclass(frozen=True)
class Advice:
    """What to do: "hold", "adapt" or "retrain"; why, in words, with what it rests on.

    expected_gain, low, high: of the act, in shares of answers (NaN where nothing is known); cost_rows_to_label: rows to
    label before or with it; cost_seconds: of computing (NaN where nobody measured it).
    """

    act: str
    why: str
    expected_gain: float
    low: float
    high: float
    cost_rows_to_label: int
    cost_seconds: float


@dataclass(frozen=True)
class Facts:
    """What an advice rests on.

    Args:
        source_accuracy: on held-out rows when it was trained.
        signals: kinds of alarm that are open: of "input", "prediction", "estimate", "error".
        estimate: of the accuracy of the source's answers now, without labels; None if there is none.
        measured: the same by labels (`Labelled.truth`); None without labels.
        gain: of the proposal over the source on labels: mean, low, high, as `Guard.evidence` has them; None if no label
            compared them.
        guard_serves: whether the guard serves the proposal.
        classes: how many answers there are; 1 for numbers.
        train_seconds: of the last training; adapt_seconds: of adapting to a thousand rows; NaN if not known.
    """

    source_accuracy: float
    signals: Collection[str] = ()
    estimate: Estimate | None = None
    measured: Estimate | None = None
    gain: tuple[float, float, float] | None = None
    guard_serves: bool = False
    classes: int = 1
    train_seconds: float = math.nan
    adapt_seconds: float = math.nan

    def __post_init__(self) -> None:
        if not 0 <= self.source_accuracy <= 1 or (self.gain and not self.gain[1] <= self.gain[0] <= self.gain[2]):
            raise ConfigError(
                "source_accuracy lies in 0..1, and a gain is (mean, low, high) with low <= mean <= high: got "
                f"{self.source_accuracy} and {self.gain}."
            )

    @property
    def labels(self) -> int:
        """Labels that measure the accuracy."""
        return 0 if self.measured is None else self.measured.rows

    @property
    def now(self) -> Estimate | None:
        """Accuracy now: measured where there are labels enough, else estimated."""
        return self.measured if self.labels >= ENOUGH else self.estimate

    @property
    def fall(self) -> tuple[float, float, float]:
        """F with its interval; NaN where nothing is known."""
        if self.now is None or self.now.rows == 0:
            return math.nan, math.nan, math.nan
        a = self.source_accuracy
        return a - self.now.value, a - self.now.high, a - self.now.low

    @property
    def to_measure(self) -> int:
        """Labels still needed to know the accuracy to ± 5 points, p(1 - p) (1.96 / 0.05)² at the accuracy known."""
        p = self.source_accuracy if self.now is None or self.now.rows == 0 else self.now.value
        p = min(0.95, max(0.05, p))
        return max(0, math.ceil(p * (1 - p) * (1.959964 / PRECISE) ** 2) - self.labels)

    @property
    def to_retrain(self) -> int:
        """Labels still needed before retraining."""
        return max(0, PER_CLASS * max(2, self.classes) - self.labels)


def advise(facts: Facts, worth: float = WORTH) -> Advice:
    """What to do now; always an answer, never silent.

    >>> held_out = 0.95
    >>> advise(Facts(held_out)).act
    'hold'
    >>> labelled = Estimate(0.6, 0.5, 0.7, rows=80)
    >>> advise(Facts(held_out, ["error"], measured=labelled, gain=(0.2, 0.1, 0.3))).act
    'adapt'
    >>> found = advise(Facts(held_out, ["error"], measured=labelled, gain=(0.01, -0.1, 0.1), classes=2))
    >>> found.act, found.cost_rows_to_label, round(found.expected_gain, 2)
    ('retrain', 20, 0.35)
    """
    if not 0 <= worth < 1:
        raise ConfigError(f"worth is a share of answers, 0 or more and below 1: got {worth}.")
    fall, least, most = facts.fall
    fell = least > 0 and fall >= worth if facts.labels >= ENOUGH else fall >= worth
    helps = facts.guard_serves or (facts.gain is not None and facts.gain[1] > 0)
    gain = facts.gain[0] if facts.gain and helps else 0.0
    left = fall - max(0.0, gain)
    measured = facts.labels >= ENOUGH
    if measured and fell and left >= worth and (helps or facts.gain is not None or "error" in facts.signals):
        if helps and gain >= left:
            return adapting(facts, f"It gains more than what it leaves ({points(left)}); retrain later. ")
        return retraining(facts, left, least, most, gain)
    if helps:
        return adapting(facts, "")
    if fell or facts.signals:
        return untested(facts, fell)
    return holding(facts)


def basis(facts: Facts) -> str:
    """What is known, in words."""
    alarms = f"Alarms: {', '.join(sorted(facts.signals))}. " if facts.signals else "No alarm. "
    if facts.now is None or facts.now.rows == 0:
        return alarms + "How accurate the answers are now is not known: no label came, and nothing was estimated. "
    how = (
        f"measured on {facts.labels} labels"
        if facts.labels >= ENOUGH
        else "estimated without labels, which can be wrong"
    )
    now = f"{100 * facts.now.value:.0f} % ({100 * facts.now.low:.0f} to {100 * facts.now.high:.0f} %)"
    return f"{alarms}Accuracy is {now}, {how}; it was {100 * facts.source_accuracy:.0f} % on held-out rows. "


def points(share: float) -> str:
    """A share in points."""
    return f"{100 * share:.0f} points"


def adapting(facts: Facts, more: str) -> Advice:
    """The proposal is worth serving."""
    if facts.gain is None:
        why = basis(facts) + "The guard serves the proposal, without a comparison on labels at hand. "
        return Advice("adapt", why + more, math.nan, -1.0, 1.0, facts.to_measure, facts.adapt_seconds)
    mean, low, high = facts.gain
    said = f"On labels the proposal gains {points(mean)} ({100 * low:.0f} to {100 * high:.0f}). {more}"
    return Advice("adapt", (basis(facts) + said).strip(), mean, low, high, 0, facts.adapt_seconds)


def retraining(facts: Facts, left: float, least: float, most: float, gain: float) -> Advice:
    """Labels say that accuracy fell, and the proposal does not bring it back."""
    if gain:
        tried = f"The proposal gains {points(gain)} and leaves {points(left)} of the fall. "
    elif facts.gain:
        tried = f"The proposal is not shown to help ({100 * facts.gain[1]:.0f} to {100 * facts.gain[2]:.0f} points). "
    else:
        tried = "No proposal was compared on labels. "
    more = (
        f"About {facts.to_retrain} more labels first: {PER_CLASS} a class, a rule of thumb. "
        if facts.to_retrain
        else ""
    )
    why = (
        f"{basis(facts)}{tried}{more}The gain is what is missing to the accuracy at training: that it comes back is an "
        "assumption; compare on held-out labels before promoting."
    )
    low, high = max(0.0, least - max(0.0, gain)), max(0.0, most - max(0.0, gain))
    return Advice("retrain", why, left, low, high, facts.to_retrain, facts.train_seconds)


def untested(facts: Facts, fell: bool) -> Advice:
    """Something changed and no label says whether adapting helps."""
    fall = facts.fall[0]
    if facts.gain is not None and facts.gain[2] <= 0:
        why = f"{basis(facts)}Labels say that the proposal does not help; the source goes on serving. Label rows: how "
        why += "much accuracy is lost decides whether to retrain."
        return Advice("hold", why, 0.0, 0.0, 0.0, facts.to_measure, 0.0)
    if not fell:
        why = f"{basis(facts)}The data changed; that accuracy fell is not shown. "
        why += f"Label about {facts.to_measure} rows to know."
        return Advice("hold", why, 0.0, 0.0, 0.0, facts.to_measure, 0.0)
    low, high = (facts.gain[1], facts.gain[2]) if facts.gain else (-1.0, max(0.0, fall))
    mean = facts.gain[0] if facts.gain else math.nan
    why = (
        f"{basis(facts)}Let the proposal adapt behind the guard, which serves it only once it has earned it, and label "
        f"about {facts.to_measure} rows. What it gains is not known yet: the fall of {points(fall)} is the most."
    )
    return Advice("adapt", why, mean, low, high, facts.to_measure, facts.adapt_seconds)


def holding(facts: Facts) -> Advice:
    """Nothing speaks for a change."""
    why = basis(facts) + "Nothing speaks for a change."
    return Advice("hold", why, 0.0, 0.0, 0.0, 0 if facts.labels >= ENOUGH else facts.to_measure, 0.0)
