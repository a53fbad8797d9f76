"""The accuracy that the source had on its held-out rows: what one believes who does not look. The baseline."""

from __future__ import annotations

from typing import Any

from aet.monitoring.performance import ESTIMATORS, Estimator, Seen, chance


@ESTIMATORS.register("constant")
class Constant(Estimator):
    """â = a_S, whatever the rows.

    >>> Constant.fit([0.9, 0.9, 0.9, 0.9], [1, 1, 1, 0]).estimate([0.1, 0.2]).value
    0.75
    """

    def read(self, seen: Seen) -> tuple[Any, ...]:
        """a_S; by chance these rows and the held-out ones differ."""
        kept = self.held_out
        return kept.accuracy, chance(kept.accuracy, len(seen.confidence)), chance(kept.accuracy, kept.rows)
