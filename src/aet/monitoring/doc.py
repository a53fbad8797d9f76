"""Difference of confidences: accuracy falls with mean confidence, at a rate seen under simulated drifts.

    â = a_S - b · (c_S - c_T),    b = Σ_k (a_S - a_k)(c_S - c_k) / Σ_k (c_S - c_k)²

a_S, c_S: accuracy and mean confidence on the source's held-out rows, c_T: mean confidence now, (a_k, c_k): the same
held-out rows under simulated drift k. Guillory et al. 2021 (2107.03315), with the regression through the origin;
without simulated drifts b = 1.
"""

from __future__ import annotations

from typing import Any

from aet.monitoring.performance import ESTIMATORS, Estimator, Floats, HeldOut, Seen, Z, chance, even


@ESTIMATORS.register("doc")
class Doc(Estimator):
    """The source's accuracy less b times the fall in confidence.

    Interval: which of these rows are right (Wilson, N rows), the held-out rows' own chance (1.96 · s_gap / √n), and the
    error under simulated drifts.

    >>> round(Doc.fit([0.8, 0.9, 1.0, 0.9], [1, 1, 1, 0]).estimate([0.8, 0.8]).value, 6)
    0.65
    """

    def __init__(self, held_out: HeldOut) -> None:
        super().__init__(held_out)
        falls = held_out.confidence - held_out.drifts[:, 1]
        square = float((falls**2).sum())
        product = float((falls * (held_out.accuracy - held_out.drifts[:, 0])).sum())
        self.rate = product / square if square > 1e-6 else 1.0

    def at(self, confidence: Floats) -> Floats:
        """Accuracies at mean confidences."""
        return (self.held_out.accuracy - self.rate * (self.held_out.confidence - confidence)).clip(0, 1)

    def read(self, seen: Seen) -> tuple[Any, ...]:
        """The line at the mean confidence, and its three errors."""
        kept, n = self.held_out, len(seen.confidence)
        value = float(self.at(seen.confidence.mean()))
        return value, chance(value, n), even(Z * kept.gap / kept.rows**0.5), self.off(self.at(kept.drifts[:, 1]), value)
