"""A guard of two comparisons: with the source, and with an answer that needs no model, as last season's values are.

A proposal that beats a source which has itself become worse than that rival is no help to anybody. So two guards of one
kind test it side by side, on the same labels,

    d_t = score of the proposal - score of the source,    r_t = score of the proposal - score of the rival,

and it is served only while both would serve it. Each promise holds as it stands: a proposal that loses the margin to
the source, or to the rival, is ever served with at most the probability `level`. Since Σ w (d - r) is what the rival
scored above the source, the two also say which of them is the champion.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from aet.adaptation.guard import GUARDS, Guard, Terms


class Champion(Guard):
    """The bookkeeping is that of the comparison with the source.

    Args:
        guard: tests against the source; a copy of it against the rival.
        rival: what the rival is called.

    >>> from aet.adaptation import Earned
    >>> guard = Champion(Earned(), "the seasonal naive forecast")
    >>> for _ in range(20): guard.update(0.5, over=-0.1)
    >>> guard.serving, guard.champion
    (False, 'the seasonal naive forecast')
    """

    def __init__(self, guard: Guard, rival: str) -> None:
        super().__init__()
        self.name, self.rival = guard.name, rival  # type: ignore[misc]  # that of the test
        self.own, self.other = guard, copy.deepcopy(guard)

    @property
    def level(self) -> float | None:
        """Of the tests, if they have one."""
        return getattr(self.own, "level", None)

    @property
    def margin(self) -> float | None:
        """Of the tests, if they have one."""
        return getattr(self.own, "margin", None)

    @property
    def champion(self) -> str:
        """Whom a proposal must beat first: the better by the labels so far, the source where there are none."""
        return self.rival if self.gain > self.other.gain else "the source"

    @property
    def serving(self) -> bool:
        """Both tests say so."""
        return self.own.serving and self.other.serving

    @property
    def against(self) -> bool:
        """Labels speak against it beside one of the two."""
        return super().against or self.other.against

    @property
    def wealth(self) -> float:
        """The smaller evidence."""
        return min(self.own.wealth, self.other.wealth)

    @property
    def threshold(self) -> float:
        """One for both."""
        return self.own.threshold

    @property
    def missing(self) -> int:
        """The same labels for both."""
        return self.own.missing

    def wait(self, rows: Sequence[Hashable], terms: Sequence[Terms], over: Sequence[Terms]) -> None:
        """Both wait, each on its own terms."""
        super().wait(rows, terms, over)
        self.own.wait(rows, terms, over)
        self.other.wait(rows, over, over)

    def update(self, gain: float, weight: float = 1.0, row: Hashable | None = None, over: float | None = None) -> None:
        """One row: the gain over the source and, `over`, over the rival; without it, as large as over the source."""
        self.other.update(gain if over is None else over, weight, row)
        self.own.update(gain, weight, row)
        super().update(gain, weight, row)

    def to_dict(self) -> dict[str, Any]:
        """Both memories."""
        return {**self.own.to_dict(), **super().to_dict(), "rival": self.other.to_dict()}

    def load_dict(self, memory: Mapping[str, Any]) -> None:
        """Take them back; of a stream that knew no rival, the test against it starts with nothing."""
        super().load_dict(memory)
        self.own.load_dict(memory)
        if "rival" in memory:
            self.other.load_dict(memory["rival"])

    def evidence(self) -> dict[str, Any]:
        """The rival's too."""
        other = self.other.evidence()
        beside = {"champion": self.champion, "rival": self.rival, "rival_wealth": other["wealth"]}
        return {**super().evidence(), **beside, **{f"rival_{name}": other[name] for name in ("gain", "gain_interval")}}

    def reason(self) -> str:
        """Both comparisons in words, and who is the champion."""
        if not self.labels or not self.own.needs_labels:
            return super().reason()
        low, high = self.other.interval()
        return (
            f"{super().reason()}; against {self.rival}: evidence {self.other.wealth:.3g}, gain about "
            f"{100 * self.other.gain / self.labels:+.0f} points, between {100 * low:+.0f} and {100 * high:+.0f}; "
            f"{self.champion} is the better of the two it has to beat"
        )


def guarding(guard: str | Guard, rival: str) -> Guard:
    """The guard by name, or as given; of a model whose answers have a rival, one that tests against both.

    >>> guarding("earned", "").name, type(guarding("earned", "the last value again")).__name__
    ('earned', 'Champion')
    """
    made = guard if isinstance(guard, Guard) else GUARDS[guard]()
    return Champion(made, rival) if rival and made.needs_labels and not isinstance(made, Champion) else made
