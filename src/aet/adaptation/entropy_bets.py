"""A bet, row after row, that rows are no longer as sure as the source's held-out rows were.

With F the distribution function of the uncertainty on those rows, u = F(H) has the mean ½ while nothing changed. The
wealth Π_j (1 + ε_j (u_j - ½)) is then a martingale (`aet.monitoring.wager`). The stake ε stands for u having the
distribution function Q, so F⁻¹(Q(F(H))) is the uncertainty that the source would have had where a row has H: a monotone
map, the optimal transport back. Bar, Shaer and Romano 2024, 2408.07511.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from aet.monitoring.wager import Wager

Floats = npt.NDArray[np.float64]

BOUND = 1.8
"""Largest |ε|."""


class EntropyBets(Wager):
    """F by its evenly spaced quantiles, and `rate` γ.

    >>> bets = EntropyBets(np.linspace(0, 1, 101), rate=0.1)
    >>> bets.match(np.full(50, 0.9))[-1] < 0.9 and bets.wealth > 20
    True
    >>> float(bets.match(np.array([1.0]))[0])  # the ends stay
    1.0
    """

    def __init__(self, quantiles: Any, rate: float) -> None:
        super().__init__(rate, BOUND)
        self.quantiles = np.asarray(quantiles, dtype=float)
        self.levels = np.linspace(0, 1, len(self.quantiles))

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
            targets.append(self.tilted(u))
            self.take(u)
        found: Floats = np.interp(targets, self.levels, self.quantiles)
        return found
