"""Agreement on the line: across models, accuracy here and accuracy there lie on a line, and so does agreement.

With z = Φ⁻¹ (probit), over pairs of models i, j

    z(agreement_T) = a · z(agreement_S) + b,    and with the same a and b    z(accuracy_T) = a · z(accuracy_S) + b

The labels of the source's held-out rows are enough for all but accuracy_T (Baek et al. 2022, 2206.13089, ALine-S). What
is needed: two models or more. Models that differ by their seed alone agree about equally, which fixes no slope: where
z(agreement_S) spreads by less than `LEAST` over the pairs, a = 1 and b is the mean difference.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from aet.errors import ConfigError
from aet.monitoring.performance import Estimate, Floats, chance, checked, wilson

LEAST = 0.1
"""Standard deviation of z(agreement) over the pairs from which a slope is fitted."""


def agreements(answers: Any) -> Floats:
    """Share of rows on which each pair of models agrees, (M (M - 1) / 2,), for answers (M, N).

    >>> agreements([[0, 1, 1, 0], [0, 1, 0, 0], [1, 1, 1, 0]]).tolist()
    [0.75, 0.75, 0.5]
    """
    table = np.asarray(answers)
    if table.ndim != 2 or len(table) < 2 or not table.shape[1]:
        raise ConfigError(f"Agreement is of two models or more on one row or more: (M, N); got {table.shape}.")
    return np.array([(table[i] == table[j]).mean() for i, j in combinations(range(len(table)), 2)])


def on_the_line(accuracy: float, source: Any, target: Any, held_out: int, rows: int) -> Estimate:
    """Accuracy of a model on new rows.

    Args:
        accuracy: of that model on the source's held-out rows.
        source: agreement of each pair of models there, (P,).
        target: agreement of the same pairs on the new rows, (P,).
        held_out: how many rows were held out.
        rows: how many new rows there are.

    Interval: which of the new rows are right (Wilson, `rows`), and the source's accuracy at the ends of its interval.

    >>> on_the_line(0.9, [0.85, 0.85], [0.85, 0.85], held_out=400, rows=400).value
    0.9
    >>> round(on_the_line(0.9, [0.85], [0.6], held_out=400, rows=400).value, 3)
    0.691
    """
    before, after = checked(source, "source"), checked(target, "target")
    if len(before) != len(after) or not len(before):
        raise ConfigError(
            f"Agreement is of the same pairs on both sides, one or more: got {len(before)}, {len(after)}."
        )
    z_before, z_after = probit(before, held_out), probit(after, rows)
    slope = 1.0
    if z_before.std() > LEAST:
        slope = float(np.cov(z_before, z_after, bias=True)[0, 1] / z_before.var())
    shift = float(z_after.mean() - slope * z_before.mean())

    def moved(share: float) -> float:
        from scipy.special import ndtr

        return float(ndtr(slope * probit(np.array([share]), held_out)[0] + shift))

    value = round(moved(accuracy), 12)
    ends = [moved(end) for end in wilson(accuracy, held_out)]
    errors = [chance(value, rows), (max(0.0, value - min(ends)), max(0.0, max(ends) - value))]
    below, above = np.hypot(*np.array(errors)).tolist()
    return Estimate(value, max(0.0, value - below), min(1.0, value + above), rows)


def probit(share: Floats, rows: int) -> Floats:
    """Φ⁻¹ of shares, none nearer to 0 or 1 than half a row."""
    from scipy.special import ndtri

    return np.asarray(ndtri(np.clip(share, 0.5 / rows, 1 - 0.5 / rows)), dtype=float)
