"""The betting alarm: equal to its formula, false no more often than allowed, quick where something changed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aet.errors import ConfigError
from aet.monitoring.martingale import EntropyMartingale

UNIFORM = np.linspace(0, 1, 101)


def obvious(u, rate, margin):
    """The formula, letter by letter."""
    bet, squares, wealths = 0.0, 0.0, [1.0]
    for x in u:
        stake = 1 + bet * (x - 0.5) - abs(bet) * margin
        wealths.append(wealths[-1] * stake)
        side = np.sign(bet) or (np.sign(x - 0.5) if abs(x - 0.5) > margin else 0.0)
        gradient = -(x - 0.5 - side * margin) / stake if side else 0.0
        squares += gradient**2
        bet = min(1.9, max(-1.9, bet - rate * gradient / squares**0.5)) if squares else 0.0
    return wealths


@pytest.mark.parametrize("rows", [None, 100])
def test_is_the_formula(rows):
    u = np.random.default_rng(0).random(200) ** 0.8
    martingale = EntropyMartingale(UNIFORM, rows)
    wealths = []
    for x in u:
        martingale.update([x])
        wealths.append(martingale.wealth)
    assert wealths == pytest.approx(obvious(u, 0.5, martingale.margin)[1:])
    assert martingale.margin == (0.0 if rows is None else pytest.approx(2.58 / 1200**0.5))


def test_false_alarms_stay_below_the_level_however_long_one_looks():
    rng = np.random.default_rng(1)
    false = [EntropyMartingale(UNIFORM, level=0.1).update(rng.random(600)) for _ in range(250)]
    assert np.mean(false) <= 0.1 + 2 * (0.1 * 0.9 / 250) ** 0.5


def test_with_few_held_out_rows_the_margin_is_what_keeps_the_promise():
    rng = np.random.default_rng(2)
    cried = {None: 0, 60: 0}
    for _ in range(60):
        quantiles = np.quantile(rng.beta(0.5, 3, 60), np.linspace(0, 1, 101))
        stream = rng.beta(0.5, 3, 1500).clip(quantiles[0], quantiles[-1])
        for rows in cried:
            cried[rows] += EntropyMartingale(quantiles, rows, level=0.05).update(stream)
    assert cried[60] <= 3
    assert cried[None] >= 9


@pytest.mark.parametrize("power", [0.5, 2.0])
def test_a_change_either_way_is_found(power):
    rng = np.random.default_rng(3)
    martingale = EntropyMartingale(UNIFORM, 1000)
    assert not martingale.update(rng.random(500))
    assert martingale.update(rng.random(400) ** power)
    assert np.sign(martingale.bet) == (1 if power < 1 else -1)


def test_rows_that_are_equally_unsure_are_spread():
    quantiles = np.r_[np.zeros(60), np.linspace(0, 1, 41)]
    rng = np.random.default_rng(4)
    stream = quantiles[rng.integers(0, 101, 3000)]
    martingale = EntropyMartingale(quantiles)
    assert martingale.place(np.zeros(2000)).mean() == pytest.approx(0.3, abs=0.02)
    assert not martingale.update(stream)


def test_matched_rows_follow_the_bet():
    martingale = EntropyMartingale(UNIFORM)
    u = np.linspace(0, 1, 11)
    assert martingale.matched(u) == pytest.approx(u)
    martingale.bet = 1.0
    assert martingale.matched(u) == pytest.approx(0.5 * u**2 + 0.5 * u)


def test_goes_on_after_it_was_saved():
    rng = np.random.default_rng(5)
    one, other = (
        EntropyMartingale(np.r_[np.zeros(51), UNIFORM[:50]]),
        EntropyMartingale(np.r_[np.zeros(51), UNIFORM[:50]]),
    )
    one.update(rng.random(50) * 0.4)
    other.load_dict(json.loads(json.dumps(one.to_dict())))
    rest = np.r_[np.zeros(20), rng.random(20) * 0.4]
    assert one.update(rest) == other.update(rest)
    assert one.wealth == other.wealth


@pytest.mark.parametrize(
    "wrong", [{"quantiles": [0.5, 0.1]}, {"quantiles": [0.5]}, {"level": 0.0}, {"rate": 0.0}, {"rows": 0}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ConfigError):
        EntropyMartingale(**{"quantiles": UNIFORM, **wrong})
