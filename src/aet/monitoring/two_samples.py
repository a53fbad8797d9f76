"""Are these rows drawn like those? One look, at rows on both sides, with thresholds by permutation.

    mmd_test         MMD² = |mean φ(x) - mean φ(y)|², random Fourier features (`aet.monitoring.kernel`)
    classifier_test  area under the ROC curve of a logistic regression that tells the two apart, on rows that it was not
                     fitted to (Lopez-Paz and Oquab 2017, 1610.06545)

Where both sides are drawn alike, which row is on which side says nothing, so over random relabellings

    p = (1 + #{relabellings that reach the statistic}) / (1 + number of relabellings)

is at most α with a probability of at most α (Fisher 1935), whatever the rows. That is one look. Of a stream that is
looked at again and again ask `aet.monitoring.watching`, which keeps its rate over all looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aet.errors import ConfigError
from aet.monitoring.kernel import View

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Look:
    """statistic: what was found; threshold: what it must reach; p: the p-value; drifted: whether p <= level."""

    statistic: float
    threshold: float
    p: float
    drifted: bool


def mmd_test(reference: Any, rows: Any, level: float = 0.01, shuffles: int = 199, seed: int = 0) -> Look:
    """Whether features `rows` (M, D) are drawn as `reference` (N, D); ConfigError for another shape or level.

    >>> rng = np.random.default_rng(0)
    >>> known = rng.normal(size=(100, 4))
    >>> [mmd_test(known, rng.normal(size=(50, 4)) + shift).drifted for shift in (0, 1)]
    [False, True]
    """
    both, right = pooled(reference, rows, level, shuffles)
    rng = np.random.default_rng(seed)
    waves = View.of(both, seed).embed(both)  # the view knows no sides, so that it may be of all rows
    orders = np.stack([right, *(rng.permutation(right) for _ in range(shuffles))]).astype(float)  # (1 + B, N + M)
    signs = orders / orders.sum(1, keepdims=True) - (1 - orders) / (1 - orders).sum(1, keepdims=True)
    return judged(np.square(signs @ waves).sum(1), level)


def classifier_test(reference: Any, rows: Any, level: float = 0.01, shuffles: int = 199, seed: int = 0) -> Look:
    """The same by a classifier fitted to a random half of either side and judged on the rest.

    >>> rng = np.random.default_rng(0)
    >>> known = rng.normal(size=(100, 4))
    >>> [classifier_test(known, rng.normal(size=(60, 4)) + shift).drifted for shift in (0, 1)]
    [False, True]
    """
    from scipy.stats import rankdata
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    both, right = pooled(reference, rows, level, shuffles)
    if min(right.sum(), (~right).sum()) < 4:
        raise ConfigError(f"A classifier needs 4 rows or more on either side: got {(~right).sum()} and {right.sum()}.")
    rng = np.random.default_rng(seed)
    held = np.zeros(len(both), dtype=bool)
    for side in (right, ~right):
        own = rng.permutation(np.flatnonzero(side))
        held[own[: len(own) // 2]] = True
    found = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=200))
    found.fit(both[~held], right[~held])
    ranks = rankdata(found.decision_function(both[held]))
    own = right[held]
    sides = np.stack([own, *(rng.permutation(own) for _ in range(shuffles))]).astype(float)
    positive, negative = own.sum(), (~own).sum()
    return judged((sides @ ranks - positive * (positive + 1) / 2) / (positive * negative), level)


def pooled(reference: Any, rows: Any, level: float, shuffles: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """All features (N + M, D), and which of them are `rows`."""
    one, other = np.asarray(reference, float), np.asarray(rows, float)
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1] or not len(one) or not len(other):
        raise ConfigError(f"Two samples are (N, D) and (M, D), no side empty: got {one.shape} and {other.shape}.")
    if not 0 < level < 1 or level * (shuffles + 1) < 1:
        raise ConfigError(f"level lies between 1 / (1 + shuffles) and 1: got {level} with {shuffles} shuffles.")
    both = np.concatenate([one, other])
    if not np.isfinite(both).all():
        raise ConfigError("Features are finite numbers; some are not. Leave the rows out that have none.")
    return both, np.arange(len(both)) >= len(one)


def judged(found: Floats, level: float) -> Look:
    """The first of the statistics (1 + B,) among those of the relabellings."""
    own, drawn = float(found[0]), found[1:]
    p = float((1 + (drawn >= own - 1e-12).sum()) / (1 + len(drawn)))
    allowed = int(np.floor(level * (len(drawn) + 1) + 1e-9)) - 1
    return Look(own, float(np.sort(drawn)[::-1][allowed]), p, p <= level)
