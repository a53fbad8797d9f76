"""Average thresholded confidence: as many answers are right as are surer than a threshold.

    t : share of the source's held-out rows with confidence < t  =  its error there
    â = share of rows with confidence >= t

Garg et al. 2022 (2201.04234), with the maximum confidence as the score.
"""

from __future__ import annotations

from typing import Any

from aet.monitoring.performance import ESTIMATORS, Estimator, Seen, chance, wilson


@ESTIMATORS.register("atc")
class Atc(Estimator):
    """Share of rows above the threshold.

    Interval: which of these rows are right, and which lie above (Wilson, N rows, each); the threshold's own chance,
    from the source's accuracy and from its quantiles (shares above the thresholds at the ends of Wilson's interval of
    that accuracy, each); and the error under simulated drifts.

    >>> atc = Atc.fit([0.9, 0.8, 0.7, 0.6], [1, 1, 1, 0])
    >>> atc.estimate([0.95, 0.7, 0.65, 0.3]).value
    0.5
    """

    def read(self, seen: Seen) -> tuple[Any, ...]:
        """The share, and its errors."""
        p, kept = seen.confidence, self.held_out
        value = kept.above(p)
        low, high = (kept.above(p, accuracy) for accuracy in wilson(kept.accuracy, kept.rows))
        drawn, threshold = chance(value, len(p)), (value - low, high - value)
        return value, drawn, drawn, threshold, threshold, self.off(kept.drifts[:, 2], value)
