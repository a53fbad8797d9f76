"""The stake ε of a bet that the mean of u in 0..1 is no longer ½, and the wealth that it has made.

    S ← S · (1 + ε (u - ½) - |ε| δ)

For any mean of u within ½ ± δ the wealth is a nonnegative supermartingale, since ε is fixed before u is seen. Then ε
moves against the gradient ∇ of -log S by scale-free online gradient descent (Orabona and Pál 2018, 1601.01974):

    ε ← clip(ε - γ ∇ / √Σ ∇²),    |ε| <= bound

The stake stands for u having the distribution function Q(u) = ½ ε u² + (1 - ½ ε) u.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import numpy.typing as npt

U = TypeVar("U", float, npt.NDArray[np.float64])


class Wager:
    """`rate` γ, `bound` of |ε| below 2, so that no row can take all, `margin` δ.

    >>> wager = Wager(rate=0.5, bound=1.9)
    >>> for _ in range(20):
    ...     wager.take(0.9)
    >>> wager.wealth > 20, wager.bet
    (True, 1.9)
    """

    def __init__(self, rate: float, bound: float, margin: float = 0.0) -> None:
        self.rate, self.bound, self.margin = rate, bound, margin
        self.bet = self.squares = self.log_wealth = 0.0

    @property
    def wealth(self) -> float:
        """S."""
        return math.exp(min(self.log_wealth, 700.0))

    def tilted(self, u: U) -> U:
        """Q(u); no stake, no change."""
        return 0.5 * self.bet * u**2 + (1 - 0.5 * self.bet) * u

    def take(self, u: float) -> None:
        """One row bet on."""
        gain = u - 0.5
        stake = 1 + self.bet * gain - abs(self.bet) * self.margin
        self.log_wealth += math.log(stake)
        # Where nothing is staked yet, a side is taken only by rows that would win on it.
        lean = self.bet if self.bet else gain if abs(gain) > self.margin else 0.0
        slope = -(gain - math.copysign(self.margin, lean)) / stake if lean else 0.0
        self.squares += slope**2
        if self.squares:
            self.bet = min(self.bound, max(-self.bound, self.bet - self.rate * slope / math.sqrt(self.squares)))
