"""How far each column moved from the training data: arrays in, numbers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def quantile_distance(source: Sequence[float], now: Sequence[float]) -> float:
    """Mean distance of equally spaced quantiles, in spreads of the source: the Wasserstein-1 distance of two columns.

    source and now hold the same levels, from 0 to 1. The spread is the source's interquartile range / 1.349, else its
    range, else 1. Infinite or empty input gives NaN.

    >>> quantile_distance([0, 1, 2, 3, 4], [1, 2, 3, 4, 5])
    0.6745
    """
    if len(source) == 0 or len(source) != len(now):
        return float("nan")
    before, after = np.asarray(source, float), np.asarray(now, float)
    low, high = np.interp((0.25, 0.75), np.linspace(0, 1, len(before)), before)
    spread = (high - low) / 1.349 or np.ptp(before) or 1.0
    return round(float(np.abs(after - before).mean() / spread), 6)


def share_distance(source: Mapping[str, float], now: Mapping[str, float]) -> float:
    """Total variation distance of two mixes of categories, 0 (the same) to 1 (nothing in common).

    >>> share_distance({"a": 0.5, "b": 0.5}, {"a": 1.0})
    0.5
    """
    names = set(source) | set(now)
    return round(0.5 * sum(abs(source.get(name, 0.0) - now.get(name, 0.0)) for name in names), 6)
