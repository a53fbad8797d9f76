"""The stake and the wealth, against the formulas written out."""

from __future__ import annotations

import numpy as np
import pytest

from aet.monitoring.wager import Wager


def test_step_by_step():
    wager = Wager(rate=0.3, bound=1.2)
    stake, squares, wealth = 0.0, 0.0, 1.0
    for u in (0.9, 0.2, 1.0, 1.0, 1.0, 0.0):
        wealth *= 1 + stake * (u - 0.5)
        slope = -(u - 0.5) / (1 + stake * (u - 0.5))
        squares += slope**2
        stake = float(np.clip(stake - 0.3 * slope / squares**0.5, -1.2, 1.2))
        wager.take(u)
        assert (wager.bet, wager.wealth) == pytest.approx((stake, wealth))


def test_a_margin_keeps_the_stake_at_nothing_where_no_row_could_win():
    wager = Wager(rate=0.5, bound=1.9, margin=0.2)
    for u in (0.4, 0.6, 0.69):
        wager.take(u)
    assert (wager.bet, wager.wealth) == (0.0, 1.0)
    wager.take(0.9)
    assert wager.bet > 0


def test_no_row_can_take_all():
    wager = Wager(rate=10.0, bound=1.9)
    for u in (1.0, 1.0, 0.0, 0.0):
        wager.take(u)
        assert 0 < wager.wealth < np.inf
        assert abs(wager.bet) <= 1.9


def test_tilted_is_the_distribution_that_the_stake_stands_for():
    wager, u = Wager(rate=0.5, bound=1.9), np.linspace(0, 1, 5)
    assert wager.tilted(u) == pytest.approx(u)
    wager.bet = 1.0
    assert wager.tilted(0.5) == pytest.approx(0.375)
    # Its density 1 + ε (u - ½) is what the wealth grows by.
    assert (wager.tilted(0.7001) - wager.tilted(0.7)) / 1e-4 == pytest.approx(1.2, abs=1e-3)
