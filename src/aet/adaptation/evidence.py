"""Evidence by betting: a test of "the gain is at most -m" that holds whenever one looks, and the interval it gives.

A row is drawn with a known probability and weighs w; its gain is d. Given all before the draw, a bound R of |w d| is
known (`aet.adaptation.ask.span`), and under the null hypothesis

    E[w d] <= -m

A stake λ bets on that (betting: Waudby-Smith and Ramdas 2024, 2010.09686) with

    1 + λ (w d + m),     λ = f / max(R - m, 0.2),     0 <= f < 1

which is positive for all w d >= -R, and whose expectation under the null hypothesis is at most 1. The stakes go by R: a
label of weight ⅓, drawn where the answers differ, is staked three times as much as one drawn evenly. They stop at 5 f,
and nothing is staked where R <= m and no margin can be lost, so that a state that hardly differs from the source does
not earn the trust that a later one needs. Wealth is spread over a few stakes,

    v_k <- v_k · (1 + λ_k (w d + m))
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
"""Of any row, and so the bound R where no nearer one is known."""
FRACTIONS = np.array([0.0, 0.06, 0.15, 0.33, 0.57, 0.8])
PRIOR = np.array([0.02, 0.05, 0.13, 0.25, 0.3, 0.25])
NARROWEST = 0.2
CAP = 4.0
"""Wealth is held under so many times the threshold."""
SHARE = 1000


def stakes(margin: float, span: npt.ArrayLike = 1.0) -> Floats:
    """λ of the formula, (..., K) for bounds R (...) and a margin in (-1, 1).

    >>> bool((1 + stakes(0.01, 0.3) * (0.01 - 0.3) > 0).all())
    True
    """
    found: Floats = FRACTIONS / np.maximum(np.asarray(span, float) - margin, NARROWEST)[..., None]
    return found


def factors(value: npt.ArrayLike, margin: float, span: npt.ArrayLike = 1.0) -> Floats:
    """What each stake's wealth is multiplied with: values w d and their bounds (...) -> (..., K)."""
    found: Floats = 1 + stakes(margin, span) * (np.asarray(value, float)[..., None] + margin)
    return found


class Wealth:
    """The recursion above for one stream, or for S at once.

    Args:
        margin: m.
        limit: the cap on the wealth.
        streams: S; none for a single stream.

    >>> wealth = Wealth(margin=0.01, limit=120.0)
    >>> for _ in range(10): wealth.step(1.0)
    >>> bool(wealth.total > 20)
    True
    """

    def __init__(self, margin: float, limit: float, streams: int | None = None) -> None:
        self.margin, self.limit = margin, limit
        self.values = PRIOR.copy() if streams is None else np.tile(PRIOR, (streams, 1))  # (K,) or (S, K)
        self.steps = 0

    @property
    def total(self) -> Floats:
        """Σ v."""
        return np.asarray(self.values.sum(-1))

    def step(self, value: npt.ArrayLike, span: npt.ArrayLike = 1.0) -> None:
        """One comparison: w d, and R."""
        self.steps += 1
        loses = np.asarray(span)[..., None] > self.margin
        won = self.values * np.where(loses, factors(value, self.margin, span), 1.0)
        share = 1 / (SHARE + self.steps)
        won = (1 - share) * won + share * won.sum(-1, keepdims=True) * PRIOR
        self.values = np.minimum(won, self.limit * PRIOR)

    def after(self, value: float, span: float = 1.0) -> Wealth:
        """A copy, one comparison later."""
        made = copy(self)
        made.step(value, span)
        return made


def interval(values: Floats, spans: Floats, counts: Floats, level: float) -> tuple[float, float]:
    """Gains that the evidence does not reject at `level` on either side, whenever one looks: (lower, upper) in [-1, 1].

    The lower end is the largest g for which "the gain is at most g" is rejected by the bets with margin -g, the upper
    one the mirror image (confidence sequences by betting, 2010.09686). Values w d, bounds and how often each came (N,).

    >>> low, high = interval(np.array([1.0, 0.0, -1.0]), np.ones(3), np.array([30.0, 60.0, 10.0]), 0.05)
    >>> 0 < low < 0.2 < high < 0.4
    True
    """
    return lower(values, spans, counts, level), -lower(-values, spans, counts, level)


def lower(values: Floats, spans: Floats, counts: Floats, level: float) -> float:
    """The largest g of which "the gain is at most g" is rejected, by bisection; -1 if there is none."""
    if not len(values):
        return -1.0

    def rejected(bound: float) -> bool:
        logs = counts @ np.log(factors(values, -bound, spans)) + np.log(PRIOR)
        return bool(np.logaddexp.reduce(logs) >= -np.log(level))

    low, high = -0.999, 0.999
    if not rejected(low):
        return -1.0
    for _ in range(11):
        middle = (low + high) / 2
        low, high = (middle, high) if rejected(middle) else (low, middle)
    return low
