"""POEM's bets and its matched entropies, by hand."""

import math

import numpy as np
import pytest
import torch

from aet.adaptation import Poem, Tent
from aet.adaptation.entropy_bets import BOUND, EntropyBets
from aet.attention.state import applied
from tests.adaptation.models import batch_of, three


def bet_by_hand(us, rate):
    """Bets before each row, and the wealth after all."""
    bet, wealth, squares, before = 0.0, 1.0, 0.0, []
    for u in us:
        before.append(bet)
        wealth *= 1 + bet * (u - 0.5)
        slope = (u - 0.5) / (1 + bet * (u - 0.5))
        squares += slope**2
        bet = min(BOUND, max(-BOUND, bet + rate * slope / math.sqrt(squares)))
    return before, wealth


class TestBets:
    def test_step_by_step(self):
        quantiles = np.linspace(0, 1, 101) ** 2  # F(h) = √h
        bets, rng = EntropyBets(quantiles, rate=0.3), np.random.default_rng(0)
        unsure = rng.random(200)
        found = np.concatenate([bets.match(unsure[:70]), bets.match(unsure[70:])])
        us = np.interp(unsure, quantiles, np.linspace(0, 1, 101))
        assert us == pytest.approx(np.sqrt(unsure), abs=0.02)
        before, wealth = bet_by_hand(us, 0.3)
        q = [0.5 * e * u**2 + (1 - 0.5 * e) * u for e, u in zip(before, us, strict=True)]
        assert found == pytest.approx(np.interp(q, np.linspace(0, 1, 101), quantiles))
        assert found[0] == pytest.approx(unsure[0]), "no bet yet, no move"
        assert bets.wealth == pytest.approx(wealth)
        assert wealth > 20, "these are not the source's: they are less sure"
        assert (found[50:] < unsure[50:]).all()

    def test_wealth_seldom_grows_while_nothing_changed(self):
        """Ville: P(sup wealth >= 20) <= 1/20."""
        rng, quantiles = np.random.default_rng(1), np.linspace(0, 1, 101)
        alarms = 0
        for _ in range(200):
            bets, largest = EntropyBets(quantiles, rate=0.3), 0.0
            for u in rng.random(150):
                bets.take(u)
                largest = max(largest, bets.log_wealth)
            alarms += largest >= math.log(20)
        assert alarms <= 17, "10 expected at most; 17 is beyond 97.5 % of Binomial(200, 0.05)"

    def test_a_jump_is_met_in_its_middle(self):
        """Of a source of which 40 % are quite sure: u has the mean ½ all the same."""
        quantiles = np.concatenate([np.zeros(41), np.linspace(0, 1, 61)[1:]])
        bets = EntropyBets(quantiles, rate=0.3)
        assert bets.place(np.array([0.0, 0.5, 1.0, 2.0])).tolist() == pytest.approx([0.2, 0.7, 1.0, 1.0])
        draws = np.concatenate([np.zeros(400), np.linspace(0, 1, 601)[1:]])
        assert bets.place(draws).mean() == pytest.approx(0.5, abs=0.01)

    def test_one_value_everywhere(self):
        bets = EntropyBets(np.zeros(101), rate=0.3)
        assert np.isfinite(bets.match(np.array([0.0, 0.3, 1.0]))).all()


def test_loss_by_hand(model):
    method, bets = Poem(model), EntropyBets(model.statistics.entropy.tolist(), Poem.defaults["rate"])
    for seed in range(2):
        batch = batch_of(model, 40, seed)
        p = model.output.probabilities(model.logits(batch)).double().numpy()
        unsure = -(p * np.log(p)).sum(1)
        assert unsure / math.log(3) == pytest.approx(model.output.uncertainty(model.logits(batch)).numpy(), abs=1e-5)
        target = math.log(3) * bets.match(unsure / math.log(3))
        limit = 0.4 * math.log(3)
        rows = [
            0.5 * math.exp(-2 * (h - limit)) * (h - t) ** 2 for h, t in zip(unsure, target, strict=True) if h < limit
        ]
        assert 0 < len(rows) < 40
        assert method.loss(batch).item() == pytest.approx(np.mean(rows), rel=1e-3)
    assert method.bets.bet == pytest.approx(bets.bet, rel=1e-3)
    assert method.bets.bet > 0, "shifted rows are less sure"


def test_moves_less_than_tent_where_nothing_changed(model):
    """On rows like the training's; TENT goes on and on."""
    poem, tent = Poem(model), Tent(model)
    for seed in range(20):
        batch = model.encode(three(32, 100 + seed))
        poem(batch)
        tent(batch)
    assert poem.state.size() < 0.1 * tent.state.size()


def test_brings_entropies_back(model):
    """Rows that are surer than the source's become less so, which no minimiser of entropy does."""
    method, rows = Poem(model, lr=0.05), model.encode(three(400, 3))
    sure = rows[model.output.uncertainty(model.logits(rows)).argsort()[:64]]
    for _ in range(40):
        method(sure)
    with applied(method.state):
        after = model.output.uncertainty(model.logits(sure)).mean()
    before = model.output.uncertainty(model.logits(sure)).mean()
    source = model.statistics.entropy.mean()
    assert before < source
    assert method.bets.bet < 0
    assert after > before


def test_bets_are_kept(model):
    method, again = Poem(model), Poem(model)
    method(batch_of(model, 40))
    again.load_memory(method.memory())
    assert again.bets.bet == method.bets.bet != 0
    assert again.bets.log_wealth == method.bets.log_wealth
    assert torch.equal(again.memory()["bets"], method.memory()["bets"])
