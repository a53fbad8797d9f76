"""Confidence-based estimation, moved by what the latest labelled rows showed.

    â = c_T + k · g + (1 - k) · g₀,    g = Σ_j w_j (y_j - p_j) / Σ_j w_j,    k = τ² / (τ² + s²)

c_T: mean confidence of the rows; p_j, y_j, w_j: confidence, right or wrong, and weight of the labelled rows; s²:
variance of g; g₀: the gap that `doc` expects at this confidence. Gaps are taken to lie about g₀ with a standard
deviation of τ = 0.15 (chosen on USPS digits): a handful of labels moves the estimate a little, some dozens decide it.
Delay-adjusted CBPE, with the shrinkage of James and Stein (1961).
"""

from __future__ import annotations

from typing import Any, ClassVar

from aet.monitoring.doc import Doc
from aet.monitoring.performance import ESTIMATORS, Labelled, Seen, Z, even

TAU = 0.15


@ESTIMATORS.register("delayed")
class Delayed(Doc):
    """Mean confidence plus the gap of the labelled rows, shrunk towards `doc`; without labelled rows it says the same.

    Interval: which rows are right (1.96 · √Σ p(1 - p) / N) and the gap's own chance (1.96 · √k s).

    >>> import numpy as np
    >>> late = Labelled(np.full(400, 0.9), np.tile([1.0, 1.0, 1.0, 0.0], 100), np.ones(400))
    >>> round(Delayed.fit([0.9, 0.9], [1, 1]).estimate(Seen(np.full(50, 0.9), labelled=late)).value, 3)
    0.755
    """

    needs: ClassVar[tuple[str, ...]] = ("labelled",)

    def read(self, seen: Seen) -> tuple[Any, ...]:
        """The adjusted mean, and its two errors."""
        assert seen.labelled is not None
        p = seen.confidence
        sure = float(p.mean())
        drawn = Z * float((p * (1 - p)).sum()) ** 0.5 / len(p)
        gap, variance = gap_of(seen.labelled)
        kept = TAU**2 / (TAU**2 + variance)
        value = kept * (sure + gap) + (1 - kept) * float(self.at(p.mean()))
        return value, even(drawn), even(Z * TAU * (1 - kept) ** 0.5)


def gap_of(late: Labelled) -> tuple[float, float]:
    """Weighted mean of right - confidence and its variance, (0, inf) without rows.

    The variance of one row is taken to be no less than that of a share with one wrong answer more among the rows.
    """
    if not len(late):
        return 0.0, float("inf")
    gaps = late.right - late.confidence
    mean = late.mean(gaps)
    share = (late.effective * min(late.mean(late.right), 1 - late.mean(late.right)) + 1) / (late.effective + 2)
    return mean, max(late.mean((gaps - mean) ** 2), share * (1 - share)) / late.effective
