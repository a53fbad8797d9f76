"""A bet, row after row, that rows are no longer as sure as the source's held-out rows were.

With F the distribution function of the uncertainty on those rows, u = F(H) has the mean ½ while nothing changed. The
wealth Π_j (1 + ε_j (u_j - ½)) is then a martingale. ε climbs its logarithm by scale-free online gradient steps (Orabona
and Pál 2018, 1601.01974):

    ε ← clip(ε + γ g / √Σ g²),    g = (u - ½) / (1 + ε (u - ½)),    |ε| <= `BOUND`

The bet ε stands for u having the distribution function Q(u) = ½ ε u² + (1 - ½ ε) u, so F⁻¹(Q(F(H))) is the uncertainty
that the source would have had where a row has H: a monotone map, the optimal transport back. Bar, Shaer and Romano
2024, 2408.07511.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BOUND = 1.8
"""Largest |ε|: below 2, so that no row can take all."""


class EntropyBets:
    """F by its evenly spaced quantiles, and `rate` γ.

    >>> bets = EntropyBets(np.linspace(0, 1, 101), rate=0.1)
    >>> bets.match(np.full(50, 0.9))[-1] < 0.9 and bets.wealth > 20
    True
    >>> float(bets.match(np.array([1.0]))[0])  # the ends stay
    1.0
    """

    def __init__(self, quantiles: Any, rate: float) -> None:
        self.quantiles, self.rate = np.asarray(quantiles, dtype=float), rate
        self.levels = np.linspace(0, 1, len(self.quantiles))
        self.bet = self.squares = self.log_wealth = 0.0

    @property
    def wealth(self) -> float:
        """Π."""
        return math.exp(min(self.log_wealth, 700.0))

    def place(self, unsure: Floats) -> Floats:
        """Give u = F(H) (N,): straight lines between quantiles, the middle of a jump, which keeps the mean of u."""
        first = np.searchsorted(self.quantiles, unsure, side="left")
        last = np.searchsorted(self.quantiles, unsure, side="right") - 1
        between = np.interp(unsure, self.quantiles, self.levels)
        jump = last > first
        middle = 0.5 * (self.levels[np.where(jump, first, 0)] + self.levels[np.where(jump, last, 0)])
        placed: Floats = np.where(jump, middle, between)
        return placed

    def match(self, unsure: Floats) -> Floats:
        """Targets (N,) of rows with these uncertainties, each by the bet that stood before it, which then moves."""
        targets = []
        for u in self.place(unsure).tolist():
            targets.append(0.5 * self.bet * u**2 + (1 - 0.5 * self.bet) * u)
            self.update(u)
        found: Floats = np.interp(targets, self.levels, self.quantiles)
        return found

    def update(self, u: float) -> None:
        """One row bet on."""
        stake = 1 + self.bet * (u - 0.5)
        self.log_wealth += math.log(stake)
        slope = (u - 0.5) / stake
        self.squares += slope**2
        if slope:
            self.bet = float(np.clip(self.bet + self.rate * slope / self.squares**0.5, -BOUND, BOUND))
