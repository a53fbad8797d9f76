"""Confidence-based performance estimation: calibrated confidences are the chances of being right.

    â = 1/N Σ_i max_c p_c(x_i)

NannyML's CBPE for accuracy (after Hendrycks and Gimpel 2017, 1610.02136, and Guo et al. 2017, 1706.04599). Right as
long as the calibration still holds; accuracy that falls while confidence does not is not seen.
"""

from __future__ import annotations

from typing import Any

from aet.monitoring.performance import ESTIMATORS, Estimator, Seen, Z, even


@ESTIMATORS.register("cbpe")
class Cbpe(Estimator):
    """Mean confidence.

    Interval: which rows are right (independent draws, 1.96 · √Σ p(1 - p) / N), whether the confidence is calibrated
    (1.96 · s_gap / √n over the n held-out rows), and the error under simulated drifts.

    >>> found = Cbpe.fit([0.7, 0.8, 0.9], [1, 1, 0]).estimate([0.6, 0.8])
    >>> round(found.value, 6), found.rows
    (0.7, 2)
    """

    def read(self, seen: Seen) -> tuple[Any, ...]:
        """Mean confidence and its three errors."""
        p, kept = seen.confidence, self.held_out
        value = float(p.mean())
        drawn = Z * float((p * (1 - p)).sum()) ** 0.5 / len(p)
        return value, even(drawn), even(Z * kept.gap / kept.rows**0.5), self.off(kept.drifts[:, 1], value)
