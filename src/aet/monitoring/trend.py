"""Shares over time, each with its interval, and an alarm where one rises beyond its own history.

Of the S periods before, with k_s hits of n_s rows and w_s = n_s / Σ n, the share is μ = Σ k_s / Σ n_s, and the
correlation ρ of rows within a period is that of a beta-binomial whose shares spread as the observed ones do (Kleinman
1973, method of moments). A period is an alarm if

    P(K >= k_t) <= level,   K ~ BetaBin(n_t, μ, ρ'),   ρ' = ρ (t / z)² + Σ w_s² ((1 - ρ)/n_s + ρ)

so that shares which have always wandered from period to period do not alarm by wandering, and a short history makes a
careful judge: t and z are the quantiles at 1 - level of Student's distribution with S - 1 degrees and of the normal,
the sum is the uncertainty of μ. In the history an alarm counts with the largest share that would have been none.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aet.errors import ConfigError, DataError
from aet.monitoring.performance import wilson

Floats = npt.NDArray[np.float64]

CAREFUL = 0.25
"""Standard errors added to ρ: with it false alarms stay at or below their level from 30 to 400 rows a period, wandering
or not (ρ of 0, 1/201, 1/41 and 1/16; 36 periods); without it they are up to half as many again."""
FEW = 6
"""Periods that a history has at least before there is an alarm."""
COLUMNS = ["topic", "period", "rows", "share", "low", "high", "p", "alarm"]


def correlation(hits: Floats, rows: Floats) -> float:
    """ρ by the method of moments and `CAREFUL` standard errors of it, at most ½.

    >>> correlation(np.array([5.0, 5.0, 5.0]), np.array([10.0, 10.0, 10.0]))
    0.0
    """
    total, mean = rows.sum(), hits.sum() / rows.sum()
    if not 0 < mean < 1 or len(rows) < 2:
        return 0.0
    weights = rows / total
    spread = float((weights * (hits / rows - mean) ** 2).sum())
    chance = mean * (1 - mean)
    # E[spread] = chance · (Σ w(1 - w)/n + ρ Σ w(1 - w)(1 - 1/n))
    base, slope = float((weights * (1 - weights) / rows).sum()), float((weights * (1 - weights) * (1 - 1 / rows)).sum())
    if slope <= 0:
        return 0.0
    doubt = CAREFUL * (2 / (len(rows) - 1)) ** 0.5 * spread / chance / slope
    return float(min(0.5, max(0.0, (spread / chance - base) / slope) + doubt))


def expected(rows: float, before: Floats, of: Floats, level: float) -> Any:
    """The distribution of K among so many rows, given hits and rows of the periods before."""
    from scipy.stats import betabinom, norm, t

    rho, mean = correlation(before, of), (before.sum() + 0.5) / (of.sum() + 1)
    longer = float(t.ppf(1 - level, max(1, len(of) - 1)) / norm.ppf(1 - level)) ** 2 if level < 0.5 else 1.0
    unsure = float(((of / of.sum()) ** 2 * ((1 - rho) / of + rho)).sum())
    m = 1 / min(0.9, rho * longer + unsure) - 1
    return betabinom(int(rows), mean * m, (1 - mean) * m)


def trends(
    dates: npt.ArrayLike,
    topics: npt.ArrayLike,
    hits: npt.ArrayLike,
    every: str = "M",
    window: int = 24,
    level: float = 0.01,
) -> pd.DataFrame:
    """Share of hits by topic and period, in order, with a 95 % interval (Wilson 1927) and the alarm.

    Args:
        dates: of the rows (N,), as pandas reads them.
        topics: of the rows (N,).
        hits: whether each row counts (N,), say whether it is negative.
        every: length of a period, a pandas period: "D", "W", "M", "Q".
        window: periods of history, the newest.
        level: probability under the history up to which a period is an alarm.

    Returns columns topic, period, rows, share, low, high, p (NaN while there are fewer than six periods before), alarm.
    A period without a row has none.

    Raises DataError for lengths that differ, what is missing, or a date or period that is none; ConfigError for another
    level or window.

    >>> dates = pd.date_range("2024-01-01", periods=300, freq="D")
    >>> bad = np.where(np.arange(300) < 270, np.arange(300) % 5 == 0, True)
    >>> found = trends(dates, ["price"] * 300, bad)
    >>> found[found["alarm"]]["period"].astype(str).tolist()
    ['2024-10']
    """
    topics, given = np.asarray(topics, dtype=object), pd.Series(hits)
    if given.isna().any() or not given.isin([True, False]).all():
        raise DataError("A hit is True or False, or 1 or 0, in every row. Leave out rows of which it is not known.")
    hits = given.to_numpy(dtype=bool)
    if not 0 < level < 1 or window < FEW:
        raise ConfigError(f"level is a probability and window {FEW} periods or more: got {level} and {window}.")
    try:
        when = pd.to_datetime(pd.Series(dates)).dt.tz_localize(None)
        periods = when.dt.to_period(every)
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"Dates and periods must be such as pandas reads, every= one of D, W, M, Q: {error}."
        ) from error
    if not len(when) == len(topics) == len(hits) or when.isna().any() or pd.isna(topics).any():
        raise DataError(
            f"Each row has a date, a topic and a hit: got {len(when)} dates, {int(when.isna().sum())} of them missing, "
            f"{len(topics)} topics, {int(pd.isna(topics).sum())} of them missing, and {len(hits)} hits."
        )
    rows = pd.DataFrame({"topic": topics, "period": periods.to_numpy(), "hit": hits})
    made = [line for topic, own in rows.groupby("topic", sort=True) for line in followed(topic, own, window, level)]
    return pd.DataFrame(made, columns=COLUMNS)


def followed(topic: Hashable, rows: pd.DataFrame, window: int, level: float) -> list[tuple[object, ...]]:
    """The lines of one topic, period after period."""
    lines: list[tuple[object, ...]] = []
    calm: list[tuple[float, float]] = []
    for period, own in rows.groupby("period", sort=True)["hit"]:
        k, n = float(own.sum()), float(len(own))
        before = np.array(calm[-window:], dtype=float).reshape(-1, 2)
        known = expected(n, before[:, 0], before[:, 1], level) if len(before) >= FEW else None
        p = float(known.sf(k - 1)) if known else float("nan")
        alarm = bool(p <= level)
        calm.append((min(k, float(known.ppf(1 - level))) if known and alarm else k, n))
        low, high = wilson(k / n, n)
        lines.append((topic, period, int(n), k / n, low, high, p, alarm))
    return lines
