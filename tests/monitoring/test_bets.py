"""Wealth of bets on uniform places: what the formula says, row by row; no more false alarms than stated."""

import numpy as np
import pytest

from aet.errors import ConfigError
from aet.monitoring.bets import BINS, HORIZON, MEMORY, MOST, PRIOR, Bets, factors, shares


def obvious(u, prior):
    """The docstring's recursion for one column, row by row."""
    values, counts = 0.5 * prior, np.zeros(BINS)
    won, low, since, wealth = np.ones_like(values), np.ones_like(values), np.zeros(len(values), int), []
    for t, place in enumerate(u):
        own = int(place * BINS)
        learned = (counts[own] + PRIOR) / (counts.sum() + PRIOR * BINS) * BINS if prior[-1] else 1.0
        factor = np.r_[factors(np.array(place)), learned]
        values = values * factor + 0.5 * HORIZON / ((HORIZON + t) * (HORIZON + t + 1)) * prior
        counts = counts * (1 - 1 / MEMORY)
        counts[own] += 1
        won = won * factor
        since = np.where(won <= low, t + 1, since)
        low = np.minimum(low, won)
        wealth.append(values.sum() + 0.5 * HORIZON / (HORIZON + t + 1))
    return np.array(wealth), values, np.minimum(won / low, MOST), since


@pytest.mark.parametrize("side", ["both", "up", "down"])
def test_it_is_the_recursion_whatever_the_pieces(side):
    rng = np.random.default_rng(0)
    u = rng.random((300, 2))
    u[150:, 1] **= 1.5
    bets = Bets(2, side)
    wealth = np.concatenate([bets.take(piece) for piece in np.split(u, [1, 5, 120, 121])])
    for column in range(2):
        expected, values, rise, since = obvious(u[:, column], shares(side))
        assert wealth[:, column] == pytest.approx(expected)
        assert bets.values[column] == pytest.approx(values)
        assert bets.rise[column] == pytest.approx(rise)
        assert bets.since[column].tolist() == since.tolist()
    assert bets.wealth == pytest.approx(wealth[-1])
    assert bets.peak == pytest.approx(np.maximum(1, wealth.max(0)))


@pytest.mark.parametrize("side", ["both", "up", "down"])
def test_every_bet_is_a_density(side):
    u = (np.arange(100_000) + 0.5) / 100_000
    assert factors(u).mean(0) == pytest.approx(1, abs=1e-3)
    assert factors(u).min() > 0
    assert shares(side).sum() == pytest.approx(1)
    assert Bets(1, side).wealth == pytest.approx(1)


def test_at_most_the_level_of_clean_streams_ever_alarm():
    bets = Bets(600)
    for seed in range(5):
        bets.take(np.random.default_rng(seed).random((400, 600)))
    false = (bets.peak >= 20).mean()
    assert 0 < false <= 0.05 + 2 * (0.05 * 0.95 / 600) ** 0.5


@pytest.mark.parametrize("clean", [0, 2000])
def test_a_change_is_seen_soon_however_long_all_was_well(clean):
    rng, bets = np.random.default_rng(1), Bets(50)
    bets.take(rng.random((clean, 50)))
    wealth = bets.take(rng.random((150, 50)) ** 2)
    assert (wealth.max(0) > 1000).mean() > 0.9
    assert abs(np.median(bets.started()) - clean) < 25


def test_one_side_is_one_side():
    rng = np.random.default_rng(2)
    up, down = Bets(20, "up"), Bets(20, "down")
    high = rng.random((300, 20)) ** 0.5
    assert up.take(high)[-1].min() > 1000
    assert down.take(high)[-1].max() < 2


def test_it_goes_on_after_it_was_saved():
    rng = np.random.default_rng(3)
    one, other = Bets(3), Bets(3)
    one.take(rng.random((90, 3)))
    other.load_arrays(one.to_arrays())
    rest = rng.random((30, 3)) ** 2
    assert np.array_equal(one.take(rest), other.take(rest))
    assert one.started().tolist() == other.started().tolist()


def test_wealth_stays_finite():
    bets = Bets(1)
    assert np.isfinite(bets.take(np.full((5000, 1), 0.999))).all()
    assert np.isfinite(bets.take(np.full((5000, 1), 0.001))).all()


def test_another_side_is_refused():
    with pytest.raises(ConfigError, match="'left'"):
        Bets(1, "left")
