"""The guard: what it promises, by simulation, and what it remembers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import beta

from aet.adaptation import GUARDS, Always, Earned, Likely, Never
from aet.adaptation.ask import draw
from aet.adaptation.guard import LARGEST_WEIGHT
from aet.errors import ConfigError

LOOKS = 500
MARGIN = 0.01


def wealth_paths(gains, weights, level=0.05, cap=True):
    """The formula of `earned` written out for many streams at once: (S, N) -> wealths (S, N)."""
    stakes = np.arange(1, 17) / 17 / (2 - MARGIN)
    wealth, path = np.ones((len(gains), 16)), []
    for gain, weight in zip(gains.T, weights.T, strict=True):
        wealth = wealth * (1 + stakes * (weight * gain + MARGIN)[:, None])
        if cap:
            wealth = wealth / np.maximum(1, wealth.mean(1, keepdims=True) / (10 / level))
        path.append(wealth.mean(1))
    return np.stack(path, 1)


def boundary(name, streams, rng):
    """Gains and weights (S, N) whose weighted mean is exactly -margin, at every look, given all before."""
    uniform = rng.random((streams, LOOKS))
    ones = np.ones((streams, LOOKS))
    if name == "labels at random":
        disagree = np.full((streams, LOOKS), 0.2)
    elif name == "rare":
        disagree = np.full((streams, LOOKS), 0.011)
    elif name == "always":
        disagree = ones
    elif name == "changing":
        disagree = rng.choice([0.012, 0.05, 0.3, 1.0], (streams, LOOKS // 50)).repeat(50, 1)
    else:
        # Rows of two sorts, drawn with probability q instead of ½ and weighted ½ / q, so that E[w d] = (d_1 + d_2) / 2.
        q = rng.uniform(0.25, 0.75, (streams, LOOKS))
        first = rng.random((streams, LOOKS)) < q
        weights = np.where(first, 0.5 / q, 0.5 / (1 - q))
        mean = np.where(first, 0.3, -0.3 - 2 * MARGIN)
        return np.where(uniform < (1 + mean) / 2, 1.0, -1.0), weights
    win, loss = (disagree - MARGIN) / 2, (disagree + MARGIN) / 2
    return np.where(uniform < win, 1.0, np.where(uniform < win + loss, -1.0, 0.0)), ones


@pytest.mark.parametrize("name", ["labels at random", "rare", "always", "changing", "weighted"])
def test_earned_serves_a_losing_proposal_in_at_most_one_of_twenty_streams(name):
    streams = 4000
    gains, weights = boundary(name, streams, np.random.default_rng(1))
    assert weights.max() <= LARGEST_WEIGHT
    assert abs((gains * weights).mean() + MARGIN) < 4 * (gains * weights).std() / gains.size**0.5
    ever = (wealth_paths(gains, weights) >= 20).any(1).mean()
    assert ever <= 0.05 + 3 * (0.05 * 0.95 / streams) ** 0.5


def test_capping_does_not_serve_more():
    gains, weights = boundary("changing", 2000, np.random.default_rng(2))
    capped = (wealth_paths(gains, weights) >= 20).mean()
    assert capped <= (wealth_paths(gains, weights, cap=False) >= 20).mean()


@pytest.mark.parametrize("name", ["labels at random", "changing", "weighted"])
def test_the_class_is_the_formula(name):
    gains, weights = boundary(name, 12, np.random.default_rng(3))
    gains[:6] = np.where(gains[:6] < 0, 0, gains[:6])  # some that win
    path = wealth_paths(gains, weights)
    for stream in range(12):
        guard = Earned()
        for look in range(LOOKS):
            guard.update(gains[stream, look], weights[stream, look])
            assert guard.wealth == pytest.approx(path[stream, look], rel=1e-9)
            assert guard.serving == (guard.wealth >= 20)
            assert guard.wealth <= 200 * (1 + 1e-12)
    assert (path[:6, -1] >= 20).all()
    assert np.isfinite(guard.log_wealths).all()


@pytest.mark.parametrize(("pool", "count", "rounds"), [(64, 8, 8), (24, 24, 10)])
def test_earned_with_rows_that_ask_draws(pool, count, rounds):
    """Losses sit where the model is unsure, which is where it asks; some are asked of many, or all that there are."""
    rng, streams, served = np.random.default_rng(4), 200, 0
    for _ in range(streams):
        guard, ever = Earned(), False
        for _ in range(rounds):
            unsure = rng.random(pool)
            lost, won = rng.random(pool) < 0.4, rng.random(pool) < 0.4 - 2 * MARGIN
            gains = np.where(unsure > 0.5, -1.0 * lost, 1.0 * won)  # mean -margin over the population
            rows, weights = draw(np.c_[unsure, rng.random((pool, 2))], unsure, np.zeros(pool, bool), count, rng)
            for row, weight in zip(rows, weights, strict=True):
                guard.update(float(gains[row]), float(weight))
                ever |= guard.serving
        served += ever
    assert served / streams <= 0.05 + 3 * (0.05 * 0.95 / streams) ** 0.5


def test_the_bound_is_not_idle():
    """A proposal with equal answers may be served in the end: it does not lose a point."""
    gains = np.zeros((1, 4000))
    path = wealth_paths(gains, np.ones_like(gains))
    assert path[0, 0] > 1
    assert path[0, -1] >= 20


@pytest.mark.parametrize(("wins", "losses", "most"), [(0.28, 0.04, 60), (0.5, 0.02, 25), (1.0, 0.0, 12)])
def test_power(wins, losses, most):
    rng = np.random.default_rng(5)
    uniform = rng.random((4000, LOOKS))
    gains = np.where(uniform < wins, 1.0, np.where(uniform < wins + losses, -1.0, 0.0))
    served = wealth_paths(gains, np.ones_like(gains)) >= 20
    first = np.where(served.any(1), served.argmax(1) + 1, LOOKS)
    print(f"median labels to serve with {wins:.0%} wins and {losses:.0%} losses: {np.median(first):g}")
    assert np.median(first) <= most
    assert served.any(1).mean() > 0.95


def test_drops_a_proposal_that_turns_bad():
    rng = np.random.default_rng(6)
    guard = Earned()
    while guard.wealth < 199.99:
        guard.update(float(rng.choice([1, 0, -1], p=[0.28, 0.68, 0.04])))
    memory = guard.to_dict()
    dropped = []
    for _ in range(200):
        guard = Earned()
        guard.load_dict(memory)
        for label in range(200):
            guard.update(-1.0 if rng.random() < 0.05 else 0.0)
            if not guard.serving:
                dropped.append(label + 1)
                break
    assert len(dropped) >= 160
    assert min(dropped) > 1, "one loss is not enough"


def test_forgets_no_faster_than_the_cap():
    guard = Earned()
    for _ in range(5000):
        guard.update(1.0)
    assert guard.wealth == pytest.approx(200)
    for _ in range(5):
        guard.update(-1.0)
    assert not guard.serving


@pytest.mark.parametrize(
    "guard", [Earned(level=0.01, margin=0.05, bets=8), Likely(bar=0.7), Always(), Never()], ids=lambda g: g.name
)
def test_memory_goes_round(guard):
    for gain, weight in ((1.0, 2.0), (-0.5, 0.7), (0.0, 1.0), (1.0, 1.3)):
        guard.update(gain, weight)
    copy = GUARDS[guard.name]()
    copy.load_dict(json.loads(json.dumps(guard.to_dict())))
    for _ in range(30):
        assert (copy.wealth, copy.threshold, copy.serving) == (guard.wealth, guard.threshold, guard.serving)
        assert (copy.labels, copy.gain, copy.reason()) == (guard.labels, guard.gain, guard.reason())
        copy.update(0.8)
        guard.update(0.8)
    assert copy.to_dict() == guard.to_dict()


def test_level_and_margin_count():
    patient, plain, lax = Earned(level=0.001), Earned(), Earned(margin=0.2)
    for guard in (patient, plain, lax):
        for _ in range(14):
            guard.update(1.0)
    assert patient.threshold == pytest.approx(1000)
    assert plain.serving
    assert not patient.serving
    assert lax.wealth > plain.wealth


@pytest.mark.parametrize("name", GUARDS)
@pytest.mark.parametrize(("gain", "weight"), [(1.01, 1), (-1.01, 1), (float("nan"), 1), (0, 0), (0, -1), (0, 2.01)])
def test_refuses_evidence_out_of_range(name, gain, weight):
    guard = GUARDS[name]()
    before = guard.to_dict()
    with pytest.raises(ConfigError, match="gains in"):
        guard.update(gain, weight)
    assert guard.to_dict() == before


@pytest.mark.parametrize("settings", [{"level": 0}, {"level": 1}, {"margin": 0}, {"margin": 1.0}, {"bets": 0}])
def test_earned_refuses_settings(settings):
    with pytest.raises(ConfigError):
        Earned(**settings)


@pytest.mark.parametrize("bar", [0, 1, -0.5, 90])
def test_likely_refuses_a_bar_that_is_no_probability(bar):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        Likely(bar=bar)


def test_likely_is_the_posterior():
    guard = Likely()
    assert guard.wealth == pytest.approx(0.5)
    for gain, weight in ((1.0, 1.0), (1.0, 1.5), (-1.0, 0.5), (0.0, 1.0), (0.25, 2.0)):
        guard.update(gain, weight)
    assert guard.wealth == pytest.approx(1 - beta(0.5 + 3.0, 0.5 + 0.5).cdf(0.5))
    assert guard.serving == (guard.wealth > 0.9)
    for _ in range(5):
        guard.update(1.0)
    assert guard.serving
    for _ in range(20):
        guard.update(-1.0)
    assert not guard.serving


@pytest.mark.parametrize(("kind", "serving"), [(Always, True), (Never, False)])
def test_fixed_guards(kind, serving):
    guard = kind()
    for gain in (1.0, -1.0, -1.0, 1.0, 1.0):
        assert guard.serving is serving
        guard.update(gain)
    assert guard.labels == 5
    assert guard.gain == 1.0
    assert not guard.needs_labels
    assert ("served" if serving else "held") in guard.reason()
