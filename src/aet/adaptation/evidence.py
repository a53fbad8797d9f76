"""Evidence by betting: a test of "the gain is at most -m" that holds whenever one looks, and the interval it gives.

A row is drawn with a known probability and weighs w in (0, 2]; its gain is d in [-1, 1]. Given all before the draw,

    E[w] = 1     and, under the null hypothesis,     E[w d] <= -m

A stake λ bets on both facts at once (betting: Waudby-Smith and Ramdas 2024, 2010.09686; w - 1 is a control variate):

    1 + λ (w d + m) + η (w - 1),     η = max(0, (2 - m) λ - 0.95),     λ = f / (1 - m),  0 <= f < 0.95

It is positive for all w and d above, and its expectation under the null hypothesis is at most 1. Without η a loss of
weight 2 forbids λ > 1 / (2 - m), half of what rows of weight 1 allow. Wealth is spread over a few stakes,

    v_k <- v_k · (1 + λ_k (w d + m) + η_k (w - 1))
    v   <- (1 - ε_t) v + ε_t (Σ_k v_k) p,     ε_t = 1 / (1000 + t)
    v_k <- min(v_k, p_k · cap)

starting from p. The second line (fixed share: Herbster and Warmuth 1998) only moves wealth, so that a proposal that was
bad for long can still earn; the stake 0 is what it can draw on. The third only gives wealth away, so that a proposal
that turns bad is dropped soon. So Σ v stays a nonnegative supermartingale and P(sup_t Σ v >= c) <= 1 / c (Ville 1939).
"""

from __future__ import annotations

from copy import copy

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LARGEST_WEIGHT = 2.0
FRACTIONS = np.array([0.0, 0.06, 0.15, 0.33, 0.57, 0.8])
PRIOR = np.array([0.02, 0.05, 0.13, 0.25, 0.3, 0.25])
CAP = 6.0
"""Wealth is held under so many times the threshold."""
SHARE = 1000


def bets(margin: float) -> tuple[Floats, Floats]:
    """λ and η of the formula (K,), for a margin in (-1, 1).

    >>> stakes, hedges = bets(0.01)
    >>> bool((1 + stakes * (0.01 - 2) + hedges > 0).all())
    True
    """
    stakes = FRACTIONS / (1 - margin)
    return stakes, np.maximum(0.0, (LARGEST_WEIGHT - margin) * stakes - 0.95)


def factors(gain: npt.ArrayLike, weight: npt.ArrayLike, margin: float) -> Floats:
    """What each stake's wealth is multiplied with: gains and weights (...) -> (..., K)."""
    stakes, hedges = bets(margin)
    d, w = np.asarray(gain, float)[..., None], np.asarray(weight, float)[..., None]
    found: Floats = 1 + stakes * (w * d + margin) + hedges * (w - 1)
    return found


class Wealth:
    """The recursion above for one stream, or for S at once.

    Args:
        margin: m.
        limit: the cap on the wealth.
        streams: S; none for a single stream.

    >>> wealth = Wealth(margin=0.01, limit=120.0)
    >>> for _ in range(10): wealth.step(1.0, 1.0)
    >>> bool(wealth.total > 20)
    True
    """

    def __init__(self, margin: float, limit: float, streams: int | None = None) -> None:
        self.margin, self.limit, self.bets = margin, limit, bets(margin)
        self.values = PRIOR.copy() if streams is None else np.tile(PRIOR, (streams, 1))  # (K,) or (S, K)
        self.steps = 0

    @property
    def total(self) -> Floats:
        """Σ v."""
        return np.asarray(self.values.sum(-1))

    def step(self, gain: npt.ArrayLike, weight: npt.ArrayLike) -> None:
        """One comparison."""
        self.steps += 1
        stakes, hedges = self.bets
        d, w = np.asarray(gain)[..., None], np.asarray(weight)[..., None]
        won = self.values * (1 + stakes * (w * d + self.margin) + hedges * (w - 1))
        share = 1 / (SHARE + self.steps)
        won = (1 - share) * won + share * won.sum(-1, keepdims=True) * PRIOR
        self.values = np.minimum(won, self.limit * PRIOR)

    def after(self, gain: float, weight: float) -> Wealth:
        """A copy, one comparison later."""
        made = copy(self)
        made.step(gain, weight)
        return made


def interval(gains: Floats, weights: Floats, counts: Floats, level: float) -> tuple[float, float]:
    """Gains that the evidence does not reject at `level` on either side, whenever one looks: (lower, upper) in [-1, 1].

    The lower end is the largest g for which "the gain is at most g" is rejected by the bets with margin -g, the upper
    one the mirror image (confidence sequences by betting, 2010.09686). Gains, weights and how often each came (N,).

    >>> low, high = interval(np.array([1.0, 0.0, -1.0]), np.ones(3), np.array([30.0, 60.0, 10.0]), 0.05)
    >>> 0 < low < 0.2 < high < 0.4
    True
    """
    return lower(gains, weights, counts, level), -lower(-gains, weights, counts, level)


def lower(gains: Floats, weights: Floats, counts: Floats, level: float) -> float:
    """The largest g of which "the gain is at most g" is rejected, by bisection; -1 if there is none."""
    if not len(gains):
        return -1.0

    def rejected(bound: float) -> bool:
        logs = counts @ np.log(factors(gains, weights, -bound)) + np.log(PRIOR)
        return bool(np.logaddexp.reduce(logs) >= -np.log(level))

    low, high = -0.999, 0.999
    if not rejected(low):
        return -1.0
    for _ in range(11):
        middle = (low + high) / 2
        low, high = (middle, high) if rejected(middle) else (low, middle)
    return low
