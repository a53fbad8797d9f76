"""Disagreement: where two answers to a row differ, at least one is wrong.

Of two models that differ by their seed alone, and are calibrated together, the share of rows on which they disagree is
the error of either (Jiang et al. 2022, 2106.13799; Nakkiran and Bansal 2020, 2009.08092):

    â = 1/N Σ_i 1[h(x_i) = h'(x_i)]

Of one model under dropout, disagreement counts for more the fewer classes are answered at all, so that a collapsed
model is not believed (AETTA, Lee et al. 2024, 2404.01351; α = 3, 10 passes there):

    â = 1 - (E / log C)^-α · 1/(N D) Σ_i Σ_d 1[h(x_i) ≠ h_d(x_i)],    E the entropy of the mean probabilities
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from aet.errors import ConfigError
from aet.monitoring.performance import ESTIMATORS, Estimator, Seen, chance, checked

ALPHA = 3.0


def agreement(answers: Any, others: Any) -> np.ndarray:
    """Share (N,) of the other answers (D, N) that equal the answer (N,).

    >>> agreement([0, 1, 2], [[0, 1, 1], [0, 0, 2]]).tolist()
    [1.0, 0.5, 0.5]
    """
    own, other = np.asarray(answers), np.atleast_2d(np.asarray(others))
    if own.ndim != 1 or other.shape[1:] != own.shape or not len(other):
        raise ConfigError(
            f"Other answers are (D, N) for answers (N,), D of 1 or more: got {other.shape} for {own.shape}."
        )
    return np.asarray((other == own).mean(0), dtype=float)


@ESTIMATORS.register("seeds")
class Seeds(Estimator):
    """Agreement with a second model, or the mean of it over several.

    Interval: which of these rows are right (Wilson, N rows). The models being calibrated together is taken on trust.

    >>> import numpy as np
    >>> seen = Seen(np.full(4, 0.9), agreement=agreement([0, 1, 1, 0], [0, 1, 0, 0]))
    >>> Seeds.fit([0.9, 0.9], [1, 1]).estimate(seen).value
    0.75
    """

    needs: ClassVar[tuple[str, ...]] = ("agreement",)

    def read(self, seen: Seen) -> tuple[Any, ...]:
        """Mean agreement and its error."""
        value = float(checked(seen.agreement, "agreement").mean())
        return value, chance(value, len(seen.confidence))


@ESTIMATORS.register("dropout")
class Dropout(Estimator):
    """Agreement of the answers with those of dropout passes, disagreement weighted by how few classes are answered.

    Interval: which of these rows are right (Wilson, N rows). The weight is taken on trust.

    >>> import numpy as np
    >>> seen = Seen(np.full(4, 0.9), agreement=np.array([1, 1, 0.5, 0.7]), mix=np.array([0.5, 0.5]))
    >>> round(Dropout.fit([0.9, 0.9], [1, 1]).estimate(seen).value, 3)
    0.8
    """

    needs: ClassVar[tuple[str, ...]] = ("agreement", "mix")

    def read(self, seen: Seen) -> tuple[Any, ...]:
        """1 less the weighted disagreement, and its error."""
        apart = 1 - float(checked(seen.agreement, "agreement").mean())
        p = checked(seen.mix, "mix")
        spread = -float((p * np.log(np.maximum(p, 1e-12))).sum()) / math.log(max(2, len(p)))
        value = max(0.0, 1 - apart * max(spread, 1e-3) ** -ALPHA)
        return value, chance(value, len(seen.confidence))
